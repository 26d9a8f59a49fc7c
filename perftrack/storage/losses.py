"""What keeps a migration from losing rows: a copy before the first statement that could, and counts at the end."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, event

from perftrack.errors import PerftrackError, UnusableError
from perftrack.private import create
from perftrack.storage.sqlite_file import connect, readable_errors

# Statements that leave every row as it is. The rows of alembic_version are the migrations' own.
_HARMLESS = re.compile(
    r"\s*(SELECT|PRAGMA|CREATE\s+(TABLE|VIEW|INDEX|UNIQUE\s+INDEX)|DROP\s+(VIEW|INDEX)|ALTER\s+TABLE\s+\S+\s+ADD"
    r"|(INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+alembic_version)\b",
    re.IGNORECASE,
)


@contextmanager
def nothing_lost(connection: Connection, path: str, revision: str | None) -> Generator[None]:
    """Make sure that what is executed on *connection* loses no row, before that is committed.

    Before the first statement that could, the database is copied to PATH.before-upgrade-from-REVISION (unless it is
    new), which is 0600 and stays until a person removes it, and all rows are counted. Where there is none, as in a
    migration that makes views, this costs nothing, however many rows there are. Raises: PerftrackError.
    """
    before: dict[str, int] | None = None

    def look(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal before
        if before is None and not _HARMLESS.match(statement):
            if revision is not None:
                _back_up(path, f"{path}.before-upgrade-from-{revision}")
            before = _row_counts(connection)

    event.listen(connection, "before_cursor_execute", look)
    yield
    if before is not None:
        _refuse_losses(connection, path, before)


def _back_up(path: str, target: str) -> None:
    """Copy the database as it was before this transaction, whole or not at all. Raises: UnusableError."""
    unfinished = f"{target}.new"
    try:
        with suppress(FileNotFoundError):  # of an upgrade that was killed
            os.unlink(unfinished)
        os.close(create(unfinished))
        with (
            readable_errors(unfinished),
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


def _row_counts(connection: Connection) -> dict[str, int]:
    """Return the number of rows of each table."""
    tables = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'alembic_version'"
    ).scalars()
    return {
        name: connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one()  # noqa: S608 - a table's name
        for name in tables
    }


def _refuse_losses(connection: Connection, path: str, before: dict[str, int]) -> None:
    """Raise PerftrackError where a table has fewer rows than *before*, or a row that refers to nothing."""
    after = _row_counts(connection)
    for table, rows in before.items():
        if after.get(table, rows) < rows:
            raise PerftrackError(f"database {path}: upgrading would lose rows of {table}; nothing was changed")
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise PerftrackError(f"database {path}: a row of {broken[0]} refers to nothing; nothing was changed")
