"""Whatever the clock does: no sample refused, no absurd percentage, a process stays itself, and the gap shows."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from conftest import query

from perftrack.recording import linux_system
from perftrack.recording.recorder import record_one
from perftrack.settings import Settings, load

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fakes the clocks of Linux")
OWN = f"{os.getpid():x}-clocked"
HOUR = 3600.0


class Clocks:
    """The wall clock and the time since boot, each ahead of the real one."""

    def __init__(self) -> None:
        self.wall_ahead_seconds = 0.0
        self.uptime_ahead_seconds = 0.0
        self.stopped_at: float | None = None


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made, wall, uptime = Clocks(), time.time, linux_system.uptime_seconds
    monkeypatch.setattr(
        time, "time", lambda: wall() + made.wall_ahead_seconds if made.stopped_at is None else made.stopped_at
    )
    monkeypatch.setattr(linux_system, "uptime_seconds", lambda: uptime() + made.uptime_ahead_seconds)
    return made


@pytest.fixture(params=[0.0, 0.05])
def tick(
    path: str, spawn: Callable[..., subprocess.Popen[bytes]], request: pytest.FixtureRequest
) -> Callable[[], object]:
    """Record one sample of this machine and of a process, with and without a window."""
    spawn(OWN)
    settings: Settings = load({"database": path, "cpu_window": request.param, "process_filter": [OWN], "top": 0})
    return lambda: record_one(settings)


def sane(path: str, samples: int) -> None:
    """Make sure that there are so many samples of one process, and that nothing in them is absurd."""
    assert query(path, "SELECT count(*) FROM system_sample") == [samples]
    assert query(path, "SELECT count(*) FROM process") == [1]
    assert query(path, "SELECT count(*) FROM boot") == [1]
    assert query(path, "SELECT count(*) FROM process_sample") == [samples]
    percents = query(path, "SELECT cpu_percent FROM system_sample UNION ALL SELECT cpu_percent FROM process_sample")
    assert all(percent is None or 0 <= percent <= 100 for percent in percents)
    assert all(seconds is None or seconds >= 0 for seconds in query(path, "SELECT window_seconds FROM system_sample"))
    uptimes = query(path, "SELECT uptime_seconds FROM system_sample ORDER BY id")
    assert uptimes == sorted(uptimes)


@pytest.mark.parametrize("steps", [(HOUR, 0.0), (-HOUR, 0.0), (HOUR, -HOUR, HOUR), (1e-6, -1e-6), (86400 * 400, 0.0)])
def test_a_step_of_the_clock(path: str, tick: Callable[[], object], clocks: Clocks, steps: tuple[float, ...]) -> None:
    tick()
    for step in steps:
        clocks.wall_ahead_seconds = step
        tick()
    sane(path, 1 + len(steps))
    # Between two samples, the wall clock and the time since boot differ by the step: that is how it shows.
    rows = query(path, "SELECT julianday(taken_at) * 86400.0, uptime_seconds FROM system_sample ORDER BY id")
    shown = [later[0] - earlier[0] - (later[1] - earlier[1]) for earlier, later in itertools.pairwise(rows)]
    expected = [after - before for before, after in itertools.pairwise((0.0, *steps))]
    assert shown == pytest.approx(expected, abs=0.1)


def test_a_step_of_the_clock_in_the_window(
    path: str, tick: Callable[[], object], clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = time.sleep

    def stepping(seconds: float) -> None:
        sleep(seconds)
        clocks.wall_ahead_seconds -= HOUR

    tick()
    monkeypatch.setattr(time, "sleep", stepping)
    tick()
    tick()
    sane(path, 3)


def test_a_clock_that_stands_still_or_repeats_itself(path: str, tick: Callable[[], object], clocks: Clocks) -> None:
    """To the microsecond: every sample has an instant of its own all the same."""
    clocks.stopped_at = 1_790_000_000.0
    for _ in range(4):
        tick()
    sane(path, 4)
    assert query(path, "SELECT substr(taken_at, 21) FROM system_sample ORDER BY id") == [
        "000000",
        "000001",
        "000002",
        "000003",
    ]


@pytest.mark.parametrize(
    ("change", "local_hours"),
    [
        (datetime(2026, 10, 25, 1, tzinfo=UTC), ["02", "02"]),  # 02:30 comes twice
        (datetime(2026, 3, 29, 1, tzinfo=UTC), ["01", "03"]),  # 02:30 never comes
    ],
)
def test_summer_time_begins_and_ends(
    path: str,
    tick: Callable[[], object],
    clocks: Clocks,
    monkeypatch: pytest.MonkeyPatch,
    change: datetime,
    local_hours: list[str],
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    for offset in (-1800, 1800):
        clocks.stopped_at = change.timestamp() + offset
        tick()
    sane(path, 2)
    rows = query(path, "SELECT taken_at, substr(taken_at_local, 12, 2) FROM system_sample ORDER BY id")
    assert [hour for _, hour in rows] == local_hours
    seconds = query(path, "SELECT (julianday(max(taken_at)) - julianday(min(taken_at))) * 86400 FROM system_sample")
    assert seconds == pytest.approx([HOUR], abs=0.01)


def test_a_suspended_machine(path: str, tick: Callable[[], object], clocks: Clocks) -> None:
    """The time since boot counts it, so the gap is as long in both."""
    tick()
    clocks.wall_ahead_seconds = clocks.uptime_ahead_seconds = HOUR
    tick()
    sane(path, 2)
    rows = query(path, "SELECT julianday(taken_at) * 86400.0, uptime_seconds FROM system_sample ORDER BY id")
    assert rows[1][1] - rows[0][1] == pytest.approx(HOUR, abs=5)
    assert rows[1][0] - rows[0][0] == pytest.approx(rows[1][1] - rows[0][1], abs=0.1)


def test_a_reboot(path: str, tick: Callable[[], object], clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another boot, whose counters begin again: nothing is measured across it."""
    tick()
    monkeypatch.setattr(linux_system, "boot_key", lambda: "another boot")
    clocks.uptime_ahead_seconds = -linux_system.uptime_seconds() + 60
    tick()
    assert query(path, "SELECT count(*) FROM system_sample GROUP BY boot_id") == [1, 1]
    assert query(path, "SELECT count(*) FROM process") == [2]
    percents = query(path, "SELECT cpu_percent FROM system_sample UNION ALL SELECT cpu_percent FROM process_sample")
    assert all(percent is None or 0 <= percent <= 100 for percent in percents)
