"""A database in a folder that anybody can write to, as /tmp. Imported by a tick only where that is so."""

from __future__ import annotations

from perftrack.errors import PerftrackError
from perftrack.private import is_ours
from perftrack.storage.database import failures_file, pending_folder


def refuse_others_files(path: str) -> None:
    """Raise PerftrackError where another user has put the database *path*, or one of the files beside it, there.

    Who owns SQLite's log can read and change what is recorded, and who owns a link decides where that goes.
    """
    for file in (path, f"{path}-wal", f"{path}-shm", f"{path}-journal", pending_folder(path), failures_file(path)):
        try:
            ours = is_ours(file)
        except FileNotFoundError:
            continue
        if not ours:
            raise PerftrackError(
                f"database {path}: {file} belongs to another user, and anybody can write to its folder; keep the "
                "database in a folder of your own"
            )
