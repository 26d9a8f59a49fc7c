"""A range on one screen: coverage, statistics of the system's metrics, the largest processes, what recording cost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Integer, cast, func, select, union_all

from perftrack.progress import Progress, no_progress
from perftrack.reading.coverage import Coverage, of_each_machine
from perftrack.reading.machines import machines
from perftrack.reading.metrics import (
    CPU_OF_IMPORTED,
    CPU_OF_WINDOWS,
    PROCESS,
    RECORDER_CPU,
    SYSTEM,
    SYSTEM_CPU,
    UNITS,
    Metric,
    ProcessMetric,
)
from perftrack.reading.oom_kills import OomKills, oom_kills
from perftrack.reading.queries import TimeRange, stored, utc
from perftrack.reading.usage.groups import UNIT
from perftrack.reading.usage.top import Top, rankings
from perftrack.reading.usage.units import UnitUsage, add_up_groups, largest_units, looks
from perftrack.storage.snapshot import snapshot

LARGEST = 5
# Of so many times the kernel killed processes at is told when.
KILLS = 5


class Statistics(NamedTuple):
    """What a metric was in *samples*. *max_at* is UTC. *maxima*: of equal parts of what is held; None: no value."""

    metric: Metric
    samples: int
    mean: float
    p50: float
    p95: float
    max: float
    max_at: datetime
    total: float
    maxima: list[float | None]


class Report(NamedTuple):
    """A range on one screen. *cost*: CPU time of the recorder for each sample, in ms; None: not known.

    *is_cpu_of_windows*: cpu is not from counters. *largest*: the processes that used most of each metric; *units*:
    likewise, empty where no control groups were looked at.
    """

    coverage: Coverage
    statistics: list[Statistics]
    is_cpu_of_windows: bool
    cost: Statistics | None
    largest: list[tuple[ProcessMetric, Top]]
    units: list[tuple[ProcessMetric, list[UnitUsage]]]
    kills: OomKills


def reports(
    database: str,
    span: TimeRange,
    *,
    host: str | None = None,
    parts: int = 40,
    now: datetime | None = None,
    progress: Progress = no_progress,
) -> list[Report]:
    """Return what happened in *span*, a report of each machine that it holds samples of, or one that has none.

    Maxima are of *parts* parts. *host*: see `machines`. Raises: PerftrackError.
    """
    with snapshot(database) as connection:
        span = span._replace(hosts=machines(connection, host))
        covered = of_each_machine(connection, span, now or datetime.now(UTC))
        return [_report(connection, each, parts, progress) for each in covered]


def _report(connection: Connection, covered: Coverage, parts: int, progress: Progress) -> Report:
    def of(*metrics: Metric) -> Statistics | None:
        return statistics(connection, covered, parts, *metrics)

    found = {metric.name: of(metric) for metric in SYSTEM if metric.report}
    is_cpu_of_windows = found["cpu"] is None
    if is_cpu_of_windows:
        found["cpu"] = of(CPU_OF_WINDOWS)
    elif covered.without_counters:
        found["cpu"] = of(SYSTEM_CPU, CPU_OF_IMPORTED)
    tops = rankings(
        connection, covered, [metric.ranking for metric in PROCESS], "process", LARGEST, progress=progress
    )
    return Report(
        covered,
        [each for each in found.values() if each is not None],
        is_cpu_of_windows and found["cpu"] is not None,
        of(RECORDER_CPU),
        list(zip(PROCESS, tops, strict=True)),
        _units(connection, covered),
        oom_kills(connection, covered.span, KILLS),
    )


def _units(connection: Connection, covered: Coverage) -> list[tuple[ProcessMetric, list[UnitUsage]]]:
    """Return the largest units of the machine of *covered*, by metric."""
    if not covered.hosts or not (looked := looks(connection, covered.span)).samples:
        return []
    add_up_groups(connection, covered.span, UNIT)
    return [
        (metric, largest_units(connection, covered.hosts[0], looked, metric.ranking, LARGEST)) for metric in UNITS
    ]


def statistics(connection: Connection, covered: Coverage, parts: int, *metrics: Metric) -> Statistics | None:
    """Return what the first of *metrics* was in the range of *covered*; None: not known of any sample.

    Others: where it is taken from in samples of which the first is not known. The mean is over time where the metric
    is of intervals. p50 and p95: half, or 95 of 100, are no larger.
    """
    span, held = covered.span, covered.held
    selected = []
    for metric in metrics:
        columns = metric.source.c
        weight = columns.get("seconds", metric.samples * (covered.usual_seconds or 1.0))
        selected.append(
            select(
                columns.taken_at,
                metric.value.label("value"),
                metric.peak.label("peak"),
                metric.samples.label("samples"),
                weight.label("weight"),
            ).where(*span.holds(columns), metric.value.is_not(None))
        )
    values = union_all(*selected).cte("measured")
    by_value = (values.c.value, values.c.taken_at.desc())
    ranked = select(
        values,
        func.sum(values.c.samples).over(order_by=by_value, rows=(None, 0)).label("place"),
        func.sum(values.c.samples).over().label("places"),
        func.row_number().over(order_by=(values.c.peak.desc(), values.c.taken_at)).label("place_of_peak"),
    ).subquery()
    place, places, value = ranked.c.place, ranked.c.places, ranked.c.value

    def at(percent: int) -> ColumnElement[float]:
        return func.min(value).filter(place * 100 >= places * percent)

    row = connection.execute(
        select(
            func.sum(ranked.c.samples),
            func.sum(value * ranked.c.weight) / func.nullif(func.sum(ranked.c.weight), 0),
            at(50),
            at(95),
            func.max(ranked.c.peak),
            func.max(ranked.c.taken_at).filter(ranked.c.place_of_peak == 1),
            func.sum(value * ranked.c.samples),
        )
    ).one()
    if not row[0] or held.first is None or held.last is None:
        return None
    count, mean, p50, p95, largest, largest_at, total = row
    begin = func.julianday(stored(held.first))
    length = max((held.last - held.first).total_seconds() / 86400, 1e-9)

    def part_of(day: ColumnElement[float]) -> ColumnElement[int]:
        return func.max(0, func.min(parts - 1, cast((day - begin) / length * parts, Integer)))

    taken_on = func.julianday(values.c.taken_at)
    part, first_part = part_of(taken_on), part_of(taken_on - values.c.weight / 86400)
    peaks = connection.execute(select(first_part, part, func.max(values.c.peak)).group_by(first_part, part)).all()
    maxima = _maxima([(row[0], row[1], row[2]) for row in peaks], _recorded(covered, parts))
    return Statistics(metrics[0], count, mean, p50, p95, largest, utc(largest_at), total, maxima)


def _recorded(covered: Coverage, parts: int) -> list[bool]:
    """Return of each of *parts* equal parts of what is held whether samples were taken then, and it is in no gap."""
    first, last = covered.held.first, covered.held.last
    assert first is not None
    assert last is not None
    middles = (first + (last - first) * (number + 0.5) / parts for number in range(parts))
    ends = [(gap.since, gap.until or last) for gap in covered.gaps]
    return [not any(since < middle < until for since, until in ends) for middle in middles]


def _maxima(peaks: list[tuple[int, int, float]], recorded: list[bool]) -> list[float | None]:
    """Return the largest value of each part. *peaks*: values, each with the first part that it is of and the last."""
    maxima: list[float | None] = [None] * len(recorded)
    for _, last, peak in peaks:
        maxima[last] = max(peak, maxima[last] or peak)
    # where parts are shorter than intervals, most are without a sample
    between = [number for number, value in enumerate(maxima) if value is None and recorded[number]]
    for first, last, peak in peaks:
        for number in between:
            if first <= number < last:
                maxima[number] = max(peak, maxima[number] or peak)
    return maxima
