"""A database that is a copy, by cp, `.backup`, VACUUM INTO or `.dump`: made private and put into WAL mode again.

Not imported by a tick whose database is as it was made. That its application_id is lost, schema.py sees.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress

from perftrack.storage.sqlite_file import is_private, is_wal


def repair(connection: sqlite3.Connection, path: str, tell: Callable[[str], None]) -> None:
    """Make what can be made of the database at *path*, and *tell* in a line what was.

    What cannot, as long as it is being read or on such a file system, is left for the next time without a word.
    """
    done = []
    if not is_private(path):
        with suppress(OSError):  # only its owner may
            for file in (path, f"{path}-wal", f"{path}-shm"):
                if os.path.exists(file):
                    os.chmod(file, 0o600)
        done += ["private (0600)"] * is_private(path)
    if not is_wal(connection):
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode=WAL")
            done += ["in WAL mode"] * is_wal(connection)
    if done:
        tell(f"database {path} was restored from a copy, it seems: it is {' and '.join(done)} again")
