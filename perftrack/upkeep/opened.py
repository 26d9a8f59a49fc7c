"""A backup as it can take the place of a database: verified, and with the schema of this perftrack."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

from perftrack.errors import PerftrackError
from perftrack.storage import schema
from perftrack.storage.snapshot import require_unchanged
from perftrack.storage.sqlite_file import connect, pragma, readable_errors
from perftrack.unfinished import unfinished_file
from perftrack.upkeep import copying
from perftrack.upkeep.copying import Contents


class Backup(NamedTuple):
    """A backup that is sound, of this perftrack's schema, and in a transaction that reads."""

    path: str
    connection: sqlite3.Connection
    held: Contents
    size_bytes: int


@contextmanager
def opened(file: str, database: str) -> Generator[Backup]:
    """Open the backup in *file*, or a copy beside *database* where that must be brought up to date first.

    Then no tick, of which one may be between reading the revision and writing, meets an older schema.
    """
    with require_unchanged(file), readable_errors(file), closing(connect(file, read_only=True)) as source:
        revision = schema.revision_of(file)
        if revision is None:
            raise PerftrackError(f"{file} is empty: it is no backup")
        source.execute("BEGIN")
        copying.verify(source, file)
        page_bytes = _page_bytes(database)
        size = os.path.getsize(file)
        if revision == schema.head_revision() and pragma(source, "page_size") == page_bytes:
            yield Backup(file, source, copying.contents(source), size)
            return
        folder, name = os.path.split(database)
        copying.require_room(folder, 3 * size, "to bring the backup up to date")
        with unfinished_file(folder, name) as copied:
            copying.copy(source, copied)
            with readable_errors(copied.path), closing(connect(copied.path)) as connection:
                if pragma(connection, "page_size") != page_bytes:
                    connection.execute(f"PRAGMA page_size = {page_bytes}")
                    connection.execute("VACUUM")
            schema.upgrade(copied.path)
            with readable_errors(copied.path), closing(connect(copied.path, read_only=True)) as upgraded:
                upgraded.execute("BEGIN")
                yield Backup(copied.path, upgraded, copying.contents(upgraded), os.path.getsize(copied.path))


def _page_bytes(database: str) -> int:
    """Return the size of the database's pages, which cannot change in WAL mode, or of those of a new one."""
    with suppress(PerftrackError, sqlite3.Error), closing(connect(database, read_only=True)) as connection:
        return pragma(connection, "page_size")
    with closing(sqlite3.connect(":memory:")) as connection:
        return pragma(connection, "page_size")
