"""How views are written, as SQL that a person reads in `.schema`; system_log and process_log, the original's files.

Each column is written down once: its name, its SQL, its type and its meaning. What the tables have, models.py tells,
so that a new metric shows up by itself; migrations hold the frozen text of each revision.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, Float, MetaData, Table
from sqlalchemy.orm import InstrumentedAttribute

from perftrack.storage.models import (
    Base,
    Boot,
    Cgroup,
    Host,
    NameFilter,
    Process,
    ProcessSample,
    SystemSample,
    columns_of,
)

metadata = MetaData()


def column(name: str, sql: str, kind: Any, doc: str) -> Column[Any]:
    """Return a column of a view: *sql* is the expression that it shows."""
    return Column(name, kind, doc=doc, info={"sql": sql})


def shown(source: InstrumentedAttribute[Any] | Column[Any], name: str = "", table: str = "") -> Column[Any]:
    """Return a column of a view that shows one of a table as it is. *table*: what the view calls that table."""
    of_table = source.__clause_element__() if isinstance(source, InstrumentedAttribute) else source
    doc = f"{of_table.table.name}.{of_table.name}." if of_table.primary_key else of_table.doc or ""
    return column(name or of_table.name, f"{table or of_table.table.name}.{of_table.name}", of_table.type, doc)


def view(name: str, columns: Iterable[Column[Any]], source: str, doc: str) -> Table:
    """Return a view as SQLAlchemy knows it. *source*: its SQL from FROM on. *doc*: what a row of it is."""
    listed = list(columns)
    sql = f"CREATE VIEW {name} AS {select(listed)}\n{source.strip()}"
    own = (column(each.name, each.info["sql"], each.type, each.doc or "") for each in listed)
    return Table(name, metadata, *own, comment=doc, info={"sql": sql})


def select(columns: Iterable[Column[Any]]) -> str:
    """Return the beginning of a SELECT, a column a line."""
    return "SELECT\n  " + ",\n  ".join(
        each.name if each.info["sql"] == each.name else f"{each.info['sql']} AS {each.name}" for each in columns
    )


def is_link(source: Column[Any]) -> bool:
    """Return whether a column is the id of a row elsewhere."""
    return bool(source.foreign_keys or source.info.get("is_link"))


def _further(used: list[Column[Any]], *models: type[Base]) -> list[Column[Any]]:
    """Return the columns of *models* that neither link tables nor are in *used* already."""
    taken = {each.info["sql"] for each in used}
    every = [
        shown(source)
        for model in models
        for source in columns_of(model)
        if not (source.primary_key or is_link(source))
    ]
    return [each for each in every if each.info["sql"] not in taken]


# What tells rows apart by time and place; the same in both logs.
_WHERE_AND_WHEN = [
    shown(SystemSample.taken_at),
    shown(Host.name, "host"),
    shown(Boot.booted_at),
    shown(SystemSample.id, "sample_id"),
]
# The original's CSV headers, in its order, and where each value is kept.
_SYSTEM = [
    shown(SystemSample.cpu_percent, "cpu_usage"),
    shown(SystemSample.taken_at_local, "datetime"),
    shown(SystemSample.mem_available_bytes, "mem_available"),
    column(
        "mem_percent_used",
        "system_sample.mem_used_bytes / (system_sample.mem_total_bytes + 0.0)",
        Float,
        "Memory in use as a fraction of all, 0 to 1 (the original's name says percent). NULL: not known.",
    ),
    shown(SystemSample.mem_total_bytes, "mem_total"),
    shown(SystemSample.mem_used_bytes, "mem_used"),
]
_PROCESS = [
    shown(ProcessSample.cpu_percent, "cpu_usage"),
    shown(SystemSample.taken_at_local, "datetime"),
    shown(NameFilter.text, "filter"),
    shown(Process.name),
    shown(Process.pid),
    shown(ProcessSample.rss_bytes, "rss_memory"),
    shown(ProcessSample.vms_bytes, "vms_memory"),
]
SYSTEM_LOG_ORIGINAL = [each.name for each in _SYSTEM]
PROCESS_LOG_ORIGINAL = [each.name for each in _PROCESS]

_system_shown = [*_SYSTEM, *_WHERE_AND_WHEN]
SYSTEM_LOG = view(
    "system_log",
    [*_system_shown, *_further(_system_shown, SystemSample)],
    """
FROM system_sample
  JOIN boot ON boot.id = system_sample.boot_id
  JOIN host ON host.id = boot.host_id
-- a sample that only gives imported process rows their instant is no reading of the system
WHERE system_sample.cpu_percent IS NOT NULL
  OR system_sample.mem_total_bytes IS NOT NULL
  OR system_sample.processes_seen IS NOT NULL
""",
    "The system at each sample: the columns of system_log.csv, then all others.",
)

_process_shown = [
    *_PROCESS,
    *_WHERE_AND_WHEN,
    shown(Process.id, "process_id"),
    shown(NameFilter.rank, "filter_rank"),
    shown(Cgroup.unit),
]
# CROSS JOIN is SQLite's way to say that tables are read in this order, https://sqlite.org/lang_select.html: by time,
# through system_sample's index. Left to itself it may begin with all of process_sample.
PROCESS_LOG = view(
    "process_log",
    [*_process_shown, *_further(_process_shown, Process, ProcessSample)],
    """
FROM system_sample
  CROSS JOIN process_sample ON process_sample.sample_id = system_sample.id
  JOIN process ON process.id = process_sample.process_id
  LEFT JOIN cgroup ON cgroup.id = process.cgroup_id
  JOIN name_filter ON name_filter.id = process_sample.filter_id
  JOIN boot ON boot.id = system_sample.boot_id
  JOIN host ON host.id = boot.host_id
""",
    "A recorded process at each sample: the columns of process_log.csv, then all others.",
)
