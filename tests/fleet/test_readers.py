"""What a reader's role can do: read everything, and nothing else; as `perftrack fleet add-reader` makes it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from centres import Centre
from conftest import Run, on_a_terminal
from test_condensing import Restless

from perftrack.errors import PerftrackError
from perftrack.fleet import agents, functions, migrating, partitions, readers
from perftrack.fleet.centre import SAMPLES, metadata
from perftrack.fleet.ship import ship

psycopg = pytest.importorskip("psycopg")
DENIED = psycopg.errors.InsufficientPrivilege
TABLES = [table.name for table in metadata.sorted_tables]
_EVERY = "SELECT relname FROM pg_class WHERE relnamespace = 'perftrack'::regnamespace AND relkind IN ('r', 'p')"


@pytest.fixture
def reader(centre: Centre) -> Iterator[str]:
    """The URL of a reader of a centre with samples. Roles are of the server: it goes at the end."""
    assert "made the role eyes" in on_a_terminal("fleet", "add-reader", centre.url("owner"), "eyes")
    yield centre.url("eyes")
    with centre.server.connect(centre.database) as owner:
        owner.execute("DROP OWNED BY eyes")
        owner.execute("DROP ROLE eyes")


@pytest.fixture
def shipped(centre: Centre, connection: sqlite3.Connection, path: str) -> None:
    Restless(connection, 1).run(20)
    ship(path, centre.url())


def test_reads_every_table_and_the_partitions_to_come(centre: Centre, shipped: None, reader: str) -> None:
    with migrating.owner(centre.url("owner")) as opened:
        day = datetime.now(UTC).date() + timedelta(days=30)
        assert partitions.make_partitions(opened, day) == 10 * len(SAMPLES)
    tables = centre.query(_EVERY)
    assert {*TABLES, f"process_sample_{day:%Y%m%d}"} < set(tables)
    for table in tables:
        count = f"SELECT count(*) FROM perftrack.{table}"
        assert centre.query(count, "eyes") == centre.query(count)
    assert centre.query("SELECT count(*) FROM perftrack.process_sample", "eyes")[0] > 0


def test_writes_nothing_and_executes_nothing_also_after_an_upgrade(
    centre: Centre, shipped: None, reader: str
) -> None:
    for _ in range(2):
        with psycopg.connect(reader, autocommit=True) as session:
            for table in centre.query(_EVERY):
                for statement in (
                    f"INSERT INTO perftrack.{table} DEFAULT VALUES",
                    f"DELETE FROM perftrack.{table}",
                    f"TRUNCATE perftrack.{table}",
                    f"DROP TABLE perftrack.{table}",
                    f"LOCK perftrack.{table} IN EXCLUSIVE MODE",
                ):
                    with pytest.raises((DENIED, psycopg.errors.NoActiveSqlTransaction)):
                        session.execute(statement.encode())
            for name, of in functions.SIGNATURES.items():
                nothing = ", ".join(f"NULL::{each}" for each in of.split(", ") if each)
                with pytest.raises(DENIED, match=f"function {name}"):
                    session.execute(f"SELECT perftrack.{name}({nothing})".encode())
            for statement in ("CREATE TABLE perftrack.mine (id int)", "SET ROLE owner", "CREATE ROLE other"):
                with pytest.raises(DENIED):
                    session.execute(statement.encode())
        migrating.upgrade(centre.url("owner"), is_new=False)
    ship_rights = "SELECT has_function_privilege(%s, 'perftrack.stage()', 'EXECUTE')"
    assert [centre.query(ship_rights.replace("%s", f"'{role}'"))[0] for role in ("eyes", "web1")] == [False, True]


@pytest.mark.slow
def test_the_answers_of_the_fleet_are_a_readers_too(
    centre: Centre, reader: str, connection: sqlite3.Connection, path: str, perftrack: Run
) -> None:
    simulation = Restless(connection, 2)
    simulation.machine.clock = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=30)
    simulation.run(10)
    ship(path, centre.url())
    assert "1 machine, 0 silent" in perftrack("fleet", "status", reader).stdout
    ends = ("--since", "2020-01-01", "--until", "2030-01-01", "--format", "json")
    for command in (("top", "--group", "name"), ("report",)):
        asked = ("fleet", command[0], "{}", *command[1:], *ends)
        one, other = (
            json.loads(perftrack(*(word.format(url) for word in asked)).stdout)
            for url in (reader, centre.url("owner"))
        )
        for answer in (one, other):
            answer.pop("gaps", None)  # the last one goes on
        assert one == other


def test_a_role_that_may_write_is_no_reader_and_a_reader_is_no_agent(centre: Centre, reader: str) -> None:
    for name in ("owner", "postgres", "web1"):
        with pytest.raises(PerftrackError, match="name another one"):
            readers.add(centre.url("owner"), name)
    with pytest.raises(PerftrackError, match="may do more than ship"):
        agents.add(centre.url("owner"), "eyes")
    assert not readers.add(centre.url("owner"), "eyes")
    with pytest.raises(PerftrackError, match="add-reader"):
        readers.add(centre.url("web1"), "other")
