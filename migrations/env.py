"""How Alembic runs the migrations: always inside perftrack's one transaction (storage/schema.py).

A program passes its connection in the configuration's attributes. The `alembic` command has none and works on the
database that perftrack would use; `revision --autogenerate` compares with a scratch database instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from logging.config import fileConfig
from typing import Any

from alembic import context
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from perftrack.settings import load
from perftrack.storage import schema
from perftrack.storage.models import Base
from perftrack.storage.views import VIEWS, create_statement


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
    """Number the revision, and let it make the views anew: they show every column of the tables."""
    script: ops.MigrationScript = directives[0]
    head = migration.script.get_current_head() if migration.script else None
    script.rev_id = f"{int(head or 0) + 1:04d}"
    if script.upgrade_ops is None or script.downgrade_ops is None or migration.connection is None:
        return
    rows = migration.connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
    before = {row.name: row.sql for row in rows}
    after = {name: create_statement(view) for name, view in VIEWS.items()}
    if script.upgrade_ops.is_empty() and before == after:
        return
    for operations, old, new in ((script.upgrade_ops, before, after), (script.downgrade_ops, after, before)):
        operations.ops[:0] = [ops.ExecuteSQLOp(f"DROP VIEW {name}") for name in old]
        operations.ops += [ops.ExecuteSQLOp(sql) for sql in new.values()]


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
