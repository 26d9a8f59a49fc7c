"""Two hundred agents that ship in the same moment, to a server that has room for all, and to one that has not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import uuid4

import pytest
from centres import Centre, make
from conftest import make_database, query
from test_condensing import Restless

from perftrack.fleet import agents
from perftrack.storage import opening

pytest.importorskip("psycopg")
pytestmark = pytest.mark.faults
AGENTS, KINDS, ROLES, PROCESSES = 200, 5, 20, 4
# Ships the databases of its arguments at once, and prints what each was told, or null.
TOGETHER = """
import json, sys, threading
from perftrack.errors import PerftrackError
from perftrack.fleet import local
from perftrack.fleet.ship import ship
local.ROWS_MAX = 100
told = {}
def one(path, url):
    barrier.wait()
    try:
        ship(path, url)
        told[path] = None
    except PerftrackError as error:
        told[path] = [error.exit_code, str(error)]
given = json.load(sys.stdin)
barrier = threading.Barrier(len(given))
threads = [threading.Thread(target=one, args=each) for each in given]
[each.start() for each in threads]
[each.join() for each in threads]
json.dump(told, sys.stdout)
"""
_HELD = [("system", "count(*)"), ("process", "count(*)"), ("process", "sum(cpu_ms)"), ("cgroup", "sum(cpu_ms)")]
THERE = ", ".join(
    f"(SELECT {what} FROM perftrack.{kind}_sample WHERE source_id = source.id)::bigint" for kind, what in _HELD
)
HERE = "SELECT uuid, " + ", ".join(
    f"(SELECT {what} FROM {kind}_{'sample' if kind == 'system' else 'interval'})" for kind, what in _HELD
)
HERE += " FROM source"


def ship_together(given: list[tuple[str, str]]) -> dict[str, list[int | str] | None]:
    """Ship each (path, URL), by some processes with a thread for each; return what was told of each path."""
    started = []
    for number in range(PROCESSES):
        process = subprocess.Popen(
            [sys.executable, "-c", TOGETHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        process.stdin.write(json.dumps(given[number::PROCESSES]))
        process.stdin.close()
        started.append(process)
    told = {}
    for process in started:
        with process.stdout as said:
            told |= json.load(said)
        assert process.wait(60) == 0
    assert set(told) == {path for path, _ in given}
    return told


@pytest.mark.parametrize("connections", [250, 60])
def test_all_ship_at_once(tmp_path: Path, connections: int) -> None:
    from server import a_folder, running

    paths = []
    for kind in range(KINDS):
        make_database(tmp_path / f"{kind}" / "0.db")
        with closing(opening.open_current(str(tmp_path / f"{kind}" / "0.db"))) as opened:
            Restless(opened, 30 + kind).run(60)
        for number in range(1, AGENTS // KINDS + 1):
            copy = tmp_path / f"{kind}" / f"{number}.db"
            shutil.copy(tmp_path / f"{kind}" / "0.db", copy)
            query(copy, f"UPDATE source SET uuid = '{uuid4()}'")
            paths.append(str(copy))
    with ExitStack() as stack:
        folder = stack.enter_context(a_folder())
        server = stack.enter_context(running(folder, 5435, f"max_connections={connections}"))
        with server.connect() as opened:
            opened.execute("CREATE ROLE owner LOGIN CREATEROLE")
            opened.execute("CREATE DATABASE fleet OWNER owner")
        make(server.url("fleet", "owner"))
        for number in range(ROLES):
            agents.add(server.url("fleet", "owner"), f"agent{number}")
        given = [(path, server.url("fleet", f"agent{number % ROLES}")) for number, path in enumerate(paths)]
        rounds = 0
        while given:
            told = ship_together(given)
            refused = [each for each in told.values() if each is not None]
            assert all(code == 75 for code, _ in refused), refused
            assert (rounds == 0 and connections < AGENTS) <= any("slots are reserved" in line for _, line in refused)
            assert len(refused) < len(given)
            given = [(path, url) for path, url in given if told[path] is not None]
            rounds += 1
        assert (rounds == 1) == (connections > AGENTS)
        centre = Centre(server, "fleet")
        found = centre.query(f"SELECT uuid::text, {THERE} FROM perftrack.source")
        there = {uuid: tuple(rest) for uuid, *rest in found}
        assert len(there) == AGENTS
        for path in paths:
            ((uuid, *here),) = query(path, HERE)
            assert there[uuid] == tuple(here)
