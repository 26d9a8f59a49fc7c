"""Copying a database whole, by SQLite's backup API, https://sqlite.org/backup.html, while ticks go on."""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from perftrack import figures
from perftrack.errors import PerftrackError
from perftrack.progress import Progress, no_progress
from perftrack.storage.sqlite_file import connect, disk_free_bytes, readable_errors
from perftrack.unfinished import Unfinished

# So many pages a step, 8 MiB: between two steps progress is shown, and Ctrl-C is heard.
PAGES = 2000
# Bytes 18 and 19 of a database, https://sqlite.org/fileformat.html: a file that is whole without others; WAL mode.
ALONE, WAL = b"\1\1", b"\2\2"


class Contents(NamedTuple):
    """What a database holds. *rows*: of each table. *newest*: when its newest sample was taken, UTC; None: none."""

    rows: dict[str, int]
    newest: str | None

    @property
    def samples(self) -> int:
        """Return how many samples there are."""
        return self.rows.get("system_sample", 0)


def contents(connection: sqlite3.Connection) -> Contents:
    """Return what the database holds. Raises: sqlite3.Error."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = {name: connection.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchone()[0] for name in tables}  # noqa: S608
    newest = connection.execute("SELECT max(taken_at) FROM system_sample").fetchone()[0] if rows else None
    return Contents(rows, newest)


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def copy(source: sqlite3.Connection, file: Unfinished, progress: Progress = no_progress) -> None:
    """Copy *source* to the empty *file*, and put it on the disk.

    *source* is in a transaction that reads: each step copies of the same snapshot, whatever ticks write, so the copy
    never begins anew and always ends, and in WAL mode no tick waits for it. The copy is not in WAL mode: it is whole
    without a log, and can be read where nothing can be written. Raises: PerftrackError, OSError.
    """
    with readable_errors(file.path), closing(sqlite3.connect(file.path)) as target:
        # It is nobody's before it is whole: no journal, and all of it reaches the disk at once.
        target.execute("PRAGMA journal_mode=OFF")
        target.execute("PRAGMA synchronous=OFF")
        source.backup(target, pages=PAGES, progress=lambda _, remaining, total: progress(total - remaining, total))
    set_mode(file, ALONE)


def set_mode(file: Unfinished, mode: bytes) -> None:
    """Make a database that nobody has open one that is whole by itself (ALONE), or one with a log (WAL)."""
    os.lseek(file.descriptor, 18, os.SEEK_SET)
    os.write(file.descriptor, mode)
    os.fsync(file.descriptor)


def verify_copy(path: str, expected: Contents) -> None:
    """Make sure that the database at *path* is sound and holds what is *expected*. Raises: PerftrackError."""
    with readable_errors(path), closing(connect(path, read_only=True)) as connection:
        verify(connection, path)
        if contents(connection) != expected:
            raise PerftrackError(f"{path} is damaged: it holds something else than what was to be copied")


def verify(connection: sqlite3.Connection, path: str) -> None:
    """Raise PerftrackError where the database at *path* is not sound."""
    problems = problems_of(connection, "integrity_check")
    if not problems and answers(connection, "PRAGMA foreign_key_check"):
        problems = ["a row refers to nothing"]
    if problems:
        raise PerftrackError(f"database {path} is damaged: {problems[0]}")


def error_code(error: PerftrackError) -> int | None:
    """Return which of SQLite's errors *error* explains, https://sqlite.org/rescode.html; None: none of them."""
    cause = getattr(error.__cause__, "orig", error.__cause__)
    return cause.sqlite_errorcode & 0xFF if isinstance(cause, sqlite3.Error) else None


def problems_of(connection: sqlite3.Connection, pragma: str) -> list[str]:
    """Return what `PRAGMA integrity_check` or *quick_check* finds, a line each; none: all is well."""
    rows = answers(connection, f"PRAGMA {pragma}")
    return [" ".join(str(text).split()) for (text,) in rows if text != "ok"]


def answers(connection: sqlite3.Connection, sql: str) -> list[Any]:
    """Return the rows of a statement that may take minutes, which Ctrl-C and SIGTERM end all the same."""
    with ThreadPoolExecutor(1) as pool:
        try:
            return pool.submit(lambda: connection.execute(sql).fetchall()).result()
        except (KeyboardInterrupt, SystemExit):
            connection.interrupt()
            raise


def require_room(folder: str, count: int, what: str) -> None:
    """Raise PerftrackError where less than *count* bytes are free on the disk of *folder*, which *what* needs."""
    try:
        free = disk_free_bytes(folder)
    except OSError:  # not known: then the disk itself says it
        return
    if free < count:
        needed, there = figures.size(count), figures.size(free)
        raise PerftrackError(f"{what} needs {needed} of free disk space in {folder}, and {there} are free: make room")
