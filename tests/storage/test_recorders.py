"""Several recorders in one database, devices that come and go, and machines that change their name."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from conftest import sample
from machine import Machine, process

from perftrack.storage import insertion


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


def select(connection: sqlite3.Connection, view: str, columns: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT {columns} FROM {view} ORDER BY sample_id").fetchall()


class TestGapsOfSeveralRecorders:
    def gaps(self, connection: sqlite3.Connection) -> list[tuple[float, float]]:
        return select(connection, "gap", "seconds, usual_seconds")

    def test_two_schedules_a_minute(self, machine: Machine, connection: sqlite3.Connection) -> None:
        """Root's and a user's, which start together: no interval of 59.98 s is a gap, and a true one is."""
        for number in range(30):
            machine.tick(after=59.98 if number != 20 else 659.98, recorder="--all")
            machine.tick(after=0.02, recorder="--top 5")
        assert self.gaps(connection) == [(659.98, 60.0)]

    def test_a_tick_by_hand_between_two(self, machine: Machine, connection: sqlite3.Connection) -> None:
        for _ in range(10):
            machine.tick()
        machine.tick(after=20, recorder="--all")
        for _ in range(10):
            machine.tick(after=40 if _ == 0 else 60)
        assert self.gaps(connection) == []

    @pytest.mark.parametrize("by_hand", ["--top 5", "--all"], ids=["the same options", "other options"])
    def test_a_hundred_quick_ones_by_hand(
        self, machine: Machine, connection: sqlite3.Connection, by_hand: str
    ) -> None:
        """The next tick of the schedule is no gap, and the first that is missing is one."""
        for _ in range(10):
            machine.tick(recorder="--top 5")
        for _ in range(100):
            machine.tick(after=0.2, recorder=by_hand)
        for seconds in (40, 60, 60, 60, 600, 60):
            machine.tick(after=seconds, recorder="--top 5")
        assert self.gaps(connection) == [(600.0, 60.0)]

    @pytest.mark.parametrize("schedules", [(10, 60), (60, 10), (60, 3600), (3600, 5)])
    def test_a_schedule_that_becomes_slower_or_faster(
        self, machine: Machine, connection: sqlite3.Connection, schedules: tuple[int, int]
    ) -> None:
        for seconds in schedules:
            for _ in range(20):
                machine.tick(after=seconds)
        assert self.gaps(connection) == []


class TestPercentages:
    def test_of_two_ticks_some_milliseconds_apart_are_not_known(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        """Counters that move in steps of 10 ms say 0 or 100 % then."""
        machine.tick(process(0))
        machine.tick(process(30_000), cpu_user_ms=30_000, cpu_idle_ms=90_000)
        machine.tick(process(30_010), after=0.013, cpu_user_ms=10, recorder="--all")
        machine.tick(process(60_000), after=59.987, cpu_user_ms=29_990, cpu_idle_ms=90_000)
        assert select(connection, "system_interval", "cpu_percent, cpu_ms") == [
            (25.0, 30_000),
            (None, 10),
            (24.99, 29_990),
        ]
        assert select(connection, "process_interval", "cpu_percent, cpu_ms") == [
            (None, None),
            (50.0, 30_000),
            (None, 10),
            (49.99, 29_990),
        ]


class TestDevices:
    """What all together had sent, and the interfaces that it is of, sample by sample."""

    def sent(self, machine: Machine, *samples: tuple[str | None, int]) -> list[int | None]:
        for devices, sent in samples:
            machine.counters["net_sent_bytes"] = sent
            machine.tick(extra={"net_set": devices, "disk_set": "sda:1"})
        return [row[0] for row in select(machine.connection, "system_interval", "net_sent_bytes")]

    def test_one_that_is_gone_makes_its_interval_unknown(self, machine: Machine) -> None:
        """500 are sent over lo while veth7 goes, which had sent 400: the sum grows by 100."""
        assert self.sent(machine, ("lo:1 veth7:2", 1400), ("lo:1", 1500), ("lo:1", 1600)) == [None, 100]

    def test_one_that_is_another_of_the_same_name_does_so_too(self, machine: Machine) -> None:
        assert self.sent(machine, ("lo:1 tun0:2", 1400), ("lo:1 tun0:9", 1500)) == [None]

    def test_one_that_comes_counts_from_nothing(self, machine: Machine) -> None:
        assert self.sent(machine, ("lo:1", 1000), ("lo:1 veth7:2", 1500)) == [500]

    def test_others_of_the_machine_are_not_touched(self, machine: Machine) -> None:
        machine.tick(extra={"net_set": "lo:1 veth7:2", "disk_set": "sda:1"})
        machine.tick(extra={"net_set": "lo:1", "disk_set": "sda:1"}, disk_read_bytes=7)
        assert select(machine.connection, "system_interval", "disk_read_bytes, net_sent_bytes") == [(7, None)]

    def test_that_were_not_noted_are_taken_as_the_same(self, machine: Machine) -> None:
        assert self.sent(machine, (None, 1000), ("lo:1", 1500), (None, 1700)) == [500, 200]

    def test_are_stored_once(self, machine: Machine) -> None:
        self.sent(machine, ("lo:1", 1), ("lo:1", 2), ("lo:1 eth0:2", 3), ("lo:1", 4))
        assert machine.connection.execute("SELECT count(*) FROM device_set").fetchone() == (3,)


class TestAMachineThatChangesItsName:
    def test_within_a_boot_loses_nothing(self, machine: Machine, connection: sqlite3.Connection) -> None:
        """alpha, beta and alpha again: what was used in between is counted once."""
        for number, name in enumerate(("alpha", "beta", "alpha")):
            machine.names["host"] = name
            machine.tick(process(number * 1000), cpu_user_ms=2000)
        assert select(connection, "system_interval", "host, cpu_user_ms") == [("alpha", 2000), ("alpha", 2000)]
        assert select(connection, "process_interval", "cpu_ms") == [(None,), (1000,), (1000,)]
        assert select(connection, "gap", "*") == []
        assert connection.execute("SELECT name FROM host").fetchall() == [("alpha",)]

    def test_to_that_of_another_in_the_database_becomes_that_one(
        self, machine: Machine, connection: sqlite3.Connection
    ) -> None:
        Machine(connection, host="beta", boot="boot-9").tick()
        machine.names["host"] = "alpha"
        machine.tick()
        machine.names["host"] = "beta"
        machine.tick(cpu_user_ms=7)
        assert select(connection, "system_interval", "host, cpu_user_ms") == [("beta", 7)]

    def test_keeps_its_history_in_earlier_boots(self, machine: Machine, connection: sqlite3.Connection) -> None:
        machine.names["host"] = "alpha"
        machine.tick()
        machine.names |= {"boot": "boot-2"}
        machine.tick()
        machine.names |= {"host": "beta"}
        machine.tick()
        assert select(connection, "system_log", "host") == [("beta",)] * 3


def test_imported_samples_are_no_boot(machine: Machine, connection: sqlite3.Connection) -> None:
    """The original recorded beside perftrack today, and its file is imported: nothing was booted."""
    for minute in range(3):
        machine.tick()
        imported = {"taken_at": f"2026-11-20 12:0{minute}:30.000000", "uptime_seconds": None}
        insertion.insert_sample(connection, sample(boot=None, **imported))
    assert select(connection, "gap", "*") == []
