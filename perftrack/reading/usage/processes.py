"""What was used over a range, by process or by group: the views' intervals, added up by SQLite in a temporary table.

An interval counts by its overlap with the range, so that nothing can use more than there was. What is added up stays
in SQLite, which spills it to disk: memory does not grow with the number of processes.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, DateTime, Row, text

from perftrack.progress import Progress, no_progress
from perftrack.reading.metrics import CPU, PROCESS, RSS
from perftrack.reading.queries import TimeRange, utc
from perftrack.reading.usage import children
from perftrack.reading.usage.parts import IN_PART, LOOK_AHEAD, SHARE, merged, parameters, parts_of

Group = Literal["process", "name", "command", "user"]

_ASKED = (
    "(:name IS NULL OR instr(name, :name)) AND (:pid IS NULL OR pid = :pid) AND (:user IS NULL OR username = :user)"
)

# What is the key of a group; where that is not known, a text that none can have. Of a process it is an id.
_GROUPED_BY = {"name": "name", "command": "coalesce(command, char(0))", "user": "coalesce(username, char(0))"}
# Metrics that have no columns of their own below: counters, of which it is the total, and gauges, the peak.
_COUNTERS = [metric for metric in PROCESS if metric not in (CPU, RSS) and metric.per_second is not None]
_GAUGES = [metric for metric in PROCESS if metric not in (CPU, RSS) and metric.per_second is None]
_FURTHER = [*_COUNTERS, *_GAUGES]
_RANKED_BY: dict[str, str] = {
    "cpu": "coalesce(cpu_ms + children_cpu_ms, cpu_ms, children_cpu_ms)",
    "rss": "rss_max_bytes",
    "io": "coalesce(read_bytes + write_bytes, read_bytes, write_bytes)",
    "threads": "num_threads_max",
    **{metric.name: metric.name for metric in _FURTHER},
}

# newest: the last sample and the process.id in it; peak: the highest percentage, in hundredths, and its sample. Each
# pair is one number, so that the largest tells both.
_CREATE = f"""
CREATE TEMPORARY TABLE used (
  key PRIMARY KEY, newest, peak, cpu_ms, cpu_estimated_ms, children_cpu_ms, children_estimated_ms, seconds,
  read_bytes, write_bytes, own_read_bytes, own_write_bytes, rss_max_bytes, rss_sum_bytes, rss_samples,
  num_threads_max{"".join(f", {metric.name}" for metric in _FURTHER)})
"""
_SUMS = (
    *("cpu_ms", "cpu_estimated_ms", "children_cpu_ms", "seconds", "rss_sum_bytes", "rss_samples"),
    *("read_bytes", "write_bytes", "own_read_bytes", "own_write_bytes"),
    *(metric.name for metric in _COUNTERS),
)
_LARGEST = (
    *("newest", "peak", "rss_max_bytes", "num_threads_max"),
    *(metric.name for metric in _GAUGES),
)
_FURTHER_COLUMNS = "".join(
    [f"{metric.column}, " for metric in _COUNTERS]
    + [f"{metric.column}, {metric.peak_column}, " for metric in _GAUGES]
)
# The rows of a part, each with its share. LIMIT -1 keeps SQLite from computing a column anew wherever it is used.
_ROWS = f"""
    SELECT {{key}} AS key, {{of_group}}process_id, sample_id, samples, seconds, cpu_ms, cpu_percent_max,
      {children.CHILDREN_MS} AS children_ms, read_bytes, write_bytes, own_read_bytes, own_write_bytes, rss_bytes,
      rss_max_bytes, num_threads_max, {_FURTHER_COLUMNS}{SHARE} AS share
    FROM process_interval WHERE {IN_PART} AND {_ASKED} LIMIT -1"""


def _seen(value: str) -> str:
    """Return SQL for a *value* that is of an instant, which counts where that is in the range."""
    return f"CASE WHEN :is_seen THEN {value} END"


# children_cpu_ms is what the counters grew by, until children.py takes off what samples show.
_ADD_PROCESSES = f"""
INSERT INTO used
SELECT {children.ONE_PROCESS.format(id="key")}, {_seen("max(sample_id << 32 | process_id)")},
  {_seen("max(CAST(cpu_percent_max * 100 AS INTEGER) << 32 | sample_id)")}, sum(cpu_ms * share),
  sum(CASE WHEN share < 1 THEN cpu_ms * share END), sum(children_ms), 0,
  sum(CASE WHEN cpu_ms IS NOT NULL THEN seconds * share END), sum(read_bytes * share), sum(write_bytes * share),
  sum(own_read_bytes * share), sum(own_write_bytes * share), {_seen("max(rss_max_bytes)")},
  {_seen("sum(rss_bytes * max(samples, 1))")}, {_seen("sum(iif(rss_bytes IS NULL, 0, max(samples, 1)))")},
  {_seen("max(num_threads_max)")}
  {"".join(f", sum({each.column} * share)" for each in _COUNTERS)}
  {"".join(f", {_seen(f'max({each.peak_column})')}" for each in _GAUGES)}
FROM ({_ROWS.format(key="process_id", of_group="")})
WHERE :is_seen OR share > 0
GROUP BY key
ON CONFLICT (key) DO UPDATE SET {merged(_SUMS, _LARGEST)}
"""


def _peak(value: str, peak: str, name: str) -> str:
    """Return SQL for the largest *value* of those of a group in a sample together.

    Of condensed rows it is at least so large: their peaks need not have been at once.
    """
    return f"max(sum({value}), max({peak})) AS {name}"


# Of those of a group in a sample together; then of all. The + keeps SQLite from reading all samples in the order of
# their ids, to have them grouped.
_ADD_GROUPS = f"""
INSERT INTO used
SELECT key, {_seen("max(sample_id << 32 | process_id)")},
  {_seen("max(CAST(cpu_percent * 100 AS INTEGER) << 32 | sample_id)")}, sum(cpu_ms), sum(cpu_estimated_ms),
  sum(children_ms), 0, sum(seconds), sum(read_bytes), sum(write_bytes), sum(own_read_bytes), sum(own_write_bytes),
  {_seen("max(rss_max_bytes)")}, {_seen("sum(rss_bytes * samples)")},
  {_seen("sum(iif(rss_bytes IS NULL, 0, samples))")}, {_seen("max(num_threads)")}
  {"".join(f", sum({each.name})" for each in _COUNTERS)}
  {"".join(f", {_seen(f'max({each.name})')}" for each in _GAUGES)}
FROM (
  SELECT key, max(process_id) AS process_id, sample_id,
    {_peak("cpu_percent", "cpu_percent_max", "cpu_percent")}, sum(cpu_ms * share) AS cpu_ms,
    sum(CASE WHEN share < 1 THEN cpu_ms * share END) AS cpu_estimated_ms, sum(children_ms) AS children_ms,
    max(CASE WHEN cpu_ms IS NOT NULL THEN seconds * share END) AS seconds, sum(read_bytes * share) AS read_bytes,
    sum(write_bytes * share) AS write_bytes, sum(own_read_bytes * share) AS own_read_bytes,
    sum(own_write_bytes * share) AS own_write_bytes, sum(rss_bytes) AS rss_bytes,
    {_peak("rss_bytes", "rss_max_bytes", "rss_max_bytes")}, max(max(samples, 1)) AS samples,
    {_peak("num_threads", "num_threads_max", "num_threads")}
    {"".join(f", sum({each.column} * share) AS {each.name}" for each in _COUNTERS)}
    {"".join(f", {_peak(each.column, each.peak_column, each.name)}" for each in _GAUGES)}
  FROM ({_ROWS.format(key="{key}", of_group="cpu_percent, num_threads, ")}) AS interval
  WHERE :is_seen OR share > 0
  GROUP BY +interval.sample_id, key)
WHERE true
GROUP BY key
ON CONFLICT (key) DO UPDATE SET {merged(_SUMS, _LARGEST)}
"""
_SELECT = """
SELECT used.*, {value} AS rank, peak_sample.taken_at AS peak_at, last_sample.taken_at AS last_seen_at,
  process.id AS process_id, process.pid, process.ppid, process.name, process.username, process.command,
  process.started_at, cgroup.unit
FROM used
  LEFT JOIN process ON process.id = coalesce(used.newest & 0xffffffff, used.key)
  LEFT JOIN cgroup ON cgroup.id = process.cgroup_id
  LEFT JOIN system_sample AS last_sample ON last_sample.id = used.newest >> 32
  LEFT JOIN system_sample AS peak_sample ON peak_sample.id = used.peak & 0xffffffff
WHERE :keys IS NULL OR used.key IN (SELECT value FROM json_each(:keys))
ORDER BY rank DESC NULLS LAST, key
LIMIT :limit
"""
_SYSTEM = f"""
SELECT sum(cpu_ms * share), sum(CASE WHEN share < 1 THEN cpu_ms * share END)
FROM (SELECT cpu_ms, {SHARE} AS share FROM system_interval WHERE {IN_PART})
"""


class Filters(NamedTuple):
    """Which processes count: whose name contains *name*, of that *pid*, of that *user*. None: all."""

    name: str | None = None
    pid: int | None = None
    user: str | None = None


ALL = Filters()


class Usage(NamedTuple):
    """What a process, or a group of them, used in a range. None: not known.

    *cpu_estimated_ms*: so much of cpu_ms is shares of intervals that are not in the range as a whole.
    *children_cpu_ms*: what its ended children used that no sample shows, at least; *children_cpu_estimated_ms*: so
    much of that likewise.
    *cpu_percent_mean*: percent of one CPU over the time that is known; *cpu_percent_max*: of the interval that ended
    at *cpu_percent_max_at* (UTC). Memory and threads: of a group, those of all its processes in a sample together; of
    condensed samples, peaks of a group are at least so large.
    *read_bytes*, *write_bytes*: with those of children that have ended; *own_*: what of them is certainly its own.
    """

    cpu_ms: float | None
    cpu_estimated_ms: float
    children_cpu_ms: float | None
    children_cpu_estimated_ms: float
    cpu_percent_mean: float | None
    cpu_percent_max: float | None
    cpu_percent_max_at: datetime | None
    rss_max_bytes: int | None
    rss_mean_bytes: int | None
    read_bytes: float | None
    write_bytes: float | None
    own_read_bytes: float | None
    own_write_bytes: float | None
    num_threads_max: int | None
    last_seen_at: datetime | None

    @property
    def all_cpu_ms(self) -> float | None:
        """That of ended children too."""
        known = [each for each in (self.cpu_ms, self.children_cpu_ms) if each is not None]
        return sum(known) if known else None


class CpuTotals(NamedTuple):
    """What all CPUs of one machine or several worked in a range (None: not known); how much of it is an estimate, as
    in Usage; what recorded processes or units used of it; and what none of them explains. None: not known, or only
    some of them were asked for.
    """

    system_cpu_ms: float | None
    system_cpu_estimated_ms: float
    recorded_cpu_ms: float
    unattributed_cpu_ms: float | None


class Ranked(NamedTuple):
    """What a process or a group used on a machine. *process*: process_id, pid, ppid, name, username, command,
    started_at, unit. None: it is a group, of which *key* is the name; None: that is not known.

    *further*: of the further metrics of the list, the total of a counter and the peak of a gauge. *rank*: what it is
    ordered by. *parent_id*: the process_id of its parent. None: that is not recorded in the range.
    """

    host: str
    key: str | None
    process: Row[Any] | None
    used: Usage
    further: dict[str, float | None]
    rank: float | None
    parent_id: int | None = None


def add_up(
    connection: Connection,
    span: TimeRange,
    group: Group,
    filters: Filters,
    progress: Progress = no_progress,
    look_ahead: timedelta = LOOK_AHEAD,
) -> None:
    """Add up what was used in *span* of one machine, for `largest` and `recorded` on the same *connection*.

    *look_ahead*: an interval that ends after the range is looked for in the samples of so long after it.
    """
    connection.execute(text("DROP TABLE IF EXISTS used"))
    connection.execute(text(_CREATE))
    key = "process_id" if group == "process" else _GROUPED_BY[group]
    statement = text(_ADD_PROCESSES if group == "process" else _ADD_GROUPS.format(key=key))
    parts = [parameters(span, part) | filters._asdict() for part in parts_of(connection, span, look_ahead)]
    for number, of_part in enumerate(parts, 1):
        connection.execute(statement, of_part)
        progress(number, 2 * len(parts))
    children.add_children(
        connection, parts, key, _ASKED, lambda number: progress(len(parts) + number, 2 * len(parts))
    )


def largest(
    connection: Connection, host: str, group: Group, by: str, limit: int, keys: list[int] | None = None
) -> list[Ranked]:
    """Return the *limit* largest of what was added up of *host*, best first; not known comes last.

    *by*: cpu, rss, io, threads, or the name of a further metric of the list. *keys*: of these processes alone.
    """
    statement = text(_SELECT.format(value=_RANKED_BY[by])).columns(
        peak_at=DateTime, last_seen_at=DateTime, started_at=DateTime
    )
    parameters = {"limit": limit, "keys": None if keys is None else json.dumps(keys)}
    return [_ranked(row, host, group) for row in connection.execute(statement, parameters)]


def recorded_cpu_ms(connection: Connection) -> float:
    """Return the CPU time of all that was added up, with that of ended children."""
    sums = "SELECT coalesce(sum(cpu_ms), 0) + coalesce(sum(children_cpu_ms), 0) FROM used"
    return float(connection.execute(text(sums)).scalar_one())


def system_cpu_ms(connection: Connection, span: TimeRange) -> tuple[float | None, float]:
    """Return what all CPUs of one machine worked in *span* (None: not known), and how much of that is an estimate."""
    found = [connection.execute(text(_SYSTEM), parameters(span, part)).one() for part in parts_of(connection, span)]
    known = [cpu_ms for cpu_ms, _ in found if cpu_ms is not None]
    return sum(known) if known else None, sum(estimated or 0 for _, estimated in found)


def cpu_totals(systems: list[tuple[float | None, float]], recorded_ms: float, *, is_of_all: bool) -> CpuTotals:
    """Return the totals of several machines. *systems*: of each what `system_cpu_ms` tells; *is_of_all*: everything
    that is recorded was added up.
    """
    known = [cpu_ms for cpu_ms, _ in systems if cpu_ms is not None]
    system = sum(known) if known else None
    # what is recorded is read a little later than the system: a difference below nothing is none
    unattributed = max(0, system - recorded_ms) if system is not None and is_of_all else None
    return CpuTotals(system, sum(estimated for _, estimated in systems), recorded_ms, unattributed)


def _ranked(row: Row[Any], host: str, group: Group) -> Ranked:
    mean = row.cpu_ms / row.seconds / 10 if row.cpu_ms is not None and row.seconds else None
    used = Usage(
        row.cpu_ms,
        row.cpu_estimated_ms or 0,
        row.children_cpu_ms,
        row.children_estimated_ms,
        mean,
        None if row.peak is None else (row.peak >> 32) / 100,
        utc(row.peak_at),
        row.rss_max_bytes,
        round(row.rss_sum_bytes / row.rss_samples) if row.rss_samples else None,
        row.read_bytes,
        row.write_bytes,
        row.own_read_bytes,
        row.own_write_bytes,
        row.num_threads_max,
        utc(row.last_seen_at),
    )
    further = {metric.name: getattr(row, metric.name) for metric in _FURTHER}
    if group == "process":
        return Ranked(host, None, row, used, further, row.rank)
    return Ranked(host, None if row.key == "\0" else row.key, None, used, further, row.rank)
