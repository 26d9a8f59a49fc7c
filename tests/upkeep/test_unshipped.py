"""Where shipping is set up, what the centre has not yet is not condensed or removed before, up to a limit."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from conftest import Run, query
from test_purge import ordinary, record

from perftrack.settings import load
from perftrack.storage import opening, retention

TO = "postgresql://web1@db.example.org/fleet"


@pytest.fixture(autouse=True)
def few_samples_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_NOW", retention._NOW.replace("1440", "3"))


def ticks(path: str, **options: Any) -> None:
    """Do all that ticks do, a piece at a time."""
    settings = load({"database": path, "ship_to": TO, **options})
    with closing(opening.open_current(path)) as connection:
        for _ in range(200):
            if not retention.keep_bounded(connection, path, settings):
                return
    raise AssertionError("it goes on for ever")


def shipped(path: str, sample_id: int | None) -> None:
    query(path, f"UPDATE source SET shipped_sample_id = {'NULL' if sample_id is None else sample_id}")


def samples(path: str) -> int:
    return int(query(path, "SELECT count(*) FROM system_sample")[0])


class TestATick:
    @pytest.mark.parametrize("how_far", [None, 0, 50])
    def test_leaves_what_was_not_shipped(self, path: str, how_far: int | None) -> None:
        record(path, 100, 50)
        record(path, 95, 150)
        record(path, 1, 10)
        shipped(path, how_far)
        ticks(path, keep_hourly="91d")
        assert samples(path) == 210 - (how_far or 0)
        assert ordinary(path) == 210 - (how_far or 0)
        ticks(path)
        assert ordinary(path) == 210 - (how_far or 0)
        shipped(path, 200)
        ticks(path)
        assert ordinary(path) == 10
        ticks(path, keep_hourly="91d")
        assert samples(path) == 10

    def test_takes_the_hours_that_were_shipped_as_a_whole(self, path: str) -> None:
        record(path, 100, 180)
        record(path, 1, 10)
        shipped(path, 130)
        ticks(path)
        (first,) = query(path, "SELECT min(taken_at) FROM system_sample WHERE samples IS NULL")
        (next_one,) = query(path, "SELECT taken_at FROM system_sample WHERE id = 131")
        assert first[:13] == next_one[:13]
        assert query(path, "SELECT count(*) FROM system_sample WHERE id > 130 AND samples NOTNULL") == [0]
        assert query(path, "SELECT count(*) FROM system_sample WHERE samples NOTNULL") > [0]

    @pytest.mark.parametrize(("more_days", "left"), [(-1, 100), (2, 0)])
    def test_leaves_it_no_longer_than_the_limit(self, path: str, more_days: int, left: int) -> None:
        record(path, 90 + retention.UNSHIPPED_DAYS + more_days, 100)
        record(path, 1, 10)
        ticks(path)
        assert ordinary(path) == 10 + left
        ticks(path, keep_hourly="90d")
        assert samples(path) == 10 + left

    def test_condenses_where_nothing_is_shipped_from_here(self, path: str) -> None:
        record(path, 100, 100)
        record(path, 1, 10)
        ticks(path, ship_to="")
        assert ordinary(path) == 10

    def test_lets_a_full_disk_be_the_worse_of_both(self, path: str) -> None:
        record(path, 5, 4000)
        query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        settings = load({"database": path, "ship_to": TO, "max_size": "1M"})
        with closing(opening.open_current(path)) as connection:
            for _ in range(20):
                retention.keep_bounded(connection, path, settings)
        assert samples(path) < 4000

    def test_looks_once_more_and_not_through_the_history(self, path: str) -> None:
        record(path, 1, 10)
        with closing(opening.open_current(path)) as connection:

            def asked(**options: str) -> list[str]:
                said: list[str] = []
                connection.set_trace_callback(said.append)
                retention.keep_bounded(connection, path, load({"database": path, **options}))
                connection.set_trace_callback(None)
                return said

            (further,) = (sql for sql in asked(ship_to=TO) if sql not in asked())
            assert len(asked(ship_to=TO)) == len(asked()) + 1
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {further}")]
            assert "SEARCH system_sample USING INTEGER PRIMARY KEY (rowid>?)" in plan
            assert not any("TEMP B-TREE" in line or "SCAN system_sample" in line for line in plan)


class TestPurge:
    def test_leaves_what_was_not_shipped_and_says_so(self, perftrack: Run, path: str) -> None:
        record(path, 100, 180)
        record(path, 1, 10)
        shipped(path, 0)
        env = {"PERFTRACK_SHIP_TO": TO}
        stay = "not shipped yet, and left for 30 days longer: 180 samples\n"
        nothing = "nothing is old enough to be condensed or removed\n"
        assert perftrack("purge", "--dry-run", env=env).stdout == nothing + stay
        assert perftrack("purge", env=env).stdout == nothing + stay
        assert perftrack("purge", "--older-than", "95d", env=env).stdout == nothing + stay
        assert ordinary(path) == 190
        shipped(path, 180)
        assert "shipped" not in perftrack("purge", env=env).stdout
        assert ordinary(path) == 10

    def test_takes_it_behind_the_limit(self, perftrack: Run, path: str) -> None:
        record(path, 130, 60)
        record(path, 100, 60)
        record(path, 1, 10)
        said = perftrack("purge", env={"PERFTRACK_SHIP_TO": TO}).stdout
        assert "longer: 60 samples" in said
        assert ordinary(path) == 70
