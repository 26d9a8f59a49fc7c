"""A backup: one file that is whole by itself, made while ticks go on, and verified before it has its name."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime
from typing import NamedTuple

from perftrack.errors import PerftrackError, UsageError
from perftrack.private import sync_folder
from perftrack.progress import Progress, no_progress
from perftrack.storage.schema import revision_of
from perftrack.storage.snapshot import require_unchanged
from perftrack.storage.sqlite_file import connect, pragma, readable_errors
from perftrack.unfinished import remove_leftovers, unfinished_file
from perftrack.upkeep import copying
from perftrack.upkeep.copying import Contents


class Backup(NamedTuple):
    """A backup that was made: where, how large, and what it holds."""

    path: str
    size_bytes: int
    held: Contents


def instant() -> str:
    """Return now, UTC, as it is in names of files: 20261120T143005Z."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def target_of(database: str, file: str) -> str:
    """Return where a backup to *file* goes: in a folder, it is called as the database, with the instant."""
    if os.path.isdir(file):
        name, ending = os.path.splitext(os.path.basename(database))
        file = os.path.join(file, f"{name}-{instant()}{ending}")
    return os.path.realpath(file)


def back_up(database: str, target: str, *, force: bool = False, progress: Progress = no_progress) -> Backup:
    """Copy *database* to *target*, 0600: whoever is killed leaves what was there, or the whole backup.

    *force*: also where a file is there. Raises: PerftrackError.
    """
    _refuse(target, force=force)
    folder, name = os.path.split(target)
    try:
        remove_leftovers(folder)
        with (
            require_unchanged(database),
            readable_errors(database),
            closing(connect(database, read_only=True)) as source,
        ):
            if revision_of(database) is None:
                raise PerftrackError(f"database {database} is empty: there is nothing to back up")
            source.execute("BEGIN")
            held = copying.contents(source)
            size = pragma(source, "page_count") * pragma(source, "page_size")
            copying.require_room(folder, size, "a backup")
            with unfinished_file(folder, name) as file:
                copying.copy(source, file, progress)
                copying.verify_copy(file.path, held)
                _refuse(target, force=force)  # somebody may have been quicker
                file.take_place_of(target)
            sync_folder(folder)
    except OSError as error:
        raise PerftrackError(f"cannot write {target}: {error.strerror}") from error
    return Backup(target, os.path.getsize(target), held)


def _refuse(target: str, *, force: bool) -> None:
    if not os.path.isdir(os.path.dirname(target)):
        raise UsageError(f"{target}: there is no folder {os.path.dirname(target)}")
    if os.path.exists(target) and not os.path.isfile(target):
        raise UsageError(f"{target} is no file, which a backup is; name one, or a folder")
    if os.path.exists(target) and not force:
        raise UsageError(f"{target} is there already; --force puts the backup in its place")
