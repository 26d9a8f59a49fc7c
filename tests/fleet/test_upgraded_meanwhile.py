"""A centre that is upgraded and kept up while agents ship: each sample is there once, and nobody waits for ever."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import agent
import pytest
from centres import Centre, a_centre
from conftest import Run, make_database, query, until
from test_condensing import Restless
from test_many_agents import HERE, THERE
from test_ship import assert_the_same

from perftrack.cli import fleet as cli
from perftrack.errors import BusyError
from perftrack.fleet import agents, migrating
from perftrack.fleet.centre import SAMPLES
from perftrack.fleet.partitions import make_partitions
from perftrack.fleet.ship import ship
from perftrack.storage import opening
from perftrack.storage.schema import migrations_folder

psycopg = pytest.importorskip("psycopg")
REVISION = '''
"""One more column in two tables."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999", {head!r}
def upgrade():
    for name in ("source", "process_sample"):
        op.add_column(name, sa.Column("more", sa.BigInteger()), schema="perftrack")
'''
# `perftrack fleet upgrade` of a perftrack that has a column and a revision more.
NEXT = """
import sys
from pathlib import Path
from sqlalchemy import BigInteger, Column
from perftrack.__main__ import main
from perftrack.fleet import centre
from perftrack.storage import schema
centre.PROCESS_SAMPLE.append_column(Column("more", BigInteger))
folder = Path(sys.argv.pop(1))
schema.migrations_folder = lambda: folder
main()
"""
WAITING = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = %s"


def waits(centre: Centre) -> bool:
    """Tell whether somebody waits for a lock."""
    with centre.server.connect() as opened:
        return bool(opened.execute(WAITING, (centre.database,)).fetchone()[0])


@pytest.fixture
def newer(tmp_path: Path) -> list[str]:
    """The command of a newer perftrack, but for `fleet upgrade` and so on."""
    shutil.copytree(migrations_folder() / "fleet", tmp_path / "newer" / "fleet")
    versions = tmp_path / "newer" / "fleet" / "versions"
    head = max(each.name for each in versions.glob("[0-9]*.py"))[:4]
    (versions / "9999_more.py").write_text(REVISION.format(head=head))
    return [sys.executable, "-c", NEXT, str(tmp_path / "newer")]


@pytest.mark.parametrize(
    "numbers", [[8, 16], pytest.param(range(1, 30), marks=pytest.mark.faults)], ids=["some", "all"]
)
def test_a_new_column_comes_at_any_message_of_a_ship(
    server: Any, connection: sqlite3.Connection, path: str, newer: list[str], numbers: Any
) -> None:
    from proxy import proxy_before

    simulation = Restless(connection, 41)
    simulation.run(60)
    told = []
    for number in numbers:
        with a_centre(server) as centre, proxy_before(server) as proxy:
            messages = 0
            upgrades: list[subprocess.Popen[str]] = []

            def upgrade(sent: bytes, number: int = number, centre: Centre = centre, upgrades: Any = upgrades) -> None:
                nonlocal messages
                messages += 1
                if messages == number:
                    command = [*newer, "fleet", "upgrade", centre.url("owner")]
                    upgrades.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
                    until(lambda: upgrades[0].poll() is not None or waits(centre))

            proxy.before = upgrade
            told.append(agent.ship(path, proxy.url(centre.database, "web1")))
            proxy.before = lambda sent: None
            _, said = upgrades[0].communicate(timeout=60)
            assert (upgrades[0].returncode, said) == (0, "")
            assert agent.ship(path, centre.url()) == ""
            assert_the_same(centre, connection)
            assert centre.query("SELECT count(more) FROM perftrack.process_sample") == [0]
    assert any(told)


def ship_beside_owners(centre: Centre, tmp_path: Path) -> list[str]:
    """Ship four databases that grow, while the centre is upgraded and kept up again and again; return their paths."""
    paths = [str(tmp_path / str(number) / "perftrack.db") for number in range(4)]
    for path in paths:
        make_database(path)
    url = centre.url("owner")
    is_over = threading.Event()
    today = datetime.now(UTC)
    done = Counter()

    def is_enough() -> bool:
        return min(done[name] for name in ("upgrade", "upkeep", "partitions")) > 2

    def an_agent(number: int, path: str) -> None:
        with closing(opening.open_current(path)) as opened:
            opened.execute("UPDATE source SET uuid = ?", (str(uuid4()),))
            simulation = Restless(opened, 50 + number)
            simulation.machine.clock = today.replace(tzinfo=None) - timedelta(hours=12)
            for turn in range(50):
                if turn >= 12 and is_enough():
                    return
                simulation.run(10)
                try:
                    ship(path, centre.url())
                except BusyError:
                    done["late"] += 1

    def repeated(name: str, work: Any) -> None:
        while not is_over.is_set():
            try:
                work()
                done[name] += 1
            except BusyError:
                done["busy"] += 1

    def partitions() -> None:
        with migrating.owner(url) as connection:
            for table in SAMPLES:
                for number in range(20, 25):  # so far no simulation's clock steps
                    name = f"perftrack.{table.name}_{today + timedelta(days=number):%Y%m%d}"
                    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
        with migrating.owner(url) as connection:
            assert make_partitions(connection, today.date() + timedelta(days=20), 0, 4) == 5 * len(SAMPLES)

    with ThreadPoolExecutor(8) as threads:
        owners = [
            threads.submit(repeated, "upgrade", lambda: migrating.upgrade(url, is_new=False)),
            threads.submit(repeated, "upkeep", lambda: cli.upkeep(url, "30d")),
            threads.submit(repeated, "partitions", partitions),
        ]
        shipping = [threads.submit(an_agent, *each) for each in enumerate(paths)]
        try:
            for each in shipping:
                each.result(timeout=300)
        finally:
            is_over.set()
        for each in owners:
            each.result(timeout=60)
    assert is_enough(), done
    for path in paths:
        ship(path, centre.url())
    return paths


@pytest.mark.slow
def test_upgrades_and_upkeep_beside_ships(centre: Centre, tmp_path: Path) -> None:
    for path in ship_beside_owners(centre, tmp_path):
        ((uuid, *here),) = query(path, HERE)
        assert centre.query(f"SELECT {THERE} FROM perftrack.source WHERE uuid = '{uuid}'") == [tuple(here)]


def test_many_agents_are_added_at_once(centre: Centre) -> None:
    """While it is upgraded too."""
    url = centre.url("owner")
    names = [f"{centre.database}_{number}" for number in range(16)]
    try:
        with ThreadPoolExecutor(8) as threads:
            upgrades = [threads.submit(migrating.upgrade, url, is_new=False)]
            added = list(threads.map(lambda name: agents.add(url, name), names))
            assert [each.result() for each in upgrades]
        assert added == [True] * len(names)
        for name in names:
            assert centre.query("SELECT count(*) FROM perftrack.histories(gen_random_uuid())", name) == [0]
    finally:
        with centre.server.connect(centre.database) as opened:
            for name in names:
                opened.execute(f"DROP OWNED BY {name}".encode())
                opened.execute(f"DROP ROLE {name}".encode())


@pytest.mark.slow
def test_an_owner_waits_ten_seconds_for_a_reader(
    centre: Centre, perftrack: Run, connection: sqlite3.Connection, path: str
) -> None:
    """And ships go on beside both, or are told to come later."""
    Restless(connection, 42).run(20)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with centre.server.connect(centre.database, "owner") as owner:
        owner.execute(f"DROP TABLE perftrack.process_sample_{tomorrow:%Y%m%d}".encode())
        owner.execute("BEGIN")
        owner.execute("SELECT count(*) FROM perftrack.process_sample")
        command = [sys.executable, "-m", "perftrack", "fleet", "upkeep", centre.url("owner"), "--keep", "30d"]
        waiting = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        until(lambda: waits(centre))
        assert agent.ship(path, centre.url()) == ""
        said = waiting.communicate(timeout=60)[1]
        assert waiting.returncode == agent.LATER
        assert re.fullmatch(r"perftrack: .*`perftrack fleet`.* is under way; try again later\n", said), said
        assert "try again later" in perftrack("fleet", "upgrade", centre.url("owner"), expect=agent.LATER).stderr
    perftrack("fleet", "upkeep", centre.url("owner"), "--keep", "30d")
    assert_the_same(centre, connection)
