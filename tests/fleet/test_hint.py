"""What `perftrack ship` leaves behind in the local database: how far the centre is, when it said so, what failed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from centres import Centre
from conftest import Run, on_a_terminal, query
from machine import Machine, process
from test_histories import a_machine, copied, newest

from perftrack.errors import PerftrackError
from perftrack.fleet import functions, local
from perftrack.fleet.ship import ship


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


def hint(path: str) -> tuple[Any, ...]:
    columns = "shipped_sample_id, shipped_at, ship_failed_at, ship_failure"
    return tuple(query(path, f"SELECT {columns} FROM source")[0])


def is_now(instant: str) -> bool:
    age = datetime.now(UTC).replace(tzinfo=None) - datetime.fromisoformat(instant)
    return timedelta(0) <= age < timedelta(minutes=2) and len(instant) == len("2026-11-20 14:30:05.123456")


def test_it_is_how_far_the_centre_is_and_when_it_said_so(centre: Centre, machine: Machine, path: str) -> None:
    assert hint(path) == (None, None, None, None)
    machine.tick(process(10))
    machine.tick(process(20))
    ship(path, centre.url())
    shipped, first_at, *failure = hint(path)
    assert (shipped, failure) == (2, [None, None])
    assert is_now(first_at)
    ship(path, centre.url())  # nothing is new
    assert hint(path)[0] == 2
    assert hint(path)[1] > first_at
    machine.tick(process(30))
    ship(path, centre.url())
    assert hint(path)[0] == 3


def test_what_failed_is_there_until_it_does_not(
    centre: Centre, machine: Machine, perftrack: Run, path: str, tmp_path: Any
) -> None:
    machine.tick()
    ship(path, centre.url())
    before = hint(path)
    said = perftrack("ship", "--to", f"postgresql://web1@/fleet?host={tmp_path}", expect=75).stderr
    *shipped, failed_at, failure = hint(path)
    assert shipped == list(before[:2])
    assert is_now(failed_at)
    assert said == f"perftrack: {failure}\n"
    query(path, f"UPDATE source SET ship_failed_at = '{datetime.now(UTC):%Y-%m-%d %H}:00:00.000000'")
    again = ("ship", "--to", f"postgresql://web1@/fleet?host={tmp_path}")
    assert perftrack(*again, expect=75).stderr == ""  # cron would mail it at every ship
    query(path, "UPDATE source SET ship_failed_at = '2026-11-20 14:30:05.123456'")
    assert perftrack(*again, expect=75).stderr == said
    assert said in on_a_terminal(*again, "--database", path, expect=75)
    ship(path, centre.url())
    assert hint(path)[2:] == (None, None)


def test_it_tells_that_a_newer_agent_waits(centre: Centre, machine: Machine, perftrack: Run, path: str) -> None:
    machine.tick()
    with centre.server.connect(centre.database, "owner") as owner:
        opening = next(each for each in functions.definitions() if "open_source(" in each)
        owner.execute(opening.replace(f"own.position, {functions.FORMAT};", "own.position, 0;").encode())
    perftrack("ship", "--to", centre.url(), expect=75)
    shipped, at, _, failure = hint(path)
    assert (shipped, at) == (None, None)
    assert "perftrack fleet upgrade" in failure
    told = perftrack("status", env={"PERFTRACK_SHIP_TO": centre.url()}, expect=1).stdout
    assert f"{centre.database} at " in told
    assert "perftrack fleet upgrade" in told


def test_a_password_in_the_address_is_not_remembered(machine: Machine, perftrack: Run, path: str) -> None:
    perftrack("ship", "--to", "postgresql://web1:s3cret@db/fleet", expect=2)
    assert "~/.pgpass" in hint(path)[3]
    assert "s3cret" not in hint(path)[3]


def test_what_came_before_a_failure_counts(
    centre: Centre, machine: Machine, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third transaction fails: the centre has what the first two brought."""
    monkeypatch.setattr(local, "ROWS_MAX", 4)
    for number in range(10):
        machine.tick(process(10 * number))
    with centre.server.connect(centre.database, "owner") as owner:
        owner.execute("ALTER TABLE perftrack.process_sample ADD CONSTRAINT no CHECK (sample_id <> 6)")
    with pytest.raises(PerftrackError):
        ship(path, centre.url())
    (position,) = centre.query("SELECT position FROM perftrack.source")
    assert 0 < position < 6
    shipped, at, failed_at, failure = hint(path)
    assert shipped == position
    assert is_now(at)
    assert is_now(failed_at)
    assert failure


@pytest.fixture
def locked(path: str, connection: sqlite3.Connection) -> Iterator[None]:
    """Somebody writes all the while."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.usefixtures("locked")
def test_a_database_that_is_busy_is_shipped_all_the_same(centre: Centre, path: str) -> None:
    assert ship(path, centre.url()).samples == 0
    assert hint(path) == (None, None, None, None)
    assert centre.query("SELECT count(*) FROM perftrack.source") == [1]


def test_a_database_that_refuses_it_is_shipped_all_the_same(centre: Centre, machine: Machine, path: str) -> None:
    machine.tick()
    query(path, "CREATE TRIGGER no BEFORE UPDATE ON source BEGIN SELECT RAISE(ABORT, 'no'); END")
    assert ship(path, centre.url()).samples == 1
    assert hint(path) == (None, None, None, None)


def test_of_a_database_that_was_restored_it_is_the_truth_again(
    centre: Centre, connection: sqlite3.Connection, path: str
) -> None:
    a_machine(connection, 1).run(10)
    ship(path, centre.url())
    common = newest(connection)
    a_machine(connection, 2).run(10)
    copy = copied(connection, path)
    query(copy, f"DELETE FROM system_sample WHERE id > {common}")  # as it was before
    query(copy, "UPDATE source SET shipped_sample_id = 1000, shipped_at = NULL")
    ship(path, centre.url())
    ship(copy, centre.url())  # all of it is there
    assert hint(copy)[0] == common
    assert is_now(hint(copy)[1])
    with closing(sqlite3.connect(copy, isolation_level=None)) as other:
        a_machine(other, 3).run(4)
        query(copy, "UPDATE source SET shipped_sample_id = 1000")
        assert ship(copy, centre.url()).said is not None
        assert hint(copy)[0] == newest(other)
    assert hint(path)[0] == newest(connection)
