"""`perftrack fleet` and `perftrack ship`, as the owner of a centre and the user of an agent run them."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from centres import Centre
from conftest import Run, on_a_terminal, query
from machine import Machine, process
from test_ship import assert_the_same

from perftrack.fleet import functions, migrating, partitions
from perftrack.fleet.centre import SAMPLES


@pytest.fixture
def empty(server: Any) -> Any:
    """The URL of an empty database, as its owner."""
    with server.connect() as connection:
        connection.execute("CREATE DATABASE empty OWNER owner")
        yield server.url("empty", "owner")
        connection.execute("DROP DATABASE empty WITH (FORCE)")


def test_from_nothing(empty: str, server: Any, perftrack: Run, connection: sqlite3.Connection, path: str) -> None:
    agent = server.url("empty", "web1")
    machine = Machine(connection)
    machine.tick(process(10))
    for words in (("fleet", "upgrade", empty), ("fleet", "status", empty), ("ship", "--to", agent)):
        said = perftrack(*words, expect=1).stderr
        assert "perftrack fleet init" in said or "fleet add-agent" in said, said
    assert "made the centre" in on_a_terminal("fleet", "init", empty)
    assert perftrack("fleet", "init", empty).stdout == ""  # it is there
    assert "fleet add-agent" in perftrack("ship", "--to", agent, expect=1).stderr
    perftrack("fleet", "add-agent", empty, "web1")
    assert "no machine has shipped" in perftrack("fleet", "status", empty, expect=1).stderr
    assert (perftrack("ship", env={"PERFTRACK_SHIP_TO": agent}).stdout) == ""
    machine.tick(process(500))
    env = {"PERFTRACK_DATABASE": path, "PERFTRACK_SHIP_TO": agent}
    assert on_a_terminal("ship", **env).endswith(f"1 sample, 2 rows to empty at {server.folder}\n")
    assert on_a_terminal("ship", **env).endswith(f"nothing new to empty at {server.folder}\n")
    assert_the_same(Centre(server, "empty"), connection)
    perftrack("fleet", "upgrade", empty)
    perftrack("fleet", "upkeep", empty, "--keep", "30d")


def test_where_to_is_to_be_said(perftrack: Run, connection: sqlite3.Connection) -> None:
    assert "set ship_to" in perftrack("ship", expect=2).stderr
    assert "~/.pgpass" in perftrack("ship", "--to", "postgresql://a:b@c/d", expect=2).stderr
    assert "postgresql://ROLE@HOST/DATABASE" in perftrack("ship", "--to", "what", expect=2).stderr


def test_a_server_that_is_not_there_is_one_line(
    perftrack: Run, connection: sqlite3.Connection, tmp_path: Path
) -> None:
    said = perftrack("ship", "--to", f"postgresql://web1@/fleet?host={tmp_path}", expect=75).stderr
    assert len(said.splitlines()) == 1
    assert str(tmp_path) in said


def test_whom_a_server_does_not_let_in_need_not_try_again(
    perftrack: Run, connection: sqlite3.Connection, centre: Centre
) -> None:
    for database, role in (("nowhere", "web1"), (centre.database, "nobody")):
        said = perftrack("ship", "--to", centre.server.url(database, role), expect=1).stderr
        assert re.fullmatch(r'perftrack: .* "no[a-z]+" does not exist\n', said), said


def test_tls_is_verified_unless_the_address_says_otherwise(
    perftrack: Run, connection: sqlite3.Connection, centre: Centre
) -> None:
    from proxy import proxy_before

    with proxy_before(centre.server) as proxy:
        url = proxy.url(centre.database, "web1")
        perftrack("ship", "--to", url)
        said = perftrack("ship", "--to", url.partition("?")[0], expect=1).stderr
    assert "SSL" in said


def test_status_lists_silent_machines_first(centre: Centre, perftrack: Run, connection: sqlite3.Connection) -> None:
    machine = Machine(connection, host="web7")
    machine.clock = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=3)
    machine.tick()
    perftrack("ship", "--to", centre.url())
    shown = perftrack("fleet", "status", centre.url("owner")).stdout
    assert re.search(r"web7 +\d{4}-.* \d+ min.* [+-]0\.\d .* web1", shown), shown
    assert "1 machine, 0 silent" in shown
    with centre.server.connect(centre.database, "owner") as owner:
        owner.execute(
            "INSERT INTO perftrack.source (uuid, role, host, machine, seen_at, taken_at, skew_seconds)"
            " VALUES (gen_random_uuid(), 'web2', 'web8', 'm', now() - interval '2 h', now() - interval '1 d', -400.0)"
        )
    shown = perftrack("fleet", "status", centre.url("owner"), expect=1).stdout
    assert re.search(r"silent +web8 .*-400\.0 .*\n +web7 ", shown), shown
    perftrack("fleet", "status", centre.url("owner"), "--silent", "3h")
    assert "add-agent" in perftrack("fleet", "status", centre.url(), expect=1).stderr  # an agent sees nothing


def test_an_agent_needs_no_sqlalchemy(centre: Centre, connection: sqlite3.Connection, path: str) -> None:
    Machine(connection).tick(process(10))
    code = """
import sys
from perftrack.fleet.ship import ship
assert ship(*sys.argv[1:]).samples == 1
assert "psycopg" in sys.modules
print([name for name in ("sqlalchemy", "alembic", "typer", "rich", "psutil") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, path, centre.url()], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_without_psycopg_the_command_that_installs_it_is_told(
    perftrack: Run, connection: sqlite3.Connection, tmp_path: Path
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "psycopg.py").write_text("raise ImportError\n")
    import os

    env = {"PYTHONPATH": f"{tmp_path / 'without'}:{os.environ.get('PYTHONPATH', '')}"}
    said = perftrack("ship", "--to", "postgresql://a@b/c", env=env, expect=1).stderr
    assert re.fullmatch(r"perftrack: PostgreSQL needs psycopg: .* -m pip install .?psycopg\[binary\].?\n", said), said


def test_the_migrations_make_what_the_models_say(centre: Centre) -> None:
    """But for comments: `alembic -n fleet revision --autogenerate` writes the next revision."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from perftrack.fleet.centre import SCHEMA, metadata

    with migrating.owner(centre.url("owner")) as connection:
        options = {
            "version_table_schema": SCHEMA,
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
            "include_object": lambda _, name, kind, reflected, __: (
                not (kind == "table" and reflected and f"{SCHEMA}.{name}" not in metadata.tables)
            ),
        }
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    flat = [each for item in found for each in (item if isinstance(item, list) else [item])]
    assert [each for each in flat if "comment" not in each[0]] == []


def test_a_newer_agent_waits(centre: Centre, perftrack: Run, connection: sqlite3.Connection) -> None:
    Machine(connection).tick()
    with centre.server.connect(centre.database, "owner") as owner:
        opening = next(each for each in functions.definitions() if "open_source(" in each)
        owner.execute(opening.replace(f"own.position, {functions.FORMAT};", "own.position, 0;").encode())
    assert "fleet upgrade" in perftrack("ship", "--to", centre.url(), expect=75).stderr
    perftrack("fleet", "upgrade", centre.url("owner"))
    perftrack("ship", "--to", centre.url())


def test_samples_are_in_the_partition_of_their_day(
    centre: Centre, perftrack: Run, connection: sqlite3.Connection
) -> None:
    machine = Machine(connection)
    today = datetime.now(UTC).replace(tzinfo=None)
    for days in (0, -400, 400):
        machine.clock = today + timedelta(days=days)
        machine.tick(process(10))
    perftrack("ship", "--to", centre.url())
    found = "SELECT tableoid::regclass::text, count(*) FROM perftrack.process_sample GROUP BY 1 ORDER BY 1"
    held = [(f"perftrack.process_sample_{today:%Y%m%d}", 1), ("perftrack.process_sample_default", 2)]
    assert centre.query(found) == held
    perftrack("fleet", "upkeep", centre.url("owner"), "--keep", "30d")
    assert centre.query(found) == [held[0], ("perftrack.process_sample_default", 1)]
    with migrating.owner(centre.url("owner")) as opened:
        day = today.date() + timedelta(days=20)
        assert partitions.make_partitions(opened, day) == 10 * len(SAMPLES)
    with migrating.owner(centre.url("owner")) as opened:
        assert partitions.drop_partitions(opened, day - timedelta(days=1)) > 0
    assert centre.query(found) == [(held[1][0], 1)]
    assert query(connection, "SELECT count(*) FROM system_sample") == [3]
    perftrack("ship", "--to", centre.url())


def test_roles_may_be_added_by_another_than_the_owner(
    centre: Centre, perftrack: Run, connection: sqlite3.Connection
) -> None:
    Machine(connection).tick(process(10))
    for command, name in (("add-agent", "by_another"), ("add-reader", "reader_by_another")):
        perftrack("fleet", command, centre.url("postgres"), name)
    perftrack("ship", "--to", centre.url("by_another"))
    with migrating.owner(centre.url("owner")) as opened:
        opened.exec_driver_sql("CREATE TABLE perftrack.later AS SELECT 1 AS one")
    assert centre.query("SELECT one FROM perftrack.later", role="reader_by_another") == [1]
    assert centre.query("SELECT count(*) FROM perftrack.process_sample", role="reader_by_another") == [1]
