"""`cpu_window = 0`: percentages since the previous sample of the same boot."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from conftest import query
from taken import BURNER, SLEEPER, Spawn, count, newest

from perftrack.recording import linux_processes, sampler
from perftrack.recording.recorder import record_one
from perftrack.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")


@pytest.fixture(autouse=True)
def soon_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples follow each other more quickly here than any that percentages are measured between."""
    monkeypatch.setattr(sampler, "SHORTEST_SECONDS", 0.0)


@pytest.fixture
def since_the_previous(settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a tick that measures since the previous sample; it fails if it sleeps."""
    monkeypatch.setattr(time, "sleep", None)
    return settings(cpu_window=0)


def burner() -> subprocess.Popen[bytes]:
    """Start a process called BURNER, return when it has used some CPU time and will use no more."""
    program = """
import ctypes, sys, time
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
while time.process_time() < 0.2: pass
print(flush=True)
time.sleep(1000)
"""
    child = subprocess.Popen([sys.executable, "-c", program, BURNER], stdout=subprocess.PIPE)
    child.stdout.readline()
    return child


class TestWithoutAWindow:
    def test_the_first_sample_of_all_has_no_percentages(
        self, since_the_previous: Settings, path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER)
        record_one(since_the_previous)
        assert newest(path, "cpu_percent, window_seconds") == (None, None)
        assert newest(path, "cpu_percent", SLEEPER) is None
        assert newest(path, "rss_bytes > 0", SLEEPER) == 1

    def test_percentages_are_over_the_time_since_the_previous_sample(
        self, since_the_previous: Settings, path: str, spawn: Spawn
    ) -> None:
        """The previous sample is made 100 s older, in which CPUs were busy for 30 s and the process for 50 s."""
        spawn(SLEEPER)
        record_one(since_the_previous)
        query(
            path,
            "UPDATE system_sample SET uptime_seconds = uptime_seconds - 100,"
            " cpu_user_ms = cpu_user_ms - 30000, cpu_idle_ms = cpu_idle_ms - 70000",
        )
        query(path, "UPDATE process_sample SET cpu_user_ms = cpu_user_ms - 30000, cpu_system_ms = -20000")
        record_one(since_the_previous)
        percent, seconds = newest(path, "cpu_percent, window_seconds")
        assert percent == pytest.approx(30, abs=2)
        assert seconds == pytest.approx(101, abs=1)
        assert newest(path, "cpu_percent", SLEEPER) == pytest.approx(49.5, abs=0.6)

    def test_the_previous_sample_may_have_had_a_window(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER)
        record_one(settings())
        record_one(settings(cpu_window=0))
        assert newest(path, "cpu_percent", SLEEPER) == 0.0
        assert newest(path, "window_seconds") > 0

    def test_only_the_newest_sample_counts(self, since_the_previous: Settings, path: str, spawn: Spawn) -> None:
        spawn(SLEEPER)
        for _ in range(2):
            record_one(since_the_previous)
        query(path, "UPDATE system_sample SET uptime_seconds = uptime_seconds - 100 WHERE id = 1")
        record_one(since_the_previous)
        assert newest(path, "window_seconds") < 50

    def test_counters_that_moved_by_a_step_give_no_percentages(
        self, since_the_previous: Settings, path: str, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two ticks of a minute start together: the second is measured from the minute before, too."""
        spawn(SLEEPER)
        record_one(since_the_previous)
        query(path, "UPDATE system_sample SET uptime_seconds = uptime_seconds - 60")
        monkeypatch.setattr(sampler, "SHORTEST_SECONDS", 50.0)
        for _ in range(2):
            record_one(since_the_previous)
        windows = query(path, "SELECT window_seconds FROM system_sample ORDER BY id")
        assert windows == [None, pytest.approx(60, abs=1), pytest.approx(60, abs=1)]

    def test_each_recorder_measures_from_its_own(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn
    ) -> None:
        """Whoever else takes samples of other processes in between."""
        spawn(SLEEPER)
        record_one(settings(cpu_window=0))
        query(path, "UPDATE system_sample SET uptime_seconds = uptime_seconds - 60")
        record_one(settings(cpu_window=0, process_filter=["nothing"]))
        assert newest(path, "window_seconds") == pytest.approx(60, abs=1)  # anybody's, as it has none of its own
        record_one(settings(cpu_window=0))
        assert newest(path, "window_seconds") == pytest.approx(60, abs=1)
        assert newest(path, "cpu_percent", SLEEPER) is not None

    def test_another_name_of_the_machine_changes_nothing(
        self, since_the_previous: Settings, path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER)
        record_one(since_the_previous)
        query(path, "UPDATE host SET name = 'its name before'")
        record_one(since_the_previous)
        assert query(path, "SELECT name FROM host") == [socket.gethostname()]
        assert (count(path, "boot"), count(path, "process")) == (1, 1)
        assert newest(path, "cpu_percent", SLEEPER) is not None

    def test_the_first_sample_after_a_boot_has_no_percentages(
        self, since_the_previous: Settings, path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER)
        record_one(since_the_previous)
        query(path, "UPDATE boot SET key = 'an earlier one'")
        record_one(since_the_previous)
        assert count(path, "boot") == 2
        assert newest(path, "cpu_percent, window_seconds") == (None, None)
        assert newest(path, "cpu_percent", SLEEPER) is None

    @pytest.mark.parametrize(
        ("counter", "other"),
        [
            ("cpu_user_ms", "cpu_idle_ms"),
            ("cpu_system_ms", "cpu_idle_ms"),
            ("cpu_steal_ms", "cpu_user_ms"),
            ("cpu_idle_ms", "cpu_user_ms"),
        ],
    )
    def test_a_counter_of_the_system_that_went_backwards_leaves_no_percentage(
        self, since_the_previous: Settings, path: str, counter: str, other: str
    ) -> None:
        record_one(since_the_previous)
        query(path, f"UPDATE system_sample SET {counter} = {counter} + 10000, {other} = {other} - 100000")
        record_one(since_the_previous)
        assert newest(path, "cpu_percent") is None
        assert newest(path, "window_seconds") is not None

    def test_iowait_may_go_backwards(self, since_the_previous: Settings, path: str) -> None:
        """proc_stat(5): it does, at times."""
        record_one(since_the_previous)
        query(path, "UPDATE system_sample SET cpu_iowait_ms = cpu_iowait_ms + 1000, cpu_user_ms = cpu_user_ms - 1000")
        record_one(since_the_previous)
        assert 0 < newest(path, "cpu_percent") <= 100

    def test_counters_that_were_not_known_leave_no_percentage(self, since_the_previous: Settings, path: str) -> None:
        record_one(since_the_previous)
        query(path, "UPDATE system_sample SET cpu_user_ms = NULL, cpu_system_ms = NULL, cpu_idle_ms = NULL")
        record_one(since_the_previous)
        assert newest(path, "cpu_percent") is None

    @pytest.mark.parametrize("change", ["cpu_user_ms = cpu_user_ms + 10000", "cpu_user_ms = NULL"])
    def test_a_counter_of_a_process_that_went_backwards_or_was_refused_leaves_no_percentage(
        self, since_the_previous: Settings, path: str, spawn: Spawn, change: str
    ) -> None:
        spawn(SLEEPER)
        record_one(since_the_previous)
        query(path, f"UPDATE process_sample SET {change}")
        record_one(since_the_previous)
        assert newest(path, "cpu_percent", SLEEPER) is None

    def test_a_process_that_started_since_then_is_measured_from_its_start(
        self, since_the_previous: Settings, path: str
    ) -> None:
        record_one(since_the_previous)
        query(path, "UPDATE system_sample SET uptime_seconds = uptime_seconds - 100")
        with burner() as child:
            record_one(since_the_previous)
            child.kill()
        percent, cpu_ms = newest(path, "cpu_percent, cpu_user_ms + cpu_system_ms", BURNER)
        started, uptime = newest(path, "started_ticks", BURNER) / 100, newest(path, "uptime_seconds")
        assert cpu_ms >= 190
        assert percent == pytest.approx(cpu_ms / 10 / (uptime - started), rel=0.2)
        assert newest(path, "window_seconds") >= 100

    def test_a_process_that_started_in_the_same_moment_is_measured_from_its_start(
        self, since_the_previous: Settings, path: str, spawn: Spawn
    ) -> None:
        """The kernel tells its start to 10 ms, downwards: it can seem to be before the sample that it came after."""
        record_one(since_the_previous)
        started_ticks = linux_processes.read_process(spawn(SLEEPER).pid).row["started_ticks"]
        query(path, f"UPDATE system_sample SET uptime_seconds = {started_ticks / 100 + 0.005}")
        record_one(since_the_previous)
        assert newest(path, "cpu_percent", SLEEPER) is not None

    def test_a_process_that_ran_then_but_was_not_recorded_has_no_percentage(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER)
        record_one(settings(cpu_window=0, process_filter=["no such name"]))
        record_one(settings(cpu_window=0))
        assert newest(path, "cpu_percent", SLEEPER) is None
        assert newest(path, "window_seconds") is not None

    def test_a_process_that_had_its_pid_then_was_another(
        self, since_the_previous: Settings, path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER)
        record_one(since_the_previous)
        query(path, "UPDATE process SET started_ticks = started_ticks - 100")
        record_one(since_the_previous)
        assert newest(path, "cpu_percent", SLEEPER) is None
        assert count(path, "process") == 2
