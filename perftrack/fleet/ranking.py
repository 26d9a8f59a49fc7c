"""The statements of `fleet top`: sums by machine, unit, name and so on, the largest first.

Before the days that are kept there are sums by hour: of a machine, a unit, or the processes of a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from perftrack.fleet.centre import PEAKS, TOTALS
from perftrack.fleet.summing import IN_RANGE, NOBODY, NOT_OTHERS, PROCESSES, SHARE, SYSTEMS, UNITS, sum_of

FleetGroup = Literal["host", "unit", "name", "command", "user", "process"]
_OF_SOURCES = "(%(sources)s::bigint[] IS NULL OR source_id = ANY(%(sources)s::bigint[]))"
# What a machine is called; and not what a chosen source was called at another time. Of hours of processes and units
# that is not known.
_NAME = "coalesce(%(shared)s::jsonb ->> (boot.source_id || ' ' || boot.host), boot.host)"
# Whole hours: one in which the range begins is in it. Where hours end, samples begin.
_OF_HOUR = (
    "hour >= date_trunc('hour', %(hours_since)s::timestamptz, 'UTC') AND hour < %(until)s AND hour < %(hours_until)s"
)


def _hours(kind: str, *keys: str) -> str:
    return (
        f"SELECT source_id, {', '.join(keys)}, max(hour) AS last_seen_at, {sum_of(kind)} FROM perftrack.{kind}_hour"
        f" WHERE {_OF_HOUR} AND {_OF_SOURCES} GROUP BY source_id, {', '.join(keys)}"
    )


_VALUES = {kind: ", ".join([*TOTALS[kind], *PEAKS[kind]]) for kind in TOTALS}
# By source and key, from samples and where there are none any more from hours: {hours} is that, or nothing.
_HOSTS = f"""
SELECT used.source_id, {_NAME} AS key, last_seen_at, {_VALUES["system"]}
FROM (SELECT source_id, boot_id, last_seen_at, {_VALUES["system"]} FROM ({SYSTEMS}) AS sums
  {{hours}}) AS used JOIN perftrack.boot AS boot ON (boot.source_id, boot.boot_id) = (used.source_id, used.boot_id)
WHERE {NOT_OTHERS.format("boot")}
"""
_NAMES = f"""
SELECT used.source_id, process.{{column}} AS key, last_seen_at, {_VALUES["process"]}
FROM {PROCESSES}
WHERE {NOT_OTHERS.format("process")}
{{hours}}
"""
_OF_UNITS = f"SELECT source_id, unit AS key, last_seen_at, {_VALUES['unit']} FROM ({UNITS}) AS units {{hours}}"
RANKED = {
    "system": {"cpu": "cpu_ms", "rss": "mem_used_max_bytes", "io": "disk_read_bytes + disk_write_bytes"},
    "process": {
        "cpu": "cpu_ms",
        "rss": "rss_max_bytes",
        "io": "coalesce(read_bytes + write_bytes, read_bytes, write_bytes)",
        "threads": "num_threads_max",
    },
    "unit": {
        "cpu": "cpu_ms",
        "rss": "memory_max_bytes",
        "io": "coalesce(read_bytes + write_bytes, read_bytes, write_bytes)",
        "threads": "tasks_max",
    },
}
_BY_KEY = """
SELECT * FROM (
  SELECT key, array_agg(DISTINCT source_id) AS sources, max(last_seen_at) AS last_seen_at, {sums}
  FROM ({found}) AS found WHERE %(name)s::text IS NULL OR position(%(name)s::text IN key) > 0
  GROUP BY key) AS by_key
ORDER BY {rank} DESC NULLS LAST, key LIMIT %(limit)s
"""
_SINGLE = f"""
SELECT {_NAME} AS host, process.pid, process.name, process.username, process.unit, process.command,
  process.started_at, used.last_seen_at, {_VALUES["process"]}
FROM {PROCESSES}
  JOIN perftrack.boot AS boot ON (boot.source_id, boot.boot_id) = (process.source_id, process.boot_id)
WHERE (%(name)s::text IS NULL OR position(%(name)s::text IN process.name) > 0) AND {NOT_OTHERS.format("process")}
ORDER BY {{rank}} DESC NULLS LAST, host, pid LIMIT %(limit)s
"""
_KEYS = {"name": "name", "command": "command", "user": "username"}
_ALL_SYSTEMS = f"SELECT array_agg(DISTINCT source_id) AS sources, {sum_of('system')} FROM ({{found}}) AS found"
# One that was restored is several sources.
MACHINE = "concat_ws(' ', role, machine, host)"
_ALL_PROCESSES = f"""
SELECT sum(cpu_ms) FROM {PROCESSES}
WHERE {NOT_OTHERS.format("process")}
"""


def kind_of(group: FleetGroup) -> str:
    """Return what *group* is made of: system, unit or process."""
    return {"host": "system", "unit": "unit"}.get(group, "process")


def largest(group: FleetGroup, by: str, *, has_hours: bool) -> str:
    """Return the statement for the largest of *group*. *has_hours*: with sums by hour before there are samples."""
    if group == "process":
        return _filled(_SINGLE).replace("{rank}", RANKED["process"][by])
    return _by_key(group, by, _found(group, has_hours=has_hours))


def all_systems(*, has_hours: bool) -> str:
    """Return the statement for the sums of all machines together."""
    return _ALL_SYSTEMS.format(found=_found("host", has_hours=has_hours))


def all_processes() -> str:
    """Return the statement for the CPU time of all recorded processes together."""
    return _filled(_ALL_PROCESSES)


def top_text(group: FleetGroup, limit: int, whose: str, given: Mapping[str, str]) -> str:
    """Return the statement of `largest` by CPU as text, of samples alone, for what asks without perftrack.

    *whose*: the condition for what is counted; *given*: SQL in the place of its parameters.
    """
    statement = _by_key(group, "cpu", _found(group, has_hours=False, whose=whose))
    all_machines = {"name": "NULL", "limit": str(limit), "others": f"'{{{NOBODY[0]}}}'", "shared": "'{}'"}
    return as_text(statement, all_machines | dict(given))


def as_text(statement: str, given: Mapping[str, str]) -> str:
    """Return *statement* with the SQL *given* in the place of its parameters."""
    for name, sql in given.items():
        statement = statement.replace(f"%({name})s", sql)
    return statement.strip()


def _by_key(group: FleetGroup, by: str, found: str) -> str:
    kind = kind_of(group)
    return _BY_KEY.format(sums=sum_of(kind), found=found, rank=RANKED[kind][by])


def _filled(statement: str, whose: str = _OF_SOURCES) -> str:
    return statement.replace("{share}", SHARE).replace("{when}", IN_RANGE).replace("{whose}", whose)


def _found(group: FleetGroup, *, has_hours: bool, whose: str = _OF_SOURCES) -> str:
    """Return the statement for the sums by source and key."""
    kind = kind_of(group)
    if group == "host":
        hours = f"UNION ALL SELECT source_id, boot_id, last_seen_at, {_VALUES[kind]} FROM ("
        hours += f"{_hours('system', 'boot_id')}) AS hours"
        statement = _HOSTS
    else:
        key = "unit" if group == "unit" else "name"
        hours = f"UNION ALL SELECT source_id, {key} AS key, last_seen_at, {_VALUES[kind]} FROM ("
        hours += f"{_hours(kind, key)}) AS hours"
        statement = _OF_UNITS if group == "unit" else _NAMES.replace("{column}", _KEYS[group])
    return _filled(statement.replace("{hours}", hours if has_hours else ""), whose)
