"""Points in time as people type them (--since, --until) and durations (--every). Instants are UTC."""

from __future__ import annotations

import re
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, time, timedelta, tzinfo

from perftrack.errors import UsageError

ACCEPTED = (
    "2026-11-20, '2026-11-20 14:30[:05]', 14:30 (the latest), now, today, yesterday, monday, 'yesterday 14:30', 2h, "
    "-90m, 1h30m, 7d, now-10m, '2 hours ago', 'last 10 minutes', @1790000000, 2026-11-20T14:30:05Z, "
    "2026-11-20T14:30:05+01:00"
)

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NEAR_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400),
}
# All that is counted from an instant, in any time zone, is an instant of Python's too.
_FIRST_YEAR, _LAST_YEAR = MINYEAR + 1, MAXYEAR - 1
_PART = r"(\d+(?:\.\d+)?)\s*([a-z]+)"
_DURATION = re.compile(rf"(?:{_PART}\s*)+")
_AGO = re.compile(r"(?:now ?- ?|last )(?P<before>.+)|-?\s*(?P<ago>.+?)(?:\s+ago)?")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?")
_DAYS = "|".join((*_NEAR_DAYS, *_WEEKDAYS, *(day[:3] for day in _WEEKDAYS)))
_NAMED = re.compile(rf"(?P<day>{_DAYS})(?: (?P<clock>{_CLOCK.pattern}))?")
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?)?",
    re.IGNORECASE,
)


def parse_instant(
    text: str, now: datetime, after: datetime | None = None, *, after_is_dated: bool = False
) -> datetime:
    """Return the instant that *text* names, with UTC as its zone. *now*: the present, with a zone.

    A bare clock time is the latest one that is not in the future. Where *text* ends a range that begins at *after*,
    it is the first one after that, if the latest is not later or the beginning is dated. Without an offset a time is
    local; one that a clock change doubles is its first occurrence, one that it leaves out is counted from the offset
    before.
    Raises: UsageError, which shows the accepted forms.
    """
    written = " ".join(text.split())
    lower = written.lower()
    try:
        instant = (
            _named(lower, now)
            or _ago(lower, now)
            or _clock(written, now, after, after_is_dated=after_is_dated)
            or _dated(written)
        )
        if instant is not None and _FIRST_YEAR <= (utc := to_utc(instant)).year <= _LAST_YEAR:
            return utc
    except (ValueError, OverflowError, OSError):  # a 32nd of a month, a year that no clock reaches
        pass
    raise UsageError(f"{text!r} is no time that perftrack knows; it accepts {ACCEPTED}")


def parse_range(text: str, now: datetime) -> tuple[datetime, datetime]:
    """Return the ends of the range that *text* names, UTC: a day (`yesterday`, `2026-11-20`), or two times with ..
    between. A day at the end is in it as a whole. Nothing in it is later than *now*. Raises: UsageError.
    """
    first, dots, last = (part.strip() for part in text.partition(".."))
    if not dots and not _is_day(first):
        raise UsageError(f"{text!r} is no day; a range is written FROM..TO, as in {first}..now")
    since = parse_instant(first, now)
    until = parse_instant(last or "now", now, since, after_is_dated=is_dated(first)) if dots else since
    if _is_day(last if dots else first):
        until = to_utc(_at(until.astimezone().date(), 1))
    until = min(until, now.astimezone(UTC))
    if since >= until:
        raise UsageError(f"{text!r} ends before it begins" if dots else f"{text!r} has not begun yet")
    return since, until


def is_dated(text: str) -> bool:
    """Return whether *text* names a day, or a time of one: 2026-11-20, 2026-11-20 14:30, yesterday 14:30."""
    written = " ".join(text.split())
    return _DATE.fullmatch(written) is not None or _NAMED.fullmatch(written.lower()) is not None


def _is_day(text: str) -> bool:
    """Return whether *text* names a day, not a time of one."""
    return is_dated(text) and ":" not in text


def to_utc(instant: datetime, zone: tzinfo | None = None) -> datetime:
    """Return *instant* in UTC. Without a zone of its own it is local time of *zone* (None: of this system)."""
    if instant.tzinfo is None and zone is None:
        # not astimezone(): in the hour that daylight saving time leaves out, it takes the offset after
        return datetime.fromtimestamp(instant.timestamp(), UTC)
    return (instant if instant.tzinfo else instant.replace(tzinfo=zone)).astimezone(UTC)


def other_pass(instant: datetime) -> datetime | None:
    """Return the other instant at which this system's clock shows the same time; None: there is none.

    That is so in the hour that a clock change doubles.
    """
    shown = instant.astimezone().replace(tzinfo=None)
    for fold in (0, 1):
        found = to_utc(shown.replace(fold=fold))
        if found != instant and found.astimezone().replace(tzinfo=None, fold=0) == shown.replace(fold=0):
            return found
    return None


def parse_duration(text: str) -> timedelta:
    """Return the duration that *text* says, e.g. 10s, 1m, 1h30m; a bare number is seconds. Raises: UsageError."""
    try:
        duration = _duration(f"{text}s" if re.fullmatch(r"\d+(\.\d+)?", text.strip()) else text.strip().lower())
    except OverflowError:
        duration = None
    if not duration or duration > timedelta(days=366):
        raise UsageError(f"{text!r} is no duration; write 10s, 1m or 1h30m")
    return duration


def require_time(every: str, seconds: float, window: float, option: str) -> None:
    """Raise UsageError where samples that are taken *every* so often, in *seconds*, have no time between them: each
    takes *window* seconds. *option*: that sets these.
    """
    if seconds <= window:
        raise UsageError(
            f"--every {every} leaves no time between samples that take {window:g} s each; make it longer, or "
            f"{option} shorter"
        )


def _named(text: str, now: datetime) -> datetime | None:
    """Return the instant of `now`, `yesterday 14:30` or the latest `monday 14:30`; of a day alone, its midnight."""
    if text == "now":
        return now
    match = _NAMED.fullmatch(text)
    if match is None:
        return None
    today, clock = now.astimezone().date(), time.fromisoformat(_two_digits(match["clock"] or "00:00"))
    if match["day"] in _NEAR_DAYS:
        return _at(today, _NEAR_DAYS[match["day"]], clock)
    weekday = next(number for number, name in enumerate(_WEEKDAYS) if name.startswith(match["day"]))
    found = _at(today, -((today.weekday() - weekday) % 7), clock)
    return found if to_utc(found) <= now else found - timedelta(7)


def _at(day: date, days_later: int, clock: time = time.min) -> datetime:
    return datetime.combine(day + timedelta(days_later), clock)


def _ago(text: str, now: datetime) -> datetime | None:
    """Return the instant of `2h`, `2 hours ago`, `now-2h`, `last 2 hours`: an exact span, whatever the clock did."""
    match = _AGO.fullmatch(text)
    duration = _duration(match["before"] or match["ago"]) if match else None
    return None if duration is None else now.astimezone(UTC) - duration


def _clock(text: str, now: datetime, after: datetime | None, *, after_is_dated: bool) -> datetime | None:
    """Return the instant of `14:30`, of the day that parse_instant says."""
    if not _CLOCK.fullmatch(text):
        return None
    clock = time.fromisoformat(_two_digits(text))
    today = now.astimezone().date()
    found = _at(today, 0, clock)
    if to_utc(found) > now:
        found = _at(today, -1, clock)
    if after is not None and (after_is_dated or to_utc(found) <= after):
        day = after.astimezone().date()
        found = _at(day, 0, clock)
        if to_utc(found) <= after:
            found = _at(day, 1, clock)
    return found


def _duration(text: str) -> timedelta | None:
    if not _DURATION.fullmatch(text):
        return None
    parts = re.findall(_PART, text)
    if any(unit not in _SECONDS for _, unit in parts):
        return None
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))


def _dated(text: str) -> datetime | None:
    if text.startswith("@"):
        return datetime.fromtimestamp(float(text[1:]), UTC)
    if not _DATE.fullmatch(text):
        return None
    day, _, clock = text.upper().replace("UTC", "Z").replace("T", " ", 1).partition(" ")
    return datetime.fromisoformat(f"{day} {_two_digits(clock).replace(' ', '')}".strip())


def _two_digits(clock: str) -> str:
    """Return a clock time with two digits of the hour."""
    return f"0{clock}" if clock[1:2] == ":" else clock
