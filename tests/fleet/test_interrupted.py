"""Whatever is killed or cut in the middle of a ship, the next one goes on, and each sample is there once."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from centres import Centre, make
from conftest import Run, query, until
from test_condensing import Restless
from test_ship import assert_the_same

from perftrack.errors import BusyError, PassingError
from perftrack.fleet import local
from perftrack.fleet.ship import ship

psycopg = pytest.importorskip("psycopg")
KILLS = 40
REACHED = "SELECT coalesce(max(position), 0), (SELECT count(*) FROM perftrack.system_sample) FROM perftrack.source"


@pytest.fixture
def proxy(centre: Centre) -> Iterator[object]:
    from proxy import proxy_before

    with proxy_before(centre.server) as made:
        yield made


def test_the_answer_to_a_commit_is_lost(
    centre: Centre, connection: sqlite3.Connection, path: str, proxy: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the server has it, or after: then it has all, and the next ship knows."""
    from proxy import CutError

    monkeypatch.setattr(local, "ROWS_MAX", 100)
    url = proxy.url(centre.database, "web1")
    simulation = Restless(connection, 5)
    for when in ("before", "after"):
        for number in range(3):  # the first, second and third transaction of a ship
            simulation.run(40)
            commits = 0

            def cut(sent: bytes, number: int = number, when: str = when) -> None:
                nonlocal commits
                if b"COMMIT" in sent:
                    commits += 1
                    if commits > number:
                        if when == "after":
                            assert proxy.answered.wait(30)
                        raise CutError

            before = centre.query("SELECT coalesce(max(position), 0) FROM perftrack.source")[0]
            setattr(proxy, when, cut)
            with pytest.raises(PassingError):
                ship(path, url)
            setattr(proxy, when, lambda sent: None)
            ((reached, held),) = centre.query(REACHED)
            assert held == reached
            assert (reached > before) == (number > 0 or when == "after")
    ship(path, url)
    assert_the_same(centre, connection)


def killed_at(number: int, centre: Centre, path: str, proxy: object) -> bool:
    """Ship, and kill that at its message *number* to the server; return whether it came so far."""
    messages = 0
    # the server finds out that the one before is gone in a moment, and holds its lock until then
    until(lambda: centre.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'web1'")[0] == 0)
    url = proxy.url(centre.database, "web1")
    env = {**os.environ, "PERFTRACK_DATABASE": path}
    code = "from perftrack.fleet import local; local.ROWS_MAX = 100; from perftrack.__main__ import main; main()"
    command = [sys.executable, "-c", code, "ship", "--to", url]
    agent = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(sent: bytes) -> None:
        nonlocal messages
        messages += 1
        if messages == number:
            os.kill(agent.pid, signal.SIGKILL)

    proxy.before = kill
    code = agent.wait(timeout=60)
    proxy.before = lambda sent: None
    assert code in {0, -signal.SIGKILL}
    return code == -signal.SIGKILL


@pytest.mark.parametrize(
    "numbers", [[9, 14, 20], pytest.param(range(1, KILLS), marks=pytest.mark.faults)], ids=["some", "all"]
)
def test_an_agent_is_killed_at_any_message(
    centre: Centre, connection: sqlite3.Connection, path: str, proxy: object, numbers: list[int]
) -> None:
    simulation = Restless(connection, 6)
    killed = 0
    for number in numbers:
        simulation.run(30)
        killed += killed_at(number, centre, path, proxy)
        ((reached, held),) = centre.query(REACHED)
        assert held == reached
    assert killed >= len(numbers) * 0.7
    for _ in range(50):  # the server finds out that an agent is gone in a moment
        try:
            ship(path, centre.url())
            break
        except BusyError:
            time.sleep(0.1)
    assert_the_same(centre, connection)
    assert centre.query("SELECT count(*) FROM perftrack.system_sample") == query(
        connection, "SELECT count(*) FROM system_sample"
    )


def test_of_two_at_once_one_is_told_to_try_again(
    centre: Centre, connection: sqlite3.Connection, perftrack: Run, path: str
) -> None:
    Restless(connection, 7).run(20)
    perftrack("ship", "--to", centre.url())
    Restless(connection, 8).run(20)
    (uuid,) = query(connection, "SELECT uuid FROM source")
    with psycopg.connect(centre.url()) as other:
        other.execute("SELECT * FROM perftrack.open_source(%s, NULL, 'h', '1', now(), NULL, NULL)", (uuid,))
        done = perftrack("ship", "--to", centre.url(), expect=75)
        assert "try again later" in done.stderr
    perftrack("ship", "--to", centre.url())
    assert_the_same(centre, connection)


@pytest.mark.faults
def test_the_server_is_killed_and_restored_from_a_copy(connection: sqlite3.Connection, path: str) -> None:
    """It is ended at any moment; and then it is what it was some ships before."""
    from proxy import proxy_before
    from server import USER, a_folder, running

    simulation = Restless(connection, 9)
    with a_folder() as folder, running(folder, 5433, "synchronous_commit=on") as server:
        with server.connect() as opened:
            opened.execute("CREATE ROLE owner LOGIN CREATEROLE")
            opened.execute("CREATE DATABASE fleet OWNER owner")
        make(server.url("fleet", "owner"))
        centre = Centre(server, "fleet")
        with proxy_before(server) as proxy:
            for number in range(1, 16):
                simulation.run(20)
                messages = 0

                def end(sent: bytes, number: int = number) -> None:
                    nonlocal messages
                    messages += 1
                    if messages == number:
                        server.stop()

                proxy.before = end
                try:
                    ship(path, proxy.url("fleet", "web1"))
                    assert number > messages
                except PassingError:
                    pass
                proxy.before = lambda sent: None
                if messages >= number:
                    server.start()
                ship(path, proxy.url("fleet", "web1"))
                assert_the_same(centre, connection)
        server.stop("fast")
        shutil.copytree(server.data, f"{server.data}.copy")
        server.start()
        for _ in range(3):
            simulation.run(20)
            ship(path, centre.url())
        server.stop()
        shutil.rmtree(server.data)
        shutil.move(f"{server.data}.copy", server.data)
        for found in [server.data, *(str(each) for each in Path(server.data).rglob("*"))]:
            if os.geteuid() == 0:
                shutil.chown(found, USER, USER)
        server.start()
        assert ship(path, centre.url()).samples >= 60
        assert_the_same(centre, connection)
