"""`perftrack status`: how recording is doing, and an exit code that a monitor can go by."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psutil
import pytest
import typer
from conftest import Run
from machine import Machine, process

from perftrack.cli import status as cli_status
from perftrack.reading import forecast, status
from perftrack.settings import load
from perftrack.storage import failures


def minutes_of(machine: Machine, count: int, newest_age_seconds: float) -> None:
    """Record a sample a minute, the newest of that age now."""
    now = datetime.now(UTC).replace(tzinfo=None)
    machine.clock = now - timedelta(minutes=count, seconds=newest_age_seconds)
    for number in range(count):
        machine.tick(process(number), extra={"recorder_cpu_ms": 40 + number % 2})


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


class TestTheExitCode:
    @pytest.mark.parametrize(("age", "expected"), [(20, 0), (150, 0), (240, 1), (7200, 1)])
    def test_is_1_when_the_newest_sample_is_three_usual_intervals_old(
        self, machine: Machine, perftrack: Run, age: float, expected: int
    ) -> None:
        minutes_of(machine, 10, age)
        out = perftrack("status", expect=expected).stdout
        assert ("LATE" in out) is bool(expected)
        assert json.loads(perftrack("status", "--format", "json", expect=expected).stdout)["ok"] is not bool(expected)

    @pytest.mark.usefixtures("connection")
    def test_of_an_empty_database_is_1(self, perftrack: Run) -> None:
        assert "none yet" in perftrack("status", expect=1).stdout

    def test_where_there_is_no_database_is_1(self, perftrack: Run) -> None:
        assert "no database at" in perftrack("status", expect=1).stderr

    def test_goes_by_what_is_usual_here(self, machine: Machine, perftrack: Run) -> None:
        machine.clock = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=5)
        for _ in range(4):
            machine.tick(after=3600)
        assert "usually every 1 h" in perftrack("status").stdout


class TestItTells:
    def test_of_the_database_and_its_growth(self, machine: Machine, perftrack: Run, path: str) -> None:
        minutes_of(machine, 121, 0)
        found = json.loads(perftrack("status", "--format", "json").stdout)
        assert (found["database"], found["rows"]["system_sample"], found["rows"]["process_sample"]) == (
            path,
            121,
            121,
        )
        assert found["size_bytes"] > 0
        # two hours have 121 samples: a day twelve times as many
        assert found["growth_bytes_per_day"] == pytest.approx(found["size_bytes"] * 12, rel=0.01)
        assert found["recorder_cpu_ms"] == {"mean": pytest.approx(40.5, abs=0.01), "p95": 41, "max": 41}
        assert "in 365 days" in perftrack("status").stdout

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_of_the_log_and_who_may_keep_it_from_being_emptied(
        self, machine: Machine, perftrack: Run, path: str, python: Callable[..., subprocess.Popen[bytes]]
    ) -> None:
        minutes_of(machine, 1, 0)
        program = (
            "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN')\n"
            "c.execute('SELECT count(*) FROM host').fetchall(); print('reads', flush=True); time.sleep(1000)"
        )
        reader = python(program, path)
        name = psutil.Process(reader.pid).name()
        found = json.loads(perftrack("status", "--format", "json", expect=None).stdout)
        assert found["log_bytes"] == os.path.getsize(f"{path}-wal") > 0
        assert {"pid": reader.pid, "name": name} in found["log_opened_by"]
        out = perftrack("status", expect=None).stdout
        assert " of it are the write-ahead log, open in " in out
        assert f"{name} ({reader.pid})" in out
        assert "cannot be emptied" not in out
        machine.connection.execute("CREATE TABLE padding AS SELECT zeroblob(17000000)")
        out = perftrack("status", expect=None).stdout
        assert re.search(
            r"\nlog       16\.\d MiB of it are the write-ahead log, open in .*; it cannot be emptied", out
        )

    def test_of_no_log_where_there_is_none(self, machine: Machine, perftrack: Run) -> None:
        minutes_of(machine, 1, 0)
        machine.connection.close()
        assert "\nlog " not in perftrack("status", expect=None).stdout

    def test_of_one_sample(self, machine: Machine, perftrack: Run) -> None:
        minutes_of(machine, 1, 0)
        out = perftrack("status", expect=None).stdout
        assert "rows      1 sample, 1 process row, 1 process, 1 boot\n" in out
        assert "last day  1 sample of " in out

    def test_all_of_it_on_a_narrow_screen(self, machine: Machine, perftrack: Run, path: str) -> None:
        minutes_of(machine, 121, 0)
        wide = perftrack("status").stdout
        narrow = perftrack("status", env={"COLUMNS": "60"}).stdout
        assert all(len(line) <= 60 for line in narrow.splitlines() if path not in line)
        assert (
            re.sub(r"[\d.]+ s old", "", wide).split()
            == re.sub(r"[\d.]+ s old", "", narrow.replace("\n", " ")).split()
        )

    def test_of_rows_it_does_not_count_an_estimate(
        self, machine: Machine, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (status, forecast):
            monkeypatch.setattr(module, "COUNTED_SAMPLES", 10)
        minutes_of(machine, 45, 0)
        found = status.status(load({"database": path}))
        assert (found.rows["process_sample"], found.rows_estimated) == (45, True)

    def test_of_the_gaps_of_the_last_day(self, machine: Machine, perftrack: Run) -> None:
        machine.clock = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=2, minutes=8)
        for after in (60, 60, 60, 7200, 60, 60, 60, 60):
            machine.tick(after=after)
        found = json.loads(perftrack("status", "--format", "json").stdout)
        assert [gap["seconds"] for gap in found["last_day"]["gaps"]] == [7200.0]
        assert "no samples from" in perftrack("status").stdout

    def test_of_the_last_error(self, machine: Machine, perftrack: Run, path: str) -> None:
        minutes_of(machine, 3, 0)
        assert "errors    none" in perftrack("status").stdout
        failures.note(path, "the disk is full\x1b[2J")
        assert r"the disk is full\x1b[2J" in perftrack("status").stdout
        found = json.loads(perftrack("status", "--format", "json").stdout)["failures"]
        assert (found[0]["count"], found[0]["recovered_at"]) == (1, None)

    @pytest.mark.parametrize("setting", ["PERFTRACK_KEEP_EVERY_SAMPLE", "PERFTRACK_KEEP_HOURLY"])
    def test_of_what_is_kept_for_longer_than_the_calendar_goes(
        self, machine: Machine, perftrack: Run, setting: str
    ) -> None:
        minutes_of(machine, 3, 0)
        assert "kept      every sample since" in perftrack("status", env={setting: "99999y"}).stdout

    def test_of_the_settings_and_where_they_are_from(self, machine: Machine, perftrack: Run) -> None:
        minutes_of(machine, 3, 0)
        assert "top = 7  # environment, PERFTRACK_TOP" in perftrack("status", env={"PERFTRACK_TOP": "7"}).stdout


class TestAnOldSqlite:
    @pytest.mark.parametrize(
        ("version", "told"),
        [
            ((3, 40, 1), True),
            ((3, 44, 5), True),
            ((3, 44, 6), False),
            ((3, 45, 0), True),
            ((3, 50, 7), False),
            ((3, 51, 2), True),
            ((3, 51, 3), False),
            ((3, 53, 0), False),
        ],
    )
    @pytest.mark.usefixtures("connection")
    def test_is_named_where_it_may_damage_a_database(
        self,
        path: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        version: tuple[int, ...],
        told: bool,
    ) -> None:
        monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
        monkeypatch.setattr(sqlite3, "sqlite_version", ".".join(map(str, version)))
        with pytest.raises(typer.Exit):
            cli_status.status(database=path)
        assert (f"sqlite    {sqlite3.sqlite_version}: " in capsys.readouterr().out) is told
