"""Sums by hour: complete when an hour is over, anew when more of it comes, and there when its samples are gone."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from centres import Centre
from conftest import Run, cgroup_row, query
from machine import Machine, process

from perftrack.fleet import migrating, partitions
from perftrack.fleet.connecting import UPKEEP_LOCK
from perftrack.fleet.ship import ship

pytest.importorskip("psycopg")
# By hour, of the centre's samples: an interval is of the hour in which it ended.
_BY_HOUR = """
SELECT date_trunc('hour', taken_at, 'UTC')::text AS hour, name, sum(cpu_ms)::float8, sum(read_bytes)::float8,
  max(rss_max_bytes)::float8
FROM perftrack.process_sample JOIN perftrack.process USING (source_id, process_id) GROUP BY 1, 2 ORDER BY 1, 2
"""
_HOURS = "SELECT hour::text, name, cpu_ms, read_bytes, rss_max_bytes FROM perftrack.process_hour ORDER BY 1, 2"
_OPEN = "SELECT count(*) FROM perftrack.open_hour"


def run(machine: Machine, samples: int, used: int = 0, seconds: float = 600) -> int:
    """Record *samples*, so many seconds apart, of two processes in a unit; return what they had used."""
    for _ in range(samples):
        used += 1000
        machine.tick(
            process(used, name="java", read_bytes=used * 3, rss_bytes=used * 7),
            process(used // 2, name="cron", pid=2),
            cgroups=[cgroup_row("/a.slice", 3 * used), cgroup_row("/a.slice/a.service", 2 * used)],
            after=seconds,
            cpu_user_ms=5000,
            cpu_idle_ms=50_000,
        )
    return used


def begin(connection: sqlite3.Connection, before: timedelta) -> Machine:
    machine = Machine(connection, host="web1")
    machine.clock = (datetime.now(UTC) - before).replace(tzinfo=None, minute=3, second=0, microsecond=0)
    return machine


def test_an_hour_is_added_up_when_it_is_over_and_anew_when_more_of_it_comes(
    centre: Centre, connection: sqlite3.Connection, path: str, perftrack: Run
) -> None:
    machine = begin(connection, timedelta(hours=6))
    run(machine, 24)
    ship(path, centre.url())
    assert centre.query(_OPEN) == [5]
    done = perftrack("fleet", "upkeep", centre.url("owner"))
    assert done.stderr == "" == done.stdout
    assert centre.query(_OPEN) == [0]
    assert len(centre.query(_HOURS)) == 10
    assert centre.query(_HOURS) == centre.query(_BY_HOUR)
    # a sample of the second hour comes late: it was between two others
    waiting = Machine(connection, host="web1")
    waiting.clock, waiting.uptime_seconds = (
        machine.clock - timedelta(hours=2, minutes=5),
        machine.uptime_seconds - 7500,
    )
    waiting.counters = {name: value // 2 for name, value in machine.counters.items()}
    waiting.tick(process(11_700, name="java", read_bytes=35_100, rss_bytes=1 << 40), after=0)
    ship(path, centre.url())
    assert centre.query(_OPEN)[0] > 0
    assert centre.query(_HOURS) != centre.query(_BY_HOUR)
    perftrack("fleet", "upkeep", centre.url("owner"))
    assert centre.query(_HOURS) == centre.query(_BY_HOUR)
    assert float(1 << 40) in centre.query("SELECT max(rss_max_bytes) FROM perftrack.process_hour")


def test_the_hour_that_goes_on_waits(
    centre: Centre, connection: sqlite3.Connection, path: str, perftrack: Run
) -> None:
    machine = Machine(connection, host="web1")
    machine.clock = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=5)
    run(machine, 2, seconds=1)
    ship(path, centre.url())
    perftrack("fleet", "upkeep", centre.url("owner"))
    assert centre.query(_OPEN)[0] >= 1
    assert centre.query(_HOURS) == []


@pytest.mark.slow
def test_sums_stay_when_samples_go(centre: Centre, connection: sqlite3.Connection, path: str, perftrack: Run) -> None:
    machine = begin(connection, timedelta(days=9))
    used = run(machine, 9 * 24 * 6 - 20)
    ship(path, centre.url())
    url = centre.url("owner")

    def answer(group: str, *further: str) -> Any:
        options = ("--since", "30d", "--group", group, "--format", "json", *further)
        return json.loads(perftrack("fleet", "top", url, *options).stdout)

    groups = ("host", "unit", "name")
    before = {group: answer(group) for group in groups}
    assert [row["unit"] for row in before["unit"]["rows"]] == ["a.service", "a.slice"]
    assert [row["name"] for row in before["name"]["rows"]] == ["java", "cron"]
    perftrack("fleet", "upkeep", url, "--keep", "3d")
    days = "SELECT count(DISTINCT taken_at::date) FROM perftrack.process_sample"
    assert centre.query(days)[0] in {3, 4, 5}
    for group in groups:
        after = answer(group)
        assert after.pop("hours_until") is not None
        assert before[group].pop("hours_until") is None
        for row, row_before in zip(after["rows"], before[group]["rows"], strict=True):
            assert row.pop("last_seen_at", None) == row_before.pop("last_seen_at", None)
            assert row == pytest.approx(row_before)
        assert after["system_cpu_seconds"] == pytest.approx(before[group]["system_cpu_seconds"])
    refused = perftrack("fleet", "top", url, "--since", "30d", "--group", "process", expect=1)
    assert "sums by hour: --group host, unit or name" in refused.stderr
    assert refused.stderr.count("\n") == 1
    # what comes now of a day that is gone is added, once
    late = begin(connection, timedelta(days=8))
    late.names = {"boot": "boot-2", "host": "web1"}
    late.uptime_seconds = 10.0
    run(late, 6, used)
    ship(path, centre.url())
    assert centre.query(days)[0] > 4 or centre.query(_OPEN)[0] > 0
    for further in ((), ("--whole-hours",)):  # at once, too
        assert answer("name", *further)["rows"][0]["cpu_seconds"] == before["name"]["rows"][0]["cpu_seconds"] + 5
    for _ in range(2):
        perftrack("fleet", "upkeep", url, "--keep", "3d")
        assert answer("name")["rows"][0]["cpu_seconds"] == before["name"]["rows"][0]["cpu_seconds"] + 5
    assert query(connection, "SELECT count(*) FROM boot") == [2]


def test_whole_hours_are_taken_from_what_is_added_up_already(
    centre: Centre, connection: sqlite3.Connection, path: str, perftrack: Run
) -> None:
    machine = begin(connection, timedelta(hours=30))
    used = run(machine, 200, seconds=420)
    ship(path, centre.url())
    url = centre.url("owner")
    since = machine.clock.replace(minute=0) - timedelta(hours=10)

    def answer(group: str, *further: str) -> Any:
        options = ("--since", f"{since + timedelta(minutes=50)}Z", "--group", group, "--format", "json", *further)
        return json.loads(perftrack("fleet", "top", url, *options, "--whole-hours").stdout)

    def plainly(table: str) -> float:
        ended = f"taken_at >= '{since}+00'"
        return centre.query(f"SELECT sum(cpu_ms)::float8 FROM perftrack.{table}_sample WHERE {ended}")[0] / 1000

    def assert_alike(*further: str) -> None:
        assert sum(row["cpu_seconds"] for row in answer("name", *further)["rows"]) == pytest.approx(
            plainly("process")
        )
        assert answer("host", *further)["system_cpu_seconds"] == pytest.approx(plainly("system"))

    assert answer("name")["hours_until"] is None  # nothing is added up yet
    perftrack("fleet", "upkeep", url)
    assert_alike()
    run(machine, 5, used, seconds=60)
    ship(path, centre.url())
    assert centre.query(_OPEN)[0] > 0
    assert_alike()
    assert_alike("--host", "web*")
    assert answer("name", "--host", "web1")["hours_until"] is not None
    # and from these alone
    centre.query(f"UPDATE perftrack.process_hour SET cpu_ms = 7e9 WHERE hour = '{since}+00' RETURNING hour")
    assert answer("name")["rows"][0]["cpu_seconds"] > 7e6
    refused = perftrack("fleet", "top", url, "--group", "process", "--whole-hours", expect=2).stderr
    assert "--group process has no sums by hour (--whole-hours): host, unit, name" in refused


def test_only_one_upkeep_at_a_time(centre: Centre, perftrack: Run) -> None:
    with centre.server.connect(centre.database, "owner") as other:
        other.execute(UPKEEP_LOCK)
        assert (
            "another `perftrack fleet upkeep`" in perftrack("fleet", "upkeep", centre.url("owner"), expect=75).stderr
        )
    perftrack("fleet", "upkeep", centre.url("owner"))


def test_what_goes_is_added_up_first_and_its_processes_go_too(
    centre: Centre, connection: sqlite3.Connection, path: str
) -> None:
    machine = begin(connection, timedelta(days=5))
    run(machine, 30)
    machine.names["boot"], machine.uptime_seconds = "boot-2", 7.0
    machine.clock += timedelta(days=4)
    run(machine, 5)
    ship(path, centre.url())
    by_hour = centre.query(_BY_HOUR)
    assert centre.query("SELECT count(*) FROM perftrack.process") == [4]
    with migrating.owner(centre.url("owner")) as opened:
        partitions.drop_partitions(opened, (datetime.now(UTC) - timedelta(days=2)).date())
    kept = len(centre.query(_BY_HOUR))
    assert 0 < kept < len(by_hour)
    assert centre.query(_HOURS) == by_hour[: len(by_hour) - kept]
    assert centre.query("SELECT count(*) FROM perftrack.process") == [2]
    assert centre.query("SELECT DISTINCT boot_id FROM perftrack.cgroup") == [2]


def test_a_machine_that_was_restored_to_days_that_are_gone_counts_once(
    centre: Centre, connection: sqlite3.Connection, path: str, perftrack: Run
) -> None:
    machine = begin(connection, timedelta(days=9))
    used = run(machine, 200)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = shutil.copy(path, f"{path}-backup")
    used = run(machine, 6 * 24 * 6, used)
    ship(path, centre.url())
    in_all = "SELECT name, sum(cpu_ms) FROM perftrack.process_hour GROUP BY 1 ORDER BY 1"
    url = centre.url("owner")
    perftrack("fleet", "upkeep", url, "--keep", "5d")
    before = centre.query(in_all)
    with closing(sqlite3.connect(backup)) as restored:
        machine.connection = restored
        machine.names["boot"], machine.uptime_seconds = "boot-2", 7.0
        machine.clock = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=5)
        run(machine, 12, used)
        restored.commit()
    assert ship(backup, centre.url()).said is not None
    perftrack("fleet", "upkeep", url, "--keep", "5d")
    after = dict(centre.query(in_all))
    new = {"java": 12_000 - 1000, "cron": 6000 - 500}  # what the first sample of a boot has used is not known
    for name, cpu_ms in before:
        assert after[name] == pytest.approx(cpu_ms + new[name], abs=2000), name


def test_an_absurd_growth_is_not_known(centre: Centre, connection: sqlite3.Connection, path: str) -> None:
    machine = begin(connection, timedelta(hours=6))
    run(machine, 3)
    machine.tick(process(1 << 60, name="java"), after=60)
    ship(path, centre.url())
    grown = "SELECT cpu_ms IS NULL FROM perftrack.process_sample ORDER BY taken_at DESC LIMIT 1"
    assert centre.query(grown) == [True]
