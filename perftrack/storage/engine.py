"""SQLAlchemy's door to the database, for everything that reads, imports or migrates. Not imported by the tick."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from perftrack.storage.sqlite_file import connect


def engine_for(path: str, *, write: bool = False, foreign_keys: bool = True) -> Engine:
    """Return an engine for the existing database at *path*.

    *write*: transactions take the write lock at once (BEGIN IMMEDIATE). Otherwise the file is opened read-only, and
    a transaction sees one snapshot. *foreign_keys*: off while tables are rebuilt; SQLite cannot switch it later.
    """

    def opened() -> sqlite3.Connection:
        connection = connect(path, read_only=not write)
        if not foreign_keys:
            connection.execute("PRAGMA foreign_keys=OFF")
        return connection

    engine = create_engine("sqlite://", creator=opened, poolclass=NullPool)

    # sqlite3 would begin a transaction by itself too late (not before DDL or SELECT); ours begins where it is said.
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
