"""Text that a spreadsheet would take for a formula: a process may call itself =HYPERLINK(...)."""

from __future__ import annotations

# https://owasp.org/www-community/attacks/CSV_Injection
_BEGIN_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def neutralised(text: str) -> str:
    """Return *text* behind an apostrophe, which makes a spreadsheet show it, where it would calculate it."""
    return f"'{text}" if text.startswith(_BEGIN_A_FORMULA) else text
