"""How Alembic runs the migrations: always inside perftrack's one transaction (storage/schema.py).

A program passes its connection in the configuration's attributes. The `alembic` command has none and works on the
database that perftrack would use; `revision --autogenerate` compares with a scratch database instead.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from logging.config import fileConfig
from typing import Any

from alembic import context
from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from perftrack.settings import load
from perftrack.storage import schema
from perftrack.storage.intervals import VIEWS
from perftrack.storage.models import Base


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=_is_ours,
        render_as_batch=True,
        process_revision_directives=_finish_revision,
    )
    with context.begin_transaction():
        context.run_migrations()


def _is_ours(_object: object, name: str | None, kind: str, _reflected: bool, _compared: object) -> bool:
    return not (kind == "table" and name in VIEWS)


def _finish_revision(
    migration: MigrationContext, _revision: str | Iterable[str | None] | Iterable[str], directives: list[Any]
) -> None:
    """Number the revision, and let it make those views anew that show something else, or whose table is rebuilt."""
    script: ops.MigrationScript = directives[0]
    head = migration.script.get_current_head() if migration.script else None
    script.rev_id = f"{int(head or 0) + 1:04d}"
    if script.upgrade_ops is None or script.downgrade_ops is None or migration.connection is None:
        return
    rows = migration.connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
    before = {row.name: row.sql.strip() for row in rows}
    after = {name: view.info["sql"] for name, view in VIEWS.items()}
    for operations, old, new in ((script.upgrade_ops, before, after), (script.downgrade_ops, after, before)):
        rebuilt = [
            each.table_name
            for each in operations.ops
            if isinstance(each, ops.ModifyTableOps) and not all(isinstance(op, ops.AddColumnOp) for op in each.ops)
        ]
        changed = [
            name
            for name in {**old, **new}
            if old.get(name) != new.get(name)
            or any(re.search(rf"(FROM|JOIN) {table}\b", old[name]) for table in rebuilt)
        ]
        operations.ops[:0] = [ops.ExecuteSQLOp(f"DROP VIEW {name}") for name in changed if name in old]
        operations.ops += [ops.ExecuteSQLOp(new[name]) for name in changed if name in new]


@renderers.dispatch_for(ops.ExecuteSQLOp, replace=True)
def _render_sql(autogenerate: AutogenContext, operation: ops.ExecuteSQLOp) -> str:
    """Write SQL into the revision as a person reads it."""
    sql = str(operation.sqltext)
    if "\n" not in sql:
        return f"op.execute({sql!r})"
    autogenerate.imports.add("from textwrap import dedent")
    return f'op.execute(dedent("""\n{sql}\n"""))'


def _scratch_database(folder: str) -> str:
    path = os.path.join(folder, "scratch.db")
    subprocess.run(
        [sys.executable, "-m", "perftrack", "database", "upgrade", "--database", path],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return path


def _main() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        _run(given)
        return
    if context.config.config_file_name is not None:
        fileConfig(context.config.config_file_name)
    if context.is_offline_mode():
        context.configure(dialect_name="sqlite", target_metadata=Base.metadata, literal_binds=True)
        context.run_migrations()
    elif getattr(context.config.cmd_opts, "autogenerate", False):
        with (
            tempfile.TemporaryDirectory() as folder,
            schema.migrating(_scratch_database(folder)) as connection,
        ):
            _run(connection)
    else:
        with schema.migrating(load().database) as connection:
            _run(connection)


_main()
