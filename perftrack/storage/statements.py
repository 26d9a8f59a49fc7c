"""Compile the models ahead of time into the tick's SQL (tick_sql.py) and the types of a sample's rows (rows.py).

`python -m perftrack.storage.statements` writes both; `alembic revision` runs it after it wrote a migration. Importing
SQLAlchemy in every tick instead would cost many times what the tick itself does: no module of the tick imports this.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    Insert,
    Integer,
    Select,
    and_,
    bindparam,
    insert,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects import sqlite

from perftrack.sample import CPU_COUNTERS
from perftrack.storage.intervals import counters, largest
from perftrack.storage.models import (
    ORDINARY,
    Base,
    Boot,
    Cgroup,
    CgroupSample,
    DeviceSet,
    Host,
    NameFilter,
    Process,
    ProcessSample,
    Recorder,
    SystemSample,
    columns_of,
)
from perftrack.storage.schema import head_revision

TICK_SQL = Path(__file__).with_name("tick_sql.py")
ROWS = Path(__file__).parents[1] / "rows.py"
_GENERATED = "Generated from models.py by `python -m perftrack.storage.statements`; do not edit."
# The rows of a sample, and the tables that each is written to.
ROWS_OF: dict[str, tuple[type[Base], ...]] = {
    "HostRow": (Host,),
    "BootRow": (Boot,),
    "RecorderRow": (Recorder,),
    "SystemRow": (SystemSample,),
    "CgroupRow": (Cgroup, CgroupSample),
    "ProcessRow": (Process, ProcessSample),
}


def _insert(model: type[Base]) -> Insert:
    """Insert every column but the key that SQLite numbers by itself, and what condensing fills."""
    columns = [c for c in columns_of(model) if c.name != "id" and not c.info.get("is_of_condensing")]
    return insert(model).values({c.name: bindparam(c.name) for c in columns})


def _sampled(model: type[Base]) -> list[Column[Any]]:
    """Return the columns that recording fills: all but the ids, and what storage makes of the others."""
    return [
        column
        for column in columns_of(model)
        if not (column.name == "id" or column.foreign_keys or column.info.keys() & {"is_derived", "is_of_condensing"})
    ]


def _same_sample() -> Select[*tuple[Any, ...]]:
    """Find a sample of this boot and instant that is the same in every other column too, but for its wall clock, and
    whether its control groups are recorded: see insertion.py.
    """
    different = {"id", "taken_at_local", "cgroups_seen"}
    columns = (column for column in columns_of(SystemSample) if not column.info.get("is_of_condensing"))
    compared = [column for column in columns if column.name not in different]
    return select(SystemSample.id).where(
        *(column.is_not_distinct_from(bindparam(column.name)) for column in compared)
    )


# Each that lists the columns of a table; insertion.py and cgroups.py have the others beside their use.
STATEMENTS: dict[str, Insert | Select[*tuple[Any, ...]]] = {
    "SELECT_LIVING_CGROUPS": select(
        Cgroup.path, Cgroup.inode, Cgroup.id, Cgroup.latest_sample_id, *_sampled(CgroupSample)
    )
    .outerjoin(
        CgroupSample, and_(CgroupSample.sample_id == Cgroup.latest_sample_id, CgroupSample.cgroup_id == Cgroup.id)
    )
    .where(Cgroup.boot_id == bindparam("boot_id"), Cgroup.gone_sample_id.is_(None)),
    "SELECT_NEWEST_SAMPLE": select(
        SystemSample.id, SystemSample.uptime_seconds, *(getattr(SystemSample, name) for name in CPU_COUNTERS)
    )
    .where(
        SystemSample.boot_id == bindparam("boot_id"),
        SystemSample.uptime_seconds <= bindparam("until_uptime_seconds"),
        or_(bindparam("recorder_id", type_=Integer).is_(None), SystemSample.recorder_id == bindparam("recorder_id")),
    )
    .order_by(SystemSample.uptime_seconds.desc()),
    "SELECT_SAME_SAMPLE": _same_sample(),
    "INSERT_HOST": _insert(Host),
    "INSERT_BOOT": _insert(Boot),
    "INSERT_CGROUP": _insert(Cgroup),
    "INSERT_CGROUP_SAMPLE": _insert(CgroupSample),
    "INSERT_RECORDER": _insert(Recorder),
    "INSERT_DEVICE_SET": _insert(DeviceSet),
    "INSERT_SYSTEM_SAMPLE": _insert(SystemSample),
    "INSERT_PROCESS": _insert(Process),
    "INSERT_NAME_FILTER": insert(NameFilter).values(text=bindparam("text"), rank=literal_column("0")),
    "INSERT_PROCESS_SAMPLE": _insert(ProcessSample),
}


def modules() -> dict[Path, str]:
    """Return the text of each generated module as the models and migrations are now."""
    return {TICK_SQL: _tick_sql(), ROWS: _rows()}


def _tick_sql() -> str:
    text = (
        f'"""The tick\'s SQL. {_GENERATED}"""\n\n'
        "# The newest revision in migrations/, which the INSERTs fit.\n"
        f'REVISION = "{head_revision()}"\n'
    )
    for name, statement in STATEMENTS.items():
        # it runs once a process, and the values of a row would be looked up by name each time
        by_position = name == "INSERT_PROCESS_SAMPLE"
        dialect = sqlite.dialect(paramstyle="qmark" if by_position else "named")
        words = " ".join(str(statement.compile(dialect=dialect)).split())
        sql = textwrap.fill(words, width=110, break_long_words=False, break_on_hyphens=False)
        text += f'{name} = """\n{sql}\n"""\n'
    text += "# What recording fills of a table: all but the ids.\n"
    for model in (SystemSample, Cgroup, CgroupSample, Process, ProcessSample):
        columns = "".join(f'    "{column.name}",\n' for column in _sampled(model))
        text += f"{model.__tablename__.upper()}_COLUMNS = [\n{columns}]\n"
    text += f'# What may be condensed and is not yet: the words of an index.\nORDINARY = "{ORDINARY}"\n'
    text += "# What condensing adds up over several samples, and what it keeps the largest value of.\n"
    for model in (SystemSample, CgroupSample, ProcessSample):
        for kind, columns_of_kind in (("COUNTERS", counters(model)), ("LARGEST", largest(model))):
            columns = "".join(f'    "{column.name}",\n' for column in columns_of_kind)
            text += f"{model.__tablename__.upper()}_{kind} = [\n{columns}]\n"
    return text


def _rows() -> str:
    text = (
        f'"""The rows of a sample, for the type checker, and to check a kept one by.\n\n{_GENERATED}\n"""\n\n'
        "from __future__ import annotations\n\nfrom typing import TypedDict\n"
    )
    for name, models in ROWS_OF.items():
        tables = " and ".join(model.__tablename__ for model in models)
        text += f'\n\nclass {name}(TypedDict, total=False):\n    """Of {tables}; storage adds the ids."""\n\n'
        if ProcessSample in models:
            text += "    filter: str  # the string that selected it; empty: another reason\n"
            text += "    cgroup: str | None  # path of its control group; None: not known, or in none\n"
            text += "    named_itself: bool | None  # its name is a title, and it may be known by an earlier name\n"
        if SystemSample in models:
            text += "    disk_set: str | None  # device_set.names of the disks\n"
            text += "    net_set: str | None  # and of the network interfaces\n"
        for model in models:
            text += "".join(f"    {column.name}: {_type(column)}\n" for column in _sampled(model))
    return text


def _type(column: Column[Any]) -> str:
    """Return the type of a value in a row, where instants are text."""
    name = "str" if isinstance(column.type, DateTime) else column.type.python_type.__name__
    return f"{name} | None" if column.nullable else name


if __name__ == "__main__":
    for path, text in modules().items():
        path.write_text(text, encoding="utf-8")
