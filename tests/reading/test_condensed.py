"""Answers over condensed hours: the same sums and peaks as before, and what is not known any more is said."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import nights
import pytest
from conftest import Run, query, seeds
from machine import Machine, process
from nights import NIGHT
from test_condensing import Restless, condense_all
from test_explain import Night, explained, named, nights_after, of_names
from test_truth import WHOLE

from perftrack.reading.coverage import Coverage
from perftrack.reading.report import reports
from perftrack.reading.usage.top import top
from perftrack.storage import opening
from perftrack.storage.condensing import condense

__all__ = ["night", "of_names"]


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


@pytest.fixture
def night(of_names: Path, tmp_path: Path) -> Night:
    return nights_after(of_names, tmp_path)


def processes(path: str) -> dict[int, tuple[Any, ...]]:
    return {
        row.process.process_id: (
            row.used.cpu_ms,
            row.used.cpu_percent_max,
            row.used.rss_max_bytes,
            row.used.num_threads_max,
            row.used.read_bytes,
            row.used.write_bytes,
            row.used.last_seen_at,
        )
        for row in top(path, WHOLE, limit=10_000).rows
        if row.process
    }


def named_sums(path: str) -> dict[str | None, Any]:
    return {row.key: (row.used.cpu_ms, row.used.write_bytes) for row in top(path, WHOLE, group="name").rows}


def told(covered: Coverage) -> tuple[Any, ...]:
    gaps = [(gap.since, gap.until, gap.seconds) for gap in covered.gaps if gap.kind == "gap" and gap.until]
    return covered.held.samples, covered.held.last, gaps


@pytest.mark.parametrize("seed", seeds(3, often=1))
def test_answers_have_the_same_sums_and_peaks(connection: sqlite3.Connection, path: str, seed: int) -> None:
    Restless(connection, seed).run(300)

    def answers() -> tuple[Any, ...]:
        (report,) = reports(path, WHOLE)
        return (
            processes(path),
            named_sums(path),
            {each.metric.name: (each.max, each.samples) for each in report.statistics},
            told(report.coverage),
            query(path, "SELECT name, sum(cpu_ms) FROM process_interval GROUP BY name ORDER BY name"),
        )

    before, by_name = answers(), top(path, WHOLE, group="name")
    peaks = {row.key: row.used.cpu_percent_max for row in by_name.rows}
    condense_all(connection)
    assert answers() == before
    found = top(path, WHOLE, group="name")
    assert found.cpu.system_cpu_ms == by_name.cpu.system_cpu_ms
    # whose children ended within an hour is less exactly known
    assert found.cpu.unattributed_cpu_ms == pytest.approx(by_name.cpu.unattributed_cpu_ms, rel=0.05)
    # of a group it is the peak of one of its processes at least
    for row in found.rows:
        assert 0 < (row.used.cpu_percent_max or 0) <= (peaks[row.key] or 0) + 0.01


class TestAnHourWithAPeakOfAMinute:
    @pytest.fixture
    def recorded(self, machine: Machine) -> Machine:
        """Record two hours, and condense the first: 55 % of a CPU in one minute, else 5 %; 900 MiB at one sample."""
        cpu = 0
        for minute in range(120):
            busy = minute == 20
            cpu += 33_000 if busy else 3_000
            rss = (900 if minute == 30 else 100) << 20
            row = process(cpu, rss_bytes=rss, num_threads=4)
            used = 33_000 if busy else 3_000
            machine.tick(
                row,
                cpu_user_ms=used,
                cpu_idle_ms=120_000 - used,
                extra={"mem_used_bytes": rss, "mem_total_bytes": 1 << 30, "load_1min": 3.5 if busy else 0.5},
                disk_read_bytes=60 << 20 if busy else 0,
            )
        while condense(machine.connection, "2026-11-20 13:00"):
            pass
        return machine

    def test_the_peaks_are_shown_and_where_an_hour_is_all_that_is_known(
        self, recorded: Machine, perftrack: Run
    ) -> None:
        hour = ("--since", "2026-11-20 12:00", "--until", "2026-11-20 13:00")
        assert query(recorded.connection, "SELECT count(*) FROM process_sample WHERE samples IS NOT NULL") == [2]
        (found,) = json.loads(perftrack("top", *hour, "--format", "json").stdout)["rows"]
        assert (found["cpu_percent_max"], found["rss_max_bytes"]) == (55.0, 900 << 20)
        assert found["cpu_seconds"] == pytest.approx(33 + 58 * 3)
        document = json.loads(perftrack("report", *hour, "--format", "json").stdout)
        assert document["condensed_until"] == "2026-11-20T12:59:00Z"
        largest = {name: each["max"] for name, each in document["metrics"].items()}
        assert (largest["cpu"], largest["load_1min"]) == (27.5, 3.5)
        assert largest["disk_read"] == pytest.approx(1 << 20)
        assert largest["memory"] == pytest.approx(900 / 1024 * 100, abs=0.001)
        text = perftrack("report", *hour).stdout
        assert "until 2026-11-20 12:59:00 one sample an hour is left" in text
        assert "one sample an hour" not in perftrack("report", "--since", "2026-11-20 13:00").stdout

    @pytest.mark.usefixtures("recorded")
    def test_a_row_says_how_many_it_stands_for(self, sqlite3_shell: Any) -> None:
        sql = "SELECT samples, cpu_percent_max, rss_max_bytes >> 20 FROM process_interval ORDER BY sample_id LIMIT 3"
        assert sqlite3_shell(sql).split() == ["0||100", "58|55.0|900", "1|5.0|100"]


class TestExplain:
    def test_in_condensed_nights_the_culprit_is_named(self, night: Night) -> None:
        path, commands = night(3, nights.burner)
        condense_whole(path)
        assert named(explained(path)) == commands

    def test_minutes_are_not_unusual_for_being_compared_with_hours(self, night: Night) -> None:
        path, _ = night(2)
        condense_whole(path, NIGHT)
        assert explained(path).stories == []


def condense_whole(path: str, before: datetime = datetime(2100, 1, 1)) -> None:
    connection = opening.open_current(path)
    while condense(connection, before.isoformat(" ", "microseconds")):
        pass
    connection.close()


def test_a_year_is_read_without_looking_for_what_was_before(connection: sqlite3.Connection) -> None:
    """Each condensed row knows its own row before."""
    machine = Machine(connection)
    for number in range(200):
        machine.tick(process(number * 10), *([process(5, pid=7)] if number % 50 == 0 else []))
    condense_all(connection)
    links = query(connection, "SELECT count(*) FROM process_sample WHERE samples > 0 AND previous_sample_id IS NULL")
    assert links == [0]
    plan = query(connection, "EXPLAIN QUERY PLAN SELECT sum(cpu_ms) FROM process_interval")
    assert any("SEARCH direct USING PRIMARY KEY (sample_id=? AND process_id=?)" in row[3] for row in plan)
