"""A connection that sees the database as it is at one moment, for answers that take several queries."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Connection

from perftrack.storage.opening import current_engine
from perftrack.storage.sqlite_file import explained


@contextmanager
def snapshot(database: str) -> Generator[Connection]:
    """Yield a connection in one read transaction. Raises: PerftrackError."""
    with explained(database), current_engine(database).connect() as connection, connection.begin():
        yield connection
