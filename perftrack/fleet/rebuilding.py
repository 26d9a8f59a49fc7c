"""What makes a database of what was fetched from the centre: SQL, from the views and the models alone.

The centre has intervals, so the interval views are tables here, filled as they came; what they lie on is made from
them. Counters count from the beginning of what was fetched; that of CPU time so that all CPU time of a process, with
its ended children's, is what the kernel had counted.
"""

from __future__ import annotations

from sqlalchemy import Table

from perftrack.fleet.centre import CGROUP_SAMPLE, PROCESS_SAMPLE, SYSTEM_SAMPLE
from perftrack.storage.intervals import CGROUP_INTERVAL, PROCESS_INTERVAL, SYSTEM_INTERVAL, counters
from perftrack.storage.models import Base, CgroupSample, ProcessSample, SystemSample, columns_of
from perftrack.storage.views import is_link


def brought(table: Table) -> list[str]:
    """Return the columns of a table of the centre that are fetched."""
    return [each.name for each in table.columns if each.name not in {"fingerprint", "received_at"}]


def _interval_table(view: Table, source: str, known: dict[str, str]) -> list[str]:
    """Return the statements that make a table of *view*. *known*: what is not in *source* under its name."""
    names = [each.name for each in view.columns]
    shown = ", ".join(known.get(name, f'own."{name}"') for name in names)
    listed = ", ".join(f'"{name}"' for name in names)
    return [
        f"DROP VIEW {view.name}",
        f"CREATE TABLE {view.name} ({listed})",
        f"INSERT INTO {view.name} SELECT {shown} FROM {source}",
        f"CREATE INDEX fetched_{view.name}_taken_at ON {view.name} (taken_at)",
        f"CREATE INDEX fetched_{view.name}_sample_id ON {view.name} (sample_id)",
    ]


def _base_table(model: type[Base], table: Table, course: str, known: dict[str, str]) -> str:
    """Return the statement that fills the table of *model* from what was fetched. *course*: what a counter is of."""
    of_counters = {each.name for each in counters(model)}
    have = set(brought(table))
    columns = {}
    for each in columns_of(model):
        if each.name in known:
            columns[each.name] = known[each.name]
        elif each.name in of_counters and each.name in have:
            columns[each.name] = _counted(each.name, course)
        elif "largest_of" in each.info:
            columns[each.name] = f'CASE WHEN own.samples > 1 THEN own."{each.name}" END'
        elif each.name in have and not is_link(each):
            columns[each.name] = f'own."{each.name}"'
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {', '.join(columns.values())} "
        f"FROM temp.fetched_{table.name} AS own LEFT JOIN temp.fetched_system_sample AS sample"
        " ON sample.sample_id = own.sample_id"
        f" WINDOW course AS (PARTITION BY {course} ORDER BY sample.uptime_seconds, own.sample_id)"
    )


def _counted(name: str, of: str) -> str:
    """Return SQL for a counter that is 0 at the beginning. NULL: nothing is known of it."""
    return (
        f'coalesce(sum(own."{name}") OVER course,'
        f' CASE WHEN count(own."{name}") OVER (PARTITION BY {of}) > 0 THEN 0 END)'
    )


def _cpu(name: str) -> str:
    """Return SQL for a counter of CPU time of a process, which is refused together with all of them."""
    return f"CASE WHEN own.all_cpu_ms NOTNULL THEN coalesce(sum(own.{name}) OVER course, 0) END"


_WHERE_AND_WHEN = {
    "taken_at": "sample.taken_at",
    "datetime": "sample.taken_at_local",
    "host": "host.name",
    "booted_at": "boot.booted_at",
    "previous_sample_id": "NULL",
}
_PLACE = "JOIN boot ON boot.id = sample.boot_id JOIN host ON host.id = boot.host_id"
_SAMPLE = f"JOIN temp.fetched_system_sample AS sample ON sample.sample_id = own.sample_id {_PLACE}"
_STANDS_FOR = {"samples": "nullif(own.samples, 1)"}
_FURTHER_CPU = ("cpu_system_ms", "children_user_ms", "children_system_ms")
_OWN_KEYS = {name: f"own.{name}" for name in ("sample_id", "process_id", "cgroup_id", "filter_id")}
STATEMENTS = [
    "CREATE INDEX temp.fetched_of_sample ON fetched_system_sample (sample_id)",
    _base_table(
        SystemSample,
        SYSTEM_SAMPLE,
        "own.boot_id",
        _STANDS_FOR
        | {
            "id": "own.sample_id",
            "boot_id": "own.boot_id",
            "recorder_id": "own.recorder_id",
            "cpu_percent": "own.window_cpu_percent",
        },
    ),
    _base_table(
        ProcessSample,
        PROCESS_SAMPLE,
        "own.process_id",
        _OWN_KEYS
        | _STANDS_FOR
        | {
            "cpu_percent": "own.window_cpu_percent",
            "cpu_user_ms": f"own.all_cpu_ms - {' - '.join(map(_cpu, _FURTHER_CPU))}",
            **{name: _cpu(name) for name in _FURTHER_CPU},
        },
    ),
    _base_table(CgroupSample, CGROUP_SAMPLE, "own.cgroup_id", _OWN_KEYS | _STANDS_FOR),
    *_interval_table(
        SYSTEM_INTERVAL,
        "temp.fetched_system_sample AS own JOIN temp.fetched_system_sample AS sample USING (sample_id) "
        f"{_PLACE} WHERE own.seconds NOTNULL",
        _WHERE_AND_WHEN
        | {
            "previous_taken_at": "(SELECT before.taken_at FROM system_sample AS before"
            " WHERE before.boot_id = own.boot_id"
            " AND (before.uptime_seconds, before.id) < (own.uptime_seconds, own.sample_id)"
            " ORDER BY before.uptime_seconds DESC, before.id DESC LIMIT 1)"
        },
    ),
    *_interval_table(
        PROCESS_INTERVAL,
        f"temp.fetched_process_sample AS own {_SAMPLE} JOIN process ON process.id = own.process_id"
        " LEFT JOIN cgroup ON cgroup.id = process.cgroup_id",
        _WHERE_AND_WHEN
        | {name: f"process.{name}" for name in ("pid", "name", "username", "command")}
        | {"unit": "cgroup.unit", "sample_seconds": "sample.seconds"},
    ),
    *_interval_table(
        CGROUP_INTERVAL,
        f"temp.fetched_cgroup_sample AS own {_SAMPLE} JOIN cgroup ON cgroup.id = own.cgroup_id",
        _WHERE_AND_WHEN | {name: f"cgroup.{name}" for name in ("path", "unit", "parent_id")},
    ),
]
