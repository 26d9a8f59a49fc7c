"""The parts of a range, which are read one after the other."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from conftest import Run
from machine import Machine, process

from perftrack.reading.queries import TimeRange
from perftrack.reading.usage.parts import parts_of
from perftrack.storage.snapshot import snapshot

YEAR_2 = datetime(2, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("since", [None, YEAR_2, datetime(2026, 11, 20, 11, 59, tzinfo=UTC)])
def test_are_no_more_than_there_are_samples(
    path: str, connection: sqlite3.Connection, since: datetime | None
) -> None:
    machine = Machine(connection)
    for after in (60, 60, 20 * 365 * 86_400, 60):
        machine.tick(after=after)
    first, last = (datetime(*day, 12, 1, tzinfo=UTC) for day in ((2026, 11, 20), (2046, 11, 15)))
    with snapshot(path) as opened:
        parts = parts_of(opened, TimeRange(since, hosts=("here",)))
    assert len(parts) == 2
    assert all(earlier.until == later.since for earlier, later in pairwise(parts))
    assert parts[0].since == first
    assert parts[-1].since < last + timedelta(minutes=2) < parts[-1].until
    if since is not None:
        assert [part.inside_seconds for part in parts] == [(part.since - since).total_seconds() for part in parts]


def test_a_range_that_begins_long_before_the_first_sample_counts_the_same(
    perftrack: Run, connection: sqlite3.Connection
) -> None:
    machine = Machine(connection)
    for number in range(200):
        machine.tick(process(number * 3000), after=1800, cpu_user_ms=3000)
    long, short = (
        json.loads(perftrack("top", "--since", since, "--format", "json").stdout)["rows"]
        for since in ("0002-01-01", "2026-11-20 12:01")
    )
    assert long == short
    assert long[0]["cpu_seconds"] == 597.0
