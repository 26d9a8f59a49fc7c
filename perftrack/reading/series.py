"""The course of a range, for plots: added up to so many points at most, each with minimum, mean and maximum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Select,
    String,
    and_,
    bindparam,
    func,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.orm import aliased

from perftrack.reading.coverage import Coverage
from perftrack.reading.process_series import Point, ProcessSeries
from perftrack.reading.queries import stored
from perftrack.storage.intervals import SYSTEM_INTERVAL
from perftrack.storage.models import SystemSample

POINTS = 1500
# How many processes' names are shown of those that used most CPU, and as many of those that hold most memory.
NAMES = 6
UNIX_EPOCH_DAY = 2440587.5  # as a Julian day

_BETWEEN = SYSTEM_INTERVAL.c
_SAMPLE = SystemSample.__table__.c
_ALL_CPU_MS = (
    _BETWEEN.cpu_ms
    + func.coalesce(_BETWEEN.cpu_steal_ms, 0)
    + _BETWEEN.cpu_idle_ms
    + func.coalesce(_BETWEEN.cpu_iowait_ms, 0)
)


def _rate(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return column * 1.0 / func.nullif(_BETWEEN.seconds, 0)


INTERVAL_SERIES: dict[str, ColumnElement[Any]] = {
    "cpu": _BETWEEN.cpu_percent,
    **{
        f"cpu_{part}": _BETWEEN[f"cpu_{part}_ms"] * 100.0 / func.nullif(_ALL_CPU_MS, 0)
        for part in ("user", "system", "iowait", "steal")
    },
    **{f"pressure_{part}": _rate(_BETWEEN[f"pressure_{part}_ms"]) / 10 for part in ("cpu", "memory", "io")},
    **{name: _rate(_BETWEEN[f"{name}_bytes"]) for name in ("disk_read", "disk_write", "net_received", "net_sent")},
}
SAMPLE_SERIES: dict[str, ColumnElement[Any]] = {
    "mem_used": _SAMPLE.mem_used_bytes,
    "mem_total": _SAMPLE.mem_total_bytes,
    "swap_used": _SAMPLE.swap_used_bytes,
    "load_1min": _SAMPLE.load_1min,
    "load_5min": _SAMPLE.load_5min,
    "load_15min": _SAMPLE.load_15min,
    "cpu_of_window": _SAMPLE.cpu_percent,
}


class _Alone(NamedTuple):
    """A sample that has none before it, as ProcessSeries takes it."""

    id: int
    previous_id: None = None
    seconds: None = None


class Course(NamedTuple):
    """The points of a range. *instants*: where each is, in seconds since 1970. *system*: by name, see above.

    *cpu* and *rss*: of all processes of a name together (percent of one CPU, bytes), those that used most first.

    A point is None where nothing is known. *is_bucketed*: a point is of several samples.
    """

    coverage: Coverage
    instants: list[float]
    system: dict[str, list[Point | None]]
    cpu: dict[str, list[Point | None]]
    rss: dict[str, list[Point | None]]
    is_bucketed: bool


def course(
    connection: Connection,
    covered: Coverage,
    names: list[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Course:
    """Return the course of what *covered* covers. *names*: of the processes to show; empty: the largest."""
    is_bucketed = covered.held.samples > POINTS
    instants: list[float] = []
    system: dict[str, list[Point | None]] = {name: [] for name in (*INTERVAL_SERIES, *SAMPLE_SERIES)}
    processes = ProcessSeries(connection, names)
    statements = [_sample_part(is_bucketed), _interval_part(is_bucketed), _samples_part(), _ids_part()]
    for part in _parts(covered, is_bucketed, progress):
        gauges, intervals, pairs, ids = (connection.execute(statement, part).all() for statement in statements)
        places = {row.key: len(instants) + number for number, row in enumerate(gauges)}
        for row in gauges:
            instants.append((row.day - UNIX_EPOCH_DAY) * 86400)
            _append(system, SAMPLE_SERIES, row[2:])
        for name in INTERVAL_SERIES:
            system[name] += [None] * len(gauges)
        for row in intervals:
            _append(system, INTERVAL_SERIES, row[1:], places[row.key])
        known = {pair.id: pair for pair in pairs}
        samples = [known.get(row.id) or _Alone(row.id) for row in ids]
        if is_bucketed:
            for place in places.values():
                processes.add(place, samples)
        else:
            for sample in samples:
                processes.add(places[sample.id], [sample])
    cpu, rss, shown = processes.cpu, processes.rss, len(names) or NAMES
    return Course(
        covered,
        instants,
        {name: points for name, points in system.items() if any(point is not None for point in points)},
        _largest(cpu, len(instants), shown, lambda points: sum(point[1] or 0 for point in points)),
        _largest(rss, len(instants), shown, lambda points: max((point[2] or 0 for point in points), default=0)),
        is_bucketed,
    )


def _parts(
    covered: Coverage, is_bucketed: bool, progress: Callable[[int, int], None]
) -> Iterator[dict[str, datetime]]:
    """Yield the ends of the range, or of as many parts of it as there are points, where one is of several samples."""
    first, last = covered.held.first, covered.held.last
    if first is None or last is None:
        return
    count = POINTS if is_bucketed else 1
    length = (last - first) / count + timedelta(microseconds=1)
    for number in range(count):
        yield {"since": stored(first + number * length), "until": stored(first + (number + 1) * length)}
        progress(number + 1, count)


def _within(taken_at: Any) -> ColumnElement[bool]:
    return and_(taken_at >= bindparam("since", type_=DateTime), taken_at < bindparam("until", type_=DateTime))


def _points(series: dict[str, ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    return [extreme(value) for value in series.values() for extreme in (func.min, func.avg, func.max)]


def _append(
    system: dict[str, list[Point | None]], series: dict[str, Any], values: Any, place: int | None = None
) -> None:
    for number, name in enumerate(series):
        point = tuple(values[3 * number : 3 * number + 3])
        known = None if point[1] is None else point
        if place is None:
            system[name].append(known)
        else:
            system[name][place] = known


def _sample_part(is_bucketed: bool) -> Select[Any]:
    key = literal(0) if is_bucketed else _SAMPLE.id
    day = func.avg(func.julianday(_SAMPLE.taken_at)).label("day")
    statement = select(key.label("key"), day, *_points(SAMPLE_SERIES)).where(_within(_SAMPLE.taken_at))
    statement = statement.having(func.count() > 0)
    return statement if is_bucketed else statement.group_by(_SAMPLE.taken_at, _SAMPLE.id)


def _interval_part(is_bucketed: bool) -> Select[Any]:
    key = literal(0) if is_bucketed else _BETWEEN.sample_id
    statement = select(key.label("key"), *_points(INTERVAL_SERIES)).where(_within(_BETWEEN.taken_at))
    statement = statement.having(func.count() > 0)
    return statement if is_bucketed else statement.group_by(_BETWEEN.sample_id)


def _samples_part() -> Select[Any]:
    """Select the samples that have one before them, with that one, as ProcessSeries takes them."""
    before = aliased(SystemSample)
    return (
        select(
            _BETWEEN.sample_id.label("id"),
            _BETWEEN.previous_sample_id.label("previous_id"),
            _BETWEEN.seconds,
            type_coerce(before.taken_at, String).label("previous_taken_at"),
            before.uptime_seconds.label("previous_uptime_seconds"),
            before.window_seconds.label("previous_window_seconds"),
        )
        .join_from(SYSTEM_INTERVAL, before, before.id == _BETWEEN.previous_sample_id)
        .where(_within(_BETWEEN.taken_at))
        .order_by(_BETWEEN.taken_at, _BETWEEN.sample_id)
    )


def _ids_part() -> Select[Any]:
    """Select the ids of all samples, the first of a boot and imported ones too."""
    return select(_SAMPLE.id).where(_within(_SAMPLE.taken_at)).order_by(_SAMPLE.taken_at, _SAMPLE.id)


def _largest(
    found: dict[str, dict[int, Point]], count: int, shown: int, rank: Callable[[list[Point]], float]
) -> dict[str, list[Point | None]]:
    ranked = sorted(found, key=lambda name: -rank(list(found[name].values())))[:shown]
    return {name: [found[name].get(place) for place in range(count)] for name in ranked}
