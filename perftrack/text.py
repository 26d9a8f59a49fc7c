"""Names and command lines as text that SQLite, CSV and JSON can hold, without losing a byte."""

from __future__ import annotations

import re

# Compiled when first needed, which most ticks never do.
_LOOKS_ESCAPED = r"\\(?=x[0-9a-f]{2})"
_UNSTORABLE = "[\0\ud800-\udfff]"


def storable(raw: bytes | str) -> str:
    r"""Return *raw* as valid text: each byte that is no valid UTF-8, and each NUL, becomes ``\xHH``.

    A backslash that would read as such an escape becomes ``\x5c``: replacing each ``\xHH`` by its byte gives the
    original bytes back. As a string, *raw* may hold surrogate escapes, as psutil and os.fsdecode return them.
    """
    text = raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else raw
    if text.isprintable() and "\\" not in text:
        return text
    return re.sub(_UNSTORABLE, _escape, re.sub(_LOOKS_ESCAPED, r"\\x5c", text))


def whole_characters(raw: bytes, max_bytes: int) -> bytes:
    """Return the beginning of *raw* in UTF-8, of *max_bytes* or, not to cut a character, up to three less."""
    if len(raw) <= max_bytes:
        return raw
    end = max_bytes
    while raw[end] & 0xC0 == 0x80 and end > max_bytes - 3:  # a byte that goes on with a character
        end -= 1
    return raw[:end]


def is_called(name: str, pattern: str) -> bool:
    """Return whether *name* matches *pattern*, in which * and ? stand for any characters, and [ for itself."""
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code & 0xFF:02x}" if code == 0 or 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def printable(text: str) -> str:
    r"""Return *text* as it can be shown on one line of a terminal: control, bidi and other invisible characters as
    ``\x1b``, ``\u202e``, so that a name can neither move the cursor nor turn the line around.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
