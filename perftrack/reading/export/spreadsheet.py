"""Text in CSV: a spreadsheet would calculate a process that calls itself =1+1, and a terminal obey ESC[2J."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from perftrack.text import printable

# https://owasp.org/www-community/attacks/CSV_Injection
_BEGIN_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def neutralised(text: str) -> str:
    """Return *text* behind an apostrophe, which makes a spreadsheet show it, where it would calculate it."""
    return f"'{text}" if text.startswith(_BEGIN_A_FORMULA) else text


def text_of(stream: TextIO, spreadsheet_safe: bool) -> Callable[[str], str]:
    """Return what makes of a text what is written of it to *stream*: `str` where that is the text itself."""
    if stream.isatty():
        return (lambda text: printable(neutralised(text))) if spreadsheet_safe else printable
    return neutralised if spreadsheet_safe else str
