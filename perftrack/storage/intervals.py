"""Three views as SQL, which a person reads in `.schema`: what happened between a sample and the one before it.

The sample before is found by uptime, which no clock step changes, through the index on (boot_id, uptime_seconds).
Nothing further back is looked at, so that a condition on the time reads no more than its range.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, DateTime, Float, Integer, MetaData, String, Table

from perftrack.storage.models import ProcessSample, SystemSample

metadata = MetaData()

# A process that starts while a sample waits is recorded a sample later, and yet is new. A window longer than this is
# no wait, but the whole time since the sample before (cpu_window = 0).
LONGEST_WAIT_SECONDS = 2
# started_ticks counts from the boot, or where that is not known from 1970: then it is more than this, 31 years.
TICKS_OF_A_BOOT = 100_000_000_000
# A gap is this many times longer than the mean of this many intervals before it, or after it.
GAP_FACTOR = 2.5
_NEIGHBOURS = 5

_SAMPLE = """
  later.taken_at AS taken_at,
  later.taken_at_local AS datetime,
  host.name AS host,
  boot.booted_at AS booted_at,
  later.id AS sample_id,""".strip()

_BOTH_SAMPLES = """
FROM system_sample AS later
  JOIN system_sample AS earlier ON earlier.id = (
    SELECT id FROM system_sample
    WHERE boot_id = later.boot_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
    ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
  JOIN boot ON boot.id = later.boot_id
  JOIN host ON host.id = boot.host_id""".strip()


def _counters(model: type[Any]) -> list[str]:
    """Return the names of the columns of *model* that are cumulative."""
    return [column.name for column in model.__table__.columns if column.doc.startswith("Counter")]


SYSTEM_COUNTERS = _counters(SystemSample)
PROCESS_COUNTERS = _counters(ProcessSample)


def _block(lines: list[str]) -> str:
    return ",\n  ".join(lines)


# What a counter grew by. NULL: not known, or it went backwards.
_system_differences = [
    f"CASE WHEN later.{name} >= earlier.{name} THEN later.{name} - earlier.{name} END AS {name}"
    for name in SYSTEM_COUNTERS
]
_process_differences = [
    f"CASE WHEN {name} >= coalesce({name}_before, if_new) THEN {name} - coalesce({name}_before, if_new) END AS {name}"
    for name in PROCESS_COUNTERS
]
_process_values = [f"process_sample.{name} AS {name}, before.{name} AS {name}_before" for name in PROCESS_COUNTERS]

SYSTEM_INTERVAL_SQL = f"""
CREATE VIEW system_interval AS
SELECT taken_at, datetime, host, booted_at, sample_id, previous_sample_id, previous_taken_at, seconds,
  round(100.0 * (cpu_user_ms + cpu_system_ms + coalesce(cpu_steal_ms, 0))
    / (cpu_user_ms + cpu_system_ms + coalesce(cpu_steal_ms, 0) + cpu_idle_ms + coalesce(cpu_iowait_ms, 0)), 2)
    AS cpu_percent,
  cpu_user_ms + cpu_system_ms AS cpu_ms,
  {_block(SYSTEM_COUNTERS)},
  cpu_count
FROM (SELECT
  {_SAMPLE}
  earlier.id AS previous_sample_id,
  earlier.taken_at AS previous_taken_at,
  round(later.uptime_seconds - earlier.uptime_seconds, 3) AS seconds,
  {_block(_system_differences)},
  later.cpu_count AS cpu_count
{_BOTH_SAMPLES})
""".strip()

# Innermost: the values of both samples. if_new is 0 where a process began after the sample before it (or while that
# was waiting), and NULL where it ran already: what it had used by then is not known unless it was recorded.
PROCESS_INTERVAL_SQL = f"""
CREATE VIEW process_interval AS
SELECT taken_at, datetime, host, booted_at, sample_id, process_id, pid, name, username, command, seconds,
  round((cpu_user_ms + cpu_system_ms) / seconds / 10, 2) AS cpu_percent,
  cpu_user_ms + cpu_system_ms AS cpu_ms,
  {_block(PROCESS_COUNTERS)},
  rss_bytes,
  num_threads
FROM (SELECT taken_at, datetime, host, booted_at, sample_id, process_id, pid, name, username, command, seconds,
  {_block(_process_differences)},
  rss_bytes,
  num_threads
FROM (SELECT
  {_SAMPLE}
  process_sample.process_id AS process_id,
  process.pid AS pid,
  process.name AS name,
  process.username AS username,
  process.command AS command,
  round(later.uptime_seconds - earlier.uptime_seconds, 3) AS seconds,
  CASE WHEN process.started_ticks
    > 100 * (earlier.uptime_seconds - coalesce(min(earlier.window_seconds, {LONGEST_WAIT_SECONDS}), 0))
    AND (process.started_ticks < {TICKS_OF_A_BOOT} OR process.started_at > earlier.taken_at)
    THEN 0 END AS if_new,
  {_block(_process_values)},
  process_sample.rss_bytes AS rss_bytes,
  process_sample.num_threads AS num_threads
{_BOTH_SAMPLES}
  CROSS JOIN process_sample ON process_sample.sample_id = later.id
  JOIN process ON process.id = process_sample.process_id
  -- the same process may have had another name then
  LEFT JOIN process_sample AS before ON before.sample_id = earlier.id AND before.process_id = (
    SELECT seen.process_id
    FROM process AS same CROSS JOIN process_sample AS seen ON seen.process_id = same.id
    WHERE seen.sample_id = earlier.id AND same.boot_id = process.boot_id AND same.pid = process.pid
      AND same.started_ticks = process.started_ticks
    LIMIT 1)))
""".strip()


def _mean_interval(of: str, comparison: str, order: str) -> str:
    """Return SQL for the mean of the intervals beside *of*, on one side. Infinite: there are none."""
    return f"""coalesce((SELECT max(distance) / nullif(count(*), 0) FROM (
    SELECT abs(uptime_seconds - {of}.uptime_seconds) AS distance FROM system_sample
    WHERE boot_id = later.boot_id AND uptime_seconds {comparison} {of}.uptime_seconds
    ORDER BY uptime_seconds {order} LIMIT {_NEIGHBOURS})), 9e999)"""


GAP_SQL = f"""
CREATE VIEW gap AS
SELECT taken_at, datetime, host, booted_at, sample_id, previous_taken_at, previous_datetime, kind, seconds,
  usual_seconds
FROM (SELECT
  {_SAMPLE}
  earlier.taken_at AS previous_taken_at,
  earlier.taken_at_local AS previous_datetime,
  'gap' AS kind,
  round(later.uptime_seconds - earlier.uptime_seconds, 3) AS seconds,
  min({_mean_interval("earlier", "<", "DESC")},
    {_mean_interval("later", ">", "ASC")}) AS usual_seconds
{_BOTH_SAMPLES})
WHERE seconds > {GAP_FACTOR} * usual_seconds
UNION ALL
SELECT
  {_SAMPLE}
  earlier.taken_at AS previous_taken_at,
  earlier.taken_at_local AS previous_datetime,
  'boot' AS kind,
  round((julianday(later.taken_at) - julianday(earlier.taken_at)) * 86400, 3) AS seconds,
  NULL AS usual_seconds
FROM boot
  JOIN host ON host.id = boot.host_id
  JOIN system_sample AS later ON later.id = (
    SELECT id FROM system_sample
    WHERE boot_id = boot.id AND uptime_seconds IS NOT NULL
    ORDER BY uptime_seconds, id LIMIT 1)
  JOIN system_sample AS earlier ON earlier.id = (
    SELECT id FROM system_sample AS other
    WHERE taken_at < later.taken_at AND boot_id <> later.boot_id
      AND (SELECT host_id FROM boot AS other_boot WHERE other_boot.id = other.boot_id) = boot.host_id
    ORDER BY taken_at DESC LIMIT 1)
""".strip()


def _table(name: str, instants: str, integers: str, numbers: str, texts: str) -> Table:
    """Return a view as SQLAlchemy knows it."""
    kinds = ((instants, DateTime), (integers, Integer), (numbers, Float), (texts, String))
    return Table(name, metadata, *(Column(column, kind) for columns, kind in kinds for column in columns.split()))


SYSTEM_INTERVAL = _table(
    "system_interval",
    "taken_at datetime booted_at previous_taken_at",
    f"sample_id previous_sample_id cpu_ms cpu_count {' '.join(SYSTEM_COUNTERS)}",
    "seconds cpu_percent",
    "host",
)
PROCESS_INTERVAL = _table(
    "process_interval",
    "taken_at datetime booted_at",
    f"sample_id process_id pid cpu_ms rss_bytes num_threads {' '.join(PROCESS_COUNTERS)}",
    "seconds cpu_percent",
    "host name username command",
)
GAP = _table(
    "gap",
    "taken_at datetime booted_at previous_taken_at previous_datetime",
    "sample_id",
    "seconds usual_seconds",
    "host kind",
)
