"""What a ship leaves behind in the local database: how far the centre is, when it said so, and what failed.

A hint, for ticks and `perftrack status`, which ask nobody: the centre alone knows. Standard library only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime

from perftrack.errors import PerftrackError
from perftrack.storage.failures import without_numbers
from perftrack.storage.sqlite_file import connect, transaction

# A database that is locked for longer gets its hint at the next ship.
_BUSY_TIMEOUT_SECONDS = 2
_ACKNOWLEDGED = "UPDATE source SET shipped_sample_id = ?, shipped_at = ?, ship_failed_at = NULL, ship_failure = NULL"
_FAILED = "UPDATE source SET ship_failed_at = ?, ship_failure = ?"


@contextmanager
def noted(path: str) -> Iterator[Callable[[int], None]]:
    """Yield a callback for the last sample that the centre acknowledged, and note that at the end.

    A PerftrackError that ends the block is noted too, and goes on from here. The block has closed the database by
    then, so that no snapshot is in the way. Where it is locked, or may not be written to, nothing is noted.
    """
    acknowledged: list[int] = []
    failure: str | None = None
    try:
        yield acknowledged.append
    except PerftrackError as error:
        failure = str(error)
        raise
    finally:
        with suppress(PerftrackError, sqlite3.Error, OSError):
            _note(path, acknowledged[-1:], failure)


def _note(path: str, acknowledged: list[int], failure: str | None) -> None:
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    if not (acknowledged or failure):  # it was interrupted before anything was known
        return
    with closing(connect(path)) as database:
        database.execute(f"PRAGMA busy_timeout = {1000 * _BUSY_TIMEOUT_SECONDS}")
        with transaction(database):
            for sample_id in acknowledged:
                database.execute(_ACKNOWLEDGED, (sample_id, now))
            if failure:
                database.execute(_FAILED, (now, failure))


def last_failure(path: str) -> tuple[str, str] | None:
    """Return when the last ship failed (UTC), and why; None: it did not, or that is not noted."""
    try:
        with closing(connect(path, read_only=True)) as database:
            failed_at, failure = database.execute("SELECT ship_failed_at, ship_failure FROM source").fetchone()
    except (PerftrackError, sqlite3.Error, TypeError):
        return None
    return None if failure is None else (failed_at, failure)


def is_news(before: tuple[str, str] | None, failure: str) -> bool:
    """Return whether *failure* is another than that *before*, whatever its numbers, or of another hour."""
    if before is None:
        return True
    hour = f"{datetime.now(UTC):%Y-%m-%d %H}"
    failed_at, last = before
    return not failed_at.startswith(hour) or without_numbers(last) != without_numbers(failure)
