"""The SQLite file: opening it, and writing one sample into it. Standard library only: every tick pays for it."""

from __future__ import annotations

import datetime
import os
import sqlite3
from contextlib import contextmanager
from operator import itemgetter

from perftrack.errors import PerftrackError, UnusableError, explain
from perftrack.sample import COMPUTED_BOOT_KEY, CPU_COUNTERS, Baseline
from perftrack.storage import tick_sql

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import Any

    from perftrack.rows import BootRow, HostRow, RecorderRow
    from perftrack.sample import Sample

# An import of millions of rows holds the lock for some seconds; the next tick of a crontab is due in a minute.
BUSY_TIMEOUT_SECONDS = 30.0
# "perf", by which file(1) and perftrack know such a file; PRAGMA application_id.
APPLICATION_ID = 0x70657266
# Boot times that a system computes from its clock wander by a second or two; two real boots are further apart.
SAME_BOOT_SECONDS = 60
_FILE_TYPE, _REGULAR_FILE = 0o170000, 0o100000  # S_IFMT and S_IFREG, without importing stat
_ANYBODY_WRITES = 0o002  # S_IWOTH
_values = itemgetter(*tick_sql.PROCESS_SAMPLE_COLUMNS)


def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the existing database at *path*, in autocommit mode: transactions are written out.

    Raises: PerftrackError where there is no such file or it cannot be opened.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise UnusableError(f"database {path} is a link to {os.readlink(path)}, which does not exist") from None
        raise PerftrackError(
            f"no database at {path}; `perftrack record` creates it, --database names another"
        ) from None
    except OSError as error:
        raise UnusableError(f"database {path} cannot be opened: {error.strerror}") from None
    if found.st_mode & _FILE_TYPE != _REGULAR_FILE:  # opening a named pipe would wait for ever
        raise PerftrackError(f"database {path}: it is not a file; name another with --database")
    if found.st_size == 0:
        raise UnusableError(
            f"database {path} is empty (0 bytes): if it held samples, restore it from a copy; if it is new (sqlite3 "
            "makes such a file where there is none), remove it"
        )
    location = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23").replace(os.sep, "/")
    uri = f"file:{'/' if os.name == 'nt' else ''}{location}?mode={'ro' if read_only else 'rw'}"
    if not read_only and os.name == "posix" and os.stat(os.path.dirname(path) or ".").st_mode & _ANYBODY_WRITES:
        from perftrack.storage.shared_folder import refuse_others_files

        refuse_others_files(path)
    with explained(path):
        connection = sqlite3.connect(uri, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, uri=True)
        # What SQLite does not keep in the file, as it does WAL mode: commits survive a power cut, keys are checked.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    return connection


def open_current(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the database with the schema of this perftrack: upgraded if need be, and created unless *read_only*.

    Raises: PerftrackError where it is another program's, a newer perftrack's, or cannot be opened.
    """
    missing = not read_only and not os.path.lexists(path)
    connection = None if missing else connect(path, read_only=read_only)
    try:
        if connection is None or not is_current(connection, path):
            from perftrack.storage.schema import upgrade

            upgrade(path)
            connection = connection or connect(path)
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return connection


def pending_folder(path: str) -> str:
    """Return the folder of what cannot be in the database at *path* (storage/pending.py)."""
    return f"{path}-pending"


def failures_file(path: str) -> str:
    """Return the file of the failures to record into the database at *path* (storage/failures.py)."""
    return f"{path}-failures"


def file_id(path: str) -> tuple[int, int] | None:
    """Return what tells the file at *path* from one that takes its place, or None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def is_current(connection: sqlite3.Connection, path: str) -> bool:
    """Return whether the database still has the schema of this perftrack."""
    return _revision(connection, path) == tick_sql.REVISION


def data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes with every commit of another connection, https://sqlite.org/pragma.html."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _revision(connection: sqlite3.Connection, path: str) -> str | None:
    with explained(path):
        try:
            row = connection.execute(
                "SELECT version_num FROM alembic_version, pragma_application_id WHERE application_id = ?",
                (APPLICATION_ID,),
            ).fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
        return row and str(row[0])


@contextmanager
def explained(path: str) -> Generator[None]:
    """Turn an error of SQLite, also as SQLAlchemy wraps it, into the one line that a user of *path* sees."""
    try:
        yield
    except Exception as error:
        cause = getattr(error, "orig", error)
        if isinstance(cause, sqlite3.Error):
            raise explain(cause, path) from error
        raise


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Write all or nothing. The lock is taken at once, so that what was read inside cannot be out of date."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class KnownIds:
    """The ids that the last sample of a loop needed: they hold as long as nobody else writes to the database."""

    __slots__ = ("boots", "data_version", "filters", "processes", "recorders")

    def __init__(self) -> None:
        self.forget()

    def forget(self, data_version: int = -1) -> None:
        """Begin anew, in a database of that *data_version*."""
        self.data_version = data_version
        self.boots: dict[tuple[str, str | None], int] = {}
        self.recorders: dict[tuple[str, str], int] = {}
        self.filters: dict[str, int] = {}
        self.processes: dict[tuple[Any, ...], int] = {}


def insert_sample(connection: sqlite3.Connection, sample: Sample, known: KnownIds | None = None) -> None:
    """Write one sample in one transaction. Raises: sqlite3.Error, and then nothing is written.

    *known*: what the sample before needed on this connection; brought up to date.
    """
    if known is None:
        with transaction(connection):
            add_sample(connection, sample, KnownIds())
        return
    try:
        with transaction(connection):
            version = data_version(connection)
            if version != known.data_version:
                known.forget(version)
            add_sample(connection, sample, known)
    except BaseException:
        known.forget()
        raise


def add_sample(
    connection: sqlite3.Connection, sample: Sample, known: KnownIds, *, tried_before: bool = False
) -> None:
    """Write one sample inside a transaction. Raises: sqlite3.Error.

    *tried_before*: it may be there already, and then it is left as it is. One of another tick at the same moment
    cannot be distinguished from it: two that start together can read the same of everything.
    """
    boot = sample.host["name"], sample.boot["key"]
    boot_id = known.boots.get(boot) or _boot_id(connection, sample)
    ids = {"boot_id": boot_id, "recorder_id": _recorder_id(connection, sample.recorder, known)}
    sample_id = _insert_system_sample(connection, {**sample.system, **ids}, tried_before=tried_before)
    if sample_id is None:
        return
    known.boots[boot] = boot_id
    processes: dict[tuple[Any, ...], int] = {}
    values = []
    for row in sample.processes:
        text = row["filter"]
        if text not in known.filters:
            known.filters[text] = _found_or_new(
                connection, tick_sql.SELECT_NAME_FILTER, tick_sql.INSERT_NAME_FILTER, {"text": text}
            )
        identity = boot_id, row["pid"], row["started_ticks"], row["name"]
        process_id = processes[identity] = known.processes.get(identity) or _found_or_new(
            connection, tick_sql.SELECT_PROCESS, tick_sql.INSERT_PROCESS, {**row, "boot_id": boot_id}
        )
        values.append((sample_id, process_id, known.filters[text], *_values(row)))
    known.processes = processes
    connection.executemany(tick_sql.INSERT_PROCESS_SAMPLE, values)


def _insert_system_sample(connection: sqlite3.Connection, row: dict[str, Any], *, tried_before: bool) -> int | None:
    """Return the id of *row*, which is now in system_sample, or None where *tried_before* and it was there already.

    A clock that was set back, or two ticks that start together, can give two samples of a boot the same microsecond:
    the second gets the next one.
    """
    while True:
        try:
            return _insert(connection, tick_sql.INSERT_SYSTEM_SAMPLE, row)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise
        if tried_before and _id(connection, tick_sql.SELECT_SAME_SAMPLE, row) is not None:
            return None
        row = row | {name: _a_microsecond_later(row[name]) for name in ("taken_at", "taken_at_local")}


def _a_microsecond_later(instant: str) -> str:
    later = datetime.datetime.fromisoformat(instant) + datetime.timedelta(microseconds=1)
    return later.isoformat(" ", "microseconds")


def stored_baseline(connection: sqlite3.Connection, host: HostRow, boot: BootRow) -> Baseline | None:
    """Return the counters of the newest sample of *boot* on *host*, or None where there is none."""
    host_id = _id(connection, tick_sql.SELECT_HOST, host)
    boot_id = None if host_id is None else _find_boot(connection, host_id, boot)
    if boot_id is None:
        return None
    newest = connection.execute(tick_sql.SELECT_NEWEST_SAMPLE, {"boot_id": boot_id}).fetchone()
    if newest is None:
        return None
    sample_id, uptime_seconds, *counters = newest
    cpu: Any = dict(zip(CPU_COUNTERS, counters, strict=True))
    processes = connection.execute(tick_sql.SELECT_PROCESS_COUNTERS, {"sample_id": sample_id})
    return Baseline(
        uptime_seconds, cpu, {(pid, started): (cpu_ms, uptime_seconds) for pid, started, cpu_ms in processes}
    )


def _boot_id(connection: sqlite3.Connection, sample: Sample) -> int:
    host_id = _found_or_new(connection, tick_sql.SELECT_HOST, tick_sql.INSERT_HOST, sample.host)
    found = _find_boot(connection, host_id, sample.boot)
    return found or _insert(connection, tick_sql.INSERT_BOOT, {**sample.boot, "host_id": host_id})


def _find_boot(connection: sqlite3.Connection, host_id: int, boot: BootRow) -> int | None:
    """Return the id of *boot*: by its key, or where that is made from the boot time, by nearness in time."""
    key, booted_at = boot["key"], boot["booted_at"]
    found = _id(connection, tick_sql.SELECT_BOOT, {"host_id": host_id, "key": key})
    if found is None and booted_at is not None and key is not None and key.startswith(COMPUTED_BOOT_KEY):
        newest = connection.execute(tick_sql.SELECT_NEWEST_BOOT, {"host_id": host_id}).fetchone()
        if newest is not None and abs(_seconds(newest[1]) - _seconds(booted_at)) < SAME_BOOT_SECONDS:
            return int(newest[0])
    return found


def _seconds(instant: str) -> float:
    return datetime.datetime.fromisoformat(instant + "+00:00").timestamp()


def _recorder_id(connection: sqlite3.Connection, recorder: RecorderRow | None, known: KnownIds) -> int | None:
    if recorder is None:
        return None
    key = recorder["username"], recorder["selection"]
    if key not in known.recorders:
        known.recorders[key] = _found_or_new(connection, tick_sql.SELECT_RECORDER, tick_sql.INSERT_RECORDER, recorder)
    return known.recorders[key]


def _found_or_new(connection: sqlite3.Connection, select: str, insert: str, row: Mapping[str, Any]) -> int:
    found = _id(connection, select, row)
    return _insert(connection, insert, row) if found is None else found


def _id(connection: sqlite3.Connection, select: str, row: Mapping[str, Any]) -> int | None:
    found = connection.execute(select, row).fetchone()
    return None if found is None else int(found[0])


def _insert(connection: sqlite3.Connection, insert: str, row: Mapping[str, Any]) -> int:
    row_id = connection.execute(insert, row).lastrowid
    assert row_id is not None
    return row_id
