"""The same on Citus: a coordinator and two workers."""

from __future__ import annotations

import json
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from centres import Centre
from conftest import Run, cgroup_row, query
from machine import Machine, process
from test_condensing import Restless
from test_dashboard import SQL, Asked
from test_histories import copied
from test_ship import assert_the_same

from perftrack.fleet import hours, migrating, partitions, readers
from perftrack.fleet.connecting import connect
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


def used(answers: dict[str, Any]) -> dict[str, Any]:
    return {group: {row[group]: round(row["cpu_seconds"], 6) for row in rows} for group, rows in answers.items()}


def test_answers_and_upkeep_are_as_on_one_server(
    cluster: Centre, connection: sqlite3.Connection, path: str, perftrack: Run
) -> None:
    url = cluster.url("owner")
    now = datetime.now(UTC)
    with migrating.owner(url) as opened:
        partitions.make_partitions(opened, now.date(), before=12)
    machine = Machine(connection, host="db1")
    machine.clock = now.replace(tzinfo=None) - timedelta(days=9)
    for hours_before, hours_after in ((0, 1), (1, 51), (51, 100), (100, 150), (150, 9 * 24)):
        if hours_before == 100:  # it comes when the days before and after it are columns
            waiting = (machine.clock + timedelta(minutes=20), machine.uptime_seconds + 1200)
        record(machine, hours_before, hours_after)
        ship(path, cluster.url())

    def answers(*further: str) -> dict[str, Any]:
        given = ("top", url, "--since", "30d", "--host", "db*", "--format", "json", *further, "--group")
        groups = ("host", "unit", "name")
        return {group: json.loads(perftrack("fleet", *given, group).stdout)["rows"] for group in groups}

    def of_machine(*command: str) -> Any:
        options = ("--since", "30d", "--host", "db1", "--format", "json")
        return json.loads(perftrack(*command, *options).stdout)["rows"]

    before = answers()
    assert len(before["unit"]) == 2
    own = ("cpu_seconds", "name", "pid", "rss_max_bytes", "unit")
    there, here = (
        [[row[name] for name in own] for row in of_machine(*command)]
        for command in (("fleet", "top", url, "--group", "process"), ("top",))
    )
    assert there == here
    done = perftrack("fleet", "upkeep", url, "--columnar-after", "3d")
    assert done.stderr == ""
    columnar = (
        "SELECT relname FROM pg_class JOIN pg_am ON pg_am.oid = relam"
        " WHERE amname = 'columnar' AND relname ~ '^process_sample_[0-9]{8}$' ORDER BY 1"
    )
    columns = cluster.query(columnar)
    assert len(columns) >= 6
    assert (answers(), used(answers("--whole-hours"))) == (before, used(before))
    assert_same_rows(cluster, connection, "db1")
    forged(cluster)
    assert cluster.query(columnar) == columns  # it has no rows in them
    # a late sample changes what those after it have used: they are told anew, and their days are rows again

    def late(number: int) -> None:
        machine.clock, machine.uptime_seconds = waiting[0] + timedelta(minutes=number), waiting[1] + 60 * number
        machine.counters = {name: value * 101 // 216 for name, value in counted.items()}
        machine.tick(process(100_500 + number, name="postgres", rss_bytes=7), after=0)
        ship(path, cluster.url())

    counted = dict(machine.counters)
    late(0)
    assert 0 < len(cluster.query(columnar)) < len(columns)
    assert_same_rows(cluster, connection, "db1")
    # but not again and again: what it used is in the intervals that are there
    perftrack("fleet", "upkeep", url, "--columnar-after", "3d")
    assert cluster.query(columnar) == columns
    after_one = answers()
    late(3)
    assert cluster.query(columnar) == columns
    assert answers() == after_one
    assert cluster.query("SELECT position FROM perftrack.source WHERE host = 'db1'")[0] == 9 * 24 + 2
    assert ship(path, cluster.url()).samples == 0
    perftrack("fleet", "upkeep", url, "--keep", "2d")
    assert cluster.query("SELECT count(*) FROM perftrack.process_hour")[0] > 400
    assert cluster.query("SELECT min(taken_at) > now() - interval '3 days' FROM perftrack.process_sample") == [True]
    assert [row["cpu_seconds"] for row in answers()["name"]] == [
        pytest.approx(row["cpu_seconds"], abs=0.2) for row in before["name"]
    ]


def test_what_was_lost_in_two_restores_counts_once(
    cluster: Centre, connection: sqlite3.Connection, path: str
) -> None:
    machine = Machine(connection, host="old1", boot="boot-of-old1")
    record(machine, 0, 5)
    backup = copied(connection, path)
    record(machine, 5, 9)
    ship(path, cluster.url())
    for number in range(2):
        restored = shutil.copy(backup, f"{path}.{number}")
        with closing(sqlite3.connect(restored, isolation_level=None)) as opened:
            machine.connection = opened
            record(machine, 9 + 3 * number, 12 + 3 * number)
            ship(restored, cluster.url())
    used = (
        "SELECT sum(cpu_ms) FROM perftrack.process_sample JOIN perftrack.process USING (source_id, process_id)"
        " JOIN perftrack.boot USING (source_id, boot_id) WHERE host = 'old1' AND name = 'postgres'"
    )
    assert cluster.query(used) == [14_000]


def test_a_reader_asks_what_a_dashboard_does(cluster: Centre, connection: sqlite3.Connection, path: str) -> None:
    machine = Machine(connection, host="mail1")
    machine.clock = (datetime.now(UTC) - timedelta(hours=5)).replace(tzinfo=None)
    for number in range(180):
        machine.tick(
            process(1000 * number, name="imapd", rss_bytes=5000),
            cgroups=[cgroup_row("/a.slice", 3000 * number), cgroup_row("/a.slice/imap.service", 1000 * number)],
            cpu_user_ms=5000,
            cpu_idle_ms=70_000,
            disk_write_bytes=7000,
            net_sent_bytes=300,
            extra={"mem_total_bytes": 1 << 30, "mem_used_bytes": 1 << 20, "load_1min": 1.5},
        )
    ship(path, cluster.url())
    with closing(connect(cluster.url("owner"), "test")) as owner:
        hours.close_hours(owner, datetime.now(UTC))
    readers.add(cluster.url("owner"), "eyes")
    with migrating.owner(cluster.url("owner")) as opened:  # of partitions to come too
        partitions.make_partitions(opened, datetime.now(UTC).date() + timedelta(days=40))
    now = datetime.now(UTC)
    asked = Asked(now - timedelta(hours=5), now, 300, ("mail1",))
    answers = {title: cluster.query(asked.sql(sql), "eyes") for title, sql in SQL.items()}
    assert [title for title, rows in answers.items() if not rows] == []
    for title, sql in SQL.items():
        assert len(cluster.query(asked._replace(hosts=None).sql(sql), "eyes")) >= len(answers[title])
    for what, name, used in (("process", "imapd", 1000), ("unit", "a.slice", 2000), ("unit", "imap.service", 1000)):
        ms = sum(cpu * 3000 for _, its, cpu in answers[f"CPU by {what}"] if its == name)
        assert ms == pytest.approx(179 * used, rel=0.02)  # the points at the ends are not whole
        assert next(row[2] for row in answers[f"Most CPU by {what}"] if row[0] == name) == 179 * used / 1000
    for table in ("process_sample", "boot", "process_hour"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            cluster.query(f"DELETE FROM perftrack.{table} RETURNING source_id", "eyes")


def record(machine: Machine, since: int, until: int) -> None:
    """Record a sample an hour."""
    for number in range(since, until):
        used = 1000 * (number + 1)
        machine.tick(
            process(used, name="postgres", rss_bytes=used),
            process(used // 3, name="cron", pid=3),
            cgroups=[cgroup_row("/a.slice", 2 * used), cgroup_row("/a.slice/pg.service", used)],
            after=3600,
            cpu_user_ms=5000,
            cpu_idle_ms=70_000,
        )


def forged(cluster: Centre) -> None:
    """Tell, as another role, samples of all days and then all of them anew."""
    with psycopg.connect(cluster.url("web2"), autocommit=True) as agent:
        mine = uuid.uuid4()
        for position, numbers, boots in ((0, range(1, 14), ""), (13, range(14, 15), "1")):
            with agent.transaction():
                opening = "SELECT * FROM perftrack.open_source(%s, NULL, 'evil', '1', now(), NULL, NULL)"
                agent.execute(opening, (mine,))
                agent.execute("SELECT perftrack.stage()")
                for number in numbers:
                    agent.execute(
                        "INSERT INTO pg_temp.stage_system_sample"
                        " (taken_at, taken_at_local, sample_id, boot_id, fingerprint, uptime_seconds)"
                        " VALUES (now() - make_interval(days => %s), now(), %s, 1, gen_random_uuid(), 5)",
                        (15 - number, number),
                    )
                taking = f"SELECT perftrack.take(%s, {position}, '{{{boots}}}', '{{{boots and 0}}}')"
                agent.execute(taking.encode(), (mine,))


def assert_same_rows(cluster: Centre, connection: sqlite3.Connection, host: str) -> None:
    here = "SELECT count(*), sum(cpu_ms), sum(rss_bytes) FROM process_interval"
    there = (
        "SELECT count(*), sum(cpu_ms), sum(rss_bytes) FROM perftrack.process_sample"
        " JOIN perftrack.process USING (source_id, process_id) JOIN perftrack.boot USING (source_id, boot_id)"
        f" WHERE host = '{host}'"
    )
    assert [tuple(map(int, row)) for row in cluster.query(there)] == query(connection, here)
