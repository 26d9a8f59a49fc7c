"""Command lines as people write them: what is recorded of each, with its secret gone and all else as it was.

The shapes of tokens are made up to what their issuers document; none of them opens anything.
"""

from __future__ import annotations

import pytest

from perftrack.recording.redaction import FULL, recorded

# ruff: noqa: E501
# What is given to a program, and what is recorded of it; | stands between arguments, and s3cret must not be left.
MASKED = {
    # headers
    "git|-c|http.extraheader=Authorization: Basic s3cret|clone|https://host/x": "git|-c|http.extraheader=Authorization:***|clone|https://host/x",
    "wget|--header=Authorization: Bearer s3cret|https://host/": "wget|--header=Authorization:***|https://host/",
    "wget|--header=PRIVATE-TOKEN: s3cret|https://host/": "wget|--header=PRIVATE-TOKEN:***|https://host/",
    "wget|--header|PRIVATE-TOKEN: s3cret": "wget|--header|PRIVATE-TOKEN:***",
    "wget|--header=Cookie: a=s3cret; b=s3cret": "wget|--header=Cookie:***",
    "curl|-HAuthorization: Bearer s3cret|https://host/": "curl|-HAuthorization:***|https://host/",
    "curl|-sHAuthorization: Bearer s3cret": "curl|-sHAuthorization:***",
    "curl|-H|PRIVATE-TOKEN: s3cret": "curl|-H|PRIVATE-TOKEN:***",
    "curl|-HX-Api-Key: s3cret": "curl|-HX-Api-Key:***",
    "curl|-H|X-Auth-Token:s3cret": "curl|-H|X-Auth-Token:***",
    "curl|--proxy-header|Proxy-Authorization: Basic s3cret": "curl|--proxy-header|Proxy-Authorization:***",
    "http|host/x|Authorization:Token s3cret": "http|host/x|Authorization:***",
    "sh|-c|curl -H 'Authorization: Bearer s3cret' https://host/": "sh|-c|curl -H 'Authorization:***' https://host/",
    "sh|-c|wget --header='PRIVATE-TOKEN: s3cret' -O x": "sh|-c|wget --header='PRIVATE-TOKEN:*** -O x",
    "curl -H Authorization: Bearer s3cret https://host/": "curl -H Authorization: Bearer *** https://host/",
    "wget --header=Authorization: Basic s3cret -O x": "wget --header=Authorization: Basic *** -O x",
    # users with their passwords
    "curl|--user|u:s3cret|https://host/": "curl|--user|***|https://host/",
    "curl|--user=u:s3cret": "curl|--user=***",
    "curl|-su|u:s3cret": "curl|-su|***",
    "curl|-sSLu|u:s3cret|-o|x": "curl|-sSLu|***|-o|x",
    "curl|-suu:s3cret": "curl|-su***",
    "curl|-uu:s3cret": "curl|-u***",
    "curl|-U|u:s3cret|-x|proxy:3128": "curl|-U|***|-x|proxy:3128",
    "curl|--proxy-user|u:s3cret|--user|u:s3cret": "curl|--proxy-user|***|--user|***",
    "/usr/bin/curl|-u|u:s3cret|-o|x|https://host/": "/usr/bin/curl|-u|***|-o|x|https://host/",
    "sh|-c|curl -su u:s3cret https://host/ | jq .": "sh|-c|curl -su *** https://host/ | jq .",
    "curl --user u:s3cret https://host/": "curl --user *** https://host/",
    # URLs
    "git|clone|https://s3cret@host/x": "git|clone|https://***@host/x",
    "git|clone|https://oauth2:s3cret@host/x": "git|clone|https://oauth2:***@host/x",
    "git|clone|https://s3cret:x-oauth-basic@host/x": "git|clone|https://***@host/x",
    "git|clone|https://s3cret:@host/x": "git|clone|https://***@host/x",
    "pip|install|git+https://s3cret@host/x": "pip|install|git+https://***@host/x",
    "pip|install|--index-url=https://u:s3cret@host/simple": "pip|install|--index-url=https://u:***@host/simple",
    "prog|HTTPS://s3cret@host": "prog|HTTPS://***@host",
    "env|https_proxy=http://u:s3cret@proxy:3128/|prog": "env|https_proxy=http://u:***@proxy:3128/|prog",
    "prog|redis://:s3cret@host/0": "prog|redis://:***@host/0",
    "prog|amqp://u:s3cret@host|mongodb://u:s3cret@host": "prog|amqp://u:***@host|mongodb://u:***@host",
    "prog|https://host/x?a=1&access_token=s3cret&b=2": "prog|https://host/x?a=1&access_token=***&b=2",
    # JSON
    'prog|{"password" : "s3cret"}': 'prog|{"password" :***',
    'prog|{"password":"s3cret"}': 'prog|{"password":***',
    'prog|{"user": "me", "password" : "s3cret", "a": 1}': 'prog|{"user": "me", "password" : "***", "a": 1}',
    'prog|{"user": "me", "password": "s3cret"}': 'prog|{"user": "me", "password": "***',
    'prog|{"user":"me","password":"s3cret"}': 'prog|{"user":"me","password":***',
    'prog|{"db": {"password": "s3cret"}}': 'prog|{"db": {"password": "***',
    "curl|-d|{'api_key' : 's3cret'}|https://host/": "curl|-d|{'api_key' :***|https://host/",
    'sh|-c|curl -d \'{"token" : "s3cret"}\' https://host/': "sh|-c|curl -d '{\"token\" :***' https://host/",
    # names
    "env|secret_access_key=s3cret|prog": "env|secret_access_key=***|prog",
    "prog|--secret_access_key|s3cret": "prog|--secret_access_key|***",
    "vault|write|auth/approle/login|role_id=web|secret_id=s3cret": "vault|write|auth/approle/login|role_id=web|secret_id=***",
    "prog|--secret-id=s3cret": "prog|--secret-id=***",
    "env|VAULT_SECRET_ID=s3cret|prog": "env|VAULT_SECRET_ID=***|prog",
    "prog|--token|-s3cret|-v": "prog|--token|***|-v",
    "prog|--password|-s3cret": "prog|--password|***",
    "prog|--client-secret|-s3cret": "prog|--client-secret|***",
    "prog|password = s3cret": "prog|password =***",
    "prog -o x password = s3cret": "prog -o x password = ***",
    "prog|--auth-token=s3cret": "prog|--auth-token=***",
    "prog|--auth|basic|file": "prog|--auth|***|file",
    "az|login|--service-principal|--password|s3cret": "az|login|--service-principal|--password|***",
    "docker|run|-e|POSTGRES_PASSWORD=s3cret|-p|8080:80|postgres": "docker|run|-e|POSTGRES_PASSWORD=***|-p|8080:80|postgres",
    "java|-Djavax.net.ssl.keyStorePassword=s3cret|-jar|x.jar": "java|-Djavax.net.ssl.keyStorePassword=***|-jar|x.jar",
    "psql|host=db user=me password=s3cret": "psql|host=db user=me password=***",
    # the programs of MySQL and MariaDB
    "mysqlimport|-ps3cret|app|x.txt": "mysqlimport|-p***|app|x.txt",
    "mysqlcheck|-u|root|-ps3cret|--all-databases": "mysqlcheck|-u|root|-p***|--all-databases",
    "mariadb-dump|-ps3cret|app": "mariadb-dump|-p***|app",
    "mariadb-admin|-ps3cret|status": "mariadb-admin|-p***|status",
    "mysqlshow|-ps3cret": "mysqlshow|-p***",
    "sudo|mysql|-uroot|-ps3cret|-e|show tables": "sudo|mysql|-uroot|-p***|-e|show tables",
    "sshpass|-vp|s3cret|rsync|-p|x|host:": "sshpass|-vp|***|rsync|-p|x|host:",
    # tokens of well-known shapes, wherever they stand
    "prog|ghp_0123456789abcdefghijABCDEFGHIJ012345": "prog|***",
    "prog|-x|github_pat_11ABCDEFG0123456789_abcdefghij": "prog|-x|***",
    "prog|glpat-abcdefghij0123456789": "prog|***",
    "prog|xoxb-012345678901-abcdefghijkl": "prog|***",
    "curl|https://hooks.slack.com/services/T00000000/B00000000/abcdefghijkl": "curl|https://***",
    "prog|AKIAIOSFODNN7EXAMPLE": "prog|***",
    "prog|AIzaSyA0123456789abcdefghijklmnopqrstuv": "prog|***",
    "stripe|--api|sk_live_0123456789abcdefghij": "stripe|--api|***",
    "prog|x=sk-ant-api03-abcdefghij0123456789abcdefghij": "prog|x=***",
    "prog|npm_abcdefghij0123456789abcdefghij012345": "prog|***",
    "twine|-u|__token__|pypi-AgEIcHlwaS5vcmcabcdefghij": "twine|-u|__token__|***",
    "prog|hvs.CAESIabcdefghij0123456789": "prog|***",
    "prog|x,eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF_123,y": "prog|x,***,y",
    "prog|-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/=\n-----END RSA PRIVATE KEY-----": "prog|-----BEGIN RSA ***-----END RSA PRIVATE KEY-----",
}
KEPT = (
    "prog|--user|nginx|--group|nginx",
    "docker|run|--user|1000:1000|-p|8080:80|-u|1:1|nginx",
    "ssh|user@host",
    "ssh|-p|2222|user@host|ls",
    "git|clone|https://host/x",
    "git|clone|git@host:x.git",
    "git|clone|ssh://git@host/x",
    "git|-c|http.extraheader=Accept: text/plain|fetch",
    "psql|postgres://me@db/app",
    "prog|-p|8080",
    "tar|-pxf|x.tar",
    "mysqld|--port=3306|--datadir=/var/lib/mysql",
    "mysqldump|-p|app",
    "mkdir|-p|/srv/mysql",
    "rsync|-pgo|/var/lib/mysql|host:",
    "prog|--token-file|/x",
    "prog|--token-file=/x|--token-ttl=1h|--token-url=https://host/",
    "prog|--password-stdin|registry",
    "prog|--no-password|-h|db",
    "ansible-playbook|--ask-pass|site.yml",
    "prog|--passphrase-fd|0",
    "aws|--key-id|x|--secret-name|y",
    "kube-apiserver|--authorization-mode=Node,RBAC|--port=6443",
    "prog|--key-algorithm|rsa|--key-size|4096",
    "ssh-keygen|-t|ed25519|-f|/x/id",
    "nginx: worker process",
    "postgres: shop",
    "sshd: me@pts/0",
    "gunicorn: master [shop.wsgi]",
    "java|-Xmx2g|-cp|/srv/a.jar:/srv/b.jar|shop.Main",
    "python3|-m|http.server|--bind|127.0.0.1:8000",
    "node|/srv/monkey/keyboard.js|--inspect=0.0.0.0:9229",
    "curl|-sS|-o|x|https://host/x?page=2",
    "curl|-fsSL|https://host/x.sh",
    'prog|{"user": "me", "retries" : 3}',
    "find|/|-name|*.key|-newer|x",
    "grep|-r|token|/srv",
    "vim|/etc/ssl/private/server.key",
    "prog|sk-learn-models|task-abcdefghij0123456789abcdefghij",
    "npm|config|get|npm_config_loglevel",
    "prog|ghost_writer|Asia/Tokyo|ASIA",
    "prog|https://git@host/x|http://host:8080/a@b",
    "prog|a = 1|b : 2",
)


@pytest.mark.parametrize("line", MASKED)
def test_a_secret_is_masked_and_nothing_else(line: str) -> None:
    assert shown(line) == MASKED[line].replace("|", " ")


@pytest.mark.parametrize("line", KEPT)
def test_what_is_none_stays_readable(line: str) -> None:
    assert shown(line) == line.replace("|", " ")


def test_the_table_is_long_enough_to_mean_something() -> None:
    assert len(MASKED) + len(KEPT) >= 120


def shown(line: str) -> str | None:
    return recorded(line.encode().replace(b"|", b"\0"), FULL)
