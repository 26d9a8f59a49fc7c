"""A connection that sees the database as it is at one moment, for answers that take several queries."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Connection

from perftrack.errors import BusyError
from perftrack.storage.opening import current_engine
from perftrack.storage.sqlite_file import is_immutable, readable_errors


@contextmanager
def snapshot(database: str) -> Generator[Connection]:
    """Yield a connection in one read transaction. Raises: PerftrackError.

    One in a folder where this user cannot write, of which SQLite makes no snapshot, may change: BusyError at the end.
    """
    with (
        require_unchanged(database),
        readable_errors(database),
        current_engine(database).connect() as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def require_unchanged(database: str) -> Generator[None]:
    """Raise BusyError at the end where SQLite makes no snapshot of *database*, and it was written meanwhile."""
    before = _state(database) if os.path.exists(database) and is_immutable(database) else None
    try:
        yield
    finally:
        if before is not None and _state(database) != before:
            raise BusyError(f"database {database} was written while it was read; try again")


def _state(database: str) -> list[int]:
    found = os.stat(database)
    return [found.st_ino, found.st_size, found.st_mtime_ns, os.path.exists(f"{database}-wal")]
