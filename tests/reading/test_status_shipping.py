"""What `perftrack status` tells of shipping, by what the database itself knows, and when it is late."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import Run, query
from machine import Machine, process
from test_status import minutes_of

from perftrack.storage.condensing import condense
from perftrack.storage.purging import purge

pytest.importorskip("psycopg", reason="psycopg is not installed")
TO = {"PERFTRACK_SHIP_TO": "postgresql://web1@db.example.org/fleet"}


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def noted(path: str, sample_id: int | None, hours_ago: float, failure: str | None = None) -> None:
    at = None if sample_id is None else (now() - timedelta(hours=hours_ago)).isoformat(" ", "microseconds")
    values = [sample_id, at, failure and now().isoformat(" ", "microseconds"), failure]
    names = "shipped_sample_id", "shipped_at", "ship_failed_at", "ship_failure"
    told = ("NULL" if value is None else f"'{value}'" for value in values)
    query(
        path, f"UPDATE source SET {', '.join(f'{name} = {value}' for name, value in zip(names, told, strict=True))}"
    )


def asked(perftrack: Run, expect: int = 0, **env: Any) -> tuple[dict[str, Any], str]:
    """Return what is told of shipping, for programs and for people."""
    found = json.loads(perftrack("status", "--format", "json", env=TO | env, expect=expect).stdout)
    assert found["ok"] is (expect == 0)
    text = perftrack("status", env=TO | env, expect=expect).stdout
    assert "PERFTRACK_SHIP_TO" in text.partition("\nsettings")[2]
    return found["shipping"], text.partition("\nsettings")[0]


def test_nothing_where_nothing_is_to_be_shipped(machine: Machine, perftrack: Run, path: str) -> None:
    minutes_of(machine, 10, 0)
    noted(path, 1, 100, "no")
    assert json.loads(perftrack("status", "--format", "json").stdout)["shipping"] is None
    assert "\nship" not in perftrack("status").stdout


def test_all_is_there(machine: Machine, perftrack: Run, path: str) -> None:
    minutes_of(machine, 10, 0)
    noted(path, 10, 72)  # it is turned off at night
    found, text = asked(perftrack)
    assert (found["to"], found["waiting_samples"], found["waiting_since"]) == ("fleet at db.example.org", 0, None)
    assert (found["is_late"], found["failure"], found["failed_at"]) == (False, None, None)
    assert "\nshipping  to fleet at db.example.org, acknowledged 3 d ago; nothing waits\n" in text


def test_some_waits(machine: Machine, perftrack: Run, path: str) -> None:
    minutes_of(machine, 10, 0)
    noted(path, 4, 0.1)
    found, text = asked(perftrack)
    (since,) = query(path, "SELECT taken_at FROM system_sample WHERE id = 5")
    assert (found["waiting_samples"], found["is_late"]) == (6, False)
    assert datetime.fromisoformat(found["waiting_since"]).replace(tzinfo=None) == datetime.fromisoformat(since)
    assert age_hours(found["acknowledged_at"]) == pytest.approx(0.1, abs=0.05)
    assert f"; 6 samples wait, since {since[:19]}\n" in text


def age_hours(instant: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds() / 3600


@pytest.mark.parametrize(("hours", "expect"), [(1.9, 0), (2.1, 1)])
def test_it_is_late_where_some_waits_and_nothing_was_acknowledged_for_hours(
    machine: Machine, perftrack: Run, path: str, hours: float, expect: int
) -> None:
    minutes_of(machine, 10, 0)
    noted(path, 9, hours)
    found, text = asked(perftrack, expect)
    assert found["is_late"] is bool(expect)
    assert ("\nshipping  LATE: to fleet at" in text) is bool(expect)
    assert "LATE" not in text.partition("newest")[2].partition("\n")[0]  # recording goes on


@pytest.mark.parametrize(("minutes", "expect"), [(30, 0), (130, 1)])
def test_that_was_never_acknowledged_is_late_where_some_has_waited_for_hours(
    machine: Machine, perftrack: Run, minutes: int, expect: int
) -> None:
    minutes_of(machine, minutes, 0)
    found, text = asked(perftrack, expect)
    assert (found["acknowledged_at"], found["waiting_samples"], found["removed_samples"]) == (None, minutes, 0)
    assert f"never acknowledged; {minutes} samples wait" in text


def test_the_reason_of_the_last_failure(machine: Machine, perftrack: Run, path: str) -> None:
    minutes_of(machine, 10, 0)
    noted(path, 4, 0.1, "fleet at db.example.org is of an older perftrack")
    found, text = asked(perftrack)
    assert found["failure"] == "fleet at db.example.org is of an older perftrack"
    assert age_hours(found["failed_at"]) < 0.1
    assert "  fleet at db.example.org is of an older perftrack\n" in text


def test_an_address_that_is_none_says_why_and_shows_no_password(machine: Machine, perftrack: Run, path: str) -> None:
    minutes_of(machine, 10, 0)
    found, text = asked(perftrack, PERFTRACK_SHIP_TO="postgresql://web1:s3cret@db/fleet")
    assert found["to"] is None
    assert "~/.pgpass" in found["failure"]
    assert "~/.pgpass" in text
    assert "s3cret" not in text


def test_what_was_condensed_or_removed_before_it_was_shipped(machine: Machine, perftrack: Run, path: str) -> None:
    machine.clock = (now() - timedelta(days=200)).replace(minute=0, second=30)
    for number in range(300):
        machine.tick(process(number))
    minutes_of(machine, 10, 0)
    noted(path, 59, 100)
    asked(perftrack, 1)
    before = query(path, "SELECT taken_at FROM system_sample WHERE id = 120")[0]
    while purge(machine.connection, before) is not None:
        pass
    while condense(machine.connection, query(path, "SELECT taken_at FROM system_sample WHERE id = 240")[0]):
        pass
    found, text = asked(perftrack, 1)
    assert "is due, a piece in each tick, but for what waits to be shipped\n" in text
    assert found["removed_samples"] == 60
    assert found["condensed_samples"] == pytest.approx(120, abs=1)
    assert "before they were shipped, condensed to one an hour: 1" in text
    assert ", removed: 60 samples\n" in text


def test_without_psycopg_it_tells_all_else(machine: Machine, perftrack: Run, path: str, tmp_path: Any) -> None:
    minutes_of(machine, 10, 0)
    noted(path, 4, 0.1)
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "psycopg.py").write_text("raise ImportError\n")
    env = {"PYTHONPATH": f"{tmp_path / 'without'}:{os.environ.get('PYTHONPATH', '')}"}
    found, _ = asked(perftrack, **env)
    assert "psycopg[binary]" in found["failure"]
    assert found["waiting_samples"] == 6
