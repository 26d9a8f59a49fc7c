"""What the machine and each process used between two samples: the one rule, as views that every answer reads.

An interval goes from the own previous sample in the same boot, by uptime, which no clock step changes. Every lookup
is bounded by an index, so that a condition on the time reads no more than its range.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, DateTime, Float, Integer, String

from perftrack.sample import SHORTEST_SECONDS
from perftrack.storage.models import (
    Base,
    Boot,
    Cgroup,
    CgroupSample,
    Host,
    Process,
    ProcessSample,
    SystemSample,
    columns_of,
)
from perftrack.storage.views import PROCESS_LOG, SYSTEM_LOG, column, is_link, select, shown, view

# started_ticks counts from the boot, or where that is not known from 1970: then it is more than this, 31 years.
TICKS_OF_A_BOOT = 100_000_000_000
# Each of a process's two CPU counters is rounded down to a clock tick of 10 ms.
ROUNDING_MS = 20
# A gap is so many times longer than the median of so many intervals of its recorder, before it or after it.
GAP_FACTOR = 2.5
NEIGHBOURS = 7


def counters(model: type[Base]) -> list[Column[Any]]:
    """Return the columns of *model* that are cumulative."""
    return [each for each in columns_of(model) if each.info.get("counter")]


def largest(model: type[Base]) -> list[Column[Any]]:
    """Return the columns of *model* that condensing keeps the largest values in."""
    return [each for each in columns_of(model) if "largest_of" in each.info]


SYSTEM_COUNTERS = [each.name for each in counters(SystemSample)]
PROCESS_COUNTERS = [each.name for each in counters(ProcessSample)]

_LATER = [
    shown(SystemSample.taken_at, table="later"),
    shown(SystemSample.taken_at_local, "datetime", table="later"),
    shown(Host.name, "host"),
    shown(Boot.booted_at),
    shown(SystemSample.id, "sample_id", table="later"),
]


# The set of devices that a counter of the system adds up.
_DEVICES = {name: each.name for each in columns_of(SystemSample) for name in each.info.get("devices_of", ())}


def _grown(counter: Column[Any], before: str) -> Column[Any]:
    """Return what a counter grew by. *before*: SQL for the value that it began with."""
    now = f"{'later' if counter.table is SystemSample.__table__ else 'own'}.{counter.name}"
    doc = f"What {counter.name} grew by in the interval. NULL: not known, or it went backwards"
    condition = f"{now} >= {before}"
    if counter.name in _DEVICES:
        condition += f" AND NOT {_vanished(_DEVICES[counter.name])}"
        doc += ", or one of the devices is gone"
    return column(counter.name, f"CASE WHEN {condition} THEN {now} - {before} END", Integer, f"{doc}.")


def _vanished(set_id: str) -> str:
    """Return SQL that tells whether a device of `earlier` is not there in `later`; where that is not noted, 0."""
    names = """SELECT value FROM device_set, json_each('["' || replace(names, ' ', '","') || '"]')
      WHERE device_set.id ="""
    return f"""(coalesce(earlier.{set_id} <> later.{set_id}, 0) AND EXISTS (
      {names} earlier.{set_id}
      EXCEPT {names} later.{set_id}))"""


def _outer(columns: list[Column[Any]]) -> list[Column[Any]]:
    """Return columns that show those of a subquery under the same names."""
    return [column(each.name, each.name, each.type, each.doc or "") for each in columns]


def _stored(model: type[Base], table: str) -> list[Column[Any]]:
    """Return what condensing has stored in a row of *model*, for the columns that `_of_samples` shows."""
    return [
        column("samples", f"{table}.samples", Integer, ""),
        *(column(each.name, f"{table}.{each.name}", each.type, "") for each in largest(model)),
    ]


def _of_samples(model: type[Base], cpu_percent: str) -> list[Column[Any]]:
    """Return how many samples a row stands for, and the largest values in them: where it is an ordinary one, its own.

    *cpu_percent*: SQL for that of the interval. All other names are those of a subquery, which has `_stored` too.
    """
    columns = [column("samples", "coalesce(samples, 1)", Integer, "So many it stands for; 1: an ordinary one.")]
    for each in largest(model):
        of, per_second = each.info["largest_of"], each.info["per_second"]
        own = cpu_percent if of == "cpu_percent" else of
        if per_second is not None:
            own = f"{of} * {per_second} / nullif(seconds, 0)"
        doc = (each.doc or "").partition(" NULL:")[0] + " Of an ordinary row, its own. NULL: not known."
        columns.append(column(each.name, f"coalesce({each.name}, {own})", each.type, doc))
    return columns


def _before(of_recorder: str = "") -> str:
    """Return SQL for the id of the sample of the same boot before `later`."""
    return f"""(
    SELECT id FROM system_sample
    WHERE boot_id = later.boot_id{of_recorder} AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
    ORDER BY uptime_seconds DESC, id DESC LIMIT 1)"""


_BOTH_SAMPLES = f"""
FROM system_sample AS later
  JOIN system_sample AS earlier ON earlier.id = {_before()}
  JOIN boot ON boot.id = later.boot_id
  JOIN host ON host.id = boot.host_id""".strip()

_system_ends = [
    *_LATER,
    column("previous_sample_id", "earlier.id", Integer, "The sample before: system_sample.id."),
    column("previous_taken_at", "earlier.taken_at", DateTime, "When that one was taken (UTC)."),
    column(
        "seconds",
        "round(later.uptime_seconds - earlier.uptime_seconds, 3)",
        Float,
        "How long the interval is, by the time since boot.",
    ),
]
_system_grown = [_grown(each, f"earlier.{each.name}") for each in counters(SystemSample)]
_cpu_count = shown(SystemSample.cpu_count, table="later")
_BUSY = "cpu_user_ms + cpu_system_ms + coalesce(cpu_steal_ms, 0)"

_SYSTEM_CPU_PERCENT = (
    f"CASE WHEN seconds >= {SHORTEST_SECONDS} THEN"
    f" round(100.0 * ({_BUSY}) / ({_BUSY} + cpu_idle_ms + coalesce(cpu_iowait_ms, 0)), 2) END"
)
_system_gauges = [
    shown(each, table="later")
    for each in columns_of(SystemSample)
    if any(each.name == other.info["largest_of"] for other in largest(SystemSample))
    and each.name not in {*SYSTEM_COUNTERS, "cpu_percent"}
]
_system_inner = [*_system_ends, *_system_grown, _cpu_count, *_system_gauges, *_stored(SystemSample, "later")]

SYSTEM_INTERVAL = view(
    "system_interval",
    [
        *_outer(_system_ends),
        column(
            "cpu_percent",
            _SYSTEM_CPU_PERCENT,
            Float,
            "Busy time (all but idle and iowait) of all CPUs together, 0 to 100. NULL: not known, or the interval is "
            f"shorter than {SHORTEST_SECONDS} s: counters move in steps of 10 ms.",
        ),
        column("cpu_ms", "cpu_user_ms + cpu_system_ms", Integer, "What all CPUs worked. NULL: not known."),
        *_outer([*_system_grown, _cpu_count, *_system_gauges]),
        *_of_samples(SystemSample, _SYSTEM_CPU_PERCENT),
    ],
    f"FROM ({select(_system_inner)}\n{_BOTH_SAMPLES})",
    "The machine from one sample to the next of the same boot. Counters are what they grew by.",
)

# When a process began, as the time since boot; where start times are of the wall clock, by that of the sample.
_STARTED = f"""CASE WHEN process.started_ticks < {TICKS_OF_A_BOOT} THEN process.started_ticks / 100.0
    ELSE later.uptime_seconds - (julianday(later.taken_at) - julianday(process.started_at)) * 86400 END"""

_process_ends = [
    *_LATER,
    shown(Process.id, "process_id"),
    shown(Process.pid),
    shown(Process.name),
    shown(Process.username),
    shown(Process.command),
    shown(Cgroup.unit),
    column(
        "previous_sample_id",
        "before.sample_id",
        Integer,
        "The sample of its own row before: system_sample.id. NULL: there is none.",
    ),
    column(
        "sample_seconds",
        "round(later.uptime_seconds - previous.uptime_seconds, 3)",
        Float,
        "How long the sample's interval is, as in system_interval. NULL: the first one of a boot.",
    ),
]


def _grown_of_process(counter: Column[Any]) -> Column[Any]:
    """Return what a counter of a process grew by. What is its own is all, as long as no child of it has ended."""
    of_all = counter.info.get("own_of")
    if of_all is None:
        return _grown(counter, f"coalesce(before.{counter.name}, new.counter)")
    now, then = (
        f"iif({of}.children_user_ms + {of}.children_system_ms = 0, {of}.{of_all}, {of}.{counter.name})"
        for of in ("own", "before")
    )
    grown = f"{now} - coalesce(\n    {then},\n    new.counter)"
    doc = f"What of {of_all} is certainly its own. NULL: not known."
    return column(counter.name, f"nullif(max(\n    {grown}, -1), -1)", Integer, doc)


_process_grown = [_grown_of_process(each) for each in counters(ProcessSample)]
_gauges = [
    shown(each, table="own")
    for each in columns_of(ProcessSample)
    if each.name not in PROCESS_COUNTERS
    and not (is_link(each) or each.info.get("is_of_condensing"))
    and each.name != "cpu_percent"
]
# Not shown: what a percentage is made of. *possible*: what its threads could have used a second; *inexact*: what
# rounding and the order in which processes are read can add to that.
_parts = [
    column(
        "exact_seconds",
        f"later.uptime_seconds - coalesce(earlier.uptime_seconds, new.counter + {_STARTED})",
        Float,
        "",
    ),
    column(
        "possible_ms",
        "1000 * max(coalesce(own.num_threads, 1000000), coalesce(before.num_threads, 1))",
        Float,
        "",
    ),
    column(
        "inexact_ms",
        f"{ROUNDING_MS} + 1000 * (coalesce(later.read_uptime_seconds - later.uptime_seconds, 0)"
        " + coalesce(earlier.read_uptime_seconds - earlier.uptime_seconds, 0))",
        Float,
        "",
    ),
]

_PROCESS_CPU_PERCENT = (
    f"round(CASE WHEN exact_seconds < {SHORTEST_SECONDS} THEN NULL\n"
    "    WHEN cpu_user_ms + cpu_system_ms <= possible_ms * exact_seconds\n"
    "    THEN cpu_user_ms + cpu_system_ms\n"
    "    ELSE max(possible_ms * exact_seconds, cpu_user_ms + cpu_system_ms - inexact_ms)\n"
    "    END / nullif(exact_seconds, 0) / 10, 2)"
)
_process_inner = [*_process_ends, *_process_grown, *_gauges, *_parts, *_stored(ProcessSample, "own")]

PROCESS_INTERVAL = view(
    "process_interval",
    [
        *_outer(_process_ends),
        column(
            "seconds",
            "round(exact_seconds, 3)",
            Float,
            "How long its interval is: from its own previous sample, or from its start where it began since its "
            "recorder's previous one. NULL: it has neither, so what it used is not known.",
        ),
        column(
            "cpu_percent",
            _PROCESS_CPU_PERCENT,
            Float,
            "CPU time in percent of one CPU. No more than its threads could use: what rounding and the order in "
            "which processes are read add to that is taken off. NULL: not known, or the interval is shorter than "
            f"{SHORTEST_SECONDS} s: counters move in steps of 10 ms.",
        ),
        column("cpu_ms", "cpu_user_ms + cpu_system_ms", Integer, "CPU time in the interval. NULL: not known."),
        *_outer([*_process_grown, *_gauges]),
        *_of_samples(ProcessSample, _PROCESS_CPU_PERCENT),
    ],
    f"""
FROM ({select(_process_inner)}
FROM system_sample AS later
  JOIN boot ON boot.id = later.boot_id
  JOIN host ON host.id = boot.host_id
  LEFT JOIN system_sample AS previous ON previous.id = {_before()}
  LEFT JOIN system_sample AS latest ON latest.id = {_before(" AND recorder_id IS later.recorder_id")}
  -- imported data can have a further row of the same process, for each further string that matched
  CROSS JOIN process_sample AS own ON own.sample_id = later.id
    AND own.filter_id NOT IN (SELECT id FROM name_filter WHERE rank > 0)
  JOIN process ON process.id = own.process_id
  LEFT JOIN cgroup ON cgroup.id = process.cgroup_id
  -- its own previous sample is mostly the one before; else the latest that has it, maybe under another name; a
  -- condensed row knows which one
  LEFT JOIN process_sample AS direct
    ON direct.sample_id = iif(own.samples IS NULL, previous.id, own.previous_sample_id)
    AND direct.process_id = own.process_id
  LEFT JOIN process_sample AS before ON (before.sample_id, before.process_id) = (
    SELECT direct.sample_id, direct.process_id WHERE direct.sample_id IS NOT NULL
    UNION ALL SELECT seen.sample_id, seen.process_id
      FROM process AS same CROSS JOIN process_sample AS seen
        ON seen.sample_id = own.previous_sample_id AND seen.process_id = same.id
      WHERE direct.sample_id IS NULL AND own.previous_sample_id IS NOT NULL
        AND same.boot_id = later.boot_id AND same.pid = process.pid AND same.started_ticks = process.started_ticks
    UNION ALL SELECT * FROM (
      SELECT seen.sample_id, seen.process_id
      FROM system_sample AS sample CROSS JOIN process_sample AS seen
        ON seen.sample_id = sample.id AND seen.process_id IN (
          SELECT own.process_id UNION ALL
          SELECT id FROM process AS same
          WHERE boot_id = later.boot_id AND pid = process.pid AND started_ticks = process.started_ticks)
      WHERE direct.sample_id IS NULL AND own.samples IS NULL AND sample.boot_id = later.boot_id
        AND (sample.uptime_seconds, sample.id) < (later.uptime_seconds, later.id)
        AND sample.uptime_seconds >= coalesce({_STARTED}, 1) - 1
      ORDER BY sample.uptime_seconds DESC, sample.id DESC LIMIT 1))
  LEFT JOIN system_sample AS earlier ON earlier.id = before.sample_id
  -- without one, it counts from its start if it began after the recorder's previous sample had listed processes
  LEFT JOIN (SELECT 0 AS counter) AS new ON before.sample_id IS NULL AND iif(own.samples IS NULL,
    {_STARTED} + 0.01 > coalesce(latest.listed_uptime_seconds, latest.uptime_seconds),
    own.samples > 0 AND own.previous_sample_id IS NULL))
""",
    "A recorded process at each sample, and what it used since its own previous one. Counters are what they grew by.",
)

_LOOKED = " AND cgroups_seen IS NOT NULL"
# How long before `later` its boot's control groups were looked at last.
SECONDS_SINCE_LOOK = (
    f"later.uptime_seconds - (SELECT uptime_seconds FROM system_sample WHERE id = {_before(_LOOKED)})"
)
_group_ends = [
    *_LATER,
    shown(Cgroup.id, "cgroup_id"),
    shown(Cgroup.path),
    shown(Cgroup.unit),
    shown(Cgroup.parent_id),
    shown(CgroupSample.previous_sample_id, table="own"),
    column(
        "seconds",
        "round(later.uptime_seconds - earlier.uptime_seconds, 3)",
        Float,
        "How long the interval is: from the sample before that looked at control groups. NULL: the first one.",
    ),
]
_group_grown = [_grown(each, f"coalesce(before.{each.name}, new.counter)") for each in counters(CgroupSample)]
_group_gauges = [
    shown(each, table="own")
    for each in columns_of(CgroupSample)
    if not (each.info.get("counter") or is_link(each) or each.info.get("is_of_condensing"))
]
_GROUP_CPU_PERCENT = (
    f"CASE WHEN seconds >= {SHORTEST_SECONDS} THEN round((cpu_user_ms + cpu_system_ms) / seconds / 10, 2)\n    END"
)
_group_inner = [*_group_ends, *_group_grown, *_group_gauges, *_stored(CgroupSample, "own")]

CGROUP_INTERVAL = view(
    "cgroup_interval",
    [
        *_outer(_group_ends),
        column(
            "cpu_percent",
            _GROUP_CPU_PERCENT,
            Float,
            "CPU time of all in it, in percent of one CPU. NULL: not known, or the interval is shorter than "
            f"{SHORTEST_SECONDS} s.",
        ),
        column("cpu_ms", "cpu_user_ms + cpu_system_ms", Integer, "CPU time in the interval. NULL: not known."),
        *_outer([*_group_grown, *_group_gauges]),
        *_of_samples(CgroupSample, _GROUP_CPU_PERCENT),
    ],
    f"""
FROM ({select(_group_inner)}
FROM system_sample AS later
  JOIN boot ON boot.id = later.boot_id
  JOIN host ON host.id = boot.host_id
  CROSS JOIN cgroup_sample AS own ON own.sample_id = later.id
  JOIN cgroup ON cgroup.id = own.cgroup_id
  -- behind the group's own row: where there is none, no look before is looked for
  LEFT JOIN system_sample AS earlier ON earlier.id = {_before(_LOOKED)}
  LEFT JOIN cgroup_sample AS before
    ON before.sample_id = own.previous_sample_id AND before.cgroup_id = own.cgroup_id
  -- without one, it counts from its start if the look before, for which it is new, was its recorder's own too
  LEFT JOIN (SELECT 0 AS counter) AS new ON own.previous_sample_id IS NULL AND iif(own.samples IS NULL,
    EXISTS {_before(f"{_LOOKED} AND recorder_id IS later.recorder_id")},
    own.samples > 0))
""",
    "A control group, and all that is below it, at each sample where something had changed. Counters are what they "
    "grew by since the sample before that looked; a sample without a row of a group says that nothing has happened.",
)


def _usual_interval(of: str, comparison: str, order: str) -> str:
    """Return SQL for the median of the intervals of *of*'s recorder beside it, on one side. NULL: there are none."""
    return f"""(SELECT distance FROM (
    SELECT distance, row_number() OVER (ORDER BY distance) AS place, count(*) OVER () AS places FROM (
      SELECT abs(uptime_seconds - lag(uptime_seconds) OVER (ORDER BY uptime_seconds)) / samples AS distance FROM (
        SELECT uptime_seconds, coalesce(samples, 1.0) AS samples FROM system_sample
        WHERE boot_id = later.boot_id AND recorder_id IS {of}.recorder_id
          AND uptime_seconds {comparison} {of}.uptime_seconds
        ORDER BY uptime_seconds {order} LIMIT {NEIGHBOURS + 1}))
    WHERE distance IS NOT NULL) WHERE place = (places + 1) / 2)"""


_gap_columns = [
    *_LATER,
    column("previous_taken_at", "earlier.taken_at", DateTime, "When the sample before was taken (UTC)."),
    column("previous_datetime", "earlier.taken_at_local", DateTime, "The same by the machine's wall clock."),
]
_kind = column("kind", "'gap'", String, "gap; or boot: it ended with a start of the machine.")
_gap_seconds = column(
    "seconds", "round(later.uptime_seconds - earlier.uptime_seconds, 3)", Float, "How long there was no sample."
)
# SQLite computes them in this order, and the second only where the first makes it a gap: that is, hardly ever.
_usual_before = column("usual_before", _usual_interval("earlier", "<=", "DESC"), Float, "")
_usual_after = column("usual_after", _usual_interval("later", ">=", "ASC"), Float, "")
# A condensed sample stands for several, which were so far apart.
_gap_samples = column("samples", "coalesce(later.samples, 1)", Integer, "")
_usual = column(
    "usual_seconds",
    "coalesce(max(usual_before, usual_after), usual_before, usual_after)",
    Float,
    f"The median of {NEIGHBOURS} intervals of the recorder of the sample before it, until then, or of that of its "
    "own from then on, whichever is more: where a schedule ends or becomes slower nothing is missing. NULL: a boot.",
)
_boot = [
    *_gap_columns,
    column("kind", "'boot'", String, ""),
    column("seconds", "round((julianday(later.taken_at) - julianday(earlier.taken_at)) * 86400, 3)", Float, ""),
    column("usual_seconds", "NULL", Float, ""),
]

GAP = view(
    "gap",
    [*_outer([*_gap_columns, _kind, _gap_seconds]), _usual],
    f"""
FROM ({select([*_gap_columns, _kind, _gap_seconds, _gap_samples, _usual_before, _usual_after])}
{_BOTH_SAMPLES})
WHERE seconds / samples > {GAP_FACTOR} * coalesce(usual_before, usual_after)
  AND seconds / samples > {GAP_FACTOR} * coalesce(usual_after, usual_before)
UNION ALL
{select(_boot)}
FROM boot
  JOIN host ON host.id = boot.host_id
  JOIN system_sample AS later ON later.id = (
    SELECT id FROM system_sample
    WHERE boot_id = boot.id AND uptime_seconds IS NOT NULL
    ORDER BY uptime_seconds, id LIMIT 1)
  JOIN system_sample AS earlier ON earlier.id = (
    SELECT id FROM system_sample AS other
    WHERE taken_at < later.taken_at AND boot_id <> later.boot_id AND uptime_seconds IS NOT NULL
      AND (SELECT host_id FROM boot AS other_boot WHERE other_boot.id = other.boot_id) = boot.host_id
    ORDER BY taken_at DESC LIMIT 1)
""",
    "A time without samples: an interval much longer than those beside it, or before the first sample of a boot.",
)
VIEWS = {
    table.name: table for table in (SYSTEM_LOG, PROCESS_LOG, SYSTEM_INTERVAL, PROCESS_INTERVAL, CGROUP_INTERVAL, GAP)
}
