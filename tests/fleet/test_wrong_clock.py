"""A machine whose clock is more than a year ahead, until somebody sets it."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from centres import Centre
from conftest import Run, query
from machine import Machine, process
from test_ship import assert_the_same

from perftrack.fleet import migrating, partitions
from perftrack.fleet import ship as shipping

AHEAD = timedelta(days=400)
BY_PARTITION = """
SELECT tableoid::regclass::text LIKE '%\\_default', count(*) FROM perftrack.system_sample GROUP BY 1 ORDER BY 1
"""


def ship_at(clock: datetime, path: str, url: str) -> int:
    """Ship as a machine whose own clock shows *clock*."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return clock.replace(tzinfo=tz)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipping, "datetime", Clock)
        return shipping.ship(path, url).samples


def test_all_samples_are_there_once_before_and_after(
    centre: Centre, perftrack: Run, connection: sqlite3.Connection, path: str
) -> None:
    url, owner = centre.url(), centre.url("owner")
    machine = Machine(connection, host="web9")
    now = datetime.now(UTC).replace(tzinfo=None)

    def samples(until: datetime, count: int) -> None:
        machine.clock = until - timedelta(seconds=count / 2)
        for _ in range(count):
            machine.tick(process(int(machine.uptime_seconds)), after=0.5)

    def status() -> str:
        return perftrack("fleet", "status", owner).stdout

    samples(now + AHEAD, 5)
    assert ship_at(now + AHEAD, path, url) == 5
    assert re.search(r"web9 .* s .*-345[56]\d{4}\.\d ", status()), status()
    assert ship_at(now, path, url) == 0  # it is right again, and nothing was recorded since
    assert re.search(r"web9 .* -400 d ", status()), status()  # its newest sample is of the future
    samples(now, 7)
    assert ship_at(now, path, url) == 7
    assert re.search(r"web9 .* [+-]\d\.\d ", status()), status()
    assert_the_same(centre, connection)
    held = [(False, 7), (True, 5)]
    assert centre.query(BY_PARTITION) == held
    perftrack("fleet", "upkeep", owner, "--keep", "30d")
    assert centre.query(BY_PARTITION) == held

    # the day comes that the wrong samples are of: they are in its partition
    with migrating.owner(owner) as opened:
        day = (now + AHEAD).date()
        assert partitions.make_partitions(opened, day) == 10 * 3
    assert centre.query(BY_PARTITION) == [(False, 12)]
    samples(now + AHEAD + timedelta(seconds=0.2), 5)  # between those of then, by this clock
    assert ship_at(now + AHEAD, path, url) == 5
    assert centre.query(BY_PARTITION) == [(False, 17)]
    assert query(connection, "SELECT count(*) FROM system_sample") == [17]
    assert_the_same(centre, connection)
