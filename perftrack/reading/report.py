"""A range on one screen: coverage, the system's figures and their course, the largest processes, recording's cost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Integer, cast, func, literal, select
from sqlalchemy.sql.expression import FromClause

from perftrack.reading.coverage import Coverage, coverage
from perftrack.reading.queries import Extent, TimeRange, stored
from perftrack.reading.snapshot import snapshot
from perftrack.reading.top import Top, rankings
from perftrack.storage.intervals import SYSTEM_INTERVAL
from perftrack.storage.models import SystemSample

LARGEST = 5
SAMPLE = SystemSample.__table__
_BETWEEN = SYSTEM_INTERVAL.c


class Metric(NamedTuple):
    """A figure of the system. *source*: the table or view that has *value*, taken_at and, of a view, seconds."""

    name: str
    unit: str
    source: FromClause
    value: ColumnElement[Any]


def _percent(part: ColumnElement[Any], whole: ColumnElement[Any]) -> ColumnElement[Any]:
    return part * 100.0 / whole


METRICS = (
    Metric("cpu", "%", SYSTEM_INTERVAL, _BETWEEN.cpu_percent),
    Metric("memory", "%", SAMPLE, _percent(SAMPLE.c.mem_used_bytes, SAMPLE.c.mem_total_bytes)),
    Metric("swap", "%", SAMPLE, _percent(SAMPLE.c.swap_used_bytes, func.nullif(SAMPLE.c.swap_total_bytes, 0))),
    Metric("load_1min", "processes", SAMPLE, SAMPLE.c.load_1min),
    *(
        Metric(
            f"pressure_{name}",
            "%",
            SYSTEM_INTERVAL,
            _percent(_BETWEEN[f"pressure_{name}_ms"], _BETWEEN.seconds * 1000),
        )
        for name in ("cpu", "memory", "io")
    ),
)
# What imported data has instead of counters.
_CPU_OF_WINDOWS = Metric("cpu", "%", SAMPLE, SAMPLE.c.cpu_percent)
COST = Metric("recorder_cpu", "ms", SAMPLE, SAMPLE.c.recorder_cpu_ms)


class Figures(NamedTuple):
    """What became of a metric in *samples*. *max_at* is UTC. *course*: its maximum in equal parts; None: none."""

    metric: Metric
    samples: int
    mean: float
    p50: float
    p95: float
    max: float
    max_at: datetime
    total: float
    course: list[float | None]


class Report(NamedTuple):
    """A range on one screen. *cost*: CPU time of the recorder for each sample, in ms; None: not known."""

    coverage: Coverage
    figures: list[Figures]
    cost: Figures | None
    by_cpu: Top
    by_rss: Top


def report(
    database: str,
    span: TimeRange,
    *,
    parts: int = 40,
    now: datetime | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Return what happened in *span*; courses have *parts* values. *progress*: see `top`. Raises: PerftrackError."""
    with snapshot(database) as connection:
        covered = coverage(connection, span, now or datetime.now(UTC))
        found = [figures(connection, metric, span, covered.held, parts) for metric in METRICS]
        if found[0] is None:
            found[0] = figures(connection, _CPU_OF_WINDOWS, span, covered.held, parts)
        by_cpu, by_rss = rankings(connection, covered, ["cpu", "rss"], "process", LARGEST, progress=progress)
        cost = figures(connection, COST, span, covered.held, parts)
    return Report(covered, [each for each in found if each is not None], cost, by_cpu, by_rss)


def figures(connection: Connection, metric: Metric, span: TimeRange, held: Extent, parts: int) -> Figures | None:
    """Return what became of *metric* in *span*, whose extent is *held*; None: not known of any sample.

    The mean is over time where the metric is of intervals. p50 and p95: half, or 95 of 100, are no larger.
    """
    taken_at = metric.source.c.taken_at
    weight = metric.source.c.get("seconds", literal(1.0))
    values = (
        select(taken_at, metric.value.label("value"), weight.label("weight"))
        .where(*span.holds(taken_at), metric.value.is_not(None))
        .cte("measured")
    )
    ranked = select(
        values,
        func.row_number().over(order_by=(values.c.value, values.c.taken_at.desc())).label("place"),
        func.count().over().label("places"),
    ).subquery()
    place, places, value = ranked.c.place, ranked.c.places, ranked.c.value

    def at(percent: int) -> ColumnElement[Any]:
        return func.min(value).filter(place * 100 >= places * percent)

    row = connection.execute(
        select(
            func.count(),
            func.sum(value * ranked.c.weight) / func.nullif(func.sum(ranked.c.weight), 0),
            at(50),
            at(95),
            func.max(value),
            func.max(ranked.c.taken_at).filter(place == places),
            func.sum(value),
        )
    ).one()
    if not row[0] or held.first is None or held.last is None:
        return None
    count, mean, p50, p95, largest, largest_at, total = row
    begin = func.julianday(stored(held.first))
    length = max((held.last - held.first).total_seconds() / 86400, 1e-9)
    part = cast(func.min((func.julianday(values.c.taken_at) - begin) / length * parts, parts - 1), Integer)
    course: list[float | None] = [None] * parts
    for index, maximum in connection.execute(select(part, func.max(values.c.value)).group_by(part)):
        course[max(index, 0)] = maximum
    return Figures(metric, count, mean, p50, p95, largest, largest_at.replace(tzinfo=UTC), total, course)
