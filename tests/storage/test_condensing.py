"""Condensing loses no sum and no peak, whatever the clock, processes, recorders and devices did."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from conftest import cgroup_row, query, seeds
from machine import Machine, process
from test_truth import Simulation

from perftrack.errors import PassingError
from perftrack.storage import insertion, pending, tick_sql
from perftrack.storage.condensing import condense

END = "2100"


def condense_all(connection: sqlite3.Connection, rows_max: int = 1000) -> None:
    while condense(connection, END, rows_max):
        pass
    assert query(connection, "PRAGMA foreign_key_check") == []
    assert query(connection, "PRAGMA foreign_keys") == [1]
    ordinary = "SELECT count(*) FROM system_sample WHERE samples IS NULL AND uptime_seconds > 0"
    assert query(connection, ordinary) == [0]


def sums(connection: sqlite3.Connection, view: str, key: str, counters: list[str], largest: list[str]) -> list[Any]:
    """Return what each *key* used in all, and its largest values."""
    seconds = [] if "cgroup" in view else ["seconds"]
    columns = [f"sum({name})" for name in [*seconds, "samples", *counters]] + [f"max({name})" for name in largest]
    known = ", ".join(f"count({name}) > 0" for name in counters)
    return query(connection, f"SELECT {key}, {known}, {', '.join(columns)} FROM {view} GROUP BY {key} ORDER BY {key}")


def assert_same(found: tuple[list[Any], ...], before: tuple[list[Any], ...]) -> None:
    for rows, rows_before in zip(found, before, strict=True):
        for row, row_before in zip(rows, rows_before, strict=True):
            # seconds are rounded to milliseconds in each row
            one, other = ([-1 if value is None else value for value in each] for each in (row, row_before))
            assert one == pytest.approx(other, rel=1e-9, abs=0.05)


def of_processes(connection: sqlite3.Connection) -> list[Any]:
    # a row of which nothing is known is no part of a sum
    known = "(SELECT * FROM process_interval WHERE seconds IS NOT NULL)"
    largest = query(
        connection,
        "SELECT process_id, max(rss_max_bytes), max(num_threads_max) FROM process_interval GROUP BY process_id",
    )
    return [
        *sums(connection, known, "process_id", tick_sql.PROCESS_SAMPLE_COUNTERS, tick_sql.PROCESS_SAMPLE_LARGEST),
        *largest,
    ]


def of_system(connection: sqlite3.Connection) -> list[Any]:
    return sums(
        connection, "system_interval", "length(host)", tick_sql.SYSTEM_SAMPLE_COUNTERS, tick_sql.SYSTEM_SAMPLE_LARGEST
    )


def of_cgroups(connection: sqlite3.Connection) -> list[Any]:
    known = "(SELECT * FROM cgroup_interval WHERE cpu_user_ms IS NOT NULL)"
    return sums(connection, known, "cgroup_id", tick_sql.CGROUP_SAMPLE_COUNTERS, tick_sql.CGROUP_SAMPLE_LARGEST)


def gaps(connection: sqlite3.Connection) -> list[Any]:
    # before a boot, the newest sample by a clock that was set need not be the last one
    return query(connection, "SELECT previous_taken_at, taken_at, seconds FROM gap WHERE kind = 'gap' ORDER BY 2")


class Restless(Simulation):
    """A made-up machine of which also the recorders, the interval, the devices and what is refused change."""

    def __init__(self, connection: sqlite3.Connection, seed: int, recorded_share: float = 1) -> None:
        super().__init__(connection, seed, recorded_share)
        self.disks = "sda:1 sdb:2"
        self.others = 0.1  # so many samples are another recorder's
        self.groups: dict[tuple[str, int], int] = {}
        self.inode = 0
        self.of_machine = self.machine.tick
        self.machine.tick = self.tick  # type: ignore[method-assign]

    def step(self) -> None:
        super().step()
        if self.chance.random() < 0.02:
            self.machine.tick(after=self.chance.uniform(600, 6000), cpu_user_ms=100, cpu_idle_ms=1000)

    def tick(self, *rows: dict[str, Any], **given: Any) -> None:
        chance = self.chance
        if self.is_first:
            self.groups.clear()
        if chance.random() < 0.05:
            self.disks = chance.choice(("sda:1 sdb:2", "sda:1", "sda:1 sdc:3"))
        for row in rows:
            row |= {"read_bytes": row["cpu_user_ms"] * 7, "children_user_ms": row["cpu_user_ms"] // 100 * 2}
            row["num_threads"] = chance.randrange(1, 9)
            if chance.random() < 0.05:
                row |= {"read_bytes": None, "write_bytes": None}
            if chance.random() < 0.01:
                row |= {"cpu_user_ms": None, "cpu_system_ms": None}
        extra = {
            name: chance.randrange(1, 1 << 33) for name in ("mem_used_bytes", "swap_used_bytes", "tasks_running")
        }
        extra |= {"load_1min": chance.random() * 9, "disk_set": self.disks, "net_set": "eth0:1"}
        given |= {"disk_read_bytes": chance.randrange(1 << 30), "forks": chance.randrange(999)}
        is_other = chance.random() < self.others
        self.of_machine(
            *rows,
            recorder="--all" if is_other else "--filter python",
            cgroups=None if is_other and chance.random() < 0.5 else self.cgroups(),
            extra=extra,
            **given,
        )

    def cgroups(self) -> list[dict[str, Any]]:
        chance = self.chance
        for key in [key for key in self.groups if chance.random() < 0.05]:
            del self.groups[key]
        if chance.random() < 0.2 or not self.groups:
            self.inode += 1
            self.groups[f"/{chance.choice('abcd')}.service", self.inode] = 0
        by_path = dict(self.groups)
        for key in by_path:
            self.groups[key] += chance.choice((0, 0, chance.randrange(1000)))
        return [
            cgroup_row(
                path, cpu_ms, inode=inode, memory_bytes=chance.choice((7, cpu_ms * 1000)), read_bytes=cpu_ms * 9
            )
            for (path, inode), cpu_ms in self.groups.items()
            if chance.random() > 0.02
        ]


@pytest.mark.parametrize("recorded_share", [1, 0.4])
@pytest.mark.parametrize("seed", seeds(40))
def test_sums_and_peaks_stay(connection: sqlite3.Connection, seed: int, recorded_share: float) -> None:
    simulation = Restless(connection, seed, recorded_share)
    simulation.run(400)
    before = of_processes(connection), of_system(connection), of_cgroups(connection)
    rows = query(connection, "SELECT count(*) FROM process_sample")
    samples = query(connection, "SELECT count(*) FROM system_sample")
    condense_all(connection, rows_max=simulation.chance.choice((20, 100, 10_000)))
    assert_same((of_processes(connection), of_system(connection), of_cgroups(connection)), before)
    assert query(connection, "SELECT count(*) FROM process_sample") < rows
    assert query(connection, "SELECT sum(samples) FROM system_sample") == samples


@pytest.mark.parametrize("seed", seeds(40, 2))
def test_gaps_stay(connection: sqlite3.Connection, seed: int) -> None:
    """Of one recorder; what is usual for several together is less exactly known of condensed hours."""
    simulation = Restless(connection, seed)
    simulation.others = 0
    simulation.run(400)
    apart = gaps(connection)
    assert apart
    condense_all(connection, rows_max=simulation.chance.choice((20, 100, 10_000)))
    assert gaps(connection) == apart


def test_a_sample_that_comes_late_is_counted_once(connection: sqlite3.Connection, path: str) -> None:
    """It had waited beside the database until its hour was condensed."""
    machine = Machine(connection)
    late: list[Any] = []
    for number in range(100):
        rows = [process(number * 10), *([process(number * 7, pid=8)] if number % 9 == 5 else [])]
        if number == 41:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(insertion, "insert_sample", lambda _, sample: late.append(sample))
                machine.tick(*rows)
        else:
            machine.tick(*rows)
    used = "SELECT process_id, sum(cpu_ms), sum(seconds) FROM process_interval GROUP BY process_id"
    before = query(connection, used)
    condense_all(connection)
    assert query(connection, used) == before
    pending.keep(path, late[0], PassingError("busy"))
    pending.insert(connection, path)
    assert query(connection, used) == before
    assert query(connection, "SELECT count(*) FROM system_sample WHERE samples IS NULL") == [1]
    condense_all(connection)
    assert query(connection, used) == before
