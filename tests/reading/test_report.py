"""`perftrack report`: a range on one screen, and the same for programs."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from typing import Any

import pytest
from conftest import LEGACY, Run
from machine import Machine, process

WHOLE = ("--since", "2026-11-20T12:00Z", "--until", "2026-11-20T14:00Z")


@pytest.fixture
def an_hour(connection: sqlite3.Connection) -> Machine:
    """A sample a minute: in the tenth interval all CPUs are busy, in all others a tenth; a gap, and a reboot."""
    machine = Machine(connection)
    for number in range(60):
        busy = 120_000 if number == 10 else 12_000
        machine.tick(
            process(number * 5000, name="worker"),
            process(1000, name="idle", pid=7, rss_bytes=1 << 30),
            after=1200 if number == 40 else 60,
            cpu_user_ms=busy,
            cpu_idle_ms=120_000 - busy,
            pressure_io_ms=6000,
            **dict.fromkeys(("disk_read_bytes", "disk_write_bytes", "net_received_bytes", "net_sent_bytes"), 61_440),
            extra={"load_1min": number / 10, "mem_used_bytes": 500 if number == 30 else 250, "recorder_cpu_ms": 40},
        )
    machine.names["boot"], machine.uptime_seconds = "boot-2", 0.0
    machine.tick(after=300)
    return machine


@pytest.mark.usefixtures("an_hour")
class TestStatistics:
    def test_are_of_intervals_and_of_samples(self, perftrack: Run) -> None:
        found: dict[str, Any] = json.loads(perftrack("report", *WHOLE, "--format", "json").stdout)
        cpu, memory, load = (found["metrics"][name] for name in ("cpu", "memory", "load_1min"))
        assert (cpu["samples"], cpu["p50"], cpu["p95"], cpu["max"]) == (59, 10.0, 10.0, 100.0)
        assert cpu["max_at"] == "2026-11-20T12:11:00Z"
        # each interval weighs as much as it lasts
        assert cpu["mean"] == pytest.approx((57 * 60 * 10 + 60 * 100 + 1200 * 10) / (58 * 60 + 1200), abs=0.001)
        assert (memory["p50"], memory["max"], memory["max_at"]) == (25.0, 50.0, "2026-11-20T12:31:00Z")
        assert (load["p50"], load["p95"], load["max"]) == (2.9, 5.6, 5.9)
        assert found["metrics"]["pressure_io"]["p50"] == 10.0
        assert "swap" not in found["metrics"]  # not known of any sample

    def test_name_the_largest_processes_and_what_is_not_explained(self, perftrack: Run) -> None:
        found = json.loads(perftrack("report", *WHOLE, "--format", "json").stdout)
        assert [row["name"] for row in found["top_cpu"]] == ["worker", "idle"]
        assert [row["name"] for row in found["top_rss"]] == ["idle", "worker"]
        assert found["top_cpu"][0]["cpu_seconds"] == 295.0
        assert found["unattributed_cpu_seconds"] == (58 * 12 + 120) - 295
        assert found["recorder_cpu"]["mean"] == 40.0

    def test_tell_what_is_missing(self, perftrack: Run) -> None:
        found = json.loads(perftrack("report", *WHOLE, "--format", "json").stdout)
        assert [(gap["kind"], gap["seconds"]) for gap in found["gaps"]] == [
            ("gap", 1200.0),
            ("boot", 300.0),
            ("gap", 2160.0),
        ]
        assert (found["samples"], found["samples_expected"]) == (61, 61 + 19 + 4 + 35)


@pytest.mark.usefixtures("an_hour")
class TestTheScreen:
    def test_holds_it_all(self, perftrack: Run) -> None:
        lines = perftrack("report", *WHOLE, env={"COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}).stdout.splitlines()
        assert len(lines) <= 40
        assert lines[0] == "here: 2026-11-20 12:00:00 to 2026-11-20 14:00:00 UTC"
        assert lines[1] == "61 samples of 119, usually every 1 min"
        (cpu,) = [line for line in lines if line.startswith("CPU %")]
        assert cpu.split()[2:7] == ["11.2", "10.0", "10.0", "100.0", "12:11:00"]
        assert cpu.count("█") == 1  # the one minute in which all were busy is seen, however short
        (disk,) = [line for line in lines if line.startswith("disk written/s")]
        assert disk.split()[2:6] == ["775", "B", "1.0", "KiB"]
        # under the bars: when the first begins, the middle, and when the last ends
        assert lines[lines.index(disk) + 3].split() == ["12:01", "12:42", "13:24"]
        assert {"most CPU (s)", "most memory"} <= {line.split("  ")[0].strip() for line in lines}
        assert "recording took 2.4 CPU s: 40 ms a sample" in lines[-1]

    @pytest.mark.parametrize(("until", "gaps"), [("12:10", 0), ("12:30", 0), ("13:10", 1)])
    def test_has_a_bar_for_each_time_but_for_gaps(self, perftrack: Run, until: str, gaps: int) -> None:
        """However few the samples are, and whether it is of intervals or of samples."""
        environment = {"COLUMNS": "120", "PYTHONIOENCODING": "utf-8"}
        span = ("--since", "2026-11-20T12:00Z", "--until", f"2026-11-20T{until}Z")
        lines = perftrack("report", *span, env=environment).stdout.splitlines()
        (start,) = [line.index("largest value") for line in lines if "largest value" in line]
        for label in ("CPU %", "memory %", "load"):
            (bars,) = [line[start:] for line in lines if line.startswith(label)]
            assert len(bars) > 40
            assert len(bars.strip().split()) == 1 + gaps, bars

    @pytest.mark.parametrize("columns", [72, 80, 100, 200])
    def test_fits_its_width(self, perftrack: Run, columns: int) -> None:
        out = perftrack("report", *WHOLE, env={"COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8"}).stdout
        assert max(map(len, out.splitlines())) <= columns

    def test_has_bars_of_plain_characters_where_others_cannot_be_shown(self, perftrack: Run) -> None:
        out = perftrack("report", *WHOLE, env={"PYTHONIOENCODING": "ascii", "COLUMNS": "50"}).stdout
        assert "~" in out
        assert out.isascii()
        assert "#" in out
        assert "\\u" not in out

    def test_has_no_colour_in_a_pipe(self, perftrack: Run) -> None:
        assert "\x1b" not in perftrack("report", *WHOLE).stdout

    @pytest.mark.parametrize("no_color", [None, "1"])
    def test_on_a_terminal_has_some_unless_told_not_to(self, path: str, no_color: str | None) -> None:
        ours, theirs = pty.openpty()
        env = {**os.environ, "PERFTRACK_DATABASE": path, "TERM": "xterm-256color", "COLUMNS": "100"}
        env |= {} if no_color is None else {"NO_COLOR": no_color}
        command = [sys.executable, "-m", "perftrack", "report", *WHOLE]
        process = subprocess.Popen(command, env=env, stdout=theirs, stderr=subprocess.DEVNULL)
        os.close(theirs)
        out = b""
        try:
            while part := os.read(ours, 65536):
                out += part
        except OSError:  # the other end is closed
            pass
        assert process.wait(timeout=60) == 0
        assert b"CPU %" in out
        assert (b"\x1b[" in out) is (no_color is None)


def test_of_imported_data_shows_what_was_recorded(perftrack: Run) -> None:
    perftrack("import", str(LEGACY / "data.pik"), "--timezone", "UTC")
    found = json.loads(perftrack("report", "--since", "2000-01-01", "--format", "json").stdout)
    assert found["metrics"]["cpu"]["samples"] > 0
    assert found["samples_without_counters"] == found["samples"]
    assert found["unattributed_cpu_seconds"] is None
    assert found["cpu_is_of_windows"] is True
    out = perftrack("report", "--since", "2000-01-01").stdout
    assert "memory %" in out
    assert "CPU is that of each sample's window: there are no counters to take it from" in out


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize("output", ["text", "json"])
def test_of_an_empty_database_fails(perftrack: Run, output: str) -> None:
    done = perftrack("report", "--format", output, expect=1)
    assert (done.stdout, done.stderr.count("holds no samples yet")) == ("", 1)


def test_without_processes_says_what_was_to_be_recorded(connection: sqlite3.Connection, perftrack: Run) -> None:
    machine = Machine(connection)
    for _ in range(2):
        machine.tick(cpu_user_ms=6000, cpu_idle_ms=114_000, recorder="--filter java")
    out = perftrack("report", *WHOLE).stdout
    assert "no process was recorded in this range; it was recorded by `perftrack record --filter java`" in out
    assert "CPU %" in out
    done = perftrack("report", *WHOLE, "--format", "json")
    assert "perftrack record --filter java" in done.stderr
    assert json.loads(done.stdout)["top_cpu"] == []


def test_marks_what_is_largely_an_estimate(connection: sqlite3.Connection, perftrack: Run) -> None:
    machine = Machine(connection)
    for number in range(3):
        machine.tick(process(number * 60_000), after=60, cpu_user_ms=60_000, cpu_idle_ms=60_000)
    half = ("--since", "2026-11-20T12:02:30Z", "--until", "2026-11-20T12:04Z")
    assert "~30.0  100" in perftrack("report", *half).stdout


def test_is_cut_to_the_width_unless_wide(connection: sqlite3.Connection, perftrack: Run) -> None:
    command = "python3 job.py " + 300 * "x"
    Machine(connection).tick(process(1, command=command))
    assert command not in perftrack("report", *WHOLE).stdout
    assert command in perftrack("report", *WHOLE, "--wide").stdout
