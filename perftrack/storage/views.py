"""The views. system_log and process_log: the original's CSV columns first, then every further column of the tables.

Derived from models.py, so that a new metric shows up by itself; migrations hold the frozen text of each revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Float, Label, MetaData, Table, or_, select, type_coerce
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.ddl import CreateView

from perftrack.storage import intervals
from perftrack.storage.models import Base, Boot, Host, NameFilter, Process, ProcessSample, SystemSample

metadata = MetaData()
Columns = list[Label[Any]]

# The original's CSV headers, in its order, and where each value is kept.
SYSTEM_LOG_ORIGINAL: Columns = [
    SystemSample.cpu_percent.label("cpu_usage"),
    SystemSample.taken_at_local.label("datetime"),
    SystemSample.mem_available_bytes.label("mem_available"),
    type_coerce(SystemSample.mem_used_bytes / SystemSample.mem_total_bytes, Float).label("mem_percent_used"),
    SystemSample.mem_total_bytes.label("mem_total"),
    SystemSample.mem_used_bytes.label("mem_used"),
]
PROCESS_LOG_ORIGINAL: Columns = [
    ProcessSample.cpu_percent.label("cpu_usage"),
    SystemSample.taken_at_local.label("datetime"),
    NameFilter.text.label("filter"),
    Process.name.label("name"),
    Process.pid.label("pid"),
    ProcessSample.rss_bytes.label("rss_memory"),
    ProcessSample.vms_bytes.label("vms_memory"),
]
# What tells rows apart by time and place; the same in both views.
_SAMPLE: Columns = [
    SystemSample.taken_at.label("taken_at"),
    Host.name.label("host"),
    Boot.booted_at.label("booted_at"),
    SystemSample.id.label("sample_id"),
]


def _further(shown: Sequence[Label[Any]], *models: type[Base]) -> Columns:
    """Return the columns of *models* that neither link tables nor are in *shown* already."""
    used = {column for label in shown for column in label.base_columns}
    return [
        column.label(column.name)
        for model in models
        for column in model.__table__.columns
        if not (column.primary_key or column.foreign_keys or column in used)
    ]


_system_shown = [*SYSTEM_LOG_ORIGINAL, *_SAMPLE]
_system_log = CreateView(
    select(*_system_shown, *_further(_system_shown, SystemSample))
    .select_from(SystemSample)
    .join(Boot)
    .join(Host)
    # A sample that only gives imported process rows their instant is no reading of the system.
    .where(
        or_(
            SystemSample.cpu_percent.is_not(None),
            SystemSample.mem_total_bytes.is_not(None),
            SystemSample.processes_seen.is_not(None),
        )
    ),
    "system_log",
    metadata=metadata,
)

_process_shown = [
    *PROCESS_LOG_ORIGINAL,
    *_SAMPLE,
    Process.id.label("process_id"),
    NameFilter.rank.label("filter_rank"),
]
_process_log = CreateView(
    select(*_process_shown, *_further(_process_shown, Process, ProcessSample))
    .select_from(SystemSample)
    .join(ProcessSample)
    .join(Process)
    .join(NameFilter)
    .join(Boot, SystemSample.boot_id == Boot.id)
    .join(Host),
    "process_log",
    metadata=metadata,
)

SYSTEM_LOG: Table = _system_log.table
PROCESS_LOG: Table = _process_log.table
VIEWS: dict[str, CreateView | str] = {
    "system_log": _system_log,
    "process_log": _process_log,
    "system_interval": intervals.SYSTEM_INTERVAL_SQL,
    "process_interval": intervals.PROCESS_INTERVAL_SQL,
    "gap": intervals.GAP_SQL,
}


def create_statement(view: CreateView | str) -> str:
    """Return the CREATE VIEW statement of *view*, one column a line, as a person reads it in `.schema`.

    CROSS JOIN is SQLite's way to say that the tables are read in this order, https://sqlite.org/lang_select.html: by
    time, through system_sample's index. Left to itself it may begin with all of process_sample.
    """
    if isinstance(view, str):
        return view
    text = str(view.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    for separator, broken in (
        ("SELECT ", "SELECT\n  "),
        (", ", ",\n  "),
        (" JOIN ", "\n  JOIN "),
        (" JOIN process_sample ", " CROSS JOIN process_sample "),
        (" OR ", "\n  OR "),
        (" \n", "\n"),
    ):
        text = text.replace(separator, broken)
    return text
