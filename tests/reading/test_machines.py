"""Several machines in one database, imported data beside recorded, and clocks that are wrong."""

from __future__ import annotations

import csv
import io
import json
import re
import socket
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import Run, sample
from machine import NOON, Machine, process

from perftrack.storage import insertion

WHOLE = ("--since", "2026-11-20T12:00Z", "--until", "2026-11-20T14:00Z")
OWN = socket.gethostname()


@pytest.fixture
def connection_of_two(connection: sqlite3.Connection) -> sqlite3.Connection:
    """alpha, whose CPUs are busy all the time, and beta, where nothing happens."""
    alpha, beta = Machine(connection, host="alpha"), Machine(connection, host="beta", boot="boot-9")
    for number in range(11):
        alpha.tick(process(number * 50_000, name="worker"), cpu_user_ms=120_000)
        beta.tick(process(number * 10, name="worker"), cpu_idle_ms=120_000)
    return connection


@pytest.mark.usefixtures("connection_of_two")
class TestTwoMachines:
    def test_are_two_rows_of_top(self, perftrack: Run) -> None:
        out = perftrack("top", *WHOLE, "--group", "name", "--wide").stdout
        assert out.startswith("2 machines, alpha, beta: ")
        rows = [line.split() for line in out.splitlines() if line.endswith("worker")]
        assert [row[:2] for row in rows] == [["alpha", "500.0"], ["beta", "0.1"]]
        found = json.loads(perftrack("top", *WHOLE, "--format", "json").stdout)
        assert [(row["host"], row["cpu_seconds"]) for row in found["rows"]] == [("alpha", 500.0), ("beta", 0.1)]
        assert found["system_cpu_seconds"] == 1200.0
        rows = list(csv.DictReader(io.StringIO(perftrack("top", *WHOLE, "--format", "csv").stdout)))
        assert [row["host"] for row in rows] == ["alpha", "beta", ""]  # the last line is of all

    def test_have_a_report_each_and_no_mean_of_both(self, perftrack: Run) -> None:
        out = perftrack("report", *WHOLE).stdout
        assert re.findall(r"^(\w+): 2026", out, re.MULTILINE) == ["alpha", "beta"]
        assert re.findall(r"^CPU % +([\d.]+)", out, re.MULTILINE) == ["100.0", "0.0"]
        found = json.loads(perftrack("report", *WHOLE, "--format", "json").stdout)
        assert [(each["hosts"], each["metrics"]["cpu"]["mean"]) for each in found["machines"]] == [
            (["alpha"], 100.0),
            (["beta"], 0.0),
        ]

    def test_are_no_plot(self, perftrack: Run) -> None:
        done = perftrack("plot", *WHOLE, "-o", "x.svg", expect=2)
        assert "alpha, beta: choose with --host" in done.stderr
        perftrack("plot", *WHOLE, "--host", "beta", "-o", "x.svg")

    @pytest.mark.parametrize(("pattern", "names"), [("alpha", "alpha"), ("b*", "beta"), ("?????", "alpha")])
    def test_can_be_chosen(self, perftrack: Run, pattern: str, names: str) -> None:
        for command in ("top", "report"):
            assert perftrack(command, *WHOLE, "--host", pattern).stdout.startswith(f"{names}: ")
        assert perftrack("top", "--at", "2026-11-20T12:05Z", "--host", pattern).stdout.startswith(f"{names}: sample")
        rows = csv.DictReader(
            io.StringIO(perftrack("export", "--system-csv", "-", "--wide", "--host", pattern).stdout)
        )
        assert {row["host"] for row in rows} == {names}
        assert f" old, of {names}" in perftrack("status", "--host", pattern, expect=1).stdout

    def test_that_are_not_there_are_told_from_those_that_are(self, perftrack: Run) -> None:
        for command in ("top", "report", "plot", "status", "export"):
            done = perftrack(command, "--host", "gamma", expect=1)
            assert done.stderr == "perftrack: no machine here is called gamma; the database has alpha, beta\n"
        perftrack("top", "--host", "[a]lpha", expect=1)  # * and ? alone stand for others

    def test_are_exported_together_and_that_is_said(self, perftrack: Run) -> None:
        done = perftrack("export", "--process-csv", "-")
        assert done.stderr == "perftrack: the rows are of alpha, beta; --host chooses, --wide has a column of it\n"
        assert len(done.stdout.splitlines()) == 23
        assert perftrack("export", "--process-csv", "-", "--wide").stderr == ""

    def test_do_not_get_in_the_way_of_this_one(self, perftrack: Run, connection: sqlite3.Connection) -> None:
        own = Machine(connection, host=OWN, boot="boot-own")
        for _ in range(3):
            own.tick(process(0, name="mine"))
        assert perftrack("top", *WHOLE).stdout.startswith(f"{OWN}: ")
        assert len(perftrack("export", "--process-csv", "-").stdout.splitlines()) == 4
        assert perftrack("top", *WHOLE, "--host", "*").stdout.startswith("3 machines, ")


class TestImportedDataBesideRecorded:
    @pytest.fixture(autouse=True)
    def both(self, connection: sqlite3.Connection) -> None:
        """An hour that the original recorded, at 80 %, and then an hour of our own at 20 %."""
        for minute in range(60):
            instant = (NOON + timedelta(minutes=minute)).isoformat(" ", "microseconds")
            imported = {"taken_at": instant, "uptime_seconds": None, "cpu_percent": 80.0}
            insertion.insert_sample(connection, sample(boot=None, **imported))
        machine = Machine(connection)
        machine.clock = NOON + timedelta(minutes=59)
        for _ in range(61):
            machine.tick(cpu_user_ms=24_000, cpu_idle_ms=96_000)

    def test_has_its_cpu_in_a_report(self, perftrack: Run) -> None:
        out = perftrack("report", *WHOLE).stdout
        assert "CPU of imported samples is what the original measured in each" in out
        found = json.loads(perftrack("report", *WHOLE, "--format", "json").stdout)
        cpu = found["metrics"]["cpu"]
        assert (cpu["samples"], cpu["max"]) == (119, 80.0)
        assert cpu["mean"] == pytest.approx(50.2, abs=0.5)

    def test_has_its_cpu_in_a_plot(self, perftrack: Run, tmp_path: Any) -> None:
        perftrack("plot", *WHOLE, "-o", str(tmp_path / "x.svg"))
        drawn = (tmp_path / "x.svg").read_text()
        assert "busy of imported samples as the original measured it" in drawn


class TestTheMonitor:
    def tick_ago(self, connection: sqlite3.Connection, host: str, **ago: float) -> None:
        machine = Machine(connection, host=host, boot=f"boot of {host}")
        machine.clock = datetime.now(UTC).replace(tzinfo=None) - timedelta(**ago) - timedelta(minutes=11)
        for _ in range(11):
            machine.tick()

    @pytest.mark.slow
    def test_is_not_blinded_by_a_clock_that_was_ahead(self, connection: sqlite3.Connection, perftrack: Run) -> None:
        self.tick_ago(connection, OWN, hours=5)
        assert "LATE: 5 h" in perftrack("status", expect=1).stdout
        ahead = (datetime.now(UTC) + timedelta(days=400)).replace(tzinfo=None).isoformat(" ", "microseconds")
        boot = f"boot of {OWN}"
        insertion.insert_sample(connection, sample(host=OWN, boot=boot, taken_at=ahead, uptime_seconds=9e6))
        done = perftrack("status", expect=1)
        assert "LATE: 5 h" in done.stdout
        assert re.search(r"^clock +ERROR: 1 sample is in the future, up to 20", done.stdout, re.MULTILINE)
        for command in ("top", "report"):
            assert "ERROR: 1 sample is in the future" in perftrack(command).stdout
            assert "2027" not in perftrack(command).stdout.splitlines()[0]
        assert json.loads(perftrack("status", "--format", "json", expect=1).stdout)["samples_in_the_future"] == 1

    def test_is_not_blinded_by_imported_data(self, connection: sqlite3.Connection, perftrack: Run) -> None:
        self.tick_ago(connection, OWN, hours=5)
        fresh = (datetime.now(UTC)).replace(tzinfo=None).isoformat(" ", "microseconds")
        for host in (OWN, "other"):
            insertion.insert_sample(connection, sample(host=host, boot=None, taken_at=fresh, uptime_seconds=None))
        assert "LATE: 5 h" in perftrack("status", expect=1).stdout

    def test_is_not_blinded_by_another_machine(self, connection: sqlite3.Connection, perftrack: Run) -> None:
        self.tick_ago(connection, OWN, hours=5)
        self.tick_ago(connection, "other", seconds=5)
        assert "LATE: 5 h" in perftrack("status", expect=1).stdout
        perftrack("status", "--host", "other")

    def test_says_that_nothing_was_recorded(self, connection: sqlite3.Connection, perftrack: Run) -> None:
        fresh = (datetime.now(UTC)).replace(tzinfo=None).isoformat(" ", "microseconds")
        insertion.insert_sample(connection, sample(host=OWN, boot=None, taken_at=fresh, uptime_seconds=None))
        assert f"none that was recorded of {OWN}" in perftrack("status", expect=1).stdout

    def test_is_not_misled_by_a_hundred_quick_samples(self, connection: sqlite3.Connection, perftrack: Run) -> None:
        """Of an hourly schedule, by hand and with the same options."""
        machine = Machine(connection, host=OWN)
        machine.clock = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=30, minutes=50, seconds=20)
        for _ in range(30):
            machine.tick(after=3600)
        for _ in range(100):
            machine.tick(after=0.2)
        out = perftrack("status").stdout
        assert "usually every 1 h" in out
        assert re.search(r"(\d+) samples of \1, ", out)

    def test_knows_two_schedules_a_minute(self, connection: sqlite3.Connection, perftrack: Run) -> None:
        machine = Machine(connection, host=OWN)
        machine.clock = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=31)
        for _ in range(30):
            machine.tick(after=59.98, recorder="--all")
            machine.tick(after=0.02)
        out = perftrack("status").stdout
        assert "usually every 1 min" in out
        assert "60 samples of 60, gaps and boots: 0" in out

    def test_takes_a_slower_schedule_as_usual_before_it_has_lasted_half_a_day(
        self, connection: sqlite3.Connection, perftrack: Run
    ) -> None:
        machine = Machine(connection, host=OWN)
        machine.clock = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=600 + 100 + 8)
        for minutes in (*[1] * 600, *[10] * 10):
            machine.tick(after=60 * minutes)
        perftrack("status")  # the newest is 8 minutes old


class TestTheHourThatIsThereTwice:
    @pytest.fixture(autouse=True)
    def that_night(self, connection: sqlite3.Connection) -> None:
        machine = Machine(connection)
        machine.clock = datetime(2026, 10, 24, 23, 30)
        for number in range(180):
            machine.tick(process(number))

    def test_names_both_passes(self, perftrack: Run) -> None:
        lines = perftrack("top", "--at", "2026-10-25 02:05", env={"TZ": "Europe/Berlin"}).stdout.splitlines()
        assert lines[0].startswith("here: sample of 2026-10-25 02:05:00 CEST")
        assert lines[1] == (
            "the clock showed that time twice, at 2026-10-25 02:05:00 CEST and at 2026-10-25 02:05:00 CET: "
            "--at @1792890300 is the other"
        )
        other = perftrack("top", "--at", "@1792890300", env={"TZ": "Europe/Berlin"}).stdout.splitlines()
        assert other[0].startswith("here: sample of 2026-10-25 02:05:00 CET")
        assert "twice" not in perftrack("top", "--at", "2026-10-25 03:05", env={"TZ": "Europe/Berlin"}).stdout

    def test_is_told_apart_in_csv(self, perftrack: Run) -> None:
        """With --time utc, in which every instant of a row has the same form."""
        out = perftrack("export", "--process-csv", "-", "--wide", "--time", "utc", env={"TZ": "Europe/Berlin"}).stdout
        rows = list(csv.DictReader(io.StringIO(out)))
        assert len({row["datetime"] for row in rows}) == 180
        for row in rows:
            for name in ("datetime", "taken_at", "booted_at", "started_at"):
                assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", row[name]), name
        out = perftrack("export", "--process-csv", "-", "--wide", "--time", "epoch").stdout
        assert all(float(row["started_at"]) > 0 for row in csv.DictReader(io.StringIO(out)))
