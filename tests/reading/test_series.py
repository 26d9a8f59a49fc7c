"""The series that a plot is drawn from: a point for each sample, or for so many parts of the range."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from conftest import query
from machine import NOON, Machine, process

from perftrack.reading.coverage import coverage
from perftrack.reading.plot import series
from perftrack.reading.plot.series import AllSeries, read_series
from perftrack.reading.queries import TimeRange
from perftrack.storage.snapshot import snapshot

SPAN = TimeRange(datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC))


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


def read(path: str, *names: str, span: TimeRange = SPAN) -> AllSeries:
    with snapshot(path) as connection:
        return read_series(connection, coverage(connection, span, datetime(2026, 11, 30, tzinfo=UTC)), list(names))


class TestSeries:
    def test_has_a_point_for_each_sample_where_they_are_few(self, machine: Machine, path: str) -> None:
        for number in range(3):
            machine.tick(
                process(number * 30_000, name="a", pid=1),
                process(number * 6_000, name="a", pid=2),
                process(0, name="b", pid=3, rss_bytes=1 << 30),
                cpu_user_ms=60_000,
                cpu_idle_ms=60_000,
                extra={"load_1min": number},
            )
        found = read(path)
        noon = NOON.replace(tzinfo=UTC).timestamp()
        assert found.instants == pytest.approx([noon + 60, noon + 120, noon + 180], abs=0.01)
        assert found.system["cpu_user"] == [None, (50.0, 50.0, 50.0), (50.0, 50.0, 50.0)]
        assert found.system["load_1min"][2] == (2.0, 2.0, 2.0)
        assert found.processes["cpu"]["a"] == [None, (60.0, 60.0, 60.0), (60.0, 60.0, 60.0)]
        assert list(found.processes["rss"]) == ["b", "a"]
        assert found.processes["rss"]["a"][0] == (8192, 8192, 8192)

    def test_of_many_keeps_the_minimum_and_the_maximum_of_each_point(
        self, machine: Machine, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(series, "POINTS", 10)
        used = 0
        for number in range(100):
            used += 60_000 if number == 57 else 600
            machine.tick(process(used), extra={"mem_used_bytes": 900 if number == 57 else 100})
        found = read(path)
        assert (len(found.instants), found.is_bucketed) == (10, True)
        memory = [point for point in found.system["mem_used"] if point]
        assert [point[2] for point in memory] == [100] * 5 + [900] + [100] * 4
        low, mean, high = found.processes["cpu"]["python3"][5] or (None, None, None)
        assert (low, mean, high) == (1.0, pytest.approx(10.9), 100.0)

    def test_agrees_with_the_view_also_where_processes_come_go_and_fall(
        self, machine: Machine, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(60):
            if number == 30:
                machine.names["boot"], machine.uptime_seconds = "boot-2", 10.0
            began = int(machine.uptime_seconds * 100)
            machine.tick(
                process(number * 50 if number % 7 else 1, name="falls", pid=1, started_ticks=3),
                process(700, name="short", pid=2, started_ticks=began + 10),
                process(None, name="refused", pid=3),
                *([process(number * 10, name="at times", pid=4, started_ticks=1)] if number % 3 else []),
            )
        expected = query(
            path, "SELECT name, cpu_percent FROM process_interval WHERE cpu_ms IS NOT NULL ORDER BY taken_at"
        )
        for points in (1500, 7):
            monkeypatch.setattr(series, "POINTS", points)
            found = read(path)
            for name in ("falls", "short", "at times"):
                values = [value for each, value in expected if each == name]
                known = [point for point in found.processes["cpu"][name] if point is not None]
                assert max(point[2] or 0 for point in known) == pytest.approx(max(values), abs=0.01)
                assert min(point[0] or 0 for point in known) == pytest.approx(min(values), abs=0.01)
            assert "refused" not in found.processes["cpu"]

    def test_knows_a_new_process_where_start_times_are_of_the_wall_clock(self, machine: Machine, path: str) -> None:
        machine.tick()
        at = machine.clock
        started = [str(at + timedelta(seconds=each)) for each in (5, -5)]
        machine.tick(
            process(600, name="new", pid=1, started_ticks=178_000_000_000, started_at=started[0]),
            process(600, name="old", pid=2, started_ticks=178_000_000_000, started_at=started[1]),
        )
        assert read(path).processes["cpu"] == {"new": [None, (1.0, 1.0, 1.0)]}

    def test_is_of_all_names_that_are_asked_for(self, machine: Machine, path: str) -> None:
        names = [f"p{number}" for number in range(series.NAMES + 2)]
        for number in range(3):
            machine.tick(*(process(number, name=name, pid=pid) for pid, name in enumerate(names)))
        assert set(read(path, *names).processes["cpu"]) == set(names)

    def test_is_of_no_others(self, machine: Machine, path: str) -> None:
        for number in range(3):
            machine.tick(process(number * 1000, name="a", pid=1), process(0, name="b", pid=2))
        found = read(path, "b")
        assert (list(found.processes["cpu"]), list(found.processes["rss"])) == (["b"], ["b"])

    @pytest.mark.parametrize("points", [1500, 3])
    def test_has_of_an_interval_over_several_samples_its_part_in_each(
        self, machine: Machine, path: str, monkeypatch: pytest.MonkeyPatch, points: int
    ) -> None:
        """A process that is recorded at the first and the last of five samples, also where the range ends before."""
        monkeypatch.setattr(series, "POINTS", points)
        for number in range(5):
            machine.tick(
                *([process(number * 6000, name="at times", pid=1, started_ticks=3)] if number in {0, 4} else []),
                process(number * 600, name="steady", pid=2, started_ticks=3),
                cpu_user_ms=12_000,
                cpu_idle_ms=108_000,
            )
        end = NOON.replace(tzinfo=UTC) + timedelta(minutes=4, seconds=30)
        for span in (SPAN, SPAN._replace(until=end)):
            found = read(path, span=span)
            values = [point and point[1] for point in found.processes["cpu"]["at times"]]
            assert values[1:] == pytest.approx([10.0] * (len(found.instants) - 1))
            rest = [point and point[1] for point in found.unattributed]
            assert rest[1:] == pytest.approx([20.0 - 10.0 - 1.0] * (len(found.instants) - 1))

    def test_of_some_names_says_nothing_of_what_is_unattributed(self, machine: Machine, path: str) -> None:
        for number in range(3):
            machine.tick(process(number, name="a"), cpu_user_ms=1000, cpu_idle_ms=1000)
        assert read(path, "a").unattributed == []
        assert read(path).unattributed != []
