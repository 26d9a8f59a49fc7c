"""The views of what happened between two samples, system_interval, process_interval and gap, at a sqlite3 prompt."""

from __future__ import annotations

import re
import sqlite3
from datetime import timedelta
from typing import Any

import pytest
from conftest import process_row, sample
from machine import Machine, process
from sqlalchemy import Table

from perftrack.storage import insertion, intervals


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


def rows(connection: sqlite3.Connection, view: str, columns: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT {columns} FROM {view} ORDER BY sample_id").fetchall()


class TestSystemInterval:
    def test_has_what_the_counters_grew_by(self, machine: Machine, connection: sqlite3.Connection) -> None:
        machine.tick()
        machine.tick(cpu_user_ms=30_000, cpu_system_ms=5_000, cpu_idle_ms=80_000, cpu_iowait_ms=5_000)
        columns = "seconds, cpu_ms, cpu_user_ms, cpu_system_ms, cpu_idle_ms, cpu_percent"
        assert rows(connection, "system_interval", columns) == [(60.0, 35_000, 30_000, 5_000, 80_000, 29.17)]

    def test_counts_stolen_time_as_busy_but_not_as_used(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        machine.tick()
        machine.tick(cpu_user_ms=30_000, cpu_steal_ms=30_000, cpu_idle_ms=60_000)
        assert rows(connection, "system_interval", "cpu_ms, cpu_percent") == [(30_000, 50.0)]

    def test_never_reaches_across_a_boot(self, machine: Machine, connection: sqlite3.Connection) -> None:
        machine.tick()
        machine.names["boot"] = "boot-2"
        machine.tick(cpu_user_ms=30_000)
        assert rows(connection, "system_interval", "*") == []

    def test_of_a_counter_that_went_backwards_is_null(self, machine: Machine, connection: sqlite3.Connection) -> None:
        machine.tick(cpu_user_ms=10, cpu_system_ms=10, net_sent_bytes=10)
        machine.tick(cpu_user_ms=-5, cpu_system_ms=5, net_sent_bytes=-1)
        columns = "cpu_user_ms, cpu_system_ms, net_sent_bytes, cpu_ms, cpu_percent"
        assert rows(connection, "system_interval", columns) == [(None, 5, None, None, None)]

    def test_follows_the_uptime_when_the_clock_steps_back(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        machine.tick()
        machine.tick(step=-3600, cpu_user_ms=1000)
        machine.tick(step=7200, cpu_user_ms=2000)
        assert rows(connection, "system_interval", "seconds, cpu_user_ms") == [(60.0, 1000), (60.0, 2000)]

    def test_of_two_samples_at_the_same_instant_is_counted_once(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        machine.tick()
        machine.tick(cpu_user_ms=1000)
        machine.tick(after=0, step=0.001)
        machine.tick(cpu_user_ms=500)
        assert rows(connection, "system_interval", "seconds, cpu_user_ms") == [(60.0, 1000), (0.0, 0), (60.0, 500)]

    def test_keeps_machines_apart(self, machine: Machine, connection: sqlite3.Connection) -> None:
        other = Machine(connection, host="there", boot="boot-9")
        for each in (machine, other, machine, other):
            each.tick(cpu_user_ms=7 if each is machine else 9)
        assert rows(connection, "system_interval", "host, cpu_user_ms") == [("here", 7), ("there", 9)]


class TestProcessInterval:
    def test_has_what_the_process_used(self, machine: Machine, connection: sqlite3.Connection) -> None:
        machine.tick(process(1000, read_bytes=10, write_bytes=20))
        machine.tick(process(31_000, read_bytes=4106, write_bytes=20))
        columns = "name, pid, seconds, cpu_ms, cpu_percent, read_bytes, write_bytes, rss_bytes"
        assert rows(connection, "process_interval", columns) == [
            ("python3", 100, None, None, None, None, None, 4096),
            ("python3", 100, 60.0, 30_000, 50.0, 4096, 0, 4096),
        ]

    def test_goes_from_its_own_previous_sample_whatever_lies_between(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        machine.tick(process(1000))
        machine.tick()
        machine.tick(process(500, pid=7, started_ticks=1))
        machine.tick(process(91_000))
        columns = "pid, seconds, sample_seconds, cpu_ms, cpu_percent"
        assert rows(connection, "process_interval", columns)[-1] == (100, 180.0, 60.0, 90_000, 50.0)

    def test_goes_from_its_own_previous_sample_whoever_took_it(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        machine.tick(process(1000))
        machine.tick(process(2000), after=30, recorder="--all")
        machine.tick(process(4000), after=30)
        machine.tick(process(50, pid=7, started_ticks=1), after=1, recorder="--filter java")
        machine.tick(process(8000), after=29)
        assert rows(connection, "process_interval", "pid, seconds, cpu_ms") == [
            (100, None, None),
            (100, 30.0, 1000),
            (100, 30.0, 2000),
            (7, None, None),
            (100, 30.0, 4000),
        ]

    def test_counts_a_process_that_began_since_from_its_start(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        machine.tick()
        machine.tick(process(500, started_ticks=int(machine.uptime_seconds * 100) + 5500))
        assert rows(connection, "process_interval", "seconds, cpu_ms, cpu_percent") == [(5.0, 500, 10.0)]

    @pytest.mark.parametrize("window", [0, 1, 10, 50])
    def test_counts_one_that_began_while_the_sample_before_waited(
        self, machine: Machine, connection: sqlite3.Connection, window: float
    ) -> None:
        machine.tick(window=window)
        listed = int((machine.uptime_seconds - window) * 100)
        machine.tick(
            process(500, started_ticks=listed + 1, pid=1),
            process(500, started_ticks=listed - 1, pid=2),
        )
        assert rows(connection, "process_interval", "pid, cpu_ms") == [(1, 500), (2, None)]

    def test_counts_one_from_its_start_by_the_samples_of_its_own_recorder(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        """Another recorder's sample in between would not have recorded it."""
        machine.tick()
        started = int(machine.uptime_seconds * 100) + 100
        machine.tick(after=30, recorder="--filter java")
        machine.tick(process(500, started_ticks=started), after=30)
        assert rows(connection, "process_interval", "cpu_ms") == [(500,)]

    def test_does_not_count_from_its_start_what_a_new_recorder_finds_running(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        machine.tick()
        started = int(machine.uptime_seconds * 100) + 100
        machine.tick(process(500, started_ticks=started), recorder="--all")
        assert rows(connection, "process_interval", "seconds, cpu_ms") == [(None, None)]

    def test_does_not_know_what_an_older_process_used_before_it_was_recorded(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        machine.tick()
        machine.tick(process(500, started_ticks=10))
        machine.tick(process(800, started_ticks=10))
        assert rows(connection, "process_interval", "cpu_ms") == [(None,), (300,)]

    def test_where_start_times_are_of_the_wall_clock(self, machine: Machine, connection: sqlite3.Connection) -> None:
        machine.tick()
        epoch_ticks = 178_000_000_000
        started_at = str(machine.clock + timedelta(seconds=5))
        machine.tick(
            process(500, pid=1, started_ticks=epoch_ticks, started_at=started_at),
            process(500, pid=2, started_ticks=epoch_ticks, started_at=str(machine.clock - timedelta(seconds=5))),
        )
        machine.tick()
        machine.tick(process(900, pid=1, started_ticks=epoch_ticks, started_at=started_at))
        assert rows(connection, "process_interval", "pid, cpu_ms") == [(1, 500), (2, None), (1, 400)]

    def test_tells_a_reused_pid_from_the_process_before(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        machine.tick(process(9000))
        machine.tick(process(500, started_ticks=int(machine.uptime_seconds * 100) + 10))
        assert rows(connection, "process_interval", "cpu_ms") == [(None,), (500,)]

    def test_goes_on_when_a_process_changes_its_name(self, machine: Machine, connection: sqlite3.Connection) -> None:
        machine.tick(process(9000, name="python3"))
        machine.tick(process(9500, name="worker"))
        machine.tick()
        machine.tick(process(9900, name="python3"))
        assert rows(connection, "process_interval", "name, seconds, cpu_ms")[1:] == [
            ("worker", 60.0, 500),
            ("python3", 120.0, 400),
        ]

    def test_of_a_counter_that_went_backwards_or_is_refused_is_null(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        machine.tick(process(9000, pid=1), process(None, pid=2))
        machine.tick(process(8000, pid=1), process(100, pid=2))
        assert rows(connection, "process_interval", "pid, cpu_ms")[2:] == [(1, None), (2, None)]

    def test_never_reaches_across_a_boot(self, machine: Machine, connection: sqlite3.Connection) -> None:
        machine.tick(process(100))
        machine.names["boot"] = "boot-2"
        machine.tick(process(900))
        assert rows(connection, "process_interval", "seconds, cpu_ms") == [(None, None), (None, None)]

    @pytest.mark.parametrize(
        ("cpu_ms", "threads", "percent"),
        [
            (1010, 1, 100.0),  # two clock ticks of rounding
            (1150, 1, 100.0),  # read later than the sample says
            (1250, 1, 103.0),  # not to be explained by that: it may have had more threads in between
            (1150, 2, 115.0),
            (1150, None, 115.0),
        ],
    )
    def test_a_percentage_is_no_more_than_its_threads_could_use(
        self, machine: Machine, connection: sqlite3.Connection, cpu_ms: int, threads: int | None, percent: float
    ) -> None:
        machine.tick(process(0, num_threads=1))
        late = {"read_uptime_seconds": machine.uptime_seconds + 1 + 0.2}
        machine.tick(process(cpu_ms, num_threads=threads), after=1, extra=late)
        assert rows(connection, "process_interval", "cpu_ms, cpu_percent")[1:] == [(cpu_ms, percent)]

    def test_of_imported_data_is_what_it_has(self, connection: sqlite3.Connection) -> None:
        one = sample(process_row(cpu_user_ms=None, cpu_system_ms=None, started_ticks=None), boot=None)
        insertion.insert_sample(connection, one)
        connection.execute("INSERT INTO name_filter (text, rank) VALUES ('on', 1)")
        connection.execute(
            "INSERT INTO process_sample (sample_id, process_id, filter_id, rss_bytes) VALUES (1, 1, 2, 4096)"
        )
        assert rows(connection, "process_interval", "seconds, cpu_ms, rss_bytes") == [(None, None, 4096)]


class TestItsOwnInput:
    """What a process has read by itself, beside what its children had that have ended."""

    def read(self, machine: Machine, *samples: tuple[int, int | None, int]) -> list[tuple[int | None, int | None]]:
        """Record what it has read in all, by itself, and how much CPU its children took; return both growths."""
        for in_all, own, children in samples:
            row = process(0, read_bytes=in_all, own_read_bytes=own, children_user_ms=children)
            machine.tick(row)
        return rows(machine.connection, "process_interval", "read_bytes, own_read_bytes")[1:]

    def test_is_all_where_it_has_had_none(self, machine: Machine) -> None:
        assert self.read(machine, (100, None, 0), (700, None, 0)) == [(600, 600)]

    def test_is_what_its_thread_says_when_one_has_ended(self, machine: Machine) -> None:
        """A shell has read 10 more, and dd 600."""
        assert self.read(machine, (100, None, 0), (710, 110, 50), (720, 115, 50)) == [(610, 10), (10, 5)]

    def test_is_not_known_of_several_threads(self, machine: Machine) -> None:
        assert self.read(machine, (100, None, 0), (700, None, 50), (800, None, 50)) == [(600, None), (100, None)]


class TestGap:
    def test_is_none_where_ticks_are_regular(self, machine: Machine, connection: sqlite3.Connection) -> None:
        for seconds in (60, 61, 59, 60, 5, 55, 60, 62, 100):
            machine.tick(after=seconds)
        assert rows(connection, "gap", "*") == []

    def test_is_an_interval_much_longer_than_those_beside_it(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        for seconds in (60, 60, 60, 3600, 60, 600, 60):
            machine.tick(after=seconds)
        columns = "kind, seconds, usual_seconds, previous_taken_at, taken_at"
        assert rows(connection, "gap", columns) == [
            ("gap", 3600.0, 60.0, "2026-11-20 12:03:00.000000", "2026-11-20 13:03:00.000000"),
            ("gap", 600.0, 60.0, "2026-11-20 13:04:00.000000", "2026-11-20 13:14:00.000000"),
        ]

    def test_is_no_step_of_the_clock(self, machine: Machine, connection: sqlite3.Connection) -> None:
        for step in (0, 0, 0, 3600, 0, 0, -3600, 0):
            machine.tick(step=step)
        assert rows(connection, "gap", "*") == []

    def test_tells_a_boot_and_for_how_long_there_was_no_sample(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        machine.tick()
        machine.tick()
        machine.names["boot"], machine.uptime_seconds = "boot-2", 0.0
        machine.tick(after=300)
        machine.tick()
        columns = "kind, round(seconds), usual_seconds, previous_taken_at, taken_at"
        assert rows(connection, "gap", columns) == [
            ("boot", 300.0, None, "2026-11-20 12:02:00.000000", "2026-11-20 12:07:00.000000")
        ]

    def test_of_a_boot_is_of_the_same_machine(self, machine: Machine, connection: sqlite3.Connection) -> None:
        machine.tick()
        other = Machine(connection, host="there", boot="boot-9")
        other.tick(after=90)
        machine.names["boot"] = "boot-2"
        machine.tick(after=120)
        assert rows(connection, "gap", "host, round(seconds)") == [("here", 120.0)]


VIEWS = ("system_interval", "process_interval", "gap")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("column", ["taken_at", "datetime"])
@pytest.mark.parametrize("comparison", ["> '2026-11-20'", "BETWEEN '2026-11-20' AND '2026-11-21'"])
def test_a_condition_on_the_time_reads_only_its_range(
    connection: sqlite3.Connection, view: str, column: str, comparison: str
) -> None:
    """The later sample is found by time and all else through indexes; only boots, which are few, are scanned."""
    index = {"taken_at": "ix_system_sample_taken_at", "datetime": "ix_system_sample_taken_at_local"}[column]
    sql = f"SELECT count(*), sum(seconds) FROM {view} WHERE {column} {comparison}"
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert re.search(rf"^SEARCH later USING (COVERING )?INDEX {index} \({column}|taken_at", "\n".join(plan)), plan
    # neither the name filters, which are few, nor what a subquery made is a table of samples
    scanned = [step for step in plan if re.match(r"SCAN (?!\(subquery|gap$|CONSTANT ROW|new |name_filter)", step)]
    assert scanned == (["SCAN boot"] if view == "gap" else []), plan
    assert not [step for step in plan if "AUTOMATIC" in step], plan


def test_the_newest_sample_of_a_boot_is_found_by_index(connection: sqlite3.Connection) -> None:
    """So that a tick that asks for it costs the same after a year."""
    sql = "SELECT id FROM system_sample WHERE boot_id = 1 ORDER BY uptime_seconds DESC"
    (plan,) = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert plan == "SEARCH system_sample USING COVERING INDEX ix_system_sample_boot_id (boot_id=?)"


@pytest.mark.parametrize("view", VIEWS)
def test_sqlalchemy_knows_every_column(connection: sqlite3.Connection, view: str) -> None:
    stored = {row[1] for row in connection.execute(f"PRAGMA table_info({view})")}
    assert stored == set(intervals.VIEWS[view].columns.keys())


@pytest.mark.parametrize("view", intervals.VIEWS.values(), ids=str)
def test_every_column_is_documented(view: Table) -> None:
    assert [column.name for column in view.columns if not column.doc] == []
