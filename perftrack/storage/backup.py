"""What keeps a migration from losing rows: a copy before the first statement that could, and counts at the end."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing, suppress
from typing import Any

from sqlalchemy import Connection, event

from perftrack.errors import PerftrackError, UnusableError
from perftrack.private import create
from perftrack.storage.database import connect, explained

# Statements that take rows or values away. A view holds none, and alembic_version is the migration's own note.
_DESTRUCTIVE = re.compile(
    r"\s*(DROP\s+TABLE|DELETE|REPLACE|UPDATE(?!\s+alembic_version\b)|ALTER\s+TABLE\s.*\bDROP\b)",
    re.IGNORECASE | re.DOTALL,
)


def back_up_first(connection: Connection, path: str, revision: str) -> None:
    """Let the first statement on *connection* that takes something away be preceded by a copy of the database.

    It is PATH.before-upgrade-from-REVISION, mode 0600, and stays until a person removes it.
    """
    target = f"{path}.before-upgrade-from-{revision}"
    made = False

    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal made
        if not made and _DESTRUCTIVE.match(statement):
            _back_up(path, target)
            made = True

    event.listen(connection, "before_cursor_execute", before)


def _back_up(path: str, target: str) -> None:
    """Copy the database as it was before this transaction, whole or not at all. Raises: UnusableError."""
    unfinished = f"{target}.new"
    try:
        with suppress(FileNotFoundError):  # of an upgrade that was killed
            os.unlink(unfinished)
        os.close(create(unfinished))
        with (
            explained(unfinished),
            closing(connect(path, read_only=True)) as source,
            closing(sqlite3.connect(unfinished)) as copy,
        ):
            source.backup(copy)
        descriptor = os.open(unfinished, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(unfinished, target)
    except (PerftrackError, OSError) as error:
        with suppress(OSError):
            os.unlink(unfinished)
        reason = error.strerror if isinstance(error, OSError) else error
        raise UnusableError(
            f"database {path} is not upgraded, for no copy of it could be made before: {reason}"
        ) from error


def row_counts(connection: Connection) -> dict[str, int]:
    """Return the number of rows of each table."""
    tables = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'alembic_version'"
    ).scalars()
    return {
        name: connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one()  # noqa: S608 - a table's name
        for name in tables
    }


def refuse_losses(connection: Connection, path: str, before: dict[str, int]) -> None:
    """Raise PerftrackError where a table has fewer rows than *before*, or a row that refers to nothing."""
    after = row_counts(connection)
    for table, rows in before.items():
        if after.get(table, rows) < rows:
            raise PerftrackError(f"database {path}: upgrading would lose rows of {table}; nothing was changed")
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise PerftrackError(f"database {path}: a row of {broken[0]} refers to nothing; nothing was changed")
