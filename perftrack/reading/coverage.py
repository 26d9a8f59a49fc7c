"""What a range holds and what is missing in it: samples, the usual interval, gaps and boots."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, select

from perftrack.reading import queries
from perftrack.reading.queries import Extent, TimeRange
from perftrack.storage.intervals import GAP, GAP_FACTOR, SYSTEM_INTERVAL
from perftrack.storage.models import Boot, Host, Recorder, SystemSample

MEDIAN_OF = 20_000


class Gap(NamedTuple):
    """A time without samples. *kind*: gap, or boot (it ended with a start of the machine). Instants are UTC.

    *until* is None where it lasts on at the end of the range.
    """

    host: str
    kind: str
    since: datetime
    until: datetime | None
    seconds: float


class Coverage(NamedTuple):
    """What was recorded of a range. *usual_seconds*: the median interval; None: fewer than two samples.

    *expected*: how many samples there would be without the gaps. *without_counters*: samples of imported data.
    *everything*: all that the database holds, where the range holds nothing; else as *held*. *hosts*: by name.
    *selections*: which processes its samples were to hold, as options of `perftrack record`.
    """

    span: TimeRange
    held: Extent
    usual_seconds: float | None
    expected: int
    gaps: list[Gap]
    without_counters: int
    everything: Extent
    hosts: list[str]
    selections: list[str]


def coverage(connection: Connection, span: TimeRange, now: datetime) -> Coverage:
    """Return what the database holds of *span*; its end is *now* where it is not bounded, or in the future."""
    held = queries.extent(connection, span)
    usual = usual_seconds(connection, span)
    gaps = _gaps(connection, span)
    if usual is not None and held.last is not None:
        end = now if span.until is None else min(span.until, now)
        rest = (end - held.last).total_seconds()
        if rest > GAP_FACTOR * usual:
            gaps.append(Gap("", "gap", held.last, None, rest))
    missing = sum(max(0, round(gap.seconds / usual) - 1) for gap in gaps) if usual else 0
    table = SystemSample.__table__.c
    imported = select(func.count()).where(*span.holds(table.taken_at), table.uptime_seconds.is_(None))
    without_counters = connection.execute(imported).scalar_one()
    everything = held if held.samples else queries.extent(connection, TimeRange())
    hosts = _hosts(connection, span)
    return Coverage(
        span,
        held,
        usual,
        held.samples + missing,
        gaps,
        without_counters,
        everything,
        hosts,
        _selections(connection, span),
    )


def usual_seconds(connection: Connection, span: TimeRange) -> float | None:
    """Return the median time between samples of *span*; None: it has fewer than two. Of very many, some are taken."""
    view = SYSTEM_INTERVAL.c
    every = queries.extent(connection, span).samples // MEDIAN_OF + 1
    intervals = select(view.seconds).where(*span.holds(view.taken_at), view.sample_id % every == 0)
    return _median(connection, intervals) or _median(connection, _seconds_by_clock(span))


def _seconds_by_clock(span: TimeRange) -> Select[Any]:
    """Select the times between samples by the clock: imported data has nothing better."""
    table = SystemSample.__table__.c
    day = func.julianday(table.taken_at)
    order: dict[str, Any] = {"partition_by": table.boot_id, "order_by": table.taken_at}
    intervals = select(((day - func.lag(day).over(**order)) * 86400).label("seconds")).where(
        *span.holds(table.taken_at)
    )
    named = intervals.subquery()
    return select(func.round(named.c.seconds, 3).label("seconds")).where(named.c.seconds.is_not(None))


def _median(connection: Connection, values: Select[Any]) -> float | None:
    ordered = values.subquery()
    count = connection.execute(select(func.count()).select_from(ordered)).scalar_one()
    column = ordered.c[0]
    found: float | None = connection.execute(select(column).order_by(column).limit(1).offset(count // 2)).scalar()
    return found


def _hosts(connection: Connection, span: TimeRange) -> list[str]:
    """Return the names of the machines that *span* holds samples of."""
    table = SystemSample.__table__.c
    boots = select(Boot.host_id).where(Boot.id.in_(select(table.boot_id).where(*span.holds(table.taken_at))))
    return list(connection.execute(select(Host.name).where(Host.id.in_(boots)).order_by(Host.name)).scalars())


def _selections(connection: Connection, span: TimeRange) -> list[str]:
    table = SystemSample.__table__.c
    recorders = select(table.recorder_id).where(*span.holds(table.taken_at))
    found = select(Recorder.selection).where(Recorder.id.in_(recorders)).distinct().order_by(Recorder.selection)
    return list(connection.execute(found).scalars())


def _gaps(connection: Connection, span: TimeRange) -> list[Gap]:
    """Return the gaps that end in *span*; of one that began before, the part that is in it."""
    columns = (GAP.c.host, GAP.c.kind, GAP.c.previous_taken_at, GAP.c.taken_at, GAP.c.seconds)
    found = connection.execute(select(*columns).where(*span.holds(GAP.c.taken_at)).order_by(GAP.c.taken_at))
    gaps = []
    for host, kind, before, after, seconds in found:
        gap = Gap(host, kind, before.replace(tzinfo=UTC), after.replace(tzinfo=UTC), seconds)
        if span.since is not None and gap.since < span.since:
            gap = gap._replace(since=span.since, seconds=(after.replace(tzinfo=UTC) - span.since).total_seconds())
        gaps.append(gap)
    return gaps
