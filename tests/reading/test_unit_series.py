"""Units, forks and OOM kills in plots and reports."""

from __future__ import annotations

import json
import sqlite3
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import Run, cgroup_row, query, seeds
from groups import Simulation
from machine import Machine, process
from test_plot import data_of

from perftrack.reading.coverage import coverage
from perftrack.reading.plot import series
from perftrack.reading.plot.series import AllSeries, read_series
from perftrack.reading.plot.units import OTHER_UNITS
from perftrack.reading.queries import TimeRange
from perftrack.storage.snapshot import snapshot

WHOLE = TimeRange(datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 11, 1, tzinfo=UTC))
RANGE = ("--since", "2026-11-20T12:00Z", "--until", "2026-11-21T12:00Z")
SERVICE, OTHER = "/system.slice/web.service", "/system.slice/db.service"


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


def read(path: str) -> AllSeries:
    with snapshot(path) as reader:
        return read_series(reader, coverage(reader, WHOLE, datetime(2027, 1, 1, tzinfo=UTC)), [])


def kill(machine: Machine, perftrack: Run) -> None:
    """Six minutes, in the fourth of which a process of a service is killed, and one in no unit."""
    for number in range(6):
        kills = int(number >= 3)
        rows = [cgroup_row("/"), cgroup_row("/system.slice", number * 6000, oom_kills=kills)]
        rows.append(cgroup_row(SERVICE, number * 6000, oom_kills=kills, memory_bytes=(5 + number) << 20))
        rows.append(cgroup_row(OTHER, 0, oom_kills=0, memory_bytes=2 << 20))
        machine.tick(
            process(1), cgroups=rows, forks=120 * number, oom_kills=2 * (number == 3), extra={"mem_used_bytes": 9}
        )


@pytest.mark.parametrize("seed", seeds(8))
def test_of_a_made_up_machine_a_plot_shows_what_every_unit_used_and_held(
    connection: sqlite3.Connection, path: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "NAMES", 100)
    simulation = Simulation(connection, seed, (-7, 3600))
    for _ in range(150):
        simulation.step()
    drawn = read(path)
    assert not drawn.is_bucketed
    used = {name: sum(point[1] * 600 for point in points if point) for name, points in drawn.units["cpu"].items()}
    assert {name: used[name] for name in simulation.cpu if name in used} == pytest.approx(
        {name: cpu for name, cpu in simulation.cpu.items() if name in used}
    )
    assert sum(used.values()) == pytest.approx(sum(simulation.cpu.values()))
    memory = {
        name: max(point[2] for point in points if point is not None) for name, points in drawn.units["rss"].items()
    }
    assert memory == simulation.memory

    monkeypatch.setattr(series, "POINTS", 20)
    of_parts = read(path)
    assert of_parts.is_bucketed
    assert memory == {
        name: max(point[2] for point in points if point is not None) for name, points in of_parts.units["rss"].items()
    }
    everything = [point for points in drawn.units["cpu"].values() for point in points if point]
    in_parts = [point for points in of_parts.units["cpu"].values() for point in points if point]
    assert max(point[2] for point in in_parts) == pytest.approx(max(point[2] for point in everything))
    assert all(least <= mean + 1e-9 <= most + 2e-9 for least, mean, most in in_parts)


class TestThePlot:
    def test_has_panels_of_units_with_the_largest_and_all_others(
        self, machine: Machine, perftrack: Run, tmp_path: Path
    ) -> None:
        names = [f"/system.slice/s{number}.service" for number in range(9)]
        for number in range(4):
            used = [cgroup_row(name, number * 60 * (9 - at), memory_bytes=at << 20) for at, name in enumerate(names)]
            everything = sum(row["cpu_user_ms"] for row in used)
            machine.tick(cgroups=[cgroup_row("/", everything), cgroup_row("/system.slice", everything), *used])
        perftrack("plot", *RANGE)
        panels = {panel["title"]: panel for panel in data_of(tmp_path / "work" / "perftrack.html")["panels"]}
        cpu, memory = panels["CPU by unit"], panels["Memory by unit"]
        assert [each["name"] for each in cpu["series"]] == [
            *(f"s{number}.service" for number in range(series.NAMES)),
            OTHER_UNITS,
        ]
        assert cpu["series"][0]["mean"] == [None, 0.9, 0.9, 0.9]
        assert cpu["series"][-1]["mean"] == [None, 0.6, 0.6, 0.6]
        assert (memory["unit"], memory["series"][0]["mean"]) == (" MiB", [8.0] * 4)
        assert memory["series"][-1]["mean"] == [3.0] * 4  # of 0, 1 and 2 MiB
        colours = {each["name"]: each["colour"] for each in cpu["series"]}
        assert len(set(colours.values())) == len(colours)
        perftrack("plot", *RANGE, "--process", "java")
        assert not {"CPU by unit", "Memory by unit"} & set(titles(tmp_path / "work" / "perftrack.html"))

    def test_has_no_panels_of_what_was_not_recorded(self, machine: Machine, perftrack: Run, tmp_path: Path) -> None:
        for _ in range(2):
            machine.tick(process(1), extra={"forks": None})
        perftrack("plot", *RANGE)
        found = titles(tmp_path / "work" / "perftrack.html")
        assert not {"CPU by unit", "Memory by unit", "Forks"} & set(found)
        assert data_of(tmp_path / "work" / "perftrack.html")["marks"] == []

    def test_has_forks_a_second(self, machine: Machine, perftrack: Run, tmp_path: Path) -> None:
        kill(machine, perftrack)
        perftrack("plot", *RANGE)
        (forks,) = [
            each for each in data_of(tmp_path / "work" / "perftrack.html")["panels"] if each["title"] == "Forks"
        ]
        assert forks["series"][0]["mean"] == [None, 2, 4, 6, 8, 10]

    def test_marks_oom_kills(self, machine: Machine, perftrack: Run, tmp_path: Path) -> None:
        kill(machine, perftrack)
        perftrack("plot", *RANGE)
        page = data_of(tmp_path / "work" / "perftrack.html")
        assert page["marks"] == [["2026-11-20 12:04:00.000", "2 OOM kills: web.service"]]
        perftrack("plot", *RANGE, "-o", "night.svg")
        words = [each.text for each in ElementTree.parse(tmp_path / "work" / "night.svg").iter() if each.text]
        assert "2 OOM kills: web.service" in words

    def test_of_a_unit_that_does_nothing_is_nothing(self, machine: Machine, path: str) -> None:
        for cpu_ms in (0, 600, 600, 1200):
            machine.tick(cgroups=[cgroup_row("/", 0), cgroup_row(SERVICE, cpu_ms)])
        shown = read(path).units["cpu"]["web.service"]
        assert shown == [None, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)]

    def test_of_many_samples_has_the_mean_of_all_looks(
        self, machine: Machine, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(series, "POINTS", 2)
        for number in range(20):
            machine.tick(cgroups=[cgroup_row(SERVICE, 600 * (number >= 15), memory_bytes=300 if number > 6 else 100)])
        units = read(path).units
        assert units["rss"]["web.service"] == [(100, 160.0, 300), (300, 300.0, 300)]
        assert units["cpu"]["web.service"] == [(0.0, 0.0, 0.0), (0.0, 0.1, 1.0)]

    def test_of_a_unit_that_is_gone_ends(self, machine: Machine, path: str) -> None:
        for number in range(4):
            gone = [] if number > 1 else [cgroup_row(SERVICE, 0, memory_bytes=5)]
            machine.tick(cgroups=[cgroup_row("/", number), *gone])
        assert read(path).units["rss"] == {"web.service": [(5, 5, 5), (5, 5, 5), None, None]}

    def test_before_a_look_is_as_that_found_it(self, machine: Machine, path: str) -> None:
        """A recorder that does not look at control groups makes no gap."""
        for number in range(5):
            machine.tick(cgroups=None if number == 2 else [cgroup_row(SERVICE, number * 600, memory_bytes=number)])
        units = read(path).units
        assert units["cpu"]["web.service"] == [None, *[(1.0, 1.0, 1.0)] * 4]
        assert [point and point[1] for point in units["rss"]["web.service"]] == [0, 1, 1, 3, 4]


def titles(page: Path) -> list[str]:
    return [panel["title"] for panel in data_of(page)["panels"]]


class TestTheReport:
    def test_names_the_largest_units_and_when_processes_were_killed(self, machine: Machine, perftrack: Run) -> None:
        kill(machine, perftrack)
        found: dict[str, Any] = json.loads(perftrack("report", *RANGE, "--format", "json").stdout)
        assert [(row["unit"], row["cpu_seconds"]) for row in found["top_units_cpu"]][:1] == [("web.service", 30.0)]
        assert [(row["unit"], row["memory_max_bytes"]) for row in found["top_units_rss"]][:2] == [
            ("web.service", 10 << 20),
            ("db.service", 2 << 20),
        ]
        assert found["metrics"]["forks"]["mean"] == 6.0
        assert found["oom_kills"] == 2
        assert found["oom_kills_latest"] == [
            {"taken_at": "2026-11-20T12:04:00Z", "killed": 2, "units": ["web.service"]}
        ]
        out = perftrack("report", *RANGE).stdout
        assert "2 OOM kills, by 12:04:00 (web.service)" in out
        lines = [line.split() for line in out.splitlines()]
        assert ["CPU", "by", "unit", "(s)", "unit"] in lines
        assert ["30.0", "web.service"] in lines
        assert ["10.0", "MiB", "web.service"] in lines

    def test_says_nothing_of_what_there_was_not(self, machine: Machine, perftrack: Run) -> None:
        for _ in range(2):
            machine.tick(process(1))
        found = json.loads(perftrack("report", *RANGE, "--format", "json").stdout)
        assert (found["oom_kills"], "top_units_cpu" in found) == (0, False)
        out = perftrack("report", *RANGE).stdout
        assert "OOM" not in out
        assert "by unit" not in out

    @pytest.mark.parametrize("columns", [72, 100, 200])
    def test_fits_its_width(self, machine: Machine, perftrack: Run, columns: int) -> None:
        for number in range(3):
            rows = [cgroup_row("/"), cgroup_row("/a/" + "long/" * 30, number * 5000, memory_bytes=1 << 30)]
            machine.tick(process(number, cgroup="/a/" + "long/" * 30), cgroups=rows, cpu_user_ms=9000)
        out = perftrack("report", *RANGE, env={"COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8"}).stdout
        assert max(map(len, out.splitlines())) <= columns


def test_memory_does_not_grow_with_the_number_of_groups(machine: Machine, path: str) -> None:
    """A year of cron makes hundreds of thousands of them: what is added up is SQLite's, and it spills to disk."""

    def peak() -> int:
        read(path)
        tracemalloc.start()
        read(path)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    def tick(number: int, groups: int) -> None:
        rows = [cgroup_row("/", number)]
        rows += [cgroup_row(f"/run-{number}-{each}.scope", 5, memory_bytes=each) for each in range(groups)]
        machine.tick(cgroups=rows)

    for number in range(20):
        tick(number, 1)
    few = peak()
    for number in range(20, 40):
        tick(number, 1000)
    assert query(path, "SELECT count(*) FROM cgroup")[0] > 20_000
    assert peak() < few + (1 << 20)
