"""All at once what ticks do a piece at a time: condensing, purging, and giving free pages back."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import NamedTuple

from perftrack.progress import Progress, no_progress
from perftrack.storage import tick_sql
from perftrack.storage.condensing import condense
from perftrack.storage.purging import purge, sweep
from perftrack.storage.sqlite_file import connect, free_bytes, pragma, readable_errors
from perftrack.upkeep.copying import answers, contents
from perftrack.upkeep.vacuum import vacuum

# A piece at a time, so that ticks come between: some tens of milliseconds.
_ROWS = 5000
_PAUSE_SECONDS = 0.005
_INCREMENTAL = 2  # PRAGMA auto_vacuum


class Due(NamedTuple):
    """How many recorded samples are to be condensed, and removed."""

    condensed: int
    removed: int


class Purged(NamedTuple):
    """What was done. *orphans*: rows that no sample referred to any more. *free_bytes*: of the file, that will be
    used again.
    """

    samples_before: int
    samples_after: int
    process_rows_before: int
    process_rows_after: int
    orphans: int
    free_bytes: int

    @property
    def is_nothing(self) -> bool:
        """Whether there was nothing to do."""
        before = self.samples_before, self.process_rows_before
        return before == (self.samples_after, self.process_rows_after) and not self.orphans


def due(connection: sqlite3.Connection, condense_before: str, purge_before: str) -> Due:
    """Return what is due. The instants: as the database has them; empty: never. Raises: sqlite3.Error."""
    sql = "SELECT count(*) FROM system_sample WHERE taken_at < ? AND"
    (removed,) = connection.execute(f"{sql} uptime_seconds IS NOT NULL", (purge_before,)).fetchone()
    # whole hours, and what is removed is not condensed
    hour = f"{condense_before[:13]}:" if condense_before else ""
    ordinary = f"{sql} {tick_sql.ORDINARY} AND taken_at >= ?"
    (condensed,) = connection.execute(ordinary, (hour, purge_before)).fetchone()
    return Due(condensed, removed)


def purge_all(
    connection: sqlite3.Connection,
    condense_before: str,
    purge_before: str,
    progress: Progress = no_progress,
) -> Purged:
    """Do what is due, a piece at a time.

    Raises: sqlite3.Error; what was done until then stays, and is as if nothing more had been asked for.
    """
    to_do = due(connection, condense_before, purge_before)
    samples, rows = _counts(connection)
    total, done = sum(to_do), 0
    while purge_before and (removed := purge(connection, purge_before, _ROWS)) is not None:
        done += removed
        progress(done, total)
        time.sleep(_PAUSE_SECONDS)
    while condensed := condense(connection, condense_before, _ROWS):
        done += condensed
        progress(done, total)
        time.sleep(_PAUSE_SECONDS)
    orphans = sweep(connection)
    samples_left, rows_left = _counts(connection)
    return Purged(samples, samples_left, rows, rows_left, orphans, free_bytes(connection))


def release(database: str) -> int:
    """Give free pages of *database* back to the disk, by rewriting it where it was not made for that by perftrack;
    return by how many bytes it is smaller. Raises: PerftrackError.
    """
    with readable_errors(database), closing(connect(database)) as connection:
        if pragma(connection, "auto_vacuum") == _INCREMENTAL:
            free = free_bytes(connection)
            connection.executescript("PRAGMA incremental_vacuum")  # execute() would free a single page
            answers(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
            return free - free_bytes(connection)
    done = vacuum(database)
    return done.before - done.after


def _counts(connection: sqlite3.Connection) -> tuple[int, int]:
    rows = contents(connection).rows
    return rows["system_sample"], rows["process_sample"]
