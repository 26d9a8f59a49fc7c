"""What a range holds and what is missing in it: samples, the usual interval, gaps and boots."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median_low
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, select

from perftrack.reading import queries
from perftrack.reading.queries import SAMPLES, Extent, TimeRange, utc
from perftrack.storage.intervals import GAP, GAP_FACTOR, NEIGHBOURS
from perftrack.storage.models import Boot, Host, Recorder

# A sample that is so much later than now was taken under a wrong clock.
FUTURE = timedelta(minutes=1)


class Gap(NamedTuple):
    """A time without samples. *kind*: gap, or boot (it ended with a start of the machine). Instants are UTC.

    *until* and *sample_id*, of the sample that ends it, are None where it lasts on at the end of the range.
    *usual_seconds*: None: not known.
    """

    sample_id: int | None
    host: str
    kind: str
    since: datetime
    until: datetime | None
    seconds: float
    usual_seconds: float | None


class Coverage(NamedTuple):
    """What was recorded of a range. *is_open*: it has no end but now. *usual_seconds*: see `usual_seconds`.

    *expected*: how many samples there would be without the gaps. *without_counters*: samples of imported data.
    *everything*: all that the database holds, where the range holds nothing; else as *held*. *hosts*: by name.
    *selections*: which processes its samples were to hold, as options of `perftrack record`.
    *future*: the samples of these machines that were taken under a clock that is ahead of now.
    """

    span: TimeRange
    is_open: bool
    held: Extent
    usual_seconds: float | None
    expected: int
    gaps: list[Gap]
    without_counters: int
    everything: Extent
    hosts: list[str]
    selections: list[str]
    future: Extent

    @property
    def until(self) -> datetime | None:
        """The end of the range, or where it is open the last sample."""
        return self.held.last if self.is_open else self.span.until


def coverage(connection: Connection, span: TimeRange, now: datetime) -> Coverage:
    """Return what the database holds of *span*; its end is *now* where it is not bounded, or in the future.

    Where it is not bounded, samples that were taken under a clock that is ahead of *now* are not in it.
    """
    is_open = span.until is None
    if span.until is None:
        span = span._replace(until=now + FUTURE)
    held = queries.extent(connection, span)
    gaps = _gaps(connection, span)
    usual = usual_seconds(connection, span, gaps)
    if usual is not None and held.last is not None:
        rest = (min(span.until or now, now) - held.last).total_seconds()
        if rest > GAP_FACTOR * usual:
            gaps.append(Gap(None, "", "gap", held.last, None, rest, usual))
    intervals = ((gap.seconds, gap.usual_seconds or usual) for gap in gaps)
    missing = sum(max(0, round(seconds / interval) - 1) for seconds, interval in intervals if interval)
    imported = select(func.count()).where(*span.holds(SAMPLES), SAMPLES.uptime_seconds.is_(None))
    return Coverage(
        span,
        is_open,
        held,
        usual,
        held.samples + missing,
        gaps,
        connection.execute(imported).scalar_one(),
        queries.held_at_all(connection, held),
        _hosts(connection, span),
        _selections(connection, span),
        queries.extent(connection, TimeRange(now + FUTURE, None, span.hosts)),
    )


def of_each_machine(connection: Connection, span: TimeRange, now: datetime) -> list[Coverage]:
    """Return the coverage of *span* for each machine that it holds samples of, or one where it holds none."""
    found = coverage(connection, span, now)
    if len(found.hosts) > 1:
        return [coverage(connection, span._replace(hosts=(name,)), now) for name in found.hosts]
    hosts = tuple(found.hosts) or span.hosts
    return [found._replace(span=found.span._replace(hosts=hosts))]


def usual_seconds(connection: Connection, span: TimeRange, gaps: list[Gap]) -> float | None:
    """Return the interval that is usual in *span*: of the time that samples are apart, half is in intervals of a
    recorder that are no longer. None: no recorder has two samples.

    So a hundred samples by hand count for no more than the seconds that they took. *gaps*: what is not counted.
    """
    # imported data has no uptime, and is of one recorder; + 0 keeps SQLite from reading all samples, boot by boot
    instant = func.coalesce(SAMPLES.uptime_seconds, func.julianday(SAMPLES.taken_at) * 86400)
    before = func.lag(instant).over(partition_by=(SAMPLES.boot_id + 0, SAMPLES.recorder_id), order_by=instant)
    apart = (instant - before).label("seconds")
    each = (apart / func.coalesce(SAMPLES.samples, 1.0)).label("each")  # a condensed one stands for several
    of_gaps = func.json_each(json.dumps([gap.sample_id for gap in gaps])).table_valued("value")
    intervals = select(SAMPLES.id, apart, each).where(*span.holds(SAMPLES)).subquery()
    counted = (
        select(
            intervals.c.each,
            func.sum(intervals.c.seconds).over(order_by=intervals.c.each).label("until_here"),
            func.sum(intervals.c.seconds).over().label("in_all"),
        )
        .where(intervals.c.seconds > 0, intervals.c.id.not_in(select(of_gaps.c.value)))
        .subquery()
    )
    half = select(func.min(counted.c.each)).where(counted.c.until_here * 2 >= counted.c.in_all)
    found: float | None = connection.execute(half).scalar()
    return None if found is None else round(found, 3)


def newest_recorded(connection: Connection, span: TimeRange) -> Row[Any, Any, Any, Any] | None:
    """Return taken_at, boot_id, recorder_id and uptime_seconds of the newest sample that was not imported."""
    return connection.execute(
        select(SAMPLES.taken_at, SAMPLES.boot_id, SAMPLES.recorder_id, SAMPLES.uptime_seconds)
        .where(*span.holds(SAMPLES), SAMPLES.uptime_seconds.is_not(None))
        .order_by(SAMPLES.taken_at.desc())
        .limit(1)
    ).first()


def recent_seconds(connection: Connection, newest: Row[Any, Any, Any, Any]) -> float | None:
    """Return the median of the latest intervals of the recorder of *newest*, a sample, until then, as `gap` has it.

    None: it has no sample before that one in its boot.
    """
    recent = connection.execute(
        select(SAMPLES.uptime_seconds, func.coalesce(SAMPLES.samples, 1))
        .where(
            SAMPLES.boot_id == newest.boot_id,
            SAMPLES.recorder_id.is_not_distinct_from(newest.recorder_id),
            SAMPLES.uptime_seconds <= newest.uptime_seconds,
        )
        .order_by(SAMPLES.uptime_seconds.desc())
        .limit(NEIGHBOURS + 1)
    )
    intervals = [(later - earlier) / samples for (later, samples), (earlier, _) in pairwise(recent)]
    return median_low(intervals) if intervals else None


def _selections(connection: Connection, span: TimeRange) -> list[str]:
    recorders = select(SAMPLES.recorder_id).where(*span.holds(SAMPLES))
    found = select(Recorder.selection).where(Recorder.id.in_(recorders)).distinct().order_by(Recorder.selection)
    return list(connection.execute(found).scalars())


def _hosts(connection: Connection, span: TimeRange) -> list[str]:
    """Return the names of the machines that *span* holds samples of."""
    boots = select(Boot.host_id).where(Boot.id.in_(select(SAMPLES.boot_id).where(*span.holds(SAMPLES))))
    return list(connection.execute(select(Host.name).where(Host.id.in_(boots)).order_by(Host.name)).scalars())


def _gaps(connection: Connection, span: TimeRange) -> list[Gap]:
    """Return the gaps that end in *span*; of one that began before, the part that is in it."""
    found = connection.execute(select(GAP).where(*span.holds(GAP.c)).order_by(GAP.c.taken_at))
    gaps = []
    for row in found:
        before, after = utc(row.previous_taken_at), utc(row.taken_at)
        gap = Gap(row.sample_id, row.host, row.kind, before, after, row.seconds, row.usual_seconds)
        if span.since is not None and gap.since < span.since:
            gap = gap._replace(since=span.since, seconds=(after - span.since).total_seconds())
        gaps.append(gap)
    return gaps
