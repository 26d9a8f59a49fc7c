"""What `export`, `plot` and dashboards are written to: no file that is perftrack's own, however it is spelled."""

from __future__ import annotations

import os
import stat
from itertools import combinations

from perftrack.errors import UsageError
from perftrack.settings import Settings, expand
from perftrack.storage.sqlite_file import pending_folder, side_files


def target(path: str, folder: str | None = None) -> str:
    """Return where what is named *path* is written to, a relative one below *folder*; - is stdout. Raises: UsageError
    where this user has no home folder.
    """
    return path if path == "-" else os.path.join(folder or "", expand(path, "the file's name"))


def refuse_own_files(settings: Settings, *targets: str) -> None:
    """Raise UsageError where one of *targets* is the database, a file of it, the config file, or another of them."""
    own = {settings.database: "the database", settings.config_file: "the config file"}
    own |= dict.fromkeys(side_files(settings.database), "a file of the database")
    pending = os.path.realpath(pending_folder(settings.database))
    for target in targets:
        what = next((what for file, what in own.items() if file and _is_same(target, file)), "")
        if what or os.path.dirname(_spelled_out(target)) == pending:
            what = what or "in a folder of the database"
            raise UsageError(f"{target} is {what}, which is not to be overwritten; name another file")
    for one, other in combinations(targets, 2):
        if _is_same(one, other):
            raise UsageError("both files would go to the same place; name two with --system-csv and --process-csv")


def _is_same(one: str, other: str) -> bool:
    if _spelled_out(one) == _spelled_out(other):
        return True
    try:
        first, second = (os.stat("/dev/stdout" if path == "-" else path) for path in (one, other))
    except OSError:  # what is not there yet is nothing else
        return False
    return stat.S_ISREG(first.st_mode) and os.path.samestat(first, second)


def _spelled_out(path: str) -> str:
    return os.path.realpath("/dev/stdout" if path == "-" else path)
