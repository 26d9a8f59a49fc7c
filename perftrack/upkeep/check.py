"""Looking at everything a database needs to be healthy. It reads alone: nothing is repaired, no lock keeps a tick."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime

from perftrack import private
from perftrack.errors import PerftrackError
from perftrack.storage import schema
from perftrack.storage.snapshot import require_unchanged
from perftrack.storage.sqlite_file import connect, may_be_ours, readable_errors, refuse_old_sqlite
from perftrack.upkeep import surroundings
from perftrack.upkeep.copying import ALONE, answers, error_code, problems_of
from perftrack.upkeep.surroundings import Finding

PROBLEMS_SHOWN = 3
_RESTORE = "`perftrack database restore FILE` puts a backup in its place"
_NAMES = ("integrity", "keys", "revision", "mode")


def check(database: str, disk_floor_mib: int, *, quick: bool = False) -> list[Finding]:
    """Return what is right and what is wrong with *database*, on which nothing is changed.

    *quick*: without comparing each index and key with what it points to, which takes longest. What a user may not
    look at is neither. Raises: PerftrackError where there is no database; BusyError where it was written meanwhile
    and SQLite makes no snapshot of it.
    """
    refuse_old_sqlite()
    if not os.path.lexists(database):
        connect(database, read_only=True)
    # before SQLite opens it, which for root gives its log to the owner
    whose = list(surroundings.ownership(database)) if os.name == "posix" and os.path.exists(database) else []
    found, recorder, recorded_at = _inside(database, quick=quick)
    if recorder is not None and os.name == "posix":
        whose.insert(1, surroundings.recorder(database, recorder))
    return [*found, *whose, *surroundings.findings(database, disk_floor_mib, recorded_at)]


def _inside(database: str, *, quick: bool) -> tuple[list[Finding], str | None, datetime | None]:
    """Return what is found in the file itself, and who took the newest sample and when, if that is known."""
    try:
        connect(database, read_only=True).close()
        header = private.read(os.path.realpath(database), 100)
    except (PerftrackError, OSError) as error:
        if not os.path.exists(database):
            raise
        unknown = [Finding(name, None, "not looked at, for the database cannot be read") for name in _NAMES[1:]]
        return [Finding(_NAMES[0], False, _reason(error, database)), *unknown], None, None
    with require_unchanged(database), closing(connect(database, read_only=True)) as connection:
        sound = _guarded("integrity", database, lambda: _integrity(connection, quick=quick))
        if sound.ok:
            keys = _guarded("keys", database, lambda: _keys(connection, quick=quick))
        else:
            keys = Finding("keys", None, "not looked at, for the database is not sound")
        revision = _guarded("revision", database, lambda: _revision(database))
        mode = _mode(header) if revision.ok else Finding("mode", None, "not looked at until the revision is right")
        return [sound, keys, revision, mode], *_newest(connection)


def _guarded(name: str, database: str, look: Callable[[], tuple[bool | None, str]]) -> Finding:
    try:
        with readable_errors(database):
            return Finding(name, *look())
    except PerftrackError as error:
        return Finding(name, False, _reason(error, database))


def _reason(error: PerftrackError | OSError, database: str) -> str:
    """Return why *database* cannot be read, and what to do; one that begins like none may be ours all the same."""
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror}"
    code = error_code(error)
    if code == sqlite3.SQLITE_NOTADB and may_be_ours(database):
        return f"damaged: it does not begin as a SQLite database does. Keep it, and {_RESTORE}"
    text = str(error).removeprefix(f"database {database}: ")
    return f"{text}; {_RESTORE}" if code == sqlite3.SQLITE_CORRUPT else text


def _integrity(connection: sqlite3.Connection, *, quick: bool) -> tuple[bool, str]:
    pragma = "quick_check" if quick else "integrity_check"
    problems = problems_of(connection, pragma)
    if not problems:
        return True, f"PRAGMA {pragma} finds nothing"
    more = len(problems) - PROBLEMS_SHOWN
    found = "; ".join(problems[:PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    return False, f"damaged: {found}. Keep it, and {_RESTORE}"


def _keys(connection: sqlite3.Connection, *, quick: bool) -> tuple[bool | None, str]:
    if quick:
        return None, "not looked at, with --quick"
    broken: dict[tuple[str, str], int] = {}
    for table, _, parent, _ in answers(connection, "PRAGMA foreign_key_check"):
        broken[table, parent] = broken.get((table, parent), 0) + 1
    if not broken:
        return True, "every row that another refers to is there"
    listed = ", ".join(f"{count:,} of {table} to {parent}" for (table, parent), count in broken.items())
    return False, f"rows refer to what is not there: {listed}; {_RESTORE}"


def _revision(database: str) -> tuple[bool, str]:
    revision, head = schema.revision_of(database), schema.head_revision()
    if revision is None:
        return False, "it is empty: `perftrack record` fills it; if it held samples, restore a backup first"
    if revision != head:
        return False, (
            f"{revision}, of an older perftrack: `perftrack database upgrade` brings it to {head}, and so does "
            "`perftrack record`"
        )
    return True, revision


def _mode(header: bytes) -> Finding:
    # of the file: a connection to one that nobody may write to says something else
    if header[18:20] == ALONE:
        return Finding(
            "mode",
            False,
            "not in WAL mode, as copies are, so that readers and ticks wait for each other: `perftrack record` or "
            "`perftrack database upgrade` puts it right",
        )
    return Finding("mode", True, "WAL")


def _newest(connection: sqlite3.Connection) -> tuple[str | None, datetime | None]:
    """Return who took the newest sample, and when; None: it is not known, as where an older perftrack did.

    When is not known either where it is in the future.
    """
    newest = """
SELECT username, taken_at, taken_at <= strftime('%Y-%m-%d %H:%M:%f', 'now')
FROM system_sample JOIN recorder ON recorder.id = recorder_id ORDER BY taken_at DESC LIMIT 1"""
    with suppress(sqlite3.Error):
        row = connection.execute(newest).fetchone()
        if row is not None:
            username, taken_at, is_past = row
            return str(username), datetime.fromisoformat(f"{taken_at}+00:00") if is_past else None
    return None, None
