"""`perftrack record --every`: the schedule, what a loop survives, and how a signal ends it."""

from __future__ import annotations

import _thread
import gc
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import OWN, Run, on_a_terminal, query, until
from taken import SLEEPER, Spawn, count, environment, newest

from perftrack.errors import BusyError, PassingError, PerftrackError
from perftrack.recording.recorder import record_every
from perftrack.recording.sampler import Sampler
from perftrack.sample import Sample
from perftrack.settings import Settings
from perftrack.storage import pending, sqlite_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")


def ticks_begin(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, every: float, durations: list[float], early: float = 0
) -> list[float]:
    """Return when the ticks of a loop begin if they take *durations* and waiting ends *early*: a clock of its own."""
    clock, began, work, take = [1000.0], [], iter(durations), Sampler.take

    def working(*arguments: Any, **options: Any) -> Any:
        began.append(round(clock[0] - 1000, 6))
        clock[0] += next(work)
        return take(*arguments, **options)

    def wait(_event: threading.Event, seconds: float) -> bool:
        clock[0] += max(0, seconds - early)
        return False

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(threading.Event, "wait", wait)
    monkeypatch.setattr(Sampler, "take", working)
    assert len(list(record_every(settings, every, len(durations)))) == len(durations)
    return began


class TestTheSchedule:
    @pytest.fixture
    def begin(self, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
        return lambda *arguments, **options: ticks_begin(settings(cpu_window=0), monkeypatch, *arguments, **options)

    def test_are_counted_from_the_first_so_that_they_do_not_drift(self, begin: Callable[..., list[float]]) -> None:
        assert begin(10, [3, 1, 9.5, 3, 3]) == [0, 10, 20, 30, 40]

    def test_do_not_drift_by_fractions_either(self, begin: Callable[..., list[float]]) -> None:
        assert begin(0.1, [0.03] * 30) == [round(number * 0.1, 6) for number in range(30)]

    def test_that_were_missed_are_skipped_and_not_doubled(self, begin: Callable[..., list[float]]) -> None:
        assert begin(10, [25, 3, 12, 3]) == [0, 30, 40, 60]

    def test_are_not_doubled_by_a_clock_that_is_coarser_than_a_tick(self, begin: Callable[..., list[float]]) -> None:
        """As on Windows, where waiting ends up to 16 ms before time.monotonic says so."""
        assert begin(10, [0.001] * 3, early=0.016) == pytest.approx([0, 10, 20], abs=0.02)

    def test_each_give_a_sample(self, begin: Callable[..., list[float]], path: str) -> None:
        begin(10, [1, 1, 1])
        assert count(path) == 3


class TestTheLoop:
    def test_ends_after_count_samples(self, perftrack: Run, path: str, spawn: Spawn) -> None:
        spawn(SLEEPER)
        done = perftrack("record", "--every", "0.1s", "--count", "3", "--filter", OWN, "--top", "0")
        assert (done.stdout, done.stderr) == ("", "")
        assert (count(path), count(path, "process"), count(path, "process_sample")) == (3, 1, 3)

    def test_starts_one_thread_to_watch_over_all_its_samples(
        self, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started, start = [], _thread.start_new_thread
        monkeypatch.setattr(_thread, "start_new_thread", lambda *given: (started.append(given), start(*given)))
        running = _thread._count()
        assert len(list(record_every(settings(), 0.05, 3))) == 3
        assert len(started) == 1
        until(lambda: _thread._count() == running)

    def test_charges_each_sample_with_its_own_cost_only(self, perftrack: Run, path: str) -> None:
        perftrack("record", "--every", "0.1s", "--count", "3")
        first, *later = query(path, "SELECT recorder_cpu_ms FROM system_sample ORDER BY id")
        assert max(later) < first  # which has started the program too

    @pytest.mark.usefixtures("connection")
    def test_says_a_line_for_each_on_a_terminal(self, path: str) -> None:
        printed = on_a_terminal("record", "--every", "0.1s", "--count", "2", **environment(path))
        assert [line.split()[0] for line in printed.splitlines()] == ["recorded", "recorded"]

    def test_measures_since_the_previous_sample_without_a_window(self, perftrack: Run, path: str) -> None:
        perftrack("record", "--every", "0.5s", "--count", "3", "--cpu-window", "0", "--top", "0")
        windows = query(path, "SELECT window_seconds FROM system_sample ORDER BY id")
        assert windows[0] is None
        assert windows[2] == pytest.approx(0.5, abs=0.3)  # the second comes sooner by what the first took to start

    @pytest.mark.usefixtures("connection")
    def test_never_records_itself(self, path: str) -> None:
        with recording(path, "--every", "0.1s", "--count", "2", "--all") as program:
            assert program.wait(timeout=30) == 0
        assert count(path) == 2
        assert program.pid not in query(path, "SELECT pid FROM process")

    def test_keeps_the_samples_of_the_time_that_the_database_is_locked(
        self,
        settings: Callable[..., Settings],
        path: str,
        connection: sqlite3.Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.05)
        connection.execute("BEGIN IMMEDIATE")
        loop = record_every(settings(), 0.1, 2)
        assert isinstance(next(loop), BusyError)
        connection.execute("ROLLBACK")
        assert isinstance(next(loop), Sample)
        assert list(loop) == []
        assert count(path) == 2

    @pytest.mark.slow
    @pytest.mark.usefixtures("connection")
    def test_goes_on_at_every_beat_while_the_database_is_locked(self, path: str) -> None:
        """However long SQLite would wait for a lock; in time for each sample to be kept before the next."""
        with (
            closing(sqlite3.connect(path, isolation_level=None)) as other,
            recording(path, "--every", "1s", "--count", "6", "--cpu-window", "0.05") as loop,
        ):
            until(lambda: count(path) == 1)
            other.execute("BEGIN EXCLUSIVE")
            until(lambda: pending.count(path) == 4)
            other.execute("ROLLBACK")
            printed = loop.communicate(timeout=60)
        assert (printed[0], loop.returncode) == ("", 0)
        assert printed[1].startswith(f"perftrack: database {path} is locked by another program; ")
        assert printed[1].count("\n") == 1
        uptimes = query(path, "SELECT uptime_seconds FROM system_sample ORDER BY id")
        assert len(uptimes) == 6
        assert uptimes == sorted(uptimes)
        assert pending.count(path) == 0

    @pytest.mark.parametrize("mishap", ["moved", "removed"])
    def test_opens_a_database_anew_that_is_no_longer_where_it_was(
        self, settings: Callable[..., Settings], path: str, tmp_path: Path, mishap: str
    ) -> None:
        loop = record_every(settings(), 0.1, 2)
        next(loop)
        for file in Path(path).parent.glob("*"):
            file.rename(tmp_path / file.name) if mishap == "moved" else file.unlink()
        next(loop)
        loop.close()
        assert count(path) == 1

    def test_ends_when_a_newer_perftrack_has_upgraded_the_database(
        self, settings: Callable[..., Settings], path: str
    ) -> None:
        loop = record_every(settings(), 0.1, 2)
        next(loop)
        query(path, "UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(PerftrackError, match="newer perftrack"):
            next(loop)
        assert count(path) == 1

    def test_goes_on_when_there_is_room_again(self, settings: Callable[..., Settings], path: str) -> None:
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        loop = record_every(settings(), 0.1, 3)
        try:
            next(loop)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
            assert isinstance(next(loop), PassingError)
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert isinstance(next(loop), Sample)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
            loop.close()
        assert count(path) == 2

    def test_loses_nothing_when_the_database_is_moved_without_its_wal_file(
        self, settings: Callable[..., Settings], path: str
    ) -> None:
        """Left behind, it would be applied to the database that is begun in the old one's place."""
        loop = record_every(settings(), 0.05, 3)
        next(loop)
        os.rename(path, path + ".old")
        assert len(list(loop)) == 2
        assert (count(path + ".old"), count(path)) == (1, 2)

    def test_describes_a_process_in_every_database_that_it_writes(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER, "1000", "0")
        loop = record_every(settings(), 0.05, 2)
        next(loop)
        os.rename(path, path + ".old")
        assert len(list(loop)) == 1
        assert newest(path, f"username IS NOT NULL, command LIKE '%{SLEEPER} 1000 0'", SLEEPER) == (1, 1)

    def test_ends_when_nothing_can_be_recorded_any_more(
        self, settings: Callable[..., Settings], connection: sqlite3.Connection
    ) -> None:
        connection.execute("CREATE TRIGGER fault BEFORE INSERT ON boot BEGIN SELECT RAISE(ABORT, 'fault'); END")
        with pytest.raises(PerftrackError, match="fault"):
            list(record_every(settings(), 0.1, 2))

    def test_collects_garbage_though_a_single_tick_does_not(self, settings: Callable[..., Settings]) -> None:
        gc.disable()
        try:
            list(record_every(settings(), 0.1, 1))
            assert gc.isenabled()
        finally:
            gc.enable()

    def test_gives_signals_back_to_whoever_had_them(self, settings: Callable[..., Settings]) -> None:
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        list(record_every(settings(), 0.1, 1))
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@contextmanager
def recording(path: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run `perftrack record` in the background."""
    command = [sys.executable, "-m", "perftrack", "record", *options]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(path), **output) as program:
        try:
            yield program
        finally:
            program.kill()


def has_begun(program: subprocess.Popen[str], path: str) -> bool:
    """Whether *program* has opened the database, which it does when it is prepared for signals."""
    return path in [file.path for file in psutil.Process(program.pid).open_files()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
class TestASignal:
    @pytest.mark.usefixtures("connection")
    def test_in_the_middle_of_a_tick_lets_it_finish(self, path: str, spawn: Spawn, number: int) -> None:
        spawn(SLEEPER)
        with recording(path, "--every", "60s", "--cpu-window", "0.5", "--filter", OWN) as program:
            until(lambda: has_begun(program, path))
            assert count(path) == 0  # the window is not over
            program.send_signal(number)
            assert program.communicate(timeout=30) == ("", "")
        assert program.returncode == 0
        assert (count(path), count(path, "process_sample")) == (1, 1)
        assert newest(path, "window_seconds") >= 0.5

    @pytest.mark.usefixtures("connection")
    def test_between_two_ticks_ends_at_once(self, path: str, number: int) -> None:
        with recording(path, "--every", "600s") as program:
            until(lambda: count(path) == 1)
            program.send_signal(number)
            assert program.wait(timeout=30) == 0
        assert count(path) == 1

    @pytest.mark.usefixtures("connection")
    def test_at_any_time_leaves_whole_samples(self, path: str, spawn: Spawn, number: int) -> None:
        for _ in range(5):
            spawn(SLEEPER)
        with recording(path, "--every", "0.02s", "--cpu-window", "0.01", "--filter", OWN) as program:
            until(lambda: count(path) >= 5)
            program.send_signal(number)
            assert program.wait(timeout=30) == 0
        assert set(query(path, "SELECT count(*) FROM process_sample GROUP BY sample_id")) == {5}
        assert count(path, "process_sample") == 5 * count(path)
        assert query(path, "PRAGMA integrity_check") == ["ok"]


@pytest.mark.usefixtures("connection")
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(path: str) -> None:
    """As a shell does for Ctrl-C where it starts a program in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with recording(path, "--every", "0.05s", "--cpu-window", "0.01") as program:
            until(lambda: count(path) == 1)
            program.send_signal(signal.SIGINT)
            until(lambda: count(path) >= 4)
            program.terminate()
            assert program.wait(timeout=30) == 0
    finally:
        signal.signal(signal.SIGINT, before)
