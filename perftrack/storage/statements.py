"""The tick's SQL, compiled from the models ahead of time: `python -m perftrack.storage.statements` writes inserts.py.

`alembic revision` runs this after it wrote a migration. Importing SQLAlchemy in every tick instead would cost many
times what the tick itself does, so no module of the tick imports this one.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from sqlalchemy import Insert, Select, bindparam, insert, literal_column, select
from sqlalchemy.dialects import sqlite

from perftrack.sample import CPU_COUNTERS
from perftrack.storage.models import (
    Base,
    Boot,
    Host,
    NameFilter,
    Process,
    ProcessSample,
    Recorder,
    SystemSample,
)
from perftrack.storage.schema import head_revision

TARGET = Path(__file__).with_name("inserts.py")

_HEADER = '''"""The tick's SQL. Generated from models.py by `python -m perftrack.storage.statements`; do not edit."""

# The newest revision in migrations/, which the INSERTs fit.
REVISION = "{revision}"
'''


def _insert(model: type[Base]) -> Insert:
    """Insert every column but the key that SQLite numbers by itself."""
    columns = model.__table__.columns
    return insert(model).values({column.name: bindparam(column.name) for column in columns if column.name != "id"})


def _same_sample() -> Select[*tuple[Any, ...]]:
    """Find a sample of this boot and instant that is the same in every other column too, but for its wall clock."""
    columns = SystemSample.__table__.columns
    compared = [column for column in columns if column.name not in {"id", "taken_at_local"}]
    return select(SystemSample.id).where(
        *(column.is_not_distinct_from(bindparam(column.name)) for column in compared)
    )


STATEMENTS: dict[str, Insert | Select[*tuple[Any, ...]]] = {
    "SELECT_HOST": select(Host.id).where(Host.name == bindparam("name")),
    "SELECT_BOOT": select(Boot.id).where(
        Boot.host_id == bindparam("host_id"), Boot.key.is_not_distinct_from(bindparam("key"))
    ),
    "SELECT_NEWEST_BOOT": select(Boot.id, Boot.booted_at)
    .where(Boot.host_id == bindparam("host_id"), Boot.key.is_not(None))
    .order_by(Boot.id.desc()),
    "SELECT_RECORDER": select(Recorder.id).where(
        Recorder.username == bindparam("username"), Recorder.selection == bindparam("selection")
    ),
    "SELECT_PROCESS": select(Process.id).where(
        Process.boot_id == bindparam("boot_id"),
        Process.pid == bindparam("pid"),
        Process.started_ticks.is_not_distinct_from(bindparam("started_ticks")),
        Process.name == bindparam("name"),
    ),
    "SELECT_NAME_FILTER": select(NameFilter.id).where(
        NameFilter.text == bindparam("text"), NameFilter.rank == literal_column("0")
    ),
    "SELECT_NEWEST_SAMPLE": select(
        SystemSample.id, SystemSample.uptime_seconds, *(getattr(SystemSample, name) for name in CPU_COUNTERS)
    )
    .where(SystemSample.boot_id == bindparam("boot_id"))
    .order_by(SystemSample.uptime_seconds.desc()),
    "SELECT_SAME_SAMPLE": _same_sample(),
    "SELECT_PROCESS_COUNTERS": select(
        Process.pid,
        Process.started_ticks,
        (ProcessSample.cpu_user_ms + ProcessSample.cpu_system_ms).label("cpu_ms"),
    )
    .join_from(ProcessSample, Process)
    .where(ProcessSample.sample_id == bindparam("sample_id"), ProcessSample.cpu_user_ms.is_not(None)),
    "INSERT_HOST": _insert(Host),
    "INSERT_BOOT": _insert(Boot),
    "INSERT_RECORDER": _insert(Recorder),
    "INSERT_SYSTEM_SAMPLE": _insert(SystemSample),
    "INSERT_PROCESS": _insert(Process),
    "INSERT_NAME_FILTER": insert(NameFilter).values(text=bindparam("text"), rank=literal_column("0")),
    "INSERT_PROCESS_SAMPLE": _insert(ProcessSample),
}


def module_text() -> str:
    """Return the text of inserts.py as the models and migrations are now."""
    parts = [_HEADER.format(revision=head_revision())]
    for name, statement in STATEMENTS.items():
        # it runs once a process, and the values of a row would be looked up by name each time
        by_position = name == "INSERT_PROCESS_SAMPLE"
        dialect = sqlite.dialect(paramstyle="qmark" if by_position else "named")
        compiled = statement.compile(dialect=dialect)
        words = " ".join(str(compiled).split())
        sql = textwrap.fill(words, width=110, break_long_words=False, break_on_hyphens=False)
        parts.append(f'{name} = """\n{sql}\n"""\n')
        if by_position:
            columns = "".join(f'    "{column}",\n' for column in compiled.positiontup or ())
            parts.append(f"PROCESS_SAMPLE_COLUMNS = (\n{columns})\n")
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(module_text(), encoding="utf-8")
