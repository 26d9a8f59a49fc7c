"""Points in time as people type them (--since, --until) and durations (--every). Instants are UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from perftrack.errors import UsageError

ACCEPTED = (
    "2026-11-20, '2026-11-20 14:30[:05]', 14:30 (today), now, today, yesterday, 2h, -90m, 1h30m, 7d, "
    "'2 hours ago', @1790000000, 2026-11-20T14:30:05Z, 2026-11-20T14:30:05+01:00"
)

_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400),
}
_PART = r"(\d+(?:\.\d+)?)\s*([a-z]+)"
_DURATION = re.compile(rf"(?:{_PART}\s*)+")
_AGO = re.compile(r"-?\s*(.+?)(?:\s+ago)?")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?")
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?)?",
    re.IGNORECASE,
)


def parse_instant(text: str, now: datetime) -> datetime:
    """Return the instant that *text* names, with UTC as its zone. *now*: the present, with a zone.

    Without an offset a time is local; one that a clock change doubles is its first occurrence, one that it leaves
    out is counted from the offset before. Raises: UsageError, which shows the accepted forms.
    """
    written = " ".join(text.split())
    try:
        instant = _named(written.lower(), now) or _ago(written.lower(), now) or _dated(written, now)
        if instant is not None:
            return to_utc(instant)
    except (ValueError, OverflowError, OSError):  # a 32nd of a month, a year that no clock reaches
        pass
    raise UsageError(f"{text!r} is no time that perftrack knows; it accepts {ACCEPTED}")


def to_utc(instant: datetime, zone: tzinfo | None = None) -> datetime:
    """Return *instant* in UTC. Without a zone of its own it is local time of *zone* (None: of this system)."""
    if instant.tzinfo is None and zone is None:
        # not astimezone(): in the hour that daylight saving time leaves out, it takes the offset after
        return datetime.fromtimestamp(instant.timestamp(), UTC)
    return (instant if instant.tzinfo else instant.replace(tzinfo=zone)).astimezone(UTC)


def parse_duration(text: str) -> timedelta:
    """Return the duration that *text* says, e.g. 10s, 1m, 1h30m; a bare number is seconds. Raises: UsageError."""
    try:
        duration = _duration(f"{text}s" if re.fullmatch(r"\d+(\.\d+)?", text.strip()) else text.strip().lower())
    except OverflowError:
        duration = None
    if not duration or duration > timedelta(days=366):
        raise UsageError(f"{text!r} is no duration; write 10s, 1m or 1h30m")
    return duration


def _named(text: str, now: datetime) -> datetime | None:
    if text == "now":
        return now
    days_back = {"today": 0, "yesterday": 1, "tomorrow": -1}.get(text)
    if days_back is None:
        return None
    local_day = now.astimezone().date() - timedelta(days=days_back)
    return datetime.combine(local_day, datetime.min.time())


def _ago(text: str, now: datetime) -> datetime | None:
    """Return the instant of `2h`, `-2h`, `2 hours ago`: an exact span before *now*, whatever the clock did."""
    match = _AGO.fullmatch(text)
    duration = _duration(match[1]) if match else None
    return None if duration is None else now.astimezone(UTC) - duration


def _duration(text: str) -> timedelta | None:
    if not _DURATION.fullmatch(text):
        return None
    parts = re.findall(_PART, text)
    if any(unit not in _SECONDS for _, unit in parts):
        return None
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))


def _dated(text: str, now: datetime) -> datetime | None:
    if text.startswith("@"):
        return datetime.fromtimestamp(float(text[1:]), UTC)
    if _CLOCK.fullmatch(text):
        text = f"{now.astimezone().date()} {text}"
    if not _DATE.fullmatch(text):
        return None
    day, _, clock = text.upper().replace("UTC", "Z").replace("T", " ", 1).partition(" ")
    if clock[1:2] == ":":
        clock = f"0{clock}"
    return datetime.fromisoformat(f"{day} {clock.replace(' ', '')}".strip())
