"""Redaction of command lines and names: passwords stand in them, and whoever reads the database would read those.

A regular expression is compiled only where it is about to match: most ticks need none. Text is bytes as Latin-1.
"""

from __future__ import annotations

import os
import re

from perftrack.text import storable, whole_characters

MAX_BYTES = 4096
NAME_MAX_BYTES = 15  # the kernel keeps no more of a program's name (TASK_COMM_LEN); its own threads' are whole
FULL, PROGRAM, NONE = "full", "program", "none"
MASK = "***"

# Without one of these, only _TOKENS are looked for. "-p", "-a" and "-u" stand behind _PROGRAMS only.
_HINTS = (
    *("pass", "pw", "secret", "token", "key", "auth", "credential", "cookie", "bearer", "jwt"),
    *("://", "redis-cli", "curl", "mysql", "mariadb"),
)
# A name with one of these in it, whatever is around it, or with a word that ends in one of those.
_SECRET = ("password", "passwd", "passphrase", "secret", "credential", "apikey", "accesskey", "privatekey")
_SECRET_ENDS = ("pass", "pwd", "token", "key", "authorization")
_SECRET_WORDS = {"pw", "passin", "passout", "auth", "bearer", "cookie", "jwt"}
# A name that ends in one of these is about a secret and none itself: --password-file, --key-size. --no-password too.
_ABOUT_A_SECRET = {
    *("file", "path", "dir", "url", "uri", "id", "name", "type", "size", "length", "policy", "timeout"),
    *("stdin", "fd", "env", "mode", "method", "format", "algorithm", "ttl"),
}
_ABOUT_NO_SECRET = {"no", "ask"}
# Behind a header's name: Authorization: Basic ...
_SCHEMES = {"basic", "bearer", "digest", "token", "apikey", "negotiate"}
# Programs, their options that a password stands behind, whether it can be the next argument (mysql's -p alone asks),
# and the letters that can stand between - and a short option: curl -sSu. sshpass runs those that have none.
_NONE: tuple[tuple[str, ...], bool, str] = ((), False, "")
_MYSQL = ("", "admin", "binlog", "check", "dump", "import", "show", "slap")
_PROGRAMS = {
    "curl": (("-u", "-U", "--user", "--proxy-user"), True, "#012346:BGIJLMNOSZafgijklnpqRsv"),
    "redis-cli": (("-a",), True, ""),
    "sshpass": (("-p",), True, "v"),
    **dict.fromkeys(("ssh", "scp", "sftp", "rsync"), _NONE),
    **dict.fromkeys((f"mysql{tool}" for tool in _MYSQL), (("-p",), False, "")),
    **dict.fromkeys((f"mariadb-{tool}".rstrip("-") for tool in _MYSQL), (("-p",), False, "")),
}
# How the tokens and keys of well-known services begin, and what follows, as they document it; and PEM's private keys.
# Fewer characters than a token has are enough: a command line may be cut, and a name is.
_TOKENS = {
    **dict.fromkeys(("ghp_", "gho_", "ghs_", "ghu_", "ghr_"), r"\w{8,}"),  # GitHub
    **dict.fromkeys(("github_pat_", "sk_live_", "sk_test_", "rk_live_", "rk_test_"), r"\w{4,}"),  # and Stripe
    **dict.fromkeys(("glpat-", "glrt-", "gldt-"), r"[\w-]{8,}"),  # GitLab
    **dict.fromkeys(("xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxc-", "xoxd-", "xapp-"), r"[\w.-]{8,}"),
    "hooks.slack.com/services/": r"[\w/]+",
    **dict.fromkeys(("AKIA", "ASIA"), r"[A-Z0-9]{8,}"),  # Amazon
    **dict.fromkeys(("AIza", "ya29."), r"[\w-]{8,}"),  # Google
    **dict.fromkeys(("sk-proj-", "sk-ant-", "sk-svcacct-"), r"[\w-]{4,}"),  # OpenAI, Anthropic
    "sk-": r"[a-zA-Z0-9]{20,}",
    **dict.fromkeys(("npm_", "hf_"), r"[a-zA-Z0-9]{20,}"),  # npm, Hugging Face
    **dict.fromkeys(("pypi-Ag", "hvs.", "hvb."), r"[\w-]{8,}"),  # PyPI, HashiCorp Vault
    **dict.fromkeys(("dop_v1_", "shpat_", "shpca_", "shppa_", "shpss_"), r"[0-9a-fA-F]{8,}"),  # DigitalOcean, Shopify
    "SG.": r"[\w-]{16,}\.[\w-]{16,}",  # SendGrid
    "eyJ": r"[\w-]{8,}(?:\.[\w-]*)*",  # JSON Web Tokens: {" in base64
    "PRIVATE KEY-----": r"[^-\0]+",
}
_BLANKS = " \t\n"
_BETWEEN = _BLANKS + "&;,"
_NAME_MAX = 200
_DEPTH_MAX = 3  # of shell commands within shell commands


def recorded(raw: bytes, how: str) -> str | None:
    """Return what is recorded of a command line, its arguments separated by NUL: MAX_BYTES of it, as text.

    *how*: FULL, with secrets masked; PROGRAM, its first word; NONE, which is None.
    """
    if how == NONE:
        return None
    kept = whole_characters(raw, MAX_BYTES)
    if how == PROGRAM:
        return storable(masked(_program(kept)))
    if len(kept) == len(raw):
        return storable(masked(kept).replace(b"\0", b" "))
    # The password of a URL ends at an @, which may be behind the cut.
    return storable(masked(kept + b"@").removesuffix(b"@").replace(b"\0", b" ")) + "…"


def masked_name(raw: bytes) -> bytes:
    """Return a process's name masked as a command line is; the kernel may have kept no more than its beginning."""
    if len(raw) < NAME_MAX_BYTES:
        return masked(raw) if b"=" in raw or b":" in raw or b" " in raw else raw  # a token would fill it
    return masked(raw + b"@").removesuffix(b"@")  # as above


def is_program(path: bytes) -> bool:
    """Return whether a file is called so, by its whole path or somewhere in PATH: then it is no title."""
    return any(os.path.isfile(os.path.join(os.fsencode(folder), path)) for folder in os.get_exec_path())


def _program(raw: bytes) -> bytes:
    program, _, arguments = raw.partition(b"\0")
    if not arguments and os.name == "posix":  # it may have put a title in its place, which holds all that it likes
        return program.split(b" ", 1)[0]
    return program


def masked(raw: bytes) -> bytes:
    """Return a command line with *** for the values of what is plainly a password, token, secret or key."""
    given = text = raw.decode("latin-1")
    if _is_suspicious(text):
        text = "\0".join(map(_without_url_password, _without_secrets(text.split("\0"), 0)))
    for beginning, rest in _TOKENS.items():
        if beginning in text:
            text = re.sub(f"(?<![a-zA-Z0-9]){re.escape(beginning)}{rest}", MASK, text, flags=re.ASCII)
    return raw if text == given else text.encode("latin-1")


def _is_suspicious(text: str) -> bool:
    lowered = text.lower()
    for hint in _HINTS:  # noqa: SIM110 - any() takes twice as long
        if hint in lowered:
            return True
    return False


def _without_secrets(words: list[str], depth: int) -> list[str]:
    """Return *words*, some of which may be nothing but what stands between words, with their secrets masked."""
    result = []
    options, separate, letters = _NONE  # of the program that was named last
    awaited = named = header = False  # the next word is a secret, that of a header; the last one named a secret
    for word in words:
        opening, text, closing = _unquoted(word)
        if not text.strip(_BETWEEN):
            result.append(word)
            continue
        name, value = _split(text)
        secret = _is_secret(name)
        if text in {":", "="}:  # {"password" : ...
            awaited = awaited or named
        elif awaited and header and text.lower() in _SCHEMES:
            pass
        elif awaited and not text.startswith("--"):
            text, awaited = MASK, False
        else:
            end = _end_of_option(text, options, letters)
            header = text.endswith(":") and _is_secret(text[:-1].rpartition("=")[2])
            option = secret and not value and name.startswith("-")
            awaited = header or option or (separate and end == len(text))
            if secret and value:
                text = text[: -len(value)] + MASK
            elif end:
                text = text[:end] + (MASK if end < len(text) else "")
            elif not name:  # sh -c 'prog --password=...'
                text = _without_inner_secrets(text, _BLANKS, depth + 1)
            elif value:
                text = text[: -len(value)] + _value_without_secrets(value, depth + 1)
            else:
                options, separate, letters = _PROGRAMS.get(text.rpartition("/")[2], (options, separate, letters))
        named = secret and not value
        result.append(opening + text + closing)
    return result


def _value_without_secrets(value: str, depth: int) -> str:
    """Return what stands behind an option's or variable's name without the secrets in it."""
    name, secret = _split(value)
    if secret[:1].isspace() and _is_secret(name):  # --header=Authorization: Basic ...
        return value[: -len(secret)] + MASK
    # http://...?a=1&token=..., --options=user=me,password=...
    return _without_inner_secrets(value, _BETWEEN, depth)


def _without_inner_secrets(text: str, between: str, depth: int) -> str:
    if depth > _DEPTH_MAX or not _is_suspicious(text):
        return text
    return "".join(_without_secrets(_words(text, between), depth))


def _end_of_option(text: str, options: tuple[str, ...], letters: str) -> int:
    """Return where in *text* one of *options* ends, and its value begins if it is the same word; 0: there is none."""
    short = text[1:].lstrip(letters) if text.startswith("-") else ""
    for option in options:
        if option[1] == short[:1] != "-":
            return len(text) - len(short) + 1
        if text == option or text.startswith(f"{option}="):  # a long one
            return min(len(text), len(option) + 1)
    return 0


def _unquoted(word: str) -> tuple[str, str, str]:
    """Return *word* split up: the quote that it begins with, the rest, and the same quote at its end."""
    if word[:1] not in {"'", '"'}:
        return "", word, ""
    end = len(word) - (len(word) > 1 and word[-1] == word[0])
    return word[0], word[1:end], word[end:]


def _split(word: str) -> tuple[str, str]:
    """Return the name before and what is behind the first = or :, but for that of ://; no name has blanks in it."""
    colon = word.find(":")
    if word.startswith("://", colon):
        colon = -1
    ends = [end for end in (word.find("="), colon) if end >= 0]
    end = min(ends, default=len(word))
    name = word[:end].rstrip(_BLANKS)
    return ("", "") if any(blank in name for blank in _BLANKS) else (name, word[end + 1 :])


def _is_secret(name: str) -> bool:
    """Return whether *name* is that of a secret, by its words: --db-password is one, --password-file is none."""
    if not _is_suspicious(name):  # mostly so, and quicker than to look at each character
        return False
    lowered = name[-_NAME_MAX:].lower()
    words = "".join(char if char.isalnum() else " " for char in lowered).split()
    joined = "".join(words)
    if not words or words[0] in _ABOUT_NO_SECRET or (words[-1] in _ABOUT_A_SECRET and words[-2:] != ["secret", "id"]):
        return False
    return any(secret in joined for secret in _SECRET) or any(
        word in _SECRET_WORDS or word.endswith(_SECRET_ENDS) for word in words
    )


def _words(text: str, between: str) -> list[str]:
    """Return the words of *text*, quoted ones whole, and what of *between* is between them: together, *text*."""
    words = [""]
    quote = ""
    apart = False
    for char in text:
        if (not quote and char in between) != apart and words[-1]:
            words.append("")
        apart = not quote and char in between
        words[-1] += char
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
    return words


def _without_url_password(text: str) -> str:
    """Mask the password in each scheme://user:password@host, and in https://token@host the token."""
    start = text.find("://")
    while start >= 0:
        start += 3
        end = start
        while end < len(text) and text[end] not in "/?# \t\n'\"":
            end += 1
        at = text.rfind("@", start, end)
        user, colon, password = text[start : max(at, start)].partition(":")
        if colon and password not in {"", "x-oauth-basic"}:
            text = f"{text[:start]}{user}:{MASK}{text[at:]}"
        elif user and user != "git" and (colon or text[:start].lower().endswith(("http://", "https://"))):
            text = f"{text[:start]}{MASK}{text[at:]}"
        start = text.find("://", start)
    return text
