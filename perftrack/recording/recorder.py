"""One tick, or a loop of them: choose, sample, insert."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from contextlib import closing, contextmanager

from perftrack.errors import PassingError
from perftrack.recording.sampler import Sampler
from perftrack.recording.watchdog import Watchdog
from perftrack.storage import sqlite_file
from perftrack.storage.store import Store

# How long reading /proc may take: nothing of it should. Beyond this, the tick is in the way of the next.
HUNG_SECONDS = 60

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from perftrack.sample import Sample
    from perftrack.settings import Settings


def record_one(settings: Settings, tell: Callable[[str], None] = lambda line: None) -> Sample:
    """Record one sample and return it. *tell* is given lines about what was put right.

    Raises: PerftrackError, and then nothing is recorded; of UnusableError, the text says whether the sample is kept.
    """
    with closing(Store(settings, tell)) as store, closing(_watchdog(settings)) as watchdog:
        return _tick(store, Sampler(settings), watchdog)


def record_every(
    settings: Settings, seconds: float, count: int | None, tell: Callable[[str], None] = lambda line: None
) -> Iterator[Sample | PassingError]:
    """Record a sample every *seconds*, *count* times or until SIGTERM or SIGINT; yield each.

    Intervals are counted from the first sample, so they do not drift; one that ends while a sample is still being
    taken is skipped. While a database is locked, or a disk is full, samples are kept beside it: the error is yielded.
    A lock is waited for until half of the time to the next beat is over, so that none is missed.
    One that was moved, replaced or upgraded meanwhile is opened anew. Raises: PerftrackError where that fails.
    """
    gc.enable()  # which __main__ has turned off for a single tick
    lock_seconds = min(sqlite_file.BUSY_TIMEOUT_SECONDS, (seconds - settings.cpu_window) / 2)
    store, sampler = Store(settings, tell, lock_seconds), Sampler(settings)
    with stop_event() as stop, closing(store), closing(_watchdog(settings)) as watchdog:
        first_at = time.monotonic()
        samples = intervals = 0
        while True:
            try:
                yield _tick(store, sampler, watchdog)
            except PassingError as error:
                yield error
            samples += 1
            if samples == count:
                return
            sampler.charged_cpu_seconds = time.process_time()
            elapsed = time.monotonic() - first_at
            intervals = max(intervals, int(elapsed / seconds)) + 1
            if stop.wait(intervals * seconds - elapsed):
                return


def _tick(store: Store, sampler: Sampler, watchdog: Watchdog) -> Sample:
    """Record one sample and return it, or keep it for the next tick. Raises: PerftrackError."""
    store.prepare()
    with watchdog.watching():
        sample = sampler.take(store.baseline)
        store.insert(sample)
        store.keep_bounded()
    return sample


def _watchdog(settings: Settings) -> Watchdog:
    seconds = settings.cpu_window + sqlite_file.BUSY_TIMEOUT_SECONDS + HUNG_SECONDS
    return Watchdog(seconds, lambda file: _last_words(settings.database, seconds, file))


def _last_words(path: str, seconds: float, file: str) -> str:
    """Return the line of a tick that hangs, empty where it was printed within the hour."""
    from perftrack.storage import failures

    doing = f" while reading {file}" if file else ""
    line = f"no sample was taken: it hung{doing} and was ended after {seconds:.0f} s"
    return line if failures.note(path, line) or sys.stderr.isatty() else ""


@contextmanager
def stop_event() -> Generator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set, instead of ending a loop in the middle of what it does."""
    stop = threading.Event()
    numbers = [n for n in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
