"""One sample: the sleep in the middle, and what a loop need not read again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import OWN
from taken import PROCESS_COLUMNS, Python, Row, Spawn, no_baseline, row_of, sampler_of, take, timestamp

from perftrack.recording import linux_processes, sampler
from perftrack.recording.selection import Candidate

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """All sleeps of the test, in seconds; none is slept."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


class TestTheWindow:
    @pytest.mark.parametrize("processes", [0, 1, 40])
    def test_is_slept_once_whatever_the_number_of_processes(
        self, spawn: Spawn, sleeps: list[float], processes: int
    ) -> None:
        for _ in range(processes):
            spawn(OWN + "sleeper")
        assert len(take(OWN, window=0.75).processes) == processes
        assert sleeps == [0.75]

    def test_of_zero_seconds_is_not_slept(self, spawn: Spawn, sleeps: list[float]) -> None:
        spawn("pt-sleeper")
        sample = take("pt-sleeper", window=0)
        assert sleeps == []
        assert sample.system["window_seconds"] is sample.system["cpu_percent"] is None

    def test_of_zero_seconds_is_followed_by_a_short_one_to_find_the_largest(
        self, python: Python, sleeps: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that has just begun to spin was not recorded before; it gets its rank but no percentage."""
        spinning, sleep = python("print(flush=True)\nwhile True: pass"), threading.Event().wait
        monkeypatch.setattr(time, "sleep", lambda seconds: (sleeps.append(seconds), sleep(seconds)))
        sample = take(top=8, window=0)
        assert sleeps == [sampler.RANKING_SECONDS]
        assert row_of(spinning, sample)["cpu_percent"] is sample.system["window_seconds"] is None

    def test_is_stored_as_long_as_it_was(self) -> None:
        before = time.monotonic()
        sample = take(window=0.2)
        assert 0.2 <= sample.system["window_seconds"] <= time.monotonic() - before

    def test_ends_at_the_instant_of_the_sample(self, in_the_window: Callable[..., None]) -> None:
        asleep_at: list[float] = []
        in_the_window(lambda: asleep_at.append(time.time()))
        taken_at = timestamp(take(window=0.2).system["taken_at"])
        assert asleep_at[0] + 0.2 <= taken_at <= time.time()

    def test_is_undisturbed(self, tmp_path: Path, spawn: Spawn) -> None:
        """Between the counters nothing is imported, opened or started; there is only the sleep."""
        process = spawn(OWN + "sleeper")
        program = """
import json, os, sys, time
import perftrack.__main__
os._exit = sys.exit  # which the program may leave by
events, sleep = [], time.sleep
def audited(event, arguments):
    if event in {"import", "open", "exec", "os.listdir", "os.scandir", "subprocess.Popen", "socket.__new__"}:
        events.append([event, str(arguments[0])])
def audited_sleep(seconds):
    events.append(["sleep", str(seconds)])
    sleep(seconds)
    events.append(["awake", ""])
time.sleep = audited_sleep
sys.addaudithook(audited)
sys.argv = ["perftrack", "record"]
try:
    perftrack.__main__.main()
except SystemExit as end:
    assert end.code == 0
print(json.dumps(events))
"""
        env = {
            **os.environ,
            "PERFTRACK_DATABASE": str(tmp_path / "perftrack.db"),
            "PERFTRACK_PROCESS_FILTER": OWN,
            "PERFTRACK_TOP": "0",
            "PERFTRACK_CPU_WINDOW": "0.05",
        }
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
        events = json.loads(done.stdout)
        middle = events.index(["sleep", "0.05"])
        # the second counters come from files that are open since the first
        assert events[middle - 1 : middle + 3] == [
            ["open", "/proc/stat"],
            ["sleep", "0.05"],
            ["awake", ""],
            ["open", f"/proc/{process.pid}/statm"],
        ]
        assert ["open", f"/proc/{process.pid}/stat"] in events[:middle]


class TestDescriptions:
    """Owner and command line are read once for each process, however many samples a loop takes of it."""

    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The PIDs whose owner and command are read."""
        pids, read = [], linux_processes.read_owner_and_command
        monkeypatch.setattr(
            linux_processes,
            "read_owner_and_command",
            lambda candidate, how: (pids.append(candidate.row["pid"]), read(candidate, how))[1],
        )
        return pids

    def test_are_read_once_and_the_same_in_every_sample(self, spawn: Spawn, reads: list[int]) -> None:
        process, one = spawn(OWN + "sleeper"), sampler_of(OWN)
        first, *later = [row_of(process, one.take(no_baseline)) for _ in range(3)]
        assert reads == [process.pid]
        for row in later:
            assert (row["command"], row["username"]) == (first["command"], first["username"])
            assert set(row) == PROCESS_COLUMNS

    def test_of_another_name_or_start_are_read_anew(
        self, spawn: Spawn, reads: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process, one, read = spawn(OWN + "sleeper"), sampler_of(OWN), linux_processes.read_process
        for change in ({}, {"name": OWN + "exec"}, {"started_ticks": 1}):
            monkeypatch.setattr(linux_processes, "read_process", changed(read, change))
            one.take(no_baseline)
        assert reads == [process.pid] * 3

    def test_of_the_gone_are_forgotten(self, spawn: Spawn) -> None:
        process, one = spawn(OWN + "sleeper"), sampler_of(OWN)
        one.take(no_baseline)
        assert len(one._described) == 1
        process.kill()
        process.wait()
        one.take(no_baseline)
        assert one._described == {}


def changed(read: Callable[..., Candidate | None], change: Row) -> Callable[..., Candidate | None]:
    """Return read_process with *change* in each row that it reads."""

    def reading(*arguments: Any) -> Candidate | None:
        candidate = read(*arguments)
        if candidate is not None:
            candidate.row |= change
        return candidate

    return reading
