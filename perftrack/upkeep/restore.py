"""Putting a backup in the place of the database, while ticks go on: what they wait for is SQLite's own lock.

Not by renaming: a tick that has the database open would go on in the file that is gone, and its log would be taken
for the new one's. The pages of the backup are written as one transaction into the file that is there.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing, suppress
from typing import NamedTuple

from perftrack import figures
from perftrack.errors import BusyError, PerftrackError, UnusableError, UsageError
from perftrack.private import give_to_owner_of, make_folder, sync_folder
from perftrack.progress import Progress, no_progress
from perftrack.storage import schema
from perftrack.storage.sqlite_file import address, connect, is_wal, log_bytes, may_be_ours, pragma, readable_errors
from perftrack.unfinished import remove_leftovers, unfinished_file
from perftrack.upkeep import copying
from perftrack.upkeep.backup import instant
from perftrack.upkeep.copying import Contents
from perftrack.upkeep.opened import Backup, opened

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# A sample is known by its boot, of imported data by its host, and its instant: ids differ from database to database.
_SAMPLES = """
    SELECT coalesce(boot.key, host.name) AS whose, taken_at FROM {0}.system_sample
    JOIN {0}.boot ON boot.id = boot_id JOIN {0}.host ON host.id = host_id
"""
_LACKING = (
    "SELECT count(*), min(taken_at), max(taken_at) FROM "  # noqa: S608 - of constants alone
    f"({_SAMPLES.format('main')} EXCEPT {_SAMPLES.format('restored')})"
)


class Restored(NamedTuple):
    """What was restored, and where the database that was there is kept; None: it is not."""

    held: Contents
    kept: str | None


def restore(database: str, file: str, *, force: bool = False, progress: Progress = no_progress) -> Restored:
    """Make *database* what the backup in *file* is; whoever is killed leaves the one or the other, whole.

    *force*: also where it holds samples that the backup lacks, or is damaged; what was there is kept beside it.
    Raises: PerftrackError; BusyError where somebody else writes for too long.
    """
    if not os.path.exists(file):
        raise UsageError(f"{file} does not exist; name the file of a backup")
    folder = os.path.dirname(database)
    try:
        make_folder(folder)
        remove_leftovers(folder, os.path.basename(database))
        problem = _problem(database)
        with opened(file, database) as backup:
            if problem is not None and not force:
                raise PerftrackError(
                    f"{problem}. What it holds that {file} lacks is not known; --force restores all the same, and "
                    "keeps what is there beside it"
                )
            if problem is not None and not _takes_pages(database):
                return Restored(backup.held, _replace(database, backup))
            schema.make_ready(database)
            return Restored(backup.held, _write(database, backup, file, force=force, progress=progress))
    except OSError as error:
        raise PerftrackError(f"{error.filename or folder}: {error.strerror}") from error


def _problem(database: str) -> UnusableError | None:
    """Return why it is not known what *database* holds: it is damaged, or a newer perftrack's; None: it can be read.

    Raises: PerftrackError where it is nothing of ours, or may not be read.
    """
    if not os.path.lexists(database):
        return None
    try:
        connect(database, read_only=True).close()
    except UnusableError as error:
        if _is_damage(error, database):
            return error
        raise
    try:
        schema.revision_of(database)
    except UnusableError as error:
        if error.__cause__ is None or _is_damage(error, database):
            return error
        raise
    return None


def _is_damage(error: UnusableError, database: str) -> bool:
    return copying.error_code(error) in _DAMAGED and may_be_ours(database)


def _takes_pages(database: str) -> bool:
    """Return whether SQLite can still write into the file: its header is whole, and its list of tables."""
    try:
        with readable_errors(database), closing(connect(database)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("ROLLBACK")
    except UnusableError as error:
        if _is_damage(error, database):
            return False
        raise
    return True


def _write(database: str, backup: Backup, file: str, *, force: bool, progress: Progress) -> str | None:
    """Write the pages of *backup* into *database*, in one transaction; return where what was there is kept.

    SQLite takes the write lock with the first page: what is there then is what there will be, until the last one.
    """
    kept: str | None = None
    is_judged = False
    with (
        readable_errors(database),
        closing(connect(database)) as target,
        closing(connect(database, read_only=True)) as before,
    ):
        if not is_wal(target):  # it is a copy itself; without a log, what is there could not be read meanwhile
            schema.switch_to_wal(target)

        def look(status: int, remaining: int, total: int) -> None:
            nonlocal kept, is_judged
            if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise BusyError(f"database {database} is locked by another program; try again later")
            if not is_judged:
                is_judged = True
                kept = _judge(before, database, backup, file, force=force)
            progress(total - remaining, total)

        pages = pragma(backup.connection, "page_count")
        backup.connection.backup(target, pages=max(1, min(copying.PAGES, pages // 2)), progress=look)
        with suppress(sqlite3.Error):
            target.execute("PRAGMA busy_timeout = 0")
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return kept


def _judge(before: sqlite3.Connection, database: str, backup: Backup, file: str, *, force: bool) -> str | None:
    """Return where what is there is kept, where *force*; None: it is not, and nothing is lost.

    Raises: PerftrackError where something would be.
    """
    before.execute("ATTACH ? AS restored", (address(backup.path, read_only=True),))
    before.execute("BEGIN")
    folder = os.path.dirname(database)
    room = backup.size_bytes + max(0, backup.size_bytes - os.path.getsize(database))
    try:
        if before.execute("SELECT count(*) FROM main.sqlite_master").fetchone() == (0,):
            copying.require_room(folder, room, "restoring")
            return None
        samples, first, last = before.execute(_LACKING).fetchone()
        reason = (
            f"database {database} holds {figures.count(samples, 'sample')} that {file} lacks, "
            f"{f'of {first[:19]}' if samples == 1 else f'from {first[:19]} to {last[:19]}'} UTC"
            if samples
            else ""
        )
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 1) & 0xFF not in (*_DAMAGED, sqlite3.SQLITE_ERROR):
            raise
        reason = f"database {database} is damaged, so that what it holds that {file} lacks is not known"
    if not force:
        if reason:
            raise PerftrackError(f"{reason}: --force restores all the same, and keeps what is there beside it")
        copying.require_room(folder, room, "restoring")
        return None
    copying.require_room(folder, room + os.path.getsize(database), "restoring, with what is there kept,")
    return _keep(before, database)


def _keep(before: sqlite3.Connection, database: str) -> str:
    """Copy the database as it is, damaged as it may be, and return where to."""
    folder, name = os.path.split(database)
    kept = _kept(database)
    with unfinished_file(folder, name) as file:
        copying.copy(before, file)
        give_to_owner_of(database, file.path)
        file.take_place_of(kept)
    sync_folder(folder)
    return kept


def _replace(database: str, backup: Backup) -> str:
    """Put a copy of *backup* in the place of a file that is no database any more, which no tick can write into.

    Return where that one is kept, with its log.
    """
    database = os.path.realpath(database)
    folder, name = os.path.split(database)
    kept = _kept(database)
    copying.require_room(folder, backup.size_bytes, "restoring")
    with unfinished_file(folder, name) as file:
        copying.copy(backup.connection, file)
        copying.verify_copy(file.path, backup.held)
        copying.set_mode(file, copying.WAL)
        give_to_owner_of(database, file.path)
        os.chmod(file.path, stat.S_IMODE(os.stat(database).st_mode))
        try:
            os.link(database, kept)
        except OSError:  # no such links here
            shutil.copy2(database, kept)
        if log_bytes(database):
            os.rename(f"{database}-wal", f"{kept}-wal")
        with suppress(FileNotFoundError):
            os.unlink(f"{database}-shm")
        file.take_place_of(database)
    sync_folder(folder)
    return kept


def _kept(database: str) -> str:
    """Return a name beside *database* that nothing has."""
    name = kept = f"{database}.before-restore-{instant()}"
    number = 1
    while os.path.lexists(kept):
        number += 1
        kept = f"{name}-{number}"
    return kept
