"""Servers of Citus that are killed in the middle of a ship: the position and what a worker has agree."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import agent
import pytest
from conftest import query, until
from test_condensing import Restless
from test_upgraded_meanwhile import ship_beside_owners

from perftrack.storage import opening

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.faults
PREPARED = "SELECT count(*) FROM pg_prepared_xacts"
# What the coordinator sends to a worker in each transaction of a ship.
STEPS = (b"BEGIN", b"perftrack.process_sample", b"PREPARE TRANSACTION", b"COMMIT PREPARED")
WHERE = """
SELECT uuid::text, nodeport FROM perftrack.source
  JOIN pg_dist_placement ON shardid = get_shard_id_for_distribution_column('perftrack.boot', source.id)
  JOIN pg_dist_node USING (groupid)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster whose coordinator reaches its workers through proxies."""
    from clusters import a_cluster
    from proxy import proxy_before
    from server import Server

    proxies = []

    def proxied(stack: ExitStack, worker: Server) -> int:
        proxies.append(stack.enter_context(proxy_before(worker)))
        return proxies[-1].port

    with a_cluster(5450, "citus.recover_2pc_interval=3000", "synchronous_commit=on", reached_at=proxied) as made:
        made.proxies = proxies
        yield made


def prepared(server: Any) -> int:
    with server.connect("fleet") as opened:
        return opened.execute(PREPARED).fetchone()[0]


@contextmanager
def killing(cluster: Any, whom: str, when: str, step: bytes, number: int) -> Iterator[None]:
    """Kill a server once a *step* is before a worker or done there, the time *number*; start it again at the end."""
    from proxy import CutError

    seen = 0
    killed: list[Any] = []
    is_done = threading.Event()

    def told(proxy: Any, sent: bytes) -> None:
        nonlocal seen
        seen += step in sent
        if step not in sent or seen != number:
            return
        if when == "after" and b"COMMIT" in step:
            assert proxy.answered.wait(30)
        elif when == "after" and b"PREPARE" in step:
            until(lambda: prepared(proxy.server))
        killed.append(proxy.server if whom == "worker" else cluster.server)
        killed[0].kill()
        is_done.set()
        if whom == "coordinator":
            raise CutError  # it did not come to send it, or does not hear of it

    for proxy in cluster.proxies:
        setattr(proxy, when, partial(told, proxy))
    try:
        yield
    finally:
        for proxy in cluster.proxies:
            setattr(proxy, when, lambda sent: None)
        if killed:
            assert is_done.wait(60)
            killed[0].start()
    assert killed


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.decode().replace(" ", "_"))
@pytest.mark.parametrize("whom", ["worker", "coordinator"])
def test_a_server_is_killed_at_each_step(
    cluster: Any, connection: sqlite3.Connection, path: str, whom: str, step: bytes
) -> None:
    connection.execute("UPDATE source SET uuid = ?", (str(uuid4()),))  # all tests have one cluster
    simulation = Restless(connection, 12)
    doubts = failed = 0
    for when in ("before", "after"):
        for number in (1, 2):
            simulation.run(25)
            with killing(cluster, whom, when, step, number):
                said = agent.ship(path, cluster.url())
            failed += bool(said)
            doubts += sum(prepared(worker) for worker in cluster.workers)
            assert agent.ship(path, cluster.url()) == ""
            until(lambda: not any(prepared(worker) for worker in cluster.workers))
            assert_is_there(cluster, connection)
    assert failed >= 2  # a worker may be gone after all was shipped
    assert (doubts > 0) == (step in STEPS[2:])


def assert_is_there(cluster: Any, connection: sqlite3.Connection) -> None:
    """Compare each sample's number of rows, and their sum, of this database alone."""
    (uuid,) = query(connection, "SELECT uuid FROM source")
    for kind in ("process", "cgroup"):
        here = query(
            connection, f"SELECT sample_id, count(*), sum(cpu_ms) FROM {kind}_interval GROUP BY 1 ORDER BY 1"
        )
        there = cluster.query(
            f"SELECT sample_id, count(*), sum(cpu_ms)::bigint FROM perftrack.{kind}_sample"
            f" WHERE source_id = (SELECT id FROM perftrack.source WHERE uuid = '{uuid}') GROUP BY 1 ORDER BY 1"
        )
        assert there == here
    assert cluster.query(
        "SELECT sample_id FROM perftrack.system_sample"
        f" WHERE source_id = (SELECT id FROM perftrack.source WHERE uuid = '{uuid}') ORDER BY 1"
    ) == query(connection, "SELECT id FROM system_sample ORDER BY 1")


def test_machines_of_the_other_worker_go_on(cluster: Any, connection: sqlite3.Connection, path: str) -> None:
    """While one is away; those of this one are told to come later, and then have lost nothing."""
    simulation = Restless(connection, 13)
    simulation.run(20)
    copies: dict[str, str] = {}
    for number in range(8):
        copy, uuid = f"{path}-{number}", str(uuid4())
        connection.execute("VACUUM INTO ?", (copy,))
        assert query(copy, f"UPDATE source SET uuid = '{uuid}' RETURNING uuid") == [uuid]
        copies[uuid] = copy
        assert agent.ship(copy, cluster.url()) == ""
    at = {uuid: port for uuid, port in cluster.query(WHERE) if uuid in copies}
    away, other = cluster.proxies
    assert set(at.values()) == {away.port, other.port}
    for copy in copies.values():
        with closing(opening.open_current(copy)) as opened:
            simulation.machine.connection = opened
            simulation.run(10)
    away.server.kill()
    try:
        told = {uuid: agent.ship(copy, cluster.url()) for uuid, copy in copies.items()}
    finally:
        away.server.start()
    assert all(bool(told[uuid]) == (at[uuid] == away.port) for uuid in copies), (told, at)
    for copy in copies.values():
        assert agent.ship(copy, cluster.url()) == ""
        with closing(opening.open_current(copy)) as opened:
            assert_is_there(cluster, opened)


def test_upgrades_and_upkeep_beside_ships_on_citus(cluster: Any, tmp_path: Path) -> None:
    for path in ship_beside_owners(cluster, tmp_path):
        with closing(opening.open_current(path)) as opened:
            assert_is_there(cluster, opened)
