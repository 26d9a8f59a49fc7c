"""What is usual for a machine: what its metrics were in the days before, at the same time of day, as SQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, FromClause, case, func, text

from perftrack.reading.metrics import SYSTEM, SYSTEM_SAMPLE, Metric, as_sql
from perftrack.reading.queries import OF_HOST, TimeRange, extent, stored_text
from perftrack.storage.intervals import SYSTEM_INTERVAL

Resource = Literal["cpu", "memory", "io"]

# So long before a range is what is usual in it taken from.
HISTORY = timedelta(days=14)
# With fewer days nobody knows what is usual at an hour: then all hours together tell it.
DAYS_MIN = 3
# A job that begins a little earlier or later than usual is in the same part of the day, or in one beside it.
PART_SECONDS = 1800
PARTS = 86400 // PART_SECONDS
ALL_HOURS = -1
# Of fewer samples none is the usual one.
SAMPLES_MIN = 4
# The median absolute deviation of normally distributed values, times this, is their standard deviation.
_NORMAL = 1.4826


class Measure(NamedTuple):
    """A metric in which a machine can be unusual, in percent. *resource*: what those who cause it use.

    *least_spread*: it varies by so much on any machine. *accumulates*: it grows slowly, and so began where it left
    what is usual; else where it was half as high.
    """

    metric: Metric
    title: str
    resource: Resource
    least_spread: float
    accumulates: bool = False


class Usual(NamedTuple):
    """What a metric usually is at a time of day: medians of *days* days; or at all hours, of samples: then it is 0.

    *mean*: over half an hour; *high*: the highest value from half an hour before it to half an hour after; *spread*:
    how much that differs from day to day, as a standard deviation.
    """

    days: int
    mean: float
    high: float
    spread: float


class Norm(NamedTuple):
    """What is usual for a machine at each part of the day. *days*: of so many it is known, at most.

    *since*, *samples*: of what was recorded from HISTORY before the range to its end, the first and how many.
    """

    days: int
    since: datetime | None
    samples: int
    by_part: dict[tuple[str, int], Usual]

    def of(self, measure: Measure, part: int) -> Usual | None:
        """Return what is usual in *part* of the day, or where too few days have it, at all hours. None: not known."""
        found = self.by_part.get((measure.metric.name, part))
        if found is not None and found.days >= DAYS_MIN:
            return found
        whole = self.by_part.get((measure.metric.name, ALL_HOURS))
        if found is None or whole is None:
            return whole
        # what one or two days had at this hour is not unusual either
        return Usual(0, whole.mean, max(found.high, whole.high), max(found.spread, whole.spread))


_METRICS = {metric.name: metric for metric in SYSTEM}


def _where_unknown(other: ColumnElement[Any], metric: Metric) -> Metric:
    return metric._replace(value=case((other.is_(None), metric.value)), largest=case((other.is_(None), metric.peak)))


_PER_CPU = 100.0 / func.nullif(SYSTEM_SAMPLE.c.cpu_count, 0)
_LOAD = _METRICS["load_1min"]
_LOAD = _LOAD._replace(value=_LOAD.value * _PER_CPU, largest=_LOAD.peak * _PER_CPU)
# Least spreads: some percent of the machine are what a few idle services make; of load, one task for five CPUs.
MEASURES = (
    Measure(_METRICS["cpu"], "CPU", "cpu", 2.0),
    Measure(_METRICS["memory"], "memory", "memory", 1.0, accumulates=True),
    Measure(_METRICS["pressure_io"], "I/O pressure", "io", 2.0),
    Measure(_where_unknown(SYSTEM_INTERVAL.c.pressure_io_ms, _METRICS["cpu_iowait"]), "iowait", "io", 2.0),
    Measure(_METRICS["pressure_cpu"], "CPU pressure", "cpu", 4.0),
    Measure(_where_unknown(SYSTEM_SAMPLE.c.pressure_cpu_ms, _LOAD), "load per CPU", "cpu", 20.0),
)


class _Source(NamedTuple):
    """Where measures are taken from: a table or a view, and SQL for what is of its rows: the *sample_id*; *at*: the
    time by the machine's wall clock; *seconds*: how long they are; *weight*: in a mean; *of_host*: whether of :host.
    """

    table: FromClause
    sample_id: str
    at: str
    seconds: str
    weight: str
    of_host: str

    @property
    def measures(self) -> list[Measure]:
        return [each for each in MEASURES if each.metric.source is self.table]


_SOURCES = (
    _Source(SYSTEM_INTERVAL, "sample_id", "datetime", "seconds", "seconds", "+host = :host"),
    _Source(SYSTEM_SAMPLE, "id", "taken_at_local", "NULL", "coalesce(samples, 1)", OF_HOST),
)

_CREATE = "CREATE TEMPORARY TABLE part_of_day (metric, slot, mean, high)"
# One pass over each source, whatever number of measures it has. A condensed hour is in both of its parts.
_COLLECT = """
INSERT INTO part_of_day
WITH wide AS (
  SELECT {slot} - before AS slot, {columns} FROM {source.table} JOIN (SELECT 0 AS before UNION ALL SELECT 1)
  WHERE taken_at >= :since AND taken_at < :until AND {source.of_host} AND (NOT before OR {in_both}) GROUP BY 1)
{each}
"""
_MEAN = "sum({value} * {weight}) / nullif(sum(iif({value} IS NULL, 0, {weight})), 0)"
_EACH = "SELECT '{name}', slot, mean_{number}, high_{number} FROM wide WHERE high_{number} IS NOT NULL"
# A job that is daily is so by the highest value of each day, though it be shorter than half an hour.
_MEDIANS = """
WITH near AS (
  SELECT metric, {part} AS part, mean, {high} AS high FROM part_of_day),
ranked AS (
  SELECT metric, part, mean, high, count(*) OVER (PARTITION BY metric, part) AS days,
    row_number() OVER (PARTITION BY metric, part ORDER BY mean) AS mean_place,
    row_number() OVER (PARTITION BY metric, part ORDER BY high) AS high_place
  FROM near),
middle AS (
  SELECT metric, part, days, min(mean) FILTER (WHERE mean_place * 2 >= days) AS mean,
    min(high) FILTER (WHERE high_place * 2 >= days) AS high
  FROM ranked GROUP BY metric, part),
apart AS (
  SELECT metric, part, days, abs(near.high - middle.high) AS apart,
    row_number() OVER (PARTITION BY metric, part ORDER BY abs(near.high - middle.high)) AS place
  FROM near JOIN middle USING (metric, part))
SELECT metric, part, middle.days, mean, high, min(apart) FILTER (WHERE place * 2 >= apart.days) AS deviation
FROM middle JOIN apart USING (metric, part) GROUP BY metric, part
"""
_HIGH = "max(high) OVER (PARTITION BY metric ORDER BY slot RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING)"
_VALUES = """
SELECT taken_at, {slot} % {parts} AS part, {source.seconds} AS seconds, {columns} FROM {source.table}
WHERE taken_at >= :since AND taken_at < :until AND {source.of_host} ORDER BY taken_at
"""


def norm(connection: Connection, span: TimeRange) -> Norm:
    """Return what is usual in *span*, which has both ends and is of one machine.

    It is what the days before were, at most HISTORY. Where some part of the day has not been recorded for DAYS_MIN
    days, what all hours had together is there too, those of *span* among them.
    """
    since, until = span.ends
    before = TimeRange(since - HISTORY, since, span.hosts)
    held = extent(connection, before._replace(until=until))
    if held.samples < SAMPLES_MIN:
        return Norm(0, held.first, held.samples, {})
    # of hours that are condensed only means are known: they are compared with means, and all others with peaks
    within = extent(connection, span)
    of_hours = within.last is not None and within.condensed_until == within.last
    found = _medians(connection, before, by_part=True, of_hours=of_hours)
    if any(usual.days < DAYS_MIN for usual in found.values()) or len({part for _, part in found}) < PARTS:
        found |= _medians(connection, before._replace(until=until), by_part=False, of_hours=of_hours)
    days = max((usual.days for (_, part), usual in found.items() if part != ALL_HOURS), default=0)
    return Norm(days, held.first, held.samples, found)


def values(connection: Connection, span: TimeRange) -> Iterator[tuple[list[Measure], Iterator[Any]]]:
    """Yield the measures of each source and its rows in *span* by time: taken_at, part of the day, seconds (NULL: it
    is of an instant), and the value of each measure.
    """
    for source in _SOURCES:
        columns = ", ".join(as_sql(each.metric.value) for each in source.measures)
        statement = _VALUES.format(source=source, slot=_slot(source.at), parts=PARTS, columns=columns)
        yield source.measures, iter(connection.execute(text(statement), bounds(span)))


def _medians(
    connection: Connection, span: TimeRange, *, by_part: bool, of_hours: bool
) -> dict[tuple[str, int], Usual]:
    """Return what is usual by metric and part of the day, or not *by_part*, of all samples alike.

    *of_hours*: what condensed samples had on average, and not the peaks in them.
    """
    connection.execute(text("DROP TABLE IF EXISTS part_of_day"))
    connection.execute(text(_CREATE))
    for source in _SOURCES:
        statement = _COLLECT.format(
            source=source,
            slot=_slot(source.at) if by_part else source.sample_id,
            in_both="samples > 1" if by_part else "false",
            columns=", ".join(
                f"{_MEAN.format(value=f'({as_sql(each.metric.value)})', weight=source.weight)} AS mean_{number}, "
                f"max({as_sql(each.metric.value if of_hours else each.metric.peak)}) AS high_{number}"
                for number, each in enumerate(source.measures)
            ),
            each="\nUNION ALL ".join(
                _EACH.format(name=each.metric.name, number=number) for number, each in enumerate(source.measures)
            ),
        )
        connection.execute(text(statement), bounds(span))
    medians = _MEDIANS.format(part=f"slot % {PARTS}" if by_part else ALL_HOURS, high=_HIGH if by_part else "high")
    least = {each.metric.name: each.least_spread for each in MEASURES}
    return {
        (row.metric, row.part): Usual(
            row.days if by_part else 0, row.mean, row.high, max(row.deviation * _NORMAL, least[row.metric])
        )
        for row in connection.execute(text(medians))
    }


def _slot(local_time: str) -> str:
    """Return SQL for the part of a day, counted from 1970, that a wall clock showed."""
    return f"CAST(strftime('%s', {local_time}) AS INTEGER) / {PART_SECONDS}"


def bounds(span: TimeRange) -> dict[str, str]:
    """Return :since, :until and :host of *span*, which has both ends and is of one machine."""
    since, until = map(stored_text, span.ends)
    return {"since": since, "until": until, "host": span.hosts[0]}
