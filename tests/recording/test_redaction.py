"""Command lines hold passwords: what is plainly one never gets into the database, and less does on request."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Run, query, until
from hypothesis import given
from hypothesis import strategies as st

from perftrack.recording.redaction import FULL, MAX_BYTES, NONE, PROGRAM, masked, recorded

SECRET = "s3cret"
SLEEP = "import time; time.sleep(1000)"

# What is given to a program, and what is recorded of it; | stands between arguments.
MASKED = {
    "prog --password=s3cret": "prog --password=***",  # one argument: a title that the program has given itself
    "prog|--password=s3cret|-v": "prog|--password=***|-v",
    "prog|--password=my s3cret|-v": "prog|--password=***|-v",
    "prog|--password|s3cret|-v": "prog|--password|***|-v",
    "prog|-password|s3cret": "prog|-password|***",
    "prog|--PASSWORD=s3cret": "prog|--PASSWORD=***",
    "prog|--db-passwd|s3cret": "prog|--db-passwd|***",
    "prog|--api-key=s3cret": "prog|--api-key=***",
    "prog|--api_key|s3cret": "prog|--api_key|***",
    "prog|--key|s3cret": "prog|--key|***",
    "prog|--token|s3cret": "prog|--token|***",
    "prog|--client-secret:s3cret": "prog|--client-secret:***",
    "prog|--auth=me:s3cret": "prog|--auth=***",
    "java|-Dspring.datasource.password=s3cret|-jar|a.jar": "java|-Dspring.datasource.password=***|-jar|a.jar",
    "java|-DapiKey=s3cret": "java|-DapiKey=***",
    "env|PASSWORD=s3cret|DEBUG=1|prog": "env|PASSWORD=***|DEBUG=1|prog",
    "env|AWS_SECRET_ACCESS_KEY=s3cret|prog": "env|AWS_SECRET_ACCESS_KEY=***|prog",
    "openssl|enc|-pass|pass:s3cret": "openssl|enc|-pass|***",
    "curl|-H|Authorization: Bearer s3cret|http://x": "curl|-H|Authorization:***|http://x",
    "curl|-u|me:s3cret|http://x": "curl|-u|***|http://x",
    "curl|http://x/?a=1&token=s3cret": "curl|http://x/?a=1&token=***",
    "psql|postgres://me:s3cret@db/app": "psql|postgres://me:***@db/app",
    "psql|--dbname=postgres://me:a:s3@cret@db/app": "psql|--dbname=postgres://me:***@db/app",
    "mysql|-u|me|-ps3cret|app": "mysql|-u|me|-p***|app",
    "/usr/bin/mysqldump|-ps3cret|app": "/usr/bin/mysqldump|-p***|app",
    "sshpass|-p|s3cret|ssh|-p|2222|host": "sshpass|-p|***|ssh|-p|2222|host",
    "redis-cli|-a|s3cret|ping": "redis-cli|-a|***|ping",
    "prog|--options=user=me,password=s3cret": "prog|--options=user=me,password=***",
    "sh|-c|PGPASSWORD=s3cret|psql": "sh|-c|PGPASSWORD=***|psql",
    "sh|-c|cd /srv && mysql -ps3cret app": "sh|-c|cd /srv && mysql -p*** app",
    "sh|-c|bash -c \"prog --token 's3cret'\"": "sh|-c|bash -c \"prog --token '***'\"",
}
KEPT = (
    "java|-jar|monkey.jar|--keyboard=us|--keyspace=app|--max-tokens=100|--tokenizer=bpe",
    "prog|--password-file=/etc/prog/password|--key-size=2048|--token-url|http://x/",
    "prog|--author=me|--compassionate|--passive|--pwm",
    "prog|--password",
    "mysql|-p|app",
    "ssh|-p|2222|-i|id_rsa|me@host",
    "mkdir|-p|key",
    "git|clone|https://git@host/key.git",
    "python|-c|print('key', \"a ' b\")",
    "sh|-c|find / -name '*.key' -newer x   -print",
    "",
    "key",
)


def shown(line: str, how: str = FULL) -> str | None:
    return recorded(line.encode().replace(b"|", b"\0"), how)


@pytest.mark.parametrize("line", MASKED)
def test_a_secret_is_masked(line: str) -> None:
    assert shown(line) == MASKED[line].replace("|", " ")


def test_a_secret_in_a_pipeline_is_masked() -> None:
    raw = b"sh\0-c\0prog --password='my s3cret' -v | less"
    assert recorded(raw, FULL) == "sh -c prog --password=*** -v | less"


@pytest.mark.parametrize("line", KEPT)
def test_what_is_none_is_not(line: str) -> None:
    assert shown(line) == line.replace("|", " ")


@given(st.binary(max_size=300) | st.lists(st.sampled_from([b"key", b"=", b":", b"://", b"@", b"-", b" ", b"'", b'"', b"\0", b"\xff", b"mysql", b"p"])).map(b"".join))  # fmt: skip  # noqa: E501
def test_whatever_the_bytes_are_the_arguments_stay_as_many(raw: bytes) -> None:
    assert masked(raw).count(b"\0") == raw.count(b"\0")
    assert recorded(raw, FULL) is not None


@given(st.binary(max_size=200), st.sampled_from([b"--password=", b"--token\0", b"PASSWORD=", b"x://a:"]))
def test_a_secret_is_masked_whatever_stands_before(before: bytes, option: bytes) -> None:
    raw = before + b"\0" + option + b"s3cret@\0after"
    assert b"s3cret" not in masked(raw.replace(b"mysql", b""))


@pytest.mark.parametrize("length", range(MAX_BYTES - 40, MAX_BYTES + 40))
def test_a_secret_at_the_cut_is_masked(length: int) -> None:
    for option in ("--password=", "--password|", "x://me:"):
        line = f"prog|{'x' * (length - 5)}|{option}{SECRET}@host" + "|more" * 100
        text = shown(line)
        assert text is not None
        assert text.endswith("…")
        assert text.rpartition("x" * 100)[2].find("s3") < 0


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("/opt/my app/prog|--password=s3cret", "/opt/my app/prog"),
        ("prog", "prog"),
        ("prog --password=s3cret", "prog"),  # a title that the program has given itself
        ("nginx: worker process", "nginx:"),
        ("", ""),
    ],
)
def test_of_the_program_alone_no_argument_is_left(line: str, program: str) -> None:
    assert shown(line, PROGRAM) == program
    assert shown(line, NONE) is None


@pytest.fixture
def telling() -> Iterator[Callable[..., None]]:
    """Start a real process with a secret among its arguments."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> None:
        started.append(subprocess.Popen([sys.executable, "-c", SLEEP, *arguments]))
        wanted = "\0".join(arguments)
        until(lambda: wanted in Path(f"/proc/{started[-1].pid}/cmdline").read_text())

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to see that the process runs")
class TestARealProcess:
    ARGUMENTS = ("--password=s3cret", "--token", "s3cret", "API_KEY=s3cret", "http://me:s3cret@host/")

    @pytest.mark.usefixtures("connection")  # keeps the write-ahead log
    @pytest.mark.parametrize("how", [None, "program", "none"])
    def test_keeps_its_secret(
        self,
        how: str | None,
        telling: Callable[..., None],
        perftrack: Run,
        path: str,
        tmp_path: Path,
    ) -> None:
        telling(*self.ARGUMENTS)
        env = {"PERFTRACK_PROCESS_FILTER": "python", "PERFTRACK_RECORD_COMMAND": how}
        done = [perftrack("record", env=env), perftrack("record", "--every", "0.2s", "--count", "2", env=env)]
        done += [perftrack("export", "--wide"), perftrack("export", "--directory", str(tmp_path))]
        files = [*Path(path).parent.rglob("*"), *(tmp_path / "work").iterdir(), *tmp_path.glob("*.csv")]
        names = {file.name for file in files}
        assert {"perftrack.db", "perftrack.db-wal", "system_log.csv", "process_log.csv"} <= names
        for file in files:
            assert SECRET.encode() not in file.read_bytes(), file
        for run in done:
            assert SECRET not in run.stdout + run.stderr
        commands = query(path, "SELECT command FROM process WHERE command LIKE '%time.sleep(1000)%'")
        everything = query(path, "SELECT command FROM process")
        if how is None:
            (command,) = (each for each in commands if "API_KEY" in each)  # other tests' processes sleep as well
            assert command.endswith("--password=*** --token *** API_KEY=*** http://me:***@host/")
        else:
            assert commands == []
            assert (set(everything) == {None}) == (how == "none")
            if how == "program":
                assert sys.executable in everything

    def test_keeps_it_where_recording_fails(self, telling: Callable[..., None], perftrack: Run, path: str) -> None:
        telling(*self.ARGUMENTS)
        perftrack("record", env={"PERFTRACK_PROCESS_FILTER": "python"})
        with closing(sqlite3.connect(path)) as opened:
            opened.execute(
                "CREATE TRIGGER failing BEFORE INSERT ON process_sample BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        done = perftrack("record", expect=1, env={"PERFTRACK_PROCESS_FILTER": "python"})
        assert done.stderr.count("\n") == 1
        assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("value", ["", "all", "FULL", "0"])
def test_another_value_is_wrong_usage(value: str, perftrack: Run, path: str) -> None:
    done = perftrack("record", expect=2, env={"PERFTRACK_RECORD_COMMAND": value})
    assert done.stderr == f'perftrack: PERFTRACK_RECORD_COMMAND: {value!r} is not "full", "program" or "none"\n'
    assert not Path(path).exists()
