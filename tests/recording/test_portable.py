"""Systems other than Linux: the same rows through psutil alone, and a boot known by its time only."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import psutil
import pytest
from conftest import asleep, query, sample, until
from taken import CALL_ITSELF, SLEEP, SLEEPER, Python, Row, Spawn, count, newest, spawn_zombie

from perftrack.recording import linux_processes, linux_system, portable_processes, portable_system, sampler, system
from perftrack.recording.recorder import record_one
from perftrack.settings import Settings
from perftrack.storage import insertion

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")


def whole_row(platform: ModuleType, pid: int) -> Row:
    """Return all that *platform* says of a process, but for the start, which each counts from another instant.

    And but for what /proc alone can tell: who gave it its name, faults that read a disk, and what of the bytes is its
    own where children of it have ended.
    """
    candidate = platform.read_process(pid)
    assert candidate is not None
    platform.read_memory_and_io(candidate)
    description = platform.read_owner_and_command(candidate)
    denied = candidate.denied or description.denied
    alone = dict.fromkeys(("started_ticks", "named_itself", "major_faults", "own_read_bytes", "own_write_bytes"))
    return {"denied": denied, "command": None, **candidate.row, **description.row, **alone}


def both_rows(pid: int) -> tuple[Row, Row]:
    """Return a process's row from /proc and from psutil alone, read while nothing about it changed."""
    for _ in range(100):
        before, other = whole_row(linux_processes, pid), whole_row(portable_processes, pid)
        if before == whole_row(linux_processes, pid):
            return before, other
    pytest.fail(f"process {pid} does not stop changing")


def age(platform: ModuleType, pid: int) -> float:
    candidate = platform.read_process(pid)
    return candidate.read_uptime_seconds - candidate.started_uptime_seconds


class TestProcAndPsutilAlone:
    """linux_processes and portable_processes give the same row."""

    NAMES = (
        b"pt-short",
        b"pt-exactly-15-b",
        b"pt-longer-than-the-kernel-keeps",
        b"pt \xff)\n(\xc3",
        b"pt-" + b"\xc3\xa9" * 9,
    )

    @pytest.mark.parametrize("name", NAMES)
    def test_for_names_of_every_kind(self, spawn: Spawn, name: bytes) -> None:
        process = spawn(name, "1000", "0")
        by_proc, by_psutil = both_rows(process.pid)
        assert by_proc == by_psutil
        assert by_proc["denied"] is False

    def test_for_a_long_name_in_full(self, spawn: Spawn) -> None:
        process = spawn("pt-longer-than-the-kernel-keeps")
        assert {row["name"] for row in both_rows(process.pid)} == {"pt-longer-than-the-kernel-keeps"}

    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            ((b"%s",), "pt-longer-than-the-kernel-keeps"),
            ((b"%s", b"-", b"x" * 5000), "pt-longer-than-the-kernel-keeps"),
            ((b"-%s", b"-"), "pt-longer-than-the-kernel-keeps"),
            ((b"%s and a title", b"-"), "pt-longer-than-"),
            ((b"%s\xff", b"-", b"/b/c"), "pt-longer-than-"),
            ((b"pt-longer-than-the-kernel-keeps", b"-"), "pt-longer-than-"),
            ((b"another-title", b"-"), "pt-longer-than-"),
            ((b"", b"-"), "pt-longer-than-"),
            ((b"%s " + b"x" * 5000, b"-"), "pt-longer-than-"),
        ],
    )
    def test_for_a_long_name_and_the_path_it_is_called_by(
        self, tmp_path: Path, arguments: tuple[bytes, ...], name: str
    ) -> None:
        """The file that runs is called cat, so only a path that is there tells more than the kernel."""
        program = tmp_path / "pt-longer-than-the-kernel-keeps"
        program.symlink_to(shutil.which("cat"))
        given = [argument.replace(b"%s", bytes(program)) for argument in arguments]
        # with a folder of its own it is forked: posix_spawn takes no empty name
        with subprocess.Popen(
            given, executable=program, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            try:
                until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING)
                assert {row["name"] for row in both_rows(process.pid)} == {name}
            finally:
                process.kill()

    @pytest.mark.parametrize("title", [b"pw=s3cret", b"x://me:s3cret-and-more", b"ghp_0123456789ab", b"pt: \xff"])
    def test_for_a_name_that_a_process_gives_itself(self, python: Python, title: bytes) -> None:
        process = python(CALL_ITSELF, title.hex())
        asleep(process)
        by_proc, by_psutil = both_rows(process.pid)
        assert by_proc == by_psutil
        assert "s3cret" not in by_proc["name"]

    def test_for_a_process_with_threads_io_and_odd_arguments(self, python: Python, tmp_path: Path) -> None:
        program = (
            "import os, sys, threading, time\n"
            "threading.Thread(target=time.sleep, args=[1000], daemon=True).start()\n"
            f"file = open({str(tmp_path / 'written')!r}, 'wb'); file.write(b'x' * 100_000); file.close()\n"
            f"{SLEEP}"
        )
        process = python(program, b"\xff", "", "two words", "ünï", "line\nbreak", "end")
        asleep(process)
        by_proc, by_psutil = both_rows(process.pid)
        assert by_proc == by_psutil

    @pytest.mark.parametrize("arguments", [("",), ("x", "", "")])
    def test_for_empty_arguments_at_the_end(self, python: Python, arguments: tuple[str, ...]) -> None:
        process = python(SLEEP, *arguments)
        asleep(process)
        by_proc, by_psutil = both_rows(process.pid)
        assert by_proc["command"] == by_psutil["command"]

    @pytest.mark.parametrize("argument", ["x" * 10_000, " x" * 5_000, "日本 🐍" * 1_000, b"\xff" * 10_000])
    def test_for_a_command_line_that_is_cut(self, python: Python, argument: str | bytes) -> None:
        process = python(SLEEP, argument)
        by_proc, by_psutil = both_rows(process.pid)
        assert by_proc["command"] == by_psutil["command"]
        assert by_proc["command"].endswith("…")

    def test_for_a_kernel_thread(self) -> None:
        if not psutil.pid_exists(2) or psutil.Process(2).ppid() != 0:
            pytest.skip("no kernel threads to be seen here")
        by_proc, by_psutil = both_rows(2)
        assert by_proc == by_psutil
        assert (by_proc["name"], by_proc["command"], by_proc["rss_bytes"]) == ("kthreadd", "", 0)

    def test_for_a_zombie(self, spawn: Spawn) -> None:
        zombie = spawn_zombie(spawn, "pt-zombie-with-a-long-name")
        by_proc, by_psutil = both_rows(zombie.pid)
        assert by_proc == by_psutil
        assert by_proc["command"] is None

    def test_for_this_process_and_its_parent_and_init(self) -> None:
        for pid in (os.getpid(), os.getppid(), 1):
            by_proc, by_psutil = both_rows(pid)
            assert by_proc == by_psutil

    def test_for_a_process_that_has_gone(self, spawn: Spawn) -> None:
        process = spawn("pt-leaver")
        candidates = [platform.read_process(process.pid) for platform in (linux_processes, portable_processes)]
        process.kill()
        process.wait()
        for platform, candidate in zip((linux_processes, portable_processes), candidates, strict=True):
            before = dict(candidate.row)
            platform.read_memory_and_io(candidate)
            assert candidate.row == before
            assert platform.read_owner_and_command(candidate).row == {}
            assert before["name"] == "pt-leaver"
            assert platform.read_process(process.pid) is None

    def test_for_its_age(self, spawn: Spawn) -> None:
        process = spawn("pt-sleeper")
        assert age(linux_processes, process.pid) == pytest.approx(0.1, abs=0.5)
        assert age(portable_processes, process.pid) == pytest.approx(0.1, abs=2)  # boot_time is of whole seconds
        assert age(linux_processes, os.getppid()) == pytest.approx(age(portable_processes, os.getppid()), abs=2)

    def test_for_the_time_since_boot(self) -> None:
        assert portable_system.uptime_seconds() == pytest.approx(linux_system.uptime_seconds(), abs=2)


class TestASystemWithoutProc:
    """portable_processes in the place of linux_processes: psutil alone, and a boot known by its time only."""

    @pytest.fixture(autouse=True)
    def psutil_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sampler, "processes", portable_processes)
        for module in (sampler, system):
            monkeypatch.setattr(module, "system_reader", portable_system)

    def test_is_recorded_too(self, settings: Callable[..., Settings], path: str, spawn: Spawn) -> None:
        process = spawn(SLEEPER, "1000", "0")
        record_one(settings())
        row = f"pid, ppid, cpu_percent, num_threads, username, command LIKE '%{SLEEPER} 1000 0'"
        username = psutil.Process().username()
        assert newest(path, row, SLEEPER) == (process.pid, os.getpid(), 0.0, 1, username, 1)
        assert newest(path, "mem_total_bytes, pressure_cpu_ms") == (psutil.virtual_memory().total, None)
        assert query(path, "SELECT key LIKE 'boot time %' FROM boot") == [1]

    def test_knows_its_boot_again_though_its_time_wanders_by_a_second(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spawn(SLEEPER)
        for later in (0, 1, -1):
            boot_time_is(later, monkeypatch)
            record_one(settings(cpu_window=0))
        assert (count(path), count(path, "boot"), count(path, "process")) == (3, 1, 1)
        assert newest(path, "cpu_percent", SLEEPER) is not None

    def test_tells_two_boots_two_minutes_apart(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spawn(SLEEPER)
        for later in (0, 120):
            boot_time_is(later, monkeypatch)
            record_one(settings(cpu_window=0))
        assert (count(path), count(path, "boot")) == (2, 2)
        assert newest(path, "cpu_percent, window_seconds") == (None, None)
        assert newest(path, "cpu_percent", SLEEPER) is None

    @pytest.mark.usefixtures("connection")
    def test_of_another_host_is_another_boot(self, settings: Callable[..., Settings], path: str) -> None:
        record_one(settings())
        query(path, "UPDATE host SET name = 'another host'")
        record_one(settings())
        assert count(path, "boot") == 2


def boot_time_is(seconds_later: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system compute its boot time *seconds_later* than psutil does."""
    booted_at = psutil.boot_time() + seconds_later
    monkeypatch.setattr(portable_system, "BOOTED_AT", booted_at)
    monkeypatch.setattr(portable_system, "_MONOTONIC_TO_UPTIME", time.time() - booted_at - time.monotonic())


def test_a_tick_never_joins_the_boot_of_imported_data(
    settings: Callable[..., Settings], path: str, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose key is NULL, where the kernel gives no key either (gVisor)."""
    host = os.uname().nodename
    insertion.insert_sample(connection, sample(host=host, boot=None))
    refused = unreadable("/proc/sys/kernel/random/boot_id", linux_system.read_system)
    monkeypatch.setattr(linux_system, "read_system", refused)
    record_one(settings(cpu_window=0))
    assert query(path, "SELECT count(*) FROM system_sample GROUP BY boot_id") == [1, 1]


def unreadable(refused: str, read: Callable[..., bytes]) -> Callable[..., bytes]:
    def reading(path: str, *size: int) -> bytes:
        if path == refused:
            raise FileNotFoundError(path)
        return read(path, *size)

    return reading
