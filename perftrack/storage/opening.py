"""Opening the database with the schema of this perftrack. Alembic is imported only where it has another or none."""

from __future__ import annotations

import os
import sqlite3

from perftrack.storage import tick_sql
from perftrack.storage.sqlite_file import APPLICATION_ID, connect, readable_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Engine


def open_current(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the database, which is created or upgraded if need be; not where *read_only*, for reading changes nothing.

    Raises: PerftrackError where it is another program's, a newer perftrack's, or cannot be opened; where *read_only*
    also where there is none, or it is an older perftrack's.
    """
    missing = not read_only and not os.path.lexists(path)
    connection = None if missing else connect(path, read_only=read_only)
    try:
        if connection is None or not is_current(connection, path):
            from perftrack.storage import schema

            (schema.refuse_outdated if read_only else schema.upgrade)(path)
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return connection or connect(path)


def is_current(connection: sqlite3.Connection, path: str) -> bool:
    """Return whether the database still has the schema of this perftrack."""
    with readable_errors(path):
        try:
            row = connection.execute(
                "SELECT version_num FROM alembic_version, pragma_application_id WHERE application_id = ?",
                (APPLICATION_ID,),
            ).fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return False
            raise
        return bool(row == (tick_sql.REVISION,))


def current_engine(path: str) -> Engine:
    """Return an engine that reads the database. Raises: PerftrackError as `open_current` does."""
    from perftrack.storage.engine import engine_for

    open_current(path, read_only=True).close()
    return engine_for(path)
