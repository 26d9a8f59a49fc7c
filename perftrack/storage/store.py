"""The database of a tick or a loop: opened when needed, and anew where it was moved, replaced or upgraded.

What is in the way of a sample never keeps it from being taken: it is raised when the sample is there, and kept.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress

from perftrack.errors import PassingError, PerftrackError, UnusableError
from perftrack.storage import insertion, opening, retention, sqlite_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from perftrack.rows import BootRow, HostRow, RecorderRow
    from perftrack.sample import Baseline, Sample
    from perftrack.settings import Settings

# By this, a line of storage/failures.py says that its failure is not over.
_NOT_OVER = b'"recovered_at": null'


class Store:
    """Takes one sample after the other: `prepare`, `baseline` where it is needed, `insert`."""

    def __init__(
        self,
        settings: Settings,
        tell: Callable[[str], None] = lambda line: None,
        loop_lock_seconds: float | None = None,
    ) -> None:
        """*tell* is given lines about what was put right. *loop_lock_seconds*: None is a single tick; how long a loop
        waits for a lock once it has taken a sample. Before that it does not wait, so that the sample is in time.
        """
        self.path = settings.database
        self._settings = settings
        self._tell = tell
        self._is_loop = loop_lock_seconds is not None
        self._lock_seconds = sqlite_file.BUSY_TIMEOUT_SECONDS if loop_lock_seconds is None else loop_lock_seconds
        self._known = insertion.KnownIds() if self._is_loop else None
        # What `prepare` or `baseline` has found in the way of the next sample, which is taken all the same: `insert`
        # raises it.
        self._problem: UnusableError | None = None
        self._connection: sqlite3.Connection | None = None
        self._file_id: tuple[int, int] | None = None
        self._data_version: int | None = None  # of which it was current

    def prepare(self) -> None:
        """Make ready for a sample: open, and insert what could not be inserted before.

        Raises: PerftrackError, but for an UnusableError of a database that may be ours, which `insert` will raise.
        """
        self._problem = None
        try:
            connection = self._current_connection()
            if os.path.isdir(sqlite_file.pending_folder(self.path)):
                from perftrack.storage import pending

                refuse_nearly_full_disk(self.path, self._settings.disk_floor_mib)
                with self._waiting(connection, 0 if self._is_loop else self._lock_seconds):
                    pending.insert(connection, self.path, self._tell)
        except UnusableError as error:
            if not sqlite_file.may_be_ours(self.path):
                raise PerftrackError(str(error)) from error
            self._problem = error

    def baseline(
        self, host: HostRow, boot: BootRow, recorder: RecorderRow, until_uptime_seconds: float
    ) -> Baseline | None:
        """Return what `insertion.stored_baseline` does; None also where the database cannot be read."""
        if self._problem is None:
            assert self._connection is not None
            try:
                with sqlite_file.readable_errors(self.path):
                    return insertion.stored_baseline(self._connection, host, boot, recorder, until_uptime_seconds)
            except UnusableError as error:
                self._problem = error
        return None

    def insert(self, sample: Sample) -> None:
        """Write *sample* into the database that is there now.

        Raises: PerftrackError, and then nothing is written; of an UnusableError, the sample is kept for the next tick
        unless the text says that it is lost.
        """
        try:
            if self._problem is not None:
                raise self._problem
            self._insert(sample)
        except UnusableError as error:
            from perftrack.storage import pending

            raise pending.keep(self.path, sample, error) from error

    def keep_bounded(self) -> None:
        """Condense or purge a piece of what is due. What is in the way of that may not be at the next tick.

        Raises: UnusableError for a damaged database.
        """
        assert self._connection is not None
        with sqlite_file.readable_errors(self.path), suppress(sqlite3.OperationalError):
            if retention.keep_bounded(self._connection, self.path, self._settings) and self._known is not None:
                self._known.forget()

    def close(self) -> None:
        """Close, with everything in the database file itself."""
        if self._connection is not None:
            if not self._is_in_place():  # its log would stay, and be taken for that of the next one of this name
                with suppress(sqlite3.Error):
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()
            self._connection = self._data_version = None

    def _insert(self, sample: Sample) -> None:
        refuse_nearly_full_disk(self.path, self._settings.disk_floor_mib)
        if not self._is_in_place():  # SQLite would go on writing into the file that was moved away
            self.close()
            self._open()
        assert self._connection is not None
        with sqlite_file.readable_errors(self.path):
            insertion.insert_sample(self._connection, sample, self._known)
        if sqlite_file.log_bytes(self.path) > sqlite_file.LOG_BYTES_MAX:
            self._empty_log(self._connection)
        if _has_failed(self.path):
            from perftrack.storage import failures

            failures.note_success(self.path)

    def _empty_log(self, connection: sqlite3.Connection) -> None:
        """Try to make the write-ahead log empty, without waiting for whoever reads: the sample is safe as it is."""
        with suppress(sqlite3.Error), self._waiting(connection, 0):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _current_connection(self) -> sqlite3.Connection:
        if self._connection is not None and not (self._is_in_place() and self._is_current(self._connection)):
            self.close()
        return self._connection or self._open()

    def _open(self) -> sqlite3.Connection:
        if not os.path.lexists(self.path):
            refuse_nearly_full_disk(self.path, self._settings.disk_floor_mib)
        self._connection = opening.open_current(self.path)
        self._file_id = sqlite_file.file_id(self.path)
        _set_lock_seconds(self._connection, self._lock_seconds)
        with sqlite_file.readable_errors(self.path):
            if not (sqlite_file.is_private(self.path) and sqlite_file.is_wal(self._connection)):
                from perftrack.storage import repair

                repair.repair(self._connection, self.path, self._tell)
        if self._known is not None:
            self._known.forget()
        return self._connection

    @contextmanager
    def _waiting(self, connection: sqlite3.Connection, seconds: float) -> Generator[None]:
        """Wait for a lock no longer than *seconds* inside."""
        _set_lock_seconds(connection, seconds)
        try:
            yield
        finally:
            _set_lock_seconds(connection, self._lock_seconds)

    def _is_in_place(self) -> bool:
        return sqlite_file.file_id(self.path) == self._file_id

    def _is_current(self, connection: sqlite3.Connection) -> bool:
        """Return whether nobody has changed the schema; it is not read where nobody has written anything."""
        with sqlite_file.readable_errors(self.path):
            version = sqlite_file.data_version(connection)
        if version != self._data_version and opening.is_current(connection, self.path):
            self._data_version = version
        return version == self._data_version


def _set_lock_seconds(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {int(1000 * seconds)}")


def refuse_nearly_full_disk(path: str, floor_mib: int) -> None:
    """Raise PassingError where less than *floor_mib* is free on the disk of *path*: purging needs room too.

    0 never raises, and neither does a disk of which the free space is not known.
    """
    try:
        free_bytes = sqlite_file.disk_free_bytes(os.path.dirname(path))
    except OSError:
        return
    if free_bytes < floor_mib * 1024 * 1024:
        raise PassingError(
            f"database {path}: less than {floor_mib} MiB are free on its disk, so it is left as it is while purging "
            "it is still possible; make room, or set disk_floor_mib lower"
        )


def _has_failed(path: str) -> bool:
    """Return whether a failure to record is not over yet."""
    file = sqlite_file.failures_file(path)
    if not os.path.lexists(file):
        return False
    from perftrack import private

    try:
        return _NOT_OVER in private.read(file, 1 << 16)
    except OSError:  # they are another user's
        return False
