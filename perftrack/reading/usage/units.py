"""What units used over a range: the intervals of control groups, added up by SQLite in a temporary table.

A unit's own share is the growth of its groups less that of the groups of other units in them, so that all units
together are what the outermost group used. What a group cannot say of those below it (their first look) is its own.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, DateTime, Row, text

from perftrack.progress import Progress, no_progress
from perftrack.reading.queries import TimeRange, utc
from perftrack.reading.usage.groups import UNIT, Groups
from perftrack.reading.usage.held import Held
from perftrack.reading.usage.parts import IN_PART, SHARE, merged, parameters, parts_of
from perftrack.storage.intervals import SECONDS_SINCE_LOOK

# A condensed row has the peak of its group, which is its own where no other one is in it.
# *_below: what of it the groups of other units below used. newest: the last sample in which something had changed;
# peak: the highest percentage, in hundredths, and its sample, as one number.
_COUNTERS = ("cpu_ms", "cpu_estimated_ms", "read_bytes", "write_bytes", "oom_kills")
_SUMS = tuple(f"{name}{of}" for name in _COUNTERS for of in ("", "_below"))
_LARGEST = ("newest", "peak", "memory_max_bytes", "tasks_max")
_CREATE = (
    f"CREATE TEMPORARY TABLE grown (key PRIMARY KEY, {', '.join([*_LARGEST, *_SUMS])})",
    f"CREATE TEMPORARY TABLE interval (sample_id, cgroup_id, cpu_percent, cpu_percent_max, {', '.join(_COUNTERS)})",
)
_SIGNED = ", ".join(f"sum(CASE sign WHEN {sign} THEN {name} END)" for name in _COUNTERS for sign in (1, -1))
# The intervals of groups that are in the range, each with its share. LIMIT -1 keeps SQLite from computing that anew
# wherever it is used.
_INTERVALS = f"""
INSERT INTO interval
SELECT CASE WHEN :is_seen THEN sample_id END, cgroup_id, CASE WHEN :is_seen THEN cpu_percent END,
  CASE WHEN :is_seen THEN cpu_percent_max END, cpu_ms * share,
  CASE WHEN share < 1 THEN cpu_ms * share END, read_bytes * share, write_bytes * share, oom_kills * share
FROM (
  SELECT sample_id, cgroup_id, cpu_percent, cpu_percent_max, cpu_ms, read_bytes, write_bytes, oom_kills,
    {SHARE} AS share
  FROM cgroup_interval WHERE {IN_PART} LIMIT -1)
WHERE :is_seen OR share > 0
"""
_ADD_UP = f"""
INSERT INTO grown (key, newest, {", ".join(_SUMS)})
SELECT {{side}} AS key, max(CASE sign WHEN 1 THEN sample_id END), {_SIGNED}
FROM (
  SELECT cgroup_id, max(sample_id) AS sample_id, {", ".join(f"sum({name}) AS {name}" for name in _COUNTERS)}
  FROM interval GROUP BY cgroup_id) {{both_sides}}
GROUP BY 1
ON CONFLICT (key) DO UPDATE SET {merged(_SUMS, _LARGEST)}
"""
_ADD_PEAKS = f"""
INSERT INTO grown (key, peak)
SELECT key, max(CAST(max(0, cpu_percent) * 100 AS INTEGER) << 32 | sample_id)
FROM (
  SELECT {{side}} AS key, sample_id, sum(sign * cpu_percent) AS cpu_percent
  FROM interval {{both_sides}} AND cpu_percent IS NOT NULL
  GROUP BY sample_id, 1
  UNION ALL
  SELECT {{key}}, sample_id, cpu_percent_max
  FROM interval {{both_sides}} AND sign = 1 AND cpu_percent_max > cpu_percent
    AND {{key}} NOT IN (SELECT key FROM around))
WHERE true
GROUP BY key
ON CONFLICT (key) DO UPDATE SET {merged([], ["peak"])}
"""
_ADD_HELD = f"""
INSERT INTO grown (key, memory_max_bytes, tasks_max)
SELECT key, max(memory_bytes), max(tasks)
FROM (SELECT key, memory_bytes, tasks FROM held UNION ALL SELECT key, memory_bytes, tasks FROM peak)
WHERE memory_bytes IS NOT NULL OR tasks IS NOT NULL GROUP BY key
ON CONFLICT (key) DO UPDATE SET {merged([], ["memory_max_bytes", "tasks_max"])}
"""
_LOOKS = f"""
SELECT count(CASE WHEN :is_seen THEN 1 END) AS samples, sum(seconds * share) AS seconds
FROM (SELECT seconds, {SHARE} AS share
  FROM (SELECT taken_at, host, {SECONDS_SINCE_LOOK} AS seconds
    FROM (SELECT system_sample.*, host.name AS host
      FROM system_sample JOIN boot ON boot.id = boot_id JOIN host ON host.id = host_id
      WHERE cgroups_seen IS NOT NULL) AS later)
  WHERE {IN_PART})
"""


def own(name: str) -> str:
    """Return SQL for the own share of a counter of `grown`."""
    return f"max(0, {name} - coalesce({name}_below, 0))"


_HELD_BY = {"rss": "memory_max_bytes", "threads": "tasks_max"}
# What the own share of a unit is ordered by, and what a group is with all that is in it.
_RANKED_BY: dict[str, str] = {
    "cpu": own("cpu_ms"),
    "io": "coalesce({0} + {1}, {0}, {1})".format(own("read_bytes"), own("write_bytes")),
    **_HELD_BY,
}
RANKED_BY_ALL: dict[str, str] = {
    "cpu": "cpu_ms",
    "io": "coalesce(read_bytes + write_bytes, read_bytes, write_bytes)",
    **_HELD_BY,
}
_SELECT = """
SELECT largest.*, peak_sample.taken_at AS peak_at, last_sample.taken_at AS last_active_at
FROM (
  SELECT key, {own}, memory_max_bytes, tasks_max, newest, peak, {value} AS rank
  FROM grown
  WHERE :name IS NULL OR instr(key, :name)
  ORDER BY rank DESC NULLS LAST, key
  LIMIT :limit) AS largest
  LEFT JOIN system_sample AS last_sample ON last_sample.id = newest
  LEFT JOIN system_sample AS peak_sample ON peak_sample.id = peak & 0xffffffff
ORDER BY rank DESC NULLS LAST, key
"""


class UnitUsage(NamedTuple):
    """What a unit used in a range, itself: without other units in it. None: not known.

    *cpu_estimated_ms*: so much of cpu_ms is shares of intervals that are not in the range as a whole.
    *cpu_percent_mean*: percent of one CPU over the time that control groups were looked at; *cpu_percent_max*: of the
    interval that ended at *cpu_percent_max_at* (UTC). *memory_max_bytes*, *tasks_max* (threads): the most that it had
    in a sample. *last_active_at*: of the last sample in which something had changed. *rank*: what it is ordered by.
    """

    host: str
    unit: str
    cpu_ms: float | None
    cpu_estimated_ms: float
    cpu_percent_mean: float | None
    cpu_percent_max: float | None
    cpu_percent_max_at: datetime | None
    memory_max_bytes: int | None
    read_bytes: float | None
    write_bytes: float | None
    tasks_max: int | None
    oom_kills: int | None
    last_active_at: datetime | None
    rank: float | None


class Looks(NamedTuple):
    """How many samples of a range looked at control groups, and the time of the range that they tell about."""

    samples: int
    seconds: float


def unit_usage(connection: Connection, span: TimeRange, *, with_memory: bool = True) -> list[UnitUsage]:
    """Return all units of one machine in *span*, best first. Not *with_memory*: that, threads and peaks are None."""
    looked = looks(connection, span)
    if not looked.samples:
        return []
    add_up_groups(connection, span, UNIT, with_memory=with_memory)
    return largest_units(connection, span.hosts[0], looked, "cpu", -1)


def add_up_groups(
    connection: Connection,
    span: TimeRange,
    groups: Groups,
    progress: Progress = no_progress,
    *,
    with_memory: bool = True,
) -> None:
    """Add up what *groups* of one machine used in *span* in the temporary table grown, for `largest_units` and others
    on the same *connection*. *with_memory*: and what they held of memory and threads, and their peaks.
    """
    held = Held(connection, groups.key, groups.holding) if with_memory else None
    for name in ("grown", "interval"):
        connection.execute(text(f"DROP TABLE IF EXISTS temp.{name}"))
    for statement in _CREATE:
        connection.execute(text(statement))
    sql = {"key": groups.key, "side": groups.side, "both_sides": groups.both_sides}
    add_up, add_peaks = (text(each.format(**sql)) for each in (_ADD_UP, _ADD_PEAKS))
    parts = parts_of(connection, span)
    for number, part in enumerate(parts, 1):
        of_part = parameters(span, part)
        connection.execute(text("DELETE FROM temp.interval"))
        connection.execute(text(_INTERVALS), of_part)
        connection.execute(add_up)
        if held is not None and part.is_seen:
            connection.execute(add_peaks)
            held.read(span.hosts[0], of_part["part_since"], of_part["part_until"])
            connection.execute(text(_ADD_HELD))
        progress(number, len(parts))


def looks(connection: Connection, span: TimeRange) -> Looks:
    """Return how often control groups of one machine were looked at in *span*."""
    found = [connection.execute(text(_LOOKS), parameters(span, part)).one() for part in parts_of(connection, span)]
    return Looks(sum(row.samples for row in found), sum(row.seconds or 0 for row in found))


def largest_units(
    connection: Connection, host: str, looked: Looks, by: str, limit: int, name: str | None = None
) -> list[UnitUsage]:
    """Return the *limit* (-1: all) largest of what was added up of *host*, best first; not known comes last.

    *by*: cpu, rss, io or threads.
    """
    owns = ", ".join(f"{own(each)} AS {each}" for each in _COUNTERS)
    statement = text(_SELECT.format(own=owns, value=_RANKED_BY[by])).columns(
        peak_at=DateTime, last_active_at=DateTime
    )
    rows = connection.execute(statement, {"limit": limit, "name": name})
    return [_usage(row, host, looked) for row in rows]


def grown_cpu_ms(connection: Connection) -> float:
    """Return the CPU time of all groups that were added up."""
    return float(connection.execute(text(f"SELECT coalesce(sum({own('cpu_ms')}), 0) FROM grown")).scalar_one())


def _usage(row: Row[Any], host: str, looked: Looks) -> UnitUsage:
    mean = row.cpu_ms / looked.seconds / 10 if row.cpu_ms is not None and looked.seconds else None
    return UnitUsage(
        host,
        row.key,
        row.cpu_ms,
        row.cpu_estimated_ms or 0,
        mean,
        None if row.peak is None else (row.peak >> 32) / 100,
        utc(row.peak_at),
        row.memory_max_bytes,
        row.read_bytes,
        row.write_bytes,
        row.tasks_max,
        None if row.oom_kills is None else round(row.oom_kills),
        utc(row.last_active_at),
        row.rank,
    )
