"""One tick, or a loop of them: choose, sample, insert."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from contextlib import ExitStack, closing, contextmanager

from perftrack.errors import PassingError
from perftrack.recording.sampler import take_sample
from perftrack.recording.selection import Selection
from perftrack.storage import database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from perftrack.recording.sampler import Descriptions
    from perftrack.sample import Baseline, Row, Sample
    from perftrack.settings import Settings


def record_one(settings: Settings) -> str:
    """Record one sample and return a line that says so. Raises: PerftrackError, and then nothing is recorded."""
    with closing(database.open_current(settings.database)) as connection:
        return _tick(connection, settings)


def record_every(settings: Settings, seconds: float, count: int | None) -> Iterator[str | PassingError]:
    """Record a sample every *seconds*, *count* times or until SIGTERM or SIGINT; yield a line for each.

    Beats are counted from the first, so they do not drift; one that passes while a sample is still being taken is
    skipped. A database that is locked, or a disk that is full, costs that sample only: the error is yielded. One that
    was moved, replaced or upgraded meanwhile is opened anew. Raises: PerftrackError where that fails.
    """
    with _stop_event() as stop, ExitStack() as stack:
        connection = stack.enter_context(closing(database.open_current(settings.database)))
        file_id = database.file_id(settings.database)
        first_beat = time.monotonic()
        ticks = beat = 0
        described: Descriptions = {}
        charged_cpu_seconds = 0.0
        while True:
            same_file = database.file_id(settings.database) == file_id
            if not (same_file and database.is_current(connection, settings.database)):
                database.close_completely(connection)
                described.clear()  # the next one may not know these processes
                connection = stack.enter_context(closing(database.open_current(settings.database)))
                file_id = database.file_id(settings.database)
            try:
                yield _tick(connection, settings, charged_cpu_seconds, described)
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


def _tick(
    connection: sqlite3.Connection,
    settings: Settings,
    charged_cpu_seconds: float = 0.0,
    described: Descriptions | None = None,
) -> str:
    def stored_baseline(host: Row, boot: Row) -> Baseline | None:
        return database.stored_baseline(connection, host, boot)

    with database.explained(settings.database):
        sample = take_sample(
            Selection(settings.process_filter, top=settings.top, everything=settings.all),
            settings.cpu_window,
            stored_baseline,
            memory_detail=settings.memory_detail,
            charged_cpu_seconds=charged_cpu_seconds,
            described=described,
        )
        database.insert_sample(connection, sample)
    return _summary(sample, settings.database)


def _summary(sample: Sample, path: str) -> str:
    cpu = sample.system["cpu_percent"]
    return (
        f"recorded {len(sample.processes)} of {sample.system['processes_seen']} processes"
        f" at {sample.system['taken_at_local'][:19]}"
        f"{'' if cpu is None else f', CPU {cpu} %'}, in {path}"
    )


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
