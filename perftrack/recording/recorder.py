"""One tick, or a loop of them: choose, sample, insert."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress

from perftrack.errors import PassingError, PerftrackError, UnusableError
from perftrack.recording.sampler import take_sample
from perftrack.recording.selection import Selection
from perftrack.recording.watchdog import Watchdog
from perftrack.storage import database

# How long reading /proc may take: nothing of it should. Beyond this, the tick is in the way of the next.
HUNG_SECONDS = 60

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from perftrack.recording.sampler import Descriptions
    from perftrack.sample import Baseline, Row, Sample
    from perftrack.settings import Settings


def record_one(settings: Settings) -> Sample:
    """Record one sample and return it.

    Raises: PerftrackError, and then nothing is recorded; of UnusableError, the text says whether the sample is kept.
    """
    with closing(_Store(settings)) as store, closing(_watchdog(settings)) as watchdog:
        return _tick(store, settings, watchdog)


def record_every(settings: Settings, seconds: float, count: int | None) -> Iterator[Sample | PassingError]:
    """Record a sample every *seconds*, *count* times or until SIGTERM or SIGINT; yield each.

    Beats are counted from the first, so they do not drift; one that passes while a sample is still being taken is
    skipped. While a database is locked, or a disk is full, samples are kept beside it: the error is yielded. One that
    was moved, replaced or upgraded meanwhile is opened anew. Raises: PerftrackError where that fails.
    """
    with _stop_event() as stop, closing(_Store(settings)) as store, closing(_watchdog(settings)) as watchdog:
        store.known = database.KnownIds()
        first_beat = time.monotonic()
        ticks = beat = 0
        described: Descriptions = {}
        charged_cpu_seconds = 0.0
        while True:
            try:
                yield _tick(store, settings, watchdog, charged_cpu_seconds, described)
            except PassingError as error:
                yield error
            ticks += 1
            if ticks == count:
                return
            charged_cpu_seconds = time.process_time()
            elapsed = time.monotonic() - first_beat
            beat = max(beat, int(elapsed / seconds)) + 1
            if stop.wait(beat * seconds - elapsed):
                return


class _Store:
    """The database of a tick or a loop: opened when needed, and anew where it was moved, replaced or upgraded."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.database
        self.disk_floor_mib = settings.disk_floor_mib
        self.connection: sqlite3.Connection | None = None
        self.file_id: tuple[int, int] | None = None
        self.data_version: int | None = None  # of which it was current
        self.known: database.KnownIds | None = None

    def prepare(self) -> None:
        """Make ready for a sample: open, and insert what could not be inserted before. Raises: PerftrackError."""
        if self.connection is not None and not (self._is_in_place() and self._is_current(self.connection)):
            self.close()
        if self.connection is None:
            self._open()
        if os.path.isdir(database.pending_folder(self.path)):
            from perftrack.storage import pending

            assert self.connection is not None
            refuse_nearly_full_disk(self.path, self.disk_floor_mib)
            pending.insert(self.connection, self.path)

    def baseline(self, host: Row, boot: Row) -> Baseline | None:
        """Return the counters of the newest sample. Raises: PerftrackError."""
        assert self.connection is not None
        with database.explained(self.path):
            return database.stored_baseline(self.connection, host, boot)

    def insert(self, sample: Sample) -> None:
        """Write *sample* into the database that is there now. Raises: PerftrackError, and then nothing is written."""
        refuse_nearly_full_disk(self.path, self.disk_floor_mib)
        if not self._is_in_place():  # SQLite would go on writing into the file that was moved away
            self.close()
            self._open()
        assert self.connection is not None
        with database.explained(self.path):
            database.insert_sample(self.connection, sample, self.known)
        if os.path.isdir(database.pending_folder(self.path)):
            from perftrack.storage import failures

            failures.note_success(self.path)

    def close(self) -> None:
        """Close, with everything in the database file itself."""
        if self.connection is not None:
            if not self._is_in_place():  # its log would stay, and be taken for that of the next one of this name
                with suppress(sqlite3.Error):
                    self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.connection.close()
            self.connection = self.data_version = None

    def _open(self) -> None:
        if not os.path.lexists(self.path):
            refuse_nearly_full_disk(self.path, self.disk_floor_mib)
        self.connection = database.open_current(self.path)
        self.file_id = database.file_id(self.path)
        if self.known is not None:
            self.known = database.KnownIds()

    def _is_in_place(self) -> bool:
        return database.file_id(self.path) == self.file_id

    def _is_current(self, connection: sqlite3.Connection) -> bool:
        """Return whether nobody has changed the schema; it is not read where nobody has written anything."""
        with database.explained(self.path):
            version = database.data_version(connection)
        if version != self.data_version and database.is_current(connection, self.path):
            self.data_version = version
        return version == self.data_version


def refuse_nearly_full_disk(path: str, floor_mib: int) -> None:
    """Raise PassingError where less than *floor_mib* is free on the disk of *path*: purging needs room too.

    0 never raises, and neither does a disk that does not tell.
    """
    try:
        free_bytes = _free_bytes(os.path.dirname(path))
    except OSError:
        return
    if free_bytes < floor_mib * 1024 * 1024:
        raise PassingError(
            f"database {path}: less than {floor_mib} MiB are free on its disk, so it is left as it is while purging "
            "it is still possible; make room, or set disk_floor_mib lower"
        )


def _free_bytes(folder: str) -> int:
    if hasattr(os, "statvfs"):
        disk = os.statvfs(folder)
        return disk.f_bavail * disk.f_frsize
    import shutil

    return shutil.disk_usage(folder).free


def _tick(
    store: _Store,
    settings: Settings,
    watchdog: Watchdog,
    charged_cpu_seconds: float = 0.0,
    described: Descriptions | None = None,
) -> Sample:
    """Record one sample and return it, or keep it for the next tick. Raises: PerftrackError."""
    problem: UnusableError | None = None

    def stored_baseline(host: Row, boot: Row) -> Baseline | None:
        nonlocal problem
        if problem is None:
            try:
                return store.baseline(host, boot)
            except UnusableError as error:
                problem = error
        return None

    try:
        store.prepare()
    except UnusableError as error:
        problem = error
    with watchdog.watching():
        sample = take_sample(
            Selection(settings.process_filter, top=settings.top, everything=settings.all),
            settings.cpu_window,
            stored_baseline,
            memory_detail=settings.memory_detail,
            record_command=settings.record_command,
            charged_cpu_seconds=charged_cpu_seconds,
            described=described,
        )
        if problem is None:
            try:
                store.insert(sample)
            except UnusableError as error:
                problem = error
        if problem is not None:
            from perftrack.storage import failures, pending

            raise failures.note(settings.database, pending.keep(settings.database, sample, problem)) from problem
    return sample


def _watchdog(settings: Settings) -> Watchdog:
    seconds = settings.cpu_window + database.BUSY_TIMEOUT_SECONDS + HUNG_SECONDS
    return Watchdog(seconds, lambda file: _hung(settings.database, seconds, file))


def _hung(path: str, seconds: float, file: str) -> str:
    """Return the line of a tick that hangs, empty where it was told within the hour."""
    from perftrack.storage import failures

    reading = f" while reading {file}" if file else ""
    error = PerftrackError(f"no sample was taken: it hung{reading} and was ended after {seconds:.0f} s")
    return "" if failures.note(path, error).muted and not sys.stderr.isatty() else str(error)


@contextmanager
def _stop_event() -> Generator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set, instead of ending the program in the middle of a tick."""
    stop = threading.Event()
    numbers = [n for n in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
