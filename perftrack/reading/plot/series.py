"""The series of a range, for plots: added up to so many points at most, each with minimum, mean and maximum."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, String, bindparam, case, func, literal, null, select

from perftrack.progress import Progress, no_progress
from perftrack.reading.coverage import Coverage
from perftrack.reading.metrics import CPU_OF_IMPORTED, CPU_OF_WINDOWS, PROCESS, SYSTEM, SYSTEM_SAMPLE, UNITS, Metric
from perftrack.reading.oom_kills import OomKill, oom_kills
from perftrack.reading.plot.processes import Point, ProcessPoints
from perftrack.reading.plot.units import UnitPoints
from perftrack.reading.queries import TimeRange, stored_text
from perftrack.reading.usage.parts import LOOK_AHEAD
from perftrack.storage.intervals import SYSTEM_INTERVAL

POINTS = 1500
# How many processes' names are shown of those that used most CPU, and as many of those that hold most memory.
NAMES = 6
# More marks than this nobody tells apart.
KILLS = 100
UNIX_EPOCH_DAY = 2440587.5  # as a Julian day

_IMPORTED = CPU_OF_IMPORTED._replace(name="cpu_of_imported")
_GAUGES = [*(metric for metric in SYSTEM if not metric.is_of_intervals), CPU_OF_WINDOWS, _IMPORTED]
_COUNTERS = [metric for metric in SYSTEM if metric.is_of_intervals]


class AllSeries(NamedTuple):
    """The series of a range. *instants*: where their points are, in seconds since 1970.

    *system*: by metric, those of which something is known. *processes*: by metric, of all processes of a name
    together, the largest names first. *unattributed*: CPU that no recorded process explains, in percent of one CPU;
    empty: not known, or only some processes were asked for. *is_cpu_of_windows*: cpu is not from counters.

    *units*: by metric, the largest and all others, see `UnitPoints`; empty: no control groups were looked at, or
    only some processes were asked for. *kills*: of processes for want of memory, the latest.

    A point is None where nothing is known. *is_bucketed*: a point is of several samples.
    """

    coverage: Coverage
    instants: list[float]
    system: dict[str, list[Point | None]]
    processes: dict[str, dict[str, list[Point | None]]]
    unattributed: list[Point | None]
    units: dict[str, dict[str, list[Point | None]]]
    kills: list[OomKill]
    is_cpu_of_windows: bool
    is_bucketed: bool


def read_series(
    connection: Connection,
    covered: Coverage,
    names: list[str],
    progress: Progress = no_progress,
) -> AllSeries:
    """Return the series of what *covered* covers, none where that is no sample. *names*: of the processes to show;
    empty: the largest.
    """
    if not covered.held.samples:
        return AllSeries(covered, [], {}, {}, [], {}, [], is_cpu_of_windows=False, is_bucketed=False)
    is_bucketed = covered.held.rows > POINTS
    hosts = covered.span.hosts
    samples = _statement(SYSTEM_SAMPLE, _GAUGES, hosts, is_bucketed=is_bucketed)
    intervals = _statement(SYSTEM_INTERVAL, _COUNTERS, hosts, is_bucketed=is_bucketed)
    processes = ProcessPoints(connection, names, covered.hosts[0])
    if covered.span.until is not None:
        processes.look_ahead(*map(stored_text, (covered.span.until, covered.span.until + LOOK_AHEAD)))
    # parts that become a point each, or all of it, where each sample becomes a point
    parts = list(_parts(covered, POINTS if is_bucketed else 1))
    rows: dict[int, tuple[Any, Any]] = {}  # of system_sample and system_interval, by place
    for number, (since, until) in reversed(list(enumerate(parts))):
        part = {"since": since, "until": until}
        gauges = connection.execute(samples, part).all()
        by_key = {row.key: row for row in connection.execute(intervals, part)}
        for place, row in enumerate(gauges, number):
            rows[place] = (row, by_key.get(row.key))
        if gauges:
            processes.add(since, until, number if is_bucketed else None)
        progress(len(parts) - number, 2 * len(parts))
    places = sorted(rows)
    system = _system([rows[place][1] for place in places], _COUNTERS)
    gauges_found = _system([rows[place][0] for place in places], _GAUGES)
    is_cpu_of_windows = "cpu" not in system and "cpu" in gauges_found
    imported = gauges_found.pop(_IMPORTED.name, None)
    if imported is not None and "cpu" in system:
        system["cpu"] = [point or other for point, other in zip(system["cpu"], imported, strict=True)]
    shown = len(names) or NAMES
    is_looked = not names and any(row.looks for row, _ in rows.values())
    return AllSeries(
        covered,
        [(rows[place][0].day - UNIX_EPOCH_DAY) * 86400 for place in places],
        gauges_found | system,
        {
            metric.name: {
                name: [points.get(place) for place in places]
                for name, points in processes.largest(metric, shown).items()
            }
            for metric in PROCESS
        },
        [processes.unattributed.get(place) for place in places] if processes.unattributed else [],
        _units(connection, covered, parts, places, progress, is_bucketed=is_bucketed) if is_looked else {},
        oom_kills(connection, covered.span, KILLS).latest,
        is_cpu_of_windows,
        is_bucketed,
    )


def _parts(covered: Coverage, count: int) -> Iterator[tuple[str, str]]:
    """Yield the ends of *count* equal parts of what is held, as the database stores them."""
    first, last = covered.held.first, covered.held.last
    if first is not None and last is not None:
        length = (last - first) / count + timedelta(microseconds=1)
        for number in range(count):
            yield stored_text(first + number * length), stored_text(first + (number + 1) * length)


def _statement(source: Any, metrics: list[Metric], hosts: tuple[str, ...], *, is_bucketed: bool) -> Select[Any]:
    """Select minimum, mean and maximum of *metrics* after a key and the day: of a part, or of each sample of it."""
    taken_at = source.c.taken_at
    sample_id = source.c["id" if source is SYSTEM_SAMPLE else "sample_id"]
    since, until = (bindparam(end, type_=String) for end in ("since", "until"))
    looks = [func.count(source.c.cgroups_seen).label("looks")] if source is SYSTEM_SAMPLE else []
    values = [each for metric in metrics for each in _point(metric)]
    key = literal(0) if is_bucketed else sample_id
    of_host = TimeRange(hosts=hosts).holds(source.c)
    statement = select(key.label("key"), func.avg(func.julianday(taken_at)).label("day"), *values, *looks).where(
        taken_at >= since, taken_at < until, *of_host
    )
    if is_bucketed:
        return statement.group_by(null())  # one row, or none where there are no samples
    return statement.group_by(taken_at, sample_id).order_by(taken_at, sample_id)


def _point(metric: Metric) -> tuple[ColumnElement[Any], ...]:
    """Return minimum, mean and maximum, over time or, of a gauge, over the samples that rows stand for."""
    weight = metric.source.c.get("seconds", metric.samples)
    whole = func.sum(case((metric.value.is_not(None), weight)))
    mean = func.coalesce(func.sum(metric.value * weight) / func.nullif(whole, 0), func.avg(metric.value))
    return func.min(metric.value), mean, func.max(metric.peak)


def _system(rows: list[Row[Any] | None], metrics: list[Metric]) -> dict[str, list[Point | None]]:
    """Return the points of those *metrics* of which something is known, by name."""
    found: dict[str, list[Point | None]] = {}
    for number, metric in enumerate(metrics):
        values = slice(3 * number + 2, 3 * number + 5)
        points = [None if row is None or row[values][0] is None else tuple(row[values]) for row in rows]
        if any(points):
            found[metric.name] = points
    return found


def _units(
    connection: Connection,
    covered: Coverage,
    parts: list[tuple[str, str]],
    places: list[int],
    progress: Progress,
    *,
    is_bucketed: bool,
) -> dict[str, dict[str, list[Point | None]]]:
    """Return the series of units, by metric. *parts*: of the range, *places*: those of its points."""
    units = UnitPoints(connection, covered.hosts[0])
    for number, (since, until) in enumerate(parts):
        units.add(since, until, number if is_bucketed else None)
        progress(len(parts) + number + 1, 2 * len(parts))
    return {metric.name: units.series(metric, NAMES, places) for metric in UNITS}
