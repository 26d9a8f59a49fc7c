"""A range in parts, and which share of an interval is in it: an interval counts by its overlap with the range."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from perftrack.reading.queries import SAMPLES, TimeRange, stored_text, utc

# An interval that ends after the range is looked for in the samples of so long after it.
LOOK_AHEAD = timedelta(days=1)
# Behind a short first part hardly an interval begins before the range; the rows of a day are sorted in memory.
FIRST_PART, PART = timedelta(hours=1), timedelta(days=1)
_NO_BOUND = 10**15  # milliseconds since 1970, or seconds

# How much of an interval is in the range, from 0 to 1: all, where it is too short to reach out of it. In whole
# milliseconds, the unit of SQLite's dates, so that an interval that ends with the range is in it as a whole.
_END_MS = "CAST((julianday(taken_at) - 2440587.5) * 86400000 + 0.5 AS INTEGER)"
_LENGTH_MS = "CAST(seconds * 1000 + 0.5 AS INTEGER)"
SHARE = f"""CASE WHEN seconds <= :inside_seconds THEN 1 ELSE max(0,
    min({_END_MS}, :until_ms) - max({_END_MS} - {_LENGTH_MS}, :since_ms)) * 1.0 / nullif({_LENGTH_MS}, 0) END"""
# The + keeps SQLite from finding samples by their machine: they are to be found by time.
IN_PART = "taken_at >= :part_since AND taken_at < :part_until AND +host = :host"


def merged(sums: Iterable[str], largest: Iterable[str]) -> str:
    """Return SQL for ON CONFLICT DO UPDATE SET that adds *sums* up and keeps the *largest*; NULL: not known yet."""
    return ", ".join(
        [f"{name} = coalesce({name} + excluded.{name}, {name}, excluded.{name})" for name in sums]
        + [f"{name} = coalesce(max({name}, excluded.{name}), {name}, excluded.{name})" for name in largest]
    )


class Part(NamedTuple):
    """Samples from *since* to *until*: of the range (*is_seen*) or after it. One of their intervals that is no longer
    than *inside_seconds* is in the range as a whole.
    """

    since: datetime
    until: datetime
    is_seen: bool
    inside_seconds: float


def parts_of(connection: Connection, span: TimeRange, look_ahead: timedelta = LOOK_AHEAD) -> list[Part]:
    """Return the parts of *span*, and the time after it in which its last intervals end.

    Each begins with a sample: there are no more of them than samples, however long the range is.
    """

    def sample(end: Callable[..., Any], since: datetime | None) -> datetime | None:
        # each end by itself is found in the index; both at once are by reading all of it
        return utc(connection.scalar(select(end(SAMPLES.taken_at)).where(*TimeRange(since).holds(SAMPLES))))

    begin, last = sample(func.min, span.since), sample(func.max, span.since)
    parts: list[Part] = []
    if last is None:
        return parts
    until = min(span.until or last, last) + timedelta(microseconds=1)
    length = FIRST_PART
    while begin is not None and begin < until:
        inside = _NO_BOUND if span.since is None else (begin - span.since).total_seconds()
        following = sample(func.min, begin + length)
        parts.append(Part(begin, min(following or until, until, span.until or until), True, inside))
        begin, length = following, PART
    if span.until is not None:
        parts.append(Part(span.until, span.until + look_ahead, False, -1.0))
    return parts


def parameters(span: TimeRange, part: Part) -> dict[str, Any]:
    """Return the parameters of SHARE and IN_PART; *span* is of one machine."""
    return {
        "since_ms": -_NO_BOUND if span.since is None else round(span.since.timestamp() * 1000),
        "until_ms": _NO_BOUND if span.until is None else round(span.until.timestamp() * 1000),
        "part_since": stored_text(part.since),
        "part_until": stored_text(part.until),
        "is_seen": part.is_seen,
        "inside_seconds": part.inside_seconds,
        "host": span.hosts[0],
    }
