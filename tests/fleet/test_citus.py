"""The same on Citus: a coordinator and two workers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from centres import Centre
from conftest import query
from test_condensing import Restless
from test_ship import assert_the_same

from perftrack.fleet.ship import ship

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Centre]:
    from clusters import a_cluster

    with a_cluster(5440) as made:
        yield made


def test_ships_late_and_condensed_samples_of_two_machines(
    cluster: Centre, connection: sqlite3.Connection, path: str
) -> None:
    distributed = "SELECT count(*) FROM citus_tables WHERE citus_table_type = 'distributed'"
    assert cluster.query(distributed)[0] >= 7
    simulation = Restless(connection, 11)
    for _ in range(4):
        simulation.run(30)
        ship(path, cluster.url())
    assert_the_same(cluster, connection)
    by_host = cluster.query(
        "SELECT boot.host, sum(sample.cpu_ms) FROM perftrack.process_sample AS sample"
        " JOIN perftrack.process USING (source_id, process_id) JOIN perftrack.boot USING (source_id, boot_id)"
        " GROUP BY 1"
    )
    assert by_host == query(connection, "SELECT host, sum(cpu_ms) FROM process_interval GROUP BY 1")
    simulation.machine.uptime_seconds -= 90  # what comes now is late
    simulation.run(3)
    ship(path, cluster.url())
    assert_the_same(cluster, connection)


def test_an_agent_has_no_right_on_a_worker(cluster: Centre) -> None:
    refused = 0
    for port in (5440, 5441, 5442):
        url = f"postgresql://web2@/fleet?host={cluster.server.folder}&port={port}"
        with psycopg.connect(url, autocommit=True) as agent:
            tables = agent.execute(
                "SELECT oid::regclass::text FROM pg_class WHERE relname LIKE '%\\_sample%' AND relkind IN ('r', 'p')"
            ).fetchall()
            for (table,) in tables:
                with pytest.raises(psycopg.Error):
                    agent.execute(f"SELECT count(*) FROM {table}".encode())
                with pytest.raises(psycopg.Error):
                    agent.execute(f"DELETE FROM {table}".encode())
                refused += 1
    assert refused > 50
