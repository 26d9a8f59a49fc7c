"""What machines, units and processes of a fleet used over a range: plain sums, which the server computes.

An interval counts by its overlap with the range, as on the machine itself. Before the days that are kept there are
sums by hour: of a machine, a unit, or the processes of a name. On Citus all is added up by source first, where it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from perftrack.errors import PerftrackError, UsageError
from perftrack.fleet.centre import PEAKS, TOTALS
from perftrack.fleet.connecting import connect, explained
from perftrack.fleet.machines import Named, named
from perftrack.reading.queries import TimeRange

FleetGroup = Literal["host", "unit", "name", "command", "user", "process"]
# An interval that ends after the range is looked for in the samples of so long after it.
LOOK_AHEAD = timedelta(hours=2)
# Of a range without bounds, with room for what is looked for around it.
BEGINNING, END = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)

# In whole milliseconds, as on the machine.
END_MS = "round(date_part('epoch', taken_at) * 1000)"
LENGTH_MS = "round(seconds * 1000)"
SHARE = f"""CASE WHEN {LENGTH_MS} > 0 THEN greatest(0, least({END_MS}, %(until_ms)s::float8)
    - greatest({END_MS} - {LENGTH_MS}, %(since_ms)s::float8)) / {LENGTH_MS} ELSE 1 END"""
IN_RANGE = """taken_at >= %(since)s AND (taken_at < %(until)s
    OR taken_at < %(ahead)s AND taken_at - make_interval(secs => seconds) < %(until)s)"""
# Those of an hour as a whole: an interval is of the hour in which it ended.
ALL, IN_HOUR = "1.0::float8", "taken_at >= %(since)s AND taken_at < %(until)s"
_OF_SOURCES = "(%(sources)s::bigint[] IS NULL OR source_id = ANY(%(sources)s::bigint[]))"

# Never an empty array: what PostgreSQL makes of a condition with one, Citus cannot write for its workers.
NOBODY = ["nobody"]
# What a machine is called; and not what a chosen source was called at another time. Of hours of processes and units
# that is not known.
_NAME = "coalesce(%(shared)s::jsonb ->> (boot.source_id || ' ' || boot.host), boot.host)"
_NOT_OTHERS = "{0}.source_id || ' ' || {0}.boot_id <> ALL (%(others)s::text[])"


def _totals(kind: str, *, without: tuple[str, ...] = ()) -> str:
    return ", ".join(f"sum({name} * share)::float8 AS {name}" for name in TOTALS[kind] if name not in without)


def _peaks(kind: str) -> str:
    return ", ".join(f"max(CASE WHEN is_seen THEN {name} END)::float8 AS {name}" for name in PEAKS[kind])


def sum_of(kind: str) -> str:
    """Return the columns that add sums up further."""
    return ", ".join(
        [f"sum({name}) AS {name}" for name in TOTALS[kind]] + [f"max({name}) AS {name}" for name in PEAKS[kind]]
    )


_SHARED = (
    "(SELECT *, {share} AS share, taken_at < %(until)s AS is_seen FROM perftrack.{table} WHERE {when} AND {whose})"
)
POSSIBLE = "(cpu_ms + coalesce(cpu_steal_ms, 0) + cpu_idle_ms + coalesce(cpu_iowait_ms, 0))"
# By source: the sums of a machine, of its processes and of its groups. {share}, {when}, {whose}: see above.
SYSTEMS = f"""
SELECT source_id, boot_id, max(taken_at) FILTER (WHERE is_seen) AS last_seen_at,
  sum(CASE WHEN is_seen THEN samples END)::float8 AS samples,
  sum(CASE WHEN cpu_ms IS NOT NULL THEN {POSSIBLE} * share END)::float8 AS cpu_possible_ms,
  {_totals("system", without=("samples", "cpu_possible_ms"))}, {_peaks("system")}
FROM {_SHARED.replace("{table}", "system_sample")} AS sample GROUP BY source_id, boot_id
"""
PROCESSES = f"""
SELECT source_id, process_id, max(taken_at) FILTER (WHERE is_seen) AS last_seen_at,
  {_totals("process")}, {_peaks("process")}
FROM {_SHARED.replace("{table}", "process_sample")} AS sample WHERE is_seen OR share > 0
GROUP BY source_id, process_id
"""
_GROUPS = f"""
SELECT source_id, cgroup_id, max(taken_at) FILTER (WHERE is_seen) AS last_seen_at, {_totals("unit")}, {_peaks("unit")}
FROM {_SHARED.replace("{table}", "cgroup_sample")} AS sample WHERE is_seen OR share > 0 GROUP BY source_id, cgroup_id
"""
_OWN = ", ".join(
    f"greatest(0, sum(CASE WHEN sign > 0 THEN {name} END)"
    f" - coalesce(sum(CASE WHEN sign < 0 THEN {name} END), 0)) AS {name}"
    for name in TOTALS["unit"]
)
# A unit's own share: what its groups used less what those of other units in them did.
UNITS = f"""
SELECT source_id, unit, max(last_seen_at) AS last_seen_at, {_OWN},
  {", ".join(f"max(CASE WHEN sign > 0 THEN {name} END) AS {name}" for name in PEAKS["unit"])}
FROM (
  SELECT used.source_id, CASE WHEN sign = 1 THEN cgroup.unit ELSE parent.unit END AS unit, sign, last_seen_at,
    {", ".join([*TOTALS["unit"], *PEAKS["unit"]])}
  FROM ({_GROUPS}) AS used
    JOIN perftrack.cgroup AS cgroup ON (cgroup.source_id, cgroup.cgroup_id) = (used.source_id, used.cgroup_id)
    LEFT JOIN perftrack.cgroup AS parent
      ON (parent.source_id, parent.cgroup_id) = (cgroup.source_id, cgroup.parent_id)
    CROSS JOIN (VALUES (1), (-1)) AS side (sign)
  WHERE cgroup.unit IS DISTINCT FROM parent.unit AND (sign = 1 OR parent.unit IS NOT NULL)
    AND {_NOT_OTHERS.format("cgroup")}) AS both_sides
GROUP BY source_id, unit
"""
# Whole hours: one in which the range begins is in it.
_OF_HOUR = "hour >= date_trunc('hour', %(since)s::timestamptz, 'UTC') AND hour < %(until)s AND hour < %(kept_since)s"


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
WHERE {_NOT_OTHERS.format("boot")}
"""
_NAMES = f"""
SELECT used.source_id, process.{{column}} AS key, last_seen_at, {_VALUES["process"]}
FROM ({PROCESSES}) AS used
  JOIN perftrack.process AS process
    ON (process.source_id, process.process_id) = (used.source_id, used.process_id)
WHERE {_NOT_OTHERS.format("process")}
{{hours}}
"""
_OF_UNITS = f"SELECT source_id, unit AS key, last_seen_at, {_VALUES['unit']} FROM ({UNITS}) AS units {{hours}}"
_RANKED = {
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
FROM ({PROCESSES}) AS used
  JOIN perftrack.process AS process
    ON (process.source_id, process.process_id) = (used.source_id, used.process_id)
  JOIN perftrack.boot AS boot ON (boot.source_id, boot.boot_id) = (process.source_id, process.boot_id)
WHERE (%(name)s::text IS NULL OR position(%(name)s::text IN process.name) > 0) AND {_NOT_OTHERS.format("process")}
ORDER BY {{rank}} DESC NULLS LAST, host, pid LIMIT %(limit)s
"""
_KEYS = {"name": "name", "command": "command", "user": "username"}
_ALL_SYSTEMS = f"SELECT array_agg(DISTINCT source_id) AS sources, {sum_of('system')} FROM ({{found}}) AS found"
# One that was restored is several sources.
MACHINE = "concat_ws(' ', role, machine, host)"
_MACHINES = f"SELECT id, {MACHINE} FROM perftrack.source"
_ALL_PROCESSES = f"""
SELECT sum(cpu_ms) FROM ({PROCESSES}) AS used
  JOIN perftrack.process AS process
    ON (process.source_id, process.process_id) = (used.source_id, used.process_id)
WHERE {_NOT_OTHERS.format("process")}
"""
_BOOTS = "SELECT source_id, boot_id, host FROM perftrack.boot WHERE source_id = ANY(%(sources)s)"


class FleetTop(NamedTuple):
    """The largest, best first: *rows* by column; *machines*: of so many. *system*: all machines together, likewise.

    *recorded_cpu_ms*: what recorded processes used of that themselves; None: not asked for. *hours_until*: before
    that, sums by hour were taken; None: there are samples of all.
    """

    rows: list[dict[str, Any]]
    system: dict[str, Any]
    recorded_cpu_ms: float | None
    hours_until: datetime | None


def kind_of(group: FleetGroup) -> str:
    """Return what *group* is made of: system, unit or process."""
    return {"host": "system", "unit": "unit"}.get(group, "process")


class Held(NamedTuple):
    """The names of machines, and from when on there are samples of them; None: of all that was shipped."""

    machines: list[str]
    kept_since: datetime | None

    def is_of_hours(self, since: datetime | None) -> bool:
        """Return whether a range from *since* on begins before there are samples."""
        return self.kept_since is not None and (since or BEGINNING) < self.kept_since


def held(url: str, pattern: str | None) -> Held:
    """Return what the centre at *url* has of the machines that *pattern* matches; None: of all.

    Raises: PerftrackError.
    """
    with explained(url), closing(connect(url, "perftrack fleet")) as centre:
        return _held(centre, url, pattern)[0]


def _held(centre: Any, url: str, pattern: str | None) -> tuple[Held, Named]:
    found = named(centre, url, pattern)
    ((kept_since,),) = centre.execute("SELECT max(since) FROM perftrack.kept").fetchall()
    return Held(found.names, kept_since), found


def fleet_top(
    url: str, span: TimeRange, group: FleetGroup, by: str, limit: int, name: str | None, pattern: str | None
) -> FleetTop:
    """Return the *limit* largest of *group* in *span*. *name*: only those that have it in their key.

    *pattern*: of which machines, * and ? standing for any characters; None: of all. Raises: PerftrackError.
    """
    with explained(url), closing(connect(url, "perftrack fleet")) as centre, centre.transaction():
        centre.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        centre.execute("SET LOCAL jit = off")  # compiling takes longer than an hour's sums
        there, found_machines = _held(centre, url, pattern)
        has_hours = there.is_of_hours(span.since)
        given = _parameters(span, there.kept_since) | _whose(centre, found_machines, pattern)
        given |= {"name": name, "limit": limit}
        kind = kind_of(group)
        if has_hours and group not in {"host", "unit", "name"}:
            raise PerftrackError(
                f"before {there.kept_since:%Y-%m-%d} the centre has sums by hour: --group host, unit or name, or a "
                "later --since"
            )
        if by not in _RANKED[kind]:
            raise UsageError(f"--group {group} has no --by {by}: {', '.join(_RANKED[kind])}")
        rank = _RANKED[kind][by]
        if group == "process":
            statement = _filled(_SINGLE).replace("{rank}", rank)
        else:
            found = _found(group, has_hours=has_hours)
            statement = _BY_KEY.format(sums=sum_of(kind), found=found, rank=rank)
        rows = _rows(centre, statement, given)
        machine_of = dict(centre.execute(_MACHINES).fetchall())
        (system,) = _rows(centre, _ALL_SYSTEMS.format(found=_found("host", has_hours=has_hours)), given)
        for row in [*rows, system]:
            if "sources" in row:
                row["machines"] = len({machine_of.get(each) for each in row.pop("sources") or []})
        recorded = None
        if kind == "process" and name is None and not has_hours:
            ((recorded,),) = centre.execute(_filled(_ALL_PROCESSES), given).fetchall()
        return FleetTop(rows, system, recorded, there.kept_since if has_hours else None)


def _whose(centre: Any, machines: Named, pattern: str | None) -> dict[str, Any]:
    """Return the parameters that say whose rows count, and how machines are called that share a name."""
    if pattern is None:
        sources, others = None, []
    else:
        sources = machines.sources
        boots = centre.execute(_BOOTS, {"sources": sources}).fetchall()
        others = [
            f"{source_id} {boot_id}" for source_id, boot_id, host in boots if (source_id, host) not in machines.chosen
        ]
    shared = {f"{source} {host}": name for (source, host), name in machines.shown.items() if name != host}
    return {"sources": sources, "others": others or NOBODY, "shared": json.dumps(shared)}


def _parameters(span: TimeRange, kept_since: datetime | None) -> dict[str, Any]:
    since, until = span.since or BEGINNING, span.until or END
    return {
        "since": since,
        "until": until,
        "ahead": min(until, END - LOOK_AHEAD) + LOOK_AHEAD,
        "since_ms": round(since.timestamp() * 1000),
        "until_ms": round(until.timestamp() * 1000),
        "kept_since": kept_since,
    }


def top_text(group: FleetGroup, limit: int, whose: str, given: Mapping[str, str]) -> str:
    """Return the statement of `fleet_top` by CPU as text, of samples alone, for what asks without perftrack.

    *whose*: the condition for what is counted; *given*: SQL in the place of its parameters.
    """
    kind = kind_of(group)
    found = _found(group, has_hours=False, whose=whose)
    statement = _BY_KEY.format(sums=sum_of(kind), found=found, rank=_RANKED[kind]["cpu"])
    all_machines = {"name": "NULL", "limit": str(limit), "others": f"'{{{NOBODY[0]}}}'", "shared": "'{}'"}
    return as_text(statement, all_machines | dict(given))


def as_text(statement: str, given: Mapping[str, str]) -> str:
    """Return *statement* with the SQL *given* in the place of its parameters."""
    for name, sql in given.items():
        statement = statement.replace(f"%({name})s", sql)
    return statement.strip()


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


def _rows(centre: Any, statement: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    cursor = centre.execute(statement, given)
    names = [each.name for each in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
