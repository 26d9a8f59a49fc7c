"""SQL that adds up by source what machines, processes and units used over a range or an hour.

An interval counts by its overlap with the range, as on the machine itself. On Citus all is added up by source first,
where it is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from perftrack.fleet.centre import PEAKS, TOTALS

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

# Never an empty array: what PostgreSQL makes of a condition with one, Citus cannot write for its workers.
NOBODY = ["nobody"]
NOT_OTHERS = "{0}.source_id || ' ' || {0}.boot_id <> ALL (%(others)s::text[])"


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
_PROCESSES = f"""
SELECT source_id, process_id, max(taken_at) FILTER (WHERE is_seen) AS last_seen_at,
  {_totals("process")}, {_peaks("process")}
FROM {_SHARED.replace("{table}", "process_sample")} AS sample WHERE is_seen OR share > 0
GROUP BY source_id, process_id
"""
# The same as `used`, with what each of them is.
PROCESSES = f"""({_PROCESSES}) AS used
  JOIN perftrack.process AS process
    ON (process.source_id, process.process_id) = (used.source_id, used.process_id)"""
_GROUPS = f"""
SELECT source_id, cgroup_id, max(taken_at) FILTER (WHERE is_seen) AS last_seen_at, {_totals("unit")}, {_peaks("unit")}
FROM {_SHARED.replace("{table}", "cgroup_sample")} AS sample WHERE is_seen OR share > 0 GROUP BY source_id, cgroup_id
"""
_OWN = ", ".join(
    f"greatest(0, sum(CASE WHEN sign > 0 THEN {name} END)"
    f" - coalesce(sum(CASE WHEN sign < 0 THEN {name} END), 0)) AS {name}"
    for name in TOTALS["unit"]
)
# What groups `used` counts for their unit, and with the other sign for that of the group around it, if it is another:
# added up so, it is the unit's own, what its groups used less what those of other units in them did.
UNIT_OF_SIDE = "CASE WHEN sign = 1 THEN cgroup.unit ELSE parent.unit END"
BOTH_SIDES = """\
    JOIN perftrack.cgroup AS cgroup ON (cgroup.source_id, cgroup.cgroup_id) = (used.source_id, used.cgroup_id)
    LEFT JOIN perftrack.cgroup AS parent
      ON (parent.source_id, parent.cgroup_id) = (cgroup.source_id, cgroup.parent_id)
    CROSS JOIN (VALUES (1), (-1)) AS side (sign)
  WHERE cgroup.unit IS DISTINCT FROM parent.unit AND (sign = 1 OR parent.unit IS NOT NULL)"""
UNITS = f"""
SELECT source_id, unit, max(last_seen_at) AS last_seen_at, {_OWN},
  {", ".join(f"max(CASE WHEN sign > 0 THEN {name} END) AS {name}" for name in PEAKS["unit"])}
FROM (
  SELECT used.source_id, {UNIT_OF_SIDE} AS unit, sign, last_seen_at,
    {", ".join([*TOTALS["unit"], *PEAKS["unit"]])}
  FROM ({_GROUPS}) AS used
{BOTH_SIDES}
    AND {NOT_OTHERS.format("cgroup")}) AS both_sides
GROUP BY source_id, unit
"""
