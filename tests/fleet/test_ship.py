"""What is in the centre is what the machine itself tells, whatever happens between two ships."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from centres import Centre
from conftest import query
from test_condensing import Restless

from perftrack.errors import PassingError
from perftrack.fleet import local
from perftrack.fleet.ship import ship
from perftrack.storage import insertion, pending, tick_sql
from perftrack.storage.condensing import condense

COUNTED = {
    "system": ("1", ["seconds", "cpu_ms", *tick_sql.SYSTEM_SAMPLE_COUNTERS]),
    "process": ("process_id", ["seconds", "cpu_ms", *tick_sql.PROCESS_SAMPLE_COUNTERS]),
    "cgroup": ("cgroup_id", ["cpu_ms", *tick_sql.CGROUP_SAMPLE_COUNTERS]),
}


def sums(ask: Callable[[str], list[Any]], suffix: str, schema: str = "") -> list[Any]:
    """Return what each process, group and machine used in all, of those that are known to have used something."""
    found = []
    for kind, (key, columns) in COUNTED.items():
        listed = ", ".join(f"sum({name})" for name in columns)
        sql = (
            f"SELECT {key}, {listed} FROM {schema}{kind}_{suffix} WHERE cpu_ms IS NOT NULL GROUP BY {key} ORDER BY 1"
        )
        found += [[kind, *(None if each is None else round(float(each), 1) for each in row)] for row in ask(sql)]
    return found


def assert_the_same(centre: Centre, connection: sqlite3.Connection) -> None:
    here = sums(lambda sql: query(connection, sql), "interval")
    there = sums(centre.query, "sample", "perftrack.")
    for one, other in zip(there, here, strict=True):
        assert one == pytest.approx(other, abs=0.2)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_row_is_there_as_it_is_here(
    centre: Centre, connection: sqlite3.Connection, path: str, seed: int
) -> None:
    simulation = Restless(connection, seed)
    for _ in range(6):
        simulation.run(simulation.chance.randrange(1, 40))
        ship(path, centre.url())
    for view, table, keys in (
        ("process_interval", "process_sample", "sample_id, process_id"),
        ("cgroup_interval", "cgroup_sample", "sample_id, cgroup_id"),
        ("system_interval", "system_sample", "sample_id"),
    ):
        names = query(connection, f"SELECT name FROM pragma_table_info('{view}')")
        has = f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
        columns = ", ".join(sorted(set(names) & set(centre.query(has)) - {"taken_at"}))
        only = "WHERE previous_sample_id IS NOT NULL " if view == "system_interval" else ""
        here = query(connection, f"SELECT taken_at, {columns} FROM {view} {only}ORDER BY {keys}")
        only = "WHERE seconds IS NOT NULL " if view == "system_interval" else ""
        instant = "to_char(taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
        there = centre.query(f"SELECT {instant}, {columns} FROM perftrack.{table} {only}ORDER BY {keys}")
        assert len(here) > 50
        for one, other in zip(there, here, strict=True):
            assert one[0] == other[0]
            assert [-1 if each is None else each for each in one[1:]] == pytest.approx(
                [-1 if each is None else each for each in other[1:]], rel=1e-5
            )
    assert centre.query("SELECT count(*) FROM perftrack.system_sample") == query(
        connection, "SELECT count(*) FROM system_sample"
    )
    assert_the_same(centre, connection)
    assert ship(path, centre.url()).samples == 0


class Unruly(Restless):
    """A machine of which some samples wait, and come late."""

    def __init__(self, connection: sqlite3.Connection, seed: int) -> None:
        super().__init__(connection, seed)
        self.waiting: list[Any] = []

    def tick(self, *rows: dict[str, Any], **given: Any) -> None:
        if self.chance.random() < 0.1:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(insertion, "insert_sample", lambda _, sample: self.waiting.append(sample))
                super().tick(*rows, **given)
        else:
            super().tick(*rows, **given)

    def release(self, path: str) -> None:
        for each in self.waiting:
            pending.keep(path, each, PassingError("busy"))
        if self.waiting:
            pending.insert(self.machine.connection, path)
        self.waiting.clear()


SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 20))]


@pytest.mark.parametrize("happens", ["late", "condensed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_sums_are_those_of_the_machine(
    centre: Centre,
    connection: sqlite3.Connection,
    path: str,
    seed: int,
    happens: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Samples come late, after later ones were shipped; or hours are condensed of which some was shipped."""
    monkeypatch.setattr(local, "ROWS_MAX", 50)
    simulation = Unruly(connection, seed) if happens == "late" else Restless(connection, seed)
    chance = random.Random(seed)
    for _ in range(12):
        simulation.run(chance.randrange(1, 60))
        if chance.random() < 0.5 and isinstance(simulation, Unruly):
            simulation.release(path)
        if chance.random() < 0.5:
            ship(path, centre.url())
            assert_the_same(centre, connection)
        if chance.random() < 0.3 and happens == "condensed":
            before = chance.choice(["2100", simulation.machine.clock.isoformat(" ")])
            while condense(connection, before, chance.choice([20, 1000])):
                pass
    ship(path, centre.url())
    assert_the_same(centre, connection)
