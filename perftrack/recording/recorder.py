"""One tick, or a loop of them: choose, sample, insert."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from contextlib import closing, contextmanager

from perftrack.errors import PassingError
from perftrack.recording.sampler import take_sample
from perftrack.recording.selection import Selection
from perftrack.recording.watchdog import Watchdog
from perftrack.storage import insertion, sqlite_file
from perftrack.storage.store import Store

# How long reading /proc may take: nothing of it should. Beyond this, the tick is in the way of the next.
HUNG_SECONDS = 60

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from perftrack.recording.sampler import Descriptions
    from perftrack.sample import Sample
    from perftrack.settings import Settings


def record_one(settings: Settings, tell: Callable[[str], None] = lambda line: None) -> Sample:
    """Record one sample and return it. *tell* is given lines about what was put right.

    Raises: PerftrackError, and then nothing is recorded; of UnusableError, the text says whether the sample is kept.
    """
    store = Store(settings.database, settings.disk_floor_mib, tell=tell)
    with closing(store), closing(_watchdog(settings)) as watchdog:
        return _tick(store, settings, watchdog)


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
    store = Store(settings.database, settings.disk_floor_mib, insertion.KnownIds(), lock_seconds, tell)
    with stop_event() as stop, closing(store), closing(_watchdog(settings)) as watchdog:
        first_at = time.monotonic()
        samples = intervals = 0
        described: Descriptions = {}
        charged_cpu_seconds = 0.0
        while True:
            try:
                yield _tick(store, settings, watchdog, charged_cpu_seconds, described)
            except PassingError as error:
                yield error
            samples += 1
            if samples == count:
                return
            charged_cpu_seconds = time.process_time()
            elapsed = time.monotonic() - first_at
            intervals = max(intervals, int(elapsed / seconds)) + 1
            if stop.wait(intervals * seconds - elapsed):
                return


def _tick(
    store: Store,
    settings: Settings,
    watchdog: Watchdog,
    charged_cpu_seconds: float = 0.0,
    described: Descriptions | None = None,
) -> Sample:
    """Record one sample and return it, or keep it for the next tick. Raises: PerftrackError."""
    store.prepare()
    with watchdog.watching():
        sample = take_sample(
            Selection(
                settings.process_filter,
                top=settings.top,
                everything=settings.all,
                cgroups=settings.cgroups,
                cgroup_depth=settings.cgroup_depth,
                cgroup_paths=settings.cgroup_paths,
            ),
            settings.cpu_window,
            store.baseline,
            memory_detail=settings.memory_detail,
            record_command=settings.record_command,
            charged_cpu_seconds=charged_cpu_seconds,
            described=described,
        )
        store.insert(sample)
        store.keep_bounded(settings)
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
