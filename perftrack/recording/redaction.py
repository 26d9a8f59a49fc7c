"""Redaction of command lines: passwords stand in them, and whoever reads the database would read those.

Without regular expressions: compiling one would cost a tick more than all else here. Text is bytes as Latin-1.
"""

from __future__ import annotations

import os

from perftrack.text import storable, whole_characters

MAX_BYTES = 4096
FULL, PROGRAM, NONE = "full", "program", "none"
MASK = "***"

# Without one of these, there is nothing to look for. "-p", "-a" and "-u" stand in _SHORT's programs only.
_HINTS = (
    *(b"pass", b"pw", b"secret", b"token", b"key", b"auth", b"credential", b"cookie", b"bearer", b"jwt"),
    *(b"://", b"redis-cli", b"curl", b"mysql", b"mariadb"),
)
# A name with one of these in it, whatever is around it, or with a word that ends in one of those.
_SECRET = ("password", "passwd", "passphrase", "secret", "credential", "apikey", "accesskey", "privatekey")
_SECRET_ENDS = ("pass", "pwd", "token", "key")
_SECRET_WORDS = {"pw", "passin", "passout", "auth", "authorization", "bearer", "cookie", "jwt"}
# A name that ends in one of these is about a secret and none itself: --password-file, --key-size.
_ABOUT_A_SECRET = {"file", "path", "dir", "url", "uri", "id", "name", "type", "size", "length", "policy", "timeout"}
# Programs that take a password behind a short option, and whether it can be the next argument: mysql's -p alone asks.
_SHORT = {"sshpass": ("-p", True), "redis-cli": ("-a", True), "curl": ("-u", True)}
_SHORT |= {"mysql": ("-p", False), "mysqldump": ("-p", False), "mysqladmin": ("-p", False), "mariadb": ("-p", False)}
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
        return storable(_program(kept))
    if len(kept) == len(raw):
        return storable(masked(kept).replace(b"\0", b" "))
    # The password of a URL ends at an @, which may be behind the cut.
    return storable(masked(kept + b"@").removesuffix(b"@").replace(b"\0", b" ")) + "…"


def _program(raw: bytes) -> bytes:
    program, _, arguments = raw.partition(b"\0")
    if not arguments and os.name == "posix":  # it may have put a title in its place, which holds all that it likes
        return program.split(b" ", 1)[0]
    return program


def masked(raw: bytes) -> bytes:
    """Return a command line with *** for the values of what is plainly a password, token, secret or key."""
    lowered = raw.lower()
    for hint in _HINTS:
        if hint in lowered:
            break
    else:
        return raw
    arguments = _without_secrets(raw.decode("latin-1").split("\0"), 0)
    return "\0".join(map(_without_url_password, arguments)).encode("latin-1")


def _without_secrets(words: list[str], depth: int) -> list[str]:
    """Return *words*, some of which may be nothing but what stands between words, with their secrets masked."""
    result = []
    short, separate = "", False  # by which option the program that was named last takes a password
    awaited = False
    for word in words:
        opening, text, closing = _unquoted(word)
        if not text.strip(_BETWEEN):
            result.append(word)
            continue
        name, value = _split(text)
        secret = _is_secret(name)
        if awaited and not text.startswith("-"):
            text, awaited = MASK, False
        else:
            awaited = (secret and not value and name.startswith("-")) or (separate and text == short)
            if secret and value:
                text = text[: -len(value)] + MASK
            elif short and text.startswith(short):
                text = short if text == short else short + MASK
                short, separate = "", False
            elif depth < _DEPTH_MAX and not name:  # sh -c 'prog --password=...'
                text = "".join(_without_secrets(_words(text, _BLANKS), depth + 1))
            elif depth < _DEPTH_MAX and value:  # http://...?a=1&token=..., --options=user=me,password=...
                text = text[: -len(value)] + "".join(_without_secrets(_words(value, _BETWEEN), depth + 1))
            else:
                short, separate = _SHORT.get(text.rpartition("/")[2], (short, separate))
        result.append(opening + text + closing)
    return result


def _unquoted(word: str) -> tuple[str, str, str]:
    """Return *word* split up: the quote that it begins with, the rest, and the same quote at its end."""
    if word[:1] not in {"'", '"'}:
        return "", word, ""
    end = len(word) - (len(word) > 1 and word[-1] == word[0])
    return word[0], word[1:end], word[end:]


def _split(word: str) -> tuple[str, str]:
    """Return what stands before and behind the first = or :, the one of :// not counted; no name has blanks in it."""
    colon = word.find(":")
    if word.startswith("://", colon):
        colon = -1
    ends = [end for end in (word.find("="), colon) if end >= 0]
    end = min(ends, default=len(word))
    name = word[:end]
    return ("", "") if any(blank in name for blank in _BLANKS) else (name, word[end + 1 :])


def _is_secret(name: str) -> bool:
    """Return whether *name* is that of a secret, by its words: --db-password is one, --password-file is none."""
    lowered = name[-_NAME_MAX:].lower()
    words = "".join(char if char.isalnum() else " " for char in lowered).split()
    if not words or words[-1] in _ABOUT_A_SECRET:
        return False
    joined = "".join(words)
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
    """Mask the password in each scheme://user:password@host."""
    start = text.find("://")
    while start >= 0:
        start += 3
        end = start
        while end < len(text) and text[end] not in "/?# \t\n'\"":
            end += 1
        user, colon, _ = text[start:end].partition(":")
        at = text.rfind("@", start, end)
        if colon and at > start + len(user):
            text = f"{text[:start]}{user}:{MASK}{text[at:]}"
        start = text.find("://", start)
    return text
