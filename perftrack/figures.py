"""Figures and instants as a person reads them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

UNKNOWN = "?"


def number(value: float | None, decimals: int = 1) -> str:
    """Return a figure with thousands apart."""
    return UNKNOWN if value is None else f"{value:,.{decimals}f}"


def count(amount: int, noun: str) -> str:
    """Return how many of something there are: 1 sample, 1,440 samples, 2 entries, 3 processes."""
    if amount != 1 and noun.endswith(("s", "ch")):
        noun += "es"
    elif amount != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{amount:,} {noun}"


def size(count: float | None) -> str:
    """Return bytes in the unit that they are read in: 512 B, 1.5 KiB, 12 GiB."""
    if count is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 999.5 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or abs(count) >= 99.95 else f"{count:.1f} {unit}"


def span(seconds: float | None) -> str:
    """Return a time in its two largest units: 45 s, 3 min 20 s, 5 h 2 min, 3 d 4 h."""
    if seconds is None:
        return UNKNOWN
    if 0 < seconds < 10 and round(seconds, 1) != round(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        amount, whole = divmod(whole, length)
        if amount or parts:
            parts.append(f"{amount} {unit}" if amount else "")
    return " ".join(part for part in parts[:2] if part) or "0 s"


def local(instant: datetime) -> str:
    """Return an instant in local time, to the second."""
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"


def zoned(instant: datetime) -> str:
    """Return an instant in local time, with the zone."""
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S %Z}"
