"""Rewriting the database without the room that deleted rows have left in it."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from typing import NamedTuple

from perftrack.errors import PerftrackError
from perftrack.storage.schema import revision_of
from perftrack.storage.sqlite_file import connect, log_bytes, readable_errors, used_bytes
from perftrack.upkeep.copying import answers, require_room


class Vacuumed(NamedTuple):
    """The sizes of the database with its log, in bytes, and whether the log could be emptied."""

    before: int
    after: int
    is_log_empty: bool


def vacuum(database: str) -> Vacuumed:
    """Rewrite *database*; a tick at once waits, or keeps its sample beside it.

    SQLite writes all that stays into a temporary file and from there into the log: each needs that much room.
    Raises: PerftrackError; BusyError where somebody else writes for too long.
    """
    with readable_errors(database), closing(connect(database)) as connection:
        if revision_of(database) is None:
            raise PerftrackError(f"database {database} is empty: there is nothing to vacuum")
        before = os.path.getsize(database) + log_bytes(database)
        _require_room(os.path.dirname(database), used_bytes(connection))
        answers(connection, "PRAGMA auto_vacuum = INCREMENTAL")  # from now on, as in a database that is new
        answers(connection, "VACUUM")
        ((busy, _, _),) = answers(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
        return Vacuumed(before, os.path.getsize(database) + log_bytes(database), not busy)


def _require_room(folder: str, count: int) -> None:
    temporary = _temporary_folder()
    if os.stat(temporary).st_dev == os.stat(folder).st_dev:
        require_room(folder, 2 * count, "VACUUM")
    else:
        require_room(folder, count, "VACUUM")
        require_room(temporary, count, "VACUUM (in SQLITE_TMPDIR)")


def _temporary_folder() -> str:
    """Return where SQLite puts its temporary files, https://sqlite.org/tempfiles.html."""
    if os.name != "posix":
        return tempfile.gettempdir()
    named = [os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp"]  # noqa: S108
    return next((each for each in named if each and os.path.isdir(each) and os.access(each, os.W_OK | os.X_OK)), ".")
