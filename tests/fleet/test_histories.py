"""Restored and copied databases: what is common is there once, and what is not is a source of its own."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from centres import Centre
from conftest import Run, cgroup_row, query
from machine import Machine, process
from test_condensing import Restless
from test_ship import sums

from perftrack.fleet.ship import ship
from perftrack.storage import tick_sql
from perftrack.storage.condensing import condense
from perftrack.storage.purging import purge


def copied(connection: sqlite3.Connection, path: str) -> str:
    """Return a copy of the database as it is now."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = str(Path(path).with_name("copy.db"))
    shutil.copy(path, copy)
    return copy


def a_machine(connection: sqlite3.Connection, seed: int) -> Restless:
    """Return one that boots now."""
    made = Restless(connection, seed)
    made.machine.names["boot"] = f"boot-of-{seed}"
    return made


def newest(connection: sqlite3.Connection) -> int:
    return int(query(connection, "SELECT max(id) FROM system_sample")[0])


def of_chain(centre: Centre, source: int, upto: int) -> list[object]:
    """Return the sums of a source and, up to where it begins, of the one that it is forked from."""
    only = f"(source_id = {source} OR (source_id = 1 AND sample_id <= {upto}))"

    def ask(sql: str) -> list[object]:
        return centre.query(sql.replace("WHERE", f"WHERE {only} AND"))

    return sums(ask, "sample", "perftrack.")


@pytest.mark.parametrize("role", ["web1", "web2"])
def test_a_restored_or_copied_database_goes_on_as_its_own(
    centre: Centre, connection: sqlite3.Connection, path: str, role: str
) -> None:
    """By the same role or, copied to another machine, by that one's."""
    Restless(connection, 1).run(30)
    ship(path, centre.url())
    common = newest(connection)
    copy = copied(connection, path)
    a_machine(connection, 2).run(20)
    ship(path, centre.url())
    assert ship(copy, centre.url(role)).samples == 0
    with closing(sqlite3.connect(copy, isolation_level=None)) as other:
        for seed in range(3, 6):
            simulation = a_machine(other, seed)
            before = newest(other)
            simulation.run(20)
            done = ship(copy, centre.url(role))
            assert done.samples == newest(other) - before
            assert (done.said is not None) == (seed == 3)
            if done.said:
                assert f"its sample {common + 1} of 2026-11-20" in done.said
        here = sums(lambda sql: query(other, sql), "interval")
        assert centre.query("SELECT id, role, position, fork_position FROM perftrack.source ORDER BY id") == [
            (1, "web1", newest(connection), None),
            (2, role, newest(other), common),
        ]
        for one, there in zip(of_chain(centre, 2, common), here, strict=True):
            assert there == pytest.approx(one, abs=0.2)
        # what tells them apart goes; it is known all the same
        while condense(other, "2100"):
            pass
        assert ship(copy, centre.url(role)).samples == 0
        before = newest(other)
        a_machine(other, 7).run(5)
        assert ship(copy, centre.url(role))[::2] == (newest(other) - before, None)
    ship(path, centre.url())
    assert centre.query("SELECT count(*) FROM perftrack.source") == [2]
    held = "SELECT count(*), count(DISTINCT (source_id, sample_id)) FROM perftrack.system_sample"
    assert len(set(centre.query(held)[0])) == 1


def test_what_is_purged_here_stays_there(centre: Centre, connection: sqlite3.Connection, path: str) -> None:
    simulation = Restless(connection, 4)
    simulation.run(60)
    ship(path, centre.url())
    before = centre.query("SELECT count(*) FROM perftrack.process_sample")
    middle = query(connection, "SELECT taken_at FROM system_sample WHERE id = 40")[0]
    while purge(connection, middle) is not None:
        pass
    assert query(connection, "SELECT count(*) FROM system_sample")[0] < 60
    simulation.run(10)
    assert ship(path, centre.url()).samples >= 10
    assert centre.query("SELECT count(*) FROM perftrack.process_sample")[0] > before[0]
    assert centre.query("SELECT count(*) FROM perftrack.system_sample") == [newest(connection)]


def test_what_a_restored_machine_used_meanwhile_counts_once(
    centre: Centre, connection: sqlite3.Connection, path: str
) -> None:
    """In the same boot, the first interval after it reaches back to before what was lost, and was shipped."""
    used = 0

    def run(machine: Machine, samples: int) -> None:
        nonlocal used
        for _ in range(samples):
            used += 1000
            machine.tick(
                process(used, pid=7, name="java", read_bytes=used * 2, children_user_ms=used // 10),
                process(used % 5000, pid=8, name="cron", started_ticks=used // 5000 * 5000),
                cgroups=[cgroup_row("/a.service", used * 3), cgroup_row(f"/b{used // 7000}.service", used % 7000)],
                cpu_user_ms=4000,
                cpu_idle_ms=90_000,
                disk_read_bytes=512,
            )

    machine = Machine(connection, host="web1")
    run(machine, 20)
    ship(path, centre.url())
    copy = copied(connection, path)
    run(machine, 13)
    ship(path, centre.url())
    with closing(sqlite3.connect(copy)) as restored:
        machine.connection = restored
        run(machine, 9)
        restored.commit()
        assert ship(copy, centre.url()).said is not None
        run(machine, 5)
        restored.commit()
        ship(copy, centre.url())
        assert centre.query("SELECT count(*) FROM perftrack.source WHERE forked_from = 1") == [1]
        assert centre.query("SELECT count(*) FROM perftrack.system_sample") == [20 + 13 + 9 + 5]
        for kind, key in (("system", "1"), ("process", "pid"), ("cgroup", "path")):
            columns = ["seconds", "cpu_ms", *tick_sql.SYSTEM_SAMPLE_COUNTERS] if kind == "system" else ["cpu_ms"]
            columns += ["children_user_ms", "read_bytes", "seconds"] if kind == "process" else []
            listed = ", ".join(f"coalesce(sum({name}), 0)" for name in columns)
            of = "" if kind == "system" else f" JOIN perftrack.{kind} USING (source_id, {kind}_id)"
            # of others, the centre has more: some began and ended in what was lost here
            only = {"system": "", "process": "WHERE pid = 7", "cgroup": "WHERE path = '/a.service'"}[kind]
            there = f"SELECT {key}, {listed} FROM perftrack.{kind}_sample{of} {only} GROUP BY 1"
            here = f"SELECT {key}, {listed} FROM {kind}_interval {only} GROUP BY 1"
            found = [[*map(str, row[:1]), *map(float, row[1:])] for row in centre.query(there)]
            assert found == [[*map(str, row[:1]), *map(float, row[1:])] for row in query(restored, here)]


def _run(machine: Machine, samples: int, used: int) -> int:
    """Record so many of one process and its group; return what it had used."""
    for _ in range(samples):
        used += 1000
        machine.tick(
            process(used, pid=7, name="java"),
            cgroups=[cgroup_row("/a.service", used)],
            cpu_user_ms=1000,
            cpu_idle_ms=9,
        )
    return used


@pytest.mark.slow
def test_a_late_sample_of_a_day_that_was_removed_counts_once(
    centre: Centre, connection: sqlite3.Connection, path: str, perftrack: Run
) -> None:
    url = centre.url("owner")
    machine = Machine(connection, host="web1")
    machine.clock = (datetime.now(UTC) - timedelta(days=4)).replace(tzinfo=None)
    used = 0
    for _ in range(4 * 24 * 4 - 6):
        used += 1000
        if used == 100_000:  # of a day that is removed when it comes
            late = (machine.clock + timedelta(minutes=7), machine.uptime_seconds + 420, used - 500)
        machine.tick(process(used, pid=7, name="java"), after=900, cpu_user_ms=1000, cpu_idle_ms=9000)
    ship(path, centre.url())

    def sums_of_hours() -> list[float]:
        found = []
        for group in ("name", "host"):
            options = ("--since", "30d", "--group", group, "--format", "json")
            found += [
                row["cpu_seconds"] for row in json.loads(perftrack("fleet", "top", url, *options).stdout)["rows"]
            ]
        return found

    perftrack("fleet", "upkeep", url, "--keep", "2d")
    before = sums_of_hours()
    assert before == [pytest.approx(used / 1000 - 1)] * 2
    held = "SELECT count(*), min(taken_at)::text, sum(cpu_ms) FROM perftrack.process_sample WHERE taken_at < now()"
    held += " - interval '2 days'"
    samples = centre.query(held)
    machine.clock, machine.uptime_seconds, its = late
    machine.counters |= {"cpu_user_ms": its, "cpu_idle_ms": its * 9}
    machine.tick(process(its, pid=7, name="java"), after=0)
    assert ship(path, centre.url()).samples == 1
    assert centre.query("SELECT position FROM perftrack.source") == [newest(connection)]
    assert centre.query(held) == samples
    for _ in range(2):
        assert sums_of_hours() == pytest.approx(before)
        perftrack("fleet", "upkeep", url, "--keep", "2d")
    assert ship(path, centre.url()).samples == 0


_USED = "SELECT sum(cpu_ms) FROM perftrack.{kind}_sample"


@pytest.mark.parametrize("order", [(10, 10), (10, 5), (5, 10), (10, 5, 10), (10, 10, 5, 5)])
def test_what_was_lost_in_several_restores_counts_once(
    centre: Centre, connection: sqlite3.Connection, path: str, order: tuple[int, ...]
) -> None:
    """From backups that were made after so many samples of the same boot, one after another."""
    machine = Machine(connection, host="web1")
    backups, used = {}, 0
    for made in (5, 10):
        used = _run(machine, 5, used)
        backups[made] = Path(copied(connection, path)).rename(f"{path}.{made}")
    used = _run(machine, 15, used)
    ship(path, centre.url())
    for number, made in enumerate(order):
        restored = shutil.copy(backups[made], f"{path}.restored{number}")
        with closing(sqlite3.connect(restored, isolation_level=None)) as opened:
            machine.connection = opened
            for samples in (7, 3):
                used = _run(machine, samples, used)
                ship(restored, centre.url())
        for kind in ("system", "process", "cgroup"):
            assert centre.query(_USED.format(kind=kind)) == [used - 1000], kind
        seconds = "SELECT sum(seconds)::float8 FROM perftrack.system_sample"
        assert centre.query(seconds) == [pytest.approx((used / 1000 - 1) * 60)]
    assert centre.query("SELECT count(*) FROM perftrack.source") == [len(order) + 1]


def test_a_copy_takes_nothing_off_when_its_original_goes_on(
    centre: Centre, connection: sqlite3.Connection, path: str
) -> None:
    """Two machines that were one, also in its boot: what each used counts but for the first interval of the copy."""
    one = Machine(connection, host="web1")
    used = _run(one, 10, 0)
    ship(path, centre.url())
    copy = copied(connection, path)
    with closing(sqlite3.connect(copy, isolation_level=None)) as opened:
        other = Machine(opened, host="web1")
        vars(other).update(vars(one) | {"connection": opened, "counters": dict(one.counters)})
        other.uptime_seconds += 1
        theirs = used
        for _ in range(3):
            used = _run(one, 10, used)
            ship(path, centre.url())
            theirs = _run(other, 10, theirs)
            ship(copy, centre.url())
    of_source = _USED.format(kind="process") + " JOIN perftrack.source ON id = source_id WHERE forked_from IS {} NULL"
    assert centre.query(of_source.format("")) == [used - 1000]
    assert centre.query(of_source.format("NOT")) == [theirs - 11_000]
