"""`perftrack compare`: what got dearer from one range to the other, and what is noise."""

from __future__ import annotations

import csv
import io
import json
import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, make_database
from nights import BEGIN, MINUTES, Nights

from perftrack.reading.explain.compare import Comparison, comparisons
from perftrack.reading.queries import TimeRange
from perftrack.storage import opening

DEPLOYED = (BEGIN + timedelta(days=3)).replace(hour=0)
DAY = timedelta(days=1)
SEEDS = pytest.mark.parametrize(
    "seeds", [pytest.param(range(2), id="few"), pytest.param(range(20), marks=pytest.mark.slow, id="all")]
)
RIGHT = 0.95  # of all: one of twenty may be told otherwise


def days(path: str, seed: int, *, java_percent: float = 0, has_units: bool = False) -> None:
    """Record six days; from DEPLOYED on, java uses so much more of a CPU."""
    if not os.path.exists(path):
        make_database(path)
    with closing(opening.open_current(path)) as connection:
        machine = Nights(connection, seed, has_units=has_units)
        machine.machine.clock = DEPLOYED - 3 * DAY

        def more(at: datetime) -> None:
            if at > DEPLOYED:
                machine.counted[812]["ms"] += round(java_percent * MINUTES * 600)
                machine.counted[812]["now_ms"] += round(java_percent * MINUTES * 600)

        machine.events.append(more)
        machine.go_on(DEPLOYED + 3 * DAY)


def compared(path: str, before: int, after: int) -> Comparison:
    """Return so many days before DEPLOYED beside as many after it."""
    at = DEPLOYED.replace(tzinfo=UTC)
    (found,) = comparisons(path, TimeRange(at - before * DAY, at), TimeRange(at, at + after * DAY))
    return found


def marked(found: Comparison) -> set[str]:
    return {line.key for line in found.lines if line.changes["cpu"].is_real}


@SEEDS
def test_what_got_dearer_is_marked_and_first_and_what_did_not_is_not(tmp_path: Path, seeds: range) -> None:
    right = []
    for seed in seeds:
        path = str(tmp_path / f"{seed}.db")
        days(path, seed, java_percent=6)
        for number in (1, 3):
            found = compared(path, number, number)
            assert [line.key for line in found.lines][:2] == ["all", "java"]
            right += [seed] if marked(found) - {"all"} == {"java"} else []
    assert len(right) >= RIGHT * 2 * len(seeds), right


@SEEDS
def test_where_nothing_changed_nothing_is_marked(tmp_path: Path, seeds: range) -> None:
    right = []
    for seed in seeds:
        path = str(tmp_path / f"{seed}.db")
        days(path, seed)
        right += [seed] if not marked(compared(path, 3, 3)) else []
    assert len(right) >= RIGHT * len(seeds), right


class TestTheCommand:
    @pytest.fixture
    def two_days(self, path: str) -> None:
        days(path, 0, java_percent=20)

    RANGES = ("2026-11-08", "2026-11-09")

    @pytest.mark.usefixtures("two_days")
    def test_shows_the_machine_and_then_the_largest_change_first(self, perftrack: Run) -> None:
        lines = perftrack("compare", *self.RANGES).stdout.splitlines()
        assert lines[0] == "A: here, 2026-11-08 00:00:00 to 2026-11-09 00:00:00 UTC, 144 samples"
        assert lines[3].split()[:6] == ["CPU", "s/h", "A", "B", "change", "noise"]
        assert lines[4].endswith("(the whole machine)")
        assert lines[5].endswith(" java")
        assert "* " in lines[5]
        assert lines[-1] == "compared: the 24 hours of the day that both have; * a change that is more than noise"

    def test_units_come_before_names(self, path: str, perftrack: Run) -> None:
        days(path, 0, java_percent=20, has_units=True)
        found = json.loads(perftrack("compare", *self.RANGES, "--format", "json").stdout)["lines"]
        keys = [line["key"] for line in found]
        assert keys[:2] == ["all", "shop.service"]
        assert keys.index("java") == [line["kind"] for line in found].index("name")
        unit, java = found[1], found[keys.index("java")]
        assert unit["cpu_difference_seconds"] == pytest.approx(java["cpu_difference_seconds"])
        assert " unit shop.service" in perftrack("compare", *self.RANGES).stdout

    @pytest.mark.usefixtures("two_days")
    def test_programs_and_spreadsheets_get_the_same(self, perftrack: Run) -> None:
        found = json.loads(perftrack("compare", *self.RANGES, "--format", "json").stdout)
        rows = list(csv.DictReader(io.StringIO(perftrack("compare", *self.RANGES, "--format", "csv").stdout)))
        assert [row["key"] for row in rows] == [line["key"] for line in found["lines"]]
        java: dict[str, Any] = found["lines"][1]
        assert java["cpu_difference_seconds"] == pytest.approx(0.2 * 3600, rel=0.25)
        assert java["cpu_is_more_than_noise"]
        assert float(rows[1]["cpu_difference_seconds"]) == java["cpu_difference_seconds"]

    @pytest.mark.usefixtures("two_days")
    def test_compares_the_same_hours_of_the_day(self, perftrack: Run) -> None:
        """At day the services do half as much again as at night."""
        ranges = ("2026-11-07..2026-11-08", "2026-11-08T21:00..2026-11-09T06:00")
        found = json.loads(perftrack("compare", *ranges, "--format", "json").stdout)
        assert found["hours_of_the_day"] == [0, 1, 2, 3, 4, 5, 21, 22, 23]
        (postgres,) = [line for line in found["lines"] if line["key"] == "postgres"]
        assert postgres["cpu_before_seconds"] == pytest.approx(postgres["cpu_after_seconds"], rel=0.15)

    @pytest.mark.usefixtures("two_days")
    def test_orders_by_what_is_asked_for(self, perftrack: Run) -> None:
        found = json.loads(perftrack("compare", *self.RANGES, "--by", "memory", "--format", "json").stdout)
        changes = [abs(line["memory_difference_bytes"]) for line in found["lines"][1:]]
        assert changes == sorted(changes, reverse=True)

    def test_a_range_without_samples_is_no_answer(self, path: str, perftrack: Run) -> None:
        opening.open_current(path).close()
        assert "holds no samples yet" in perftrack("compare", "yesterday", "today", expect=1).stderr
        days(path, 0)
        assert "B: no samples in this range" in perftrack("compare", "2026-11-08", "2020-01-01", expect=1).stderr

    @pytest.mark.parametrize(
        ("ranges", "problem"),
        [
            (("3h", "today"), "'3h' is no day; a range is written FROM..TO, as in 3h..now"),
            (("yesterday", "nonsense"), "'nonsense' is no day"),
            (("yesterday..2020-01-01", "today"), "ends before it begins"),
            (("tomorrow", "today"), "has not begun yet"),
            (("today",), "Missing argument 'B'"),
        ],
    )
    def test_what_is_no_range_is_refused(self, perftrack: Run, ranges: tuple[str, ...], problem: str) -> None:
        assert problem in perftrack("compare", *ranges, expect=2).stderr
