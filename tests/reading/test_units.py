"""`perftrack top --group unit`: what control groups used is what units did, nothing lost and nothing twice."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import OWN, Run, cgroup_row, query, run_in
from groups import Simulation
from machine import Machine, process

import perftrack.reading.usage.parts
from perftrack.reading.queries import TimeRange
from perftrack.reading.usage.top_units import top_units
from perftrack.reading.usage.units import unit_usage
from perftrack.storage.snapshot import snapshot

WHOLE = TimeRange(datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 11, 1, tzinfo=UTC))
RANGE = ("--since", "2026-11-20T12:00Z", "--until", "2026-11-21T12:00Z")


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


@pytest.mark.parametrize(
    ("seed", "steps"),
    [
        *((seed, (-7, 3600)) for seed in range(3)),
        (10, (-3600, 3600)),
        *(pytest.param(seed, (-7, 3600), marks=pytest.mark.slow) for seed in range(3, 10)),
        *(pytest.param(seed, (-3600, 3600), marks=pytest.mark.slow) for seed in range(11, 13)),
    ],
)
def test_of_a_made_up_machine_every_unit_has_what_it_used(
    connection: sqlite3.Connection, path: str, seed: int, steps: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perftrack.reading.usage.parts, "PART", timedelta(minutes=47))
    simulation = Simulation(connection, seed, steps)
    for _ in range(150):
        simulation.step()
    found = top_units(path, WHOLE, limit=1000)
    rows = {row.unit: row for row in found.rows}
    assert {name: row.cpu_ms for name, row in rows.items() if row.cpu_ms} == {
        name: cpu for name, cpu in simulation.cpu.items() if cpu
    }
    assert {name: row.write_bytes for name, row in rows.items() if row.write_bytes} == {
        name: written for name, written in simulation.written.items() if written
    }
    assert {name: row.oom_kills or 0 for name, row in rows.items() if name in simulation.kills} == simulation.kills
    assert found.cpu.recorded_cpu_ms == query(path, "SELECT sum(cpu_ms) FROM cgroup_interval WHERE path = '/'")[0]
    if -3600 not in steps:  # what idle groups held is carried on by time
        assert {name: row.memory_max_bytes for name, row in rows.items()} == simulation.memory

    tree = {group.path: group for group in top_units(path, WHOLE, limit=1000, as_tree=True).groups}
    assert {name: group.cpu_ms for name, group in tree.items() if group.cpu_ms} == {
        name: cpu for name, cpu in simulation.by_path.items() if cpu
    }
    own: dict[str, float] = defaultdict(float)
    for group in tree.values():
        own[group.unit] += group.own_cpu_ms or 0
    assert {name: cpu for name, cpu in own.items() if cpu} == {
        name: cpu for name, cpu in simulation.cpu.items() if cpu
    }

    (cut,) = query(path, "SELECT taken_at FROM system_sample ORDER BY taken_at LIMIT 1 OFFSET 70")
    middle = datetime.fromisoformat(cut).replace(tzinfo=UTC) + timedelta(seconds=11)
    parts: dict[str, float] = defaultdict(float)
    with snapshot(path) as reader:
        for span in (WHOLE._replace(until=middle), WHOLE._replace(since=middle)):
            for row in unit_usage(reader, span._replace(hosts=("here",))):
                parts[row.unit] += row.cpu_ms or 0
    assert sum(parts.values()) == pytest.approx(sum(simulation.cpu.values()), rel=0.02)


def document(perftrack: Run, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(perftrack("top", *arguments, "--format", "json", *RANGE).stdout)
    return found


def a_machine(machine: Machine) -> None:
    """Two services and two sessions work for two minutes; one process of one of them is recorded."""
    services = {"/system.slice/backup.service": 20_000, "/system.slice/cron.service": 500}
    sessions = {f"/user.slice/user-0.slice/session-{number}.scope": 1000 for number in (1, 2)}
    for number in range(3):
        own = {path: number * used for path, used in (services | sessions).items()}
        slices = {
            "/": sum(own.values()) + number * 1000,
            "/system.slice": sum(own[path] for path in services) + number * 300,
            "/user.slice": sum(own[path] for path in sessions),
            "/user.slice/user-0.slice": sum(own[path] for path in sessions),
        }
        rows = [
            cgroup_row(
                path,
                used,
                memory_bytes=None if path == "/" else (60 if path.count("/") == 1 else 10 + number) << 20,
                tasks=4 if path != "/" else None,
                oom_kills=None if path == "/" else int(number == 2 and ("backup" in path or path == "/system.slice")),
            )
            for path, used in (slices | own).items()
        ]
        machine.tick(
            process(number * 900, name="sleeper", cgroup="/system.slice/backup.service"),
            process(number * 100, name="kworker", pid=3, cgroup="/"),
            cgroups=sorted(rows, key=lambda row: row["path"]),
            cpu_user_ms=23_600 * (number > 0),
            cpu_idle_ms=96_400,
        )


class TestTheList:
    def test_has_each_units_own_share(self, machine: Machine, perftrack: Run) -> None:
        a_machine(machine)
        found = document(perftrack, "--group", "unit")
        assert {row["unit"]: row["cpu_seconds"] for row in found["rows"]} == {
            "backup.service": 40.0,
            "root: sessions": 4.0,
            "/": 1.4,
            "cron.service": 1.0,
            "system.slice": 0.6,
            "root: user-0.slice": 0.0,
            "user.slice": 0.0,
        }
        assert {row["unit"]: row["cpu_percent_max"] for row in found["rows"]}["system.slice"] == pytest.approx(
            0.5, abs=0.02
        )
        backup = found["rows"][0]
        assert (backup["cpu_percent_mean"], backup["cpu_percent_max"]) == (33.33, 33.33)
        assert (backup["memory_max_bytes"], backup["tasks_max"], backup["oom_kills"]) == (12 << 20, 4, 1)
        assert (backup["host"], backup["cpu_estimated_seconds"]) == ("here", 0.0)
        assert backup["last_active_at"] == "2026-11-20T12:03:00Z"
        assert found["rows"][2]["memory_max_bytes"] is None
        assert (found["system_cpu_seconds"], found["recorded_cpu_seconds"]) == (47.2, 47.0)
        assert found["unattributed_cpu_seconds"] == pytest.approx(0.2)

    def test_of_an_interval_has_the_share_that_is_in_the_range(self, machine: Machine, perftrack: Run) -> None:
        for cpu_ms in (0, 10_000, 30_000, 60_000):  # at 12:01, 12:02, 12:03 and 12:04
            machine.tick(cgroups=[cgroup_row("/a", cpu_ms)])
        half = ("--since", "2026-11-20T12:02:30Z", "--until", "2026-11-20T12:03:30Z")
        (row,) = json.loads(perftrack("top", "--group", "unit", "--format", "json", *half).stdout)["rows"]
        assert (row["cpu_seconds"], row["cpu_estimated_seconds"], row["cpu_percent_mean"]) == (25.0, 25.0, 41.67)

    @pytest.mark.parametrize(
        ("by", "first"), [("cpu", "backup.service"), ("memory", "user.slice"), ("threads", "root: sessions")]
    )
    def test_is_ordered(self, machine: Machine, perftrack: Run, by: str, first: str) -> None:
        a_machine(machine)
        assert document(perftrack, "--group", "unit", "--by", by)["rows"][0]["unit"] == first
        assert len(document(perftrack, "--group", "unit", "--by", by, "-n", "2")["rows"]) == 2

    def test_is_ordered_by_what_was_read_and_written(self, machine: Machine, perftrack: Run) -> None:
        for written in (0, 5000):
            machine.tick(cgroups=[cgroup_row("/"), cgroup_row("/a", write_bytes=written, read_bytes=written)])
        (first, _) = document(perftrack, "--group", "unit", "--by", "io")["rows"]
        assert (first["unit"], first["read_bytes"], first["write_bytes"]) == ("/a", 5000, 5000)

    def test_of_some_names(self, machine: Machine, perftrack: Run) -> None:
        a_machine(machine)
        found = document(perftrack, "--group", "unit", "--name", "service")
        assert [row["unit"] for row in found["rows"]] == ["backup.service", "cron.service"]
        assert found["unattributed_cpu_seconds"] is None
        failed = perftrack("top", "--group", "unit", "--name", "no such", *RANGE, expect=1)
        assert "no unit that was recorded in this range has no such in its name" in failed.stderr

    def test_as_csv(self, machine: Machine, perftrack: Run) -> None:
        a_machine(machine)
        rows = list(
            csv.DictReader(perftrack("top", "--group", "unit", "--format", "csv", *RANGE).stdout.splitlines())
        )
        assert (rows[0]["unit"], rows[0]["cpu_seconds"], rows[0]["oom_kills"]) == ("backup.service", "40.0", "1")
        assert rows[-1]["unit"] == "(unattributed)"

    def test_on_a_screen(self, machine: Machine, perftrack: Run) -> None:
        a_machine(machine)
        lines = perftrack("top", "--group", "unit", *RANGE).stdout.splitlines()
        assert lines[4].split() == [
            *(
                "CPU",
                "s",
                "CPU",
                "%",
                "max",
                "%",
                "busiest",
                "at",
                "last",
                "active",
                "memory",
                "threads",
                "OOM",
                "unit",
            )
        ]
        assert lines[5].split() == [
            "40.0",
            "33.3",
            "33.3",
            "12:03:00",
            "12:03:00",
            "12.0",
            "MiB",
            "4",
            "1",
            lines[5].split()[-1],
        ]
        assert lines[-1].startswith("(unattributed) 0.2 CPU s, 0 % of the 47.2 s that all CPUs worked")
        narrow = perftrack("top", "--group", "unit", *RANGE, env={"COLUMNS": "80"}).stdout
        assert max(map(len, narrow.splitlines())) <= 80

    def test_without_control_groups_says_so(self, machine: Machine, perftrack: Run) -> None:
        machine.tick(process(1))
        failed = perftrack("top", "--group", "unit", *RANGE, expect=1)
        assert "no control groups were recorded in this range" in failed.stderr

    def test_of_an_empty_range_says_so(self, machine: Machine, perftrack: Run) -> None:
        machine.tick(cgroups=[cgroup_row("/")])
        assert "no samples in this range" in perftrack("top", "--group", "unit", "--since", "2h", expect=1).stderr

    @pytest.mark.parametrize("option", [("--pid", "1"), ("--user", "root")])
    def test_is_of_no_process(self, perftrack: Run, option: tuple[str, str]) -> None:
        assert "leave --pid and --user away" in perftrack("top", "--group", "unit", *option, expect=2).stderr


class TestTheTree:
    def test_has_all_that_is_in_a_group_and_its_own_share(self, machine: Machine, perftrack: Run) -> None:
        a_machine(machine)
        rows = document(perftrack, "--group", "unit", "--tree")["rows"]
        assert [(row["depth"], row["path"], row["cpu_seconds"], row["own_cpu_seconds"]) for row in rows] == [
            (0, "/", 47.0, 1.4),
            (1, "/system.slice", 41.6, 0.6),
            (2, "/system.slice/backup.service", 40.0, 40.0),
            (2, "/system.slice/cron.service", 1.0, 1.0),
            (1, "/user.slice", 4.0, 0.0),
            (2, "/user.slice/user-0.slice", 4.0, 0.0),
            (3, "/user.slice/user-0.slice/session-1.scope", 2.0, 2.0),
            (3, "/user.slice/user-0.slice/session-2.scope", 2.0, 2.0),
        ]
        assert rows[1]["memory_max_bytes"] == 60 << 20  # all that is in it

    def test_is_indented(self, machine: Machine, perftrack: Run) -> None:
        a_machine(machine)
        lines = perftrack("top", "--group", "unit", "--tree", "-n", "3", *RANGE).stdout.splitlines()
        assert [line[lines[4].index("unit") :] for line in lines[5:8]] == [
            "/",
            "  system.slice",
            "    backup.service",
        ]

    def test_calls_what_is_inside_of_a_unit_by_the_rest_of_its_path(self, machine: Machine, perftrack: Run) -> None:
        for cpu in (0, 9000):
            machine.tick(cgroups=[cgroup_row(f"/a.service{each}", cpu) for each in ("", "/in", "/in/most")])
        lines = perftrack("top", "--group", "unit", "--tree", *RANGE).stdout.splitlines()
        assert [line[lines[4].index("unit") :] for line in lines[5:8]] == ["a.service", "  in", "    most"]

    def test_is_of_units_or_processes(self, perftrack: Run) -> None:
        assert "--tree shows processes under" in perftrack("top", "--tree", "--group", "name", expect=2).stderr
        assert "--at shows one sample" in perftrack("top", "--tree", "--at", "12:00", expect=2).stderr


class TestProcesses:
    def test_name_their_unit(self, machine: Machine, perftrack: Run) -> None:
        a_machine(machine)
        assert [row["unit"] for row in document(perftrack)["rows"]] == ["backup.service", "/"]
        assert json.loads(perftrack("top", "--at", "2026-11-20T12:03Z", "--format", "json").stdout)["rows"][0]["unit"]
        for options in (RANGE, ("--at", "2026-11-20T12:03Z")):
            out = perftrack("top", "--format", "csv", *options).stdout
            assert {row["unit"] for row in csv.DictReader(out.splitlines())} >= {"backup.service", "/"}

    def test_name_it_where_there_is_room(self, machine: Machine, perftrack: Run) -> None:
        a_machine(machine)
        for options in (RANGE, ("--at", "2026-11-20T12:03Z")):
            assert "backup.service  sleeper" in perftrack("top", *options, "--wide").stdout
            assert "backup.service  sleeper" not in perftrack("top", *options, env={"COLUMNS": "120"}).stdout

    def test_of_a_machine_without_control_groups_have_no_such_column(self, machine: Machine, perftrack: Run) -> None:
        machine.tick(process(1))
        assert "unit" not in perftrack("top", *RANGE, "--wide").stdout.splitlines()[3]
        assert document(perftrack)["rows"][0]["unit"] is None


class TestWhatNoProcessExplains:
    LINE = (
        "(unattributed) 45.2 CPU s, 96 % of the 47.2 s that all CPUs worked: "
        "backup.service 38.2 s, root: sessions 4.0 s, cron.service 1.0 s, other units 0.6 s, no unit 1.2 s, "
        "not known 0.2 s"
    )

    def test_is_split_by_units(self, machine: Machine, perftrack: Run) -> None:
        a_machine(machine)
        assert perftrack("top", *RANGE, "--wide").stdout.splitlines()[-1] == self.LINE
        narrow = perftrack("top", *RANGE, env={"COLUMNS": "80"}).stdout.splitlines()
        assert " ".join(line.strip() for line in narrow[-3:]) == self.LINE
        assert max(map(len, narrow)) <= 80
        assert self.LINE in perftrack("report", *RANGE, "--wide").stdout

    @pytest.mark.parametrize("group", ["process", "name", "command", "user"])
    def test_is_a_list_for_programs(self, machine: Machine, perftrack: Run, group: str) -> None:
        a_machine(machine)
        found = document(perftrack, "--group", group)
        assert found["unattributed_by_unit"] == [
            {"host": "here", "unit": "backup.service", "cpu_seconds": pytest.approx(38.2)},
            {"host": "here", "unit": "root: sessions", "cpu_seconds": 4.0},
            {"host": "here", "unit": "cron.service", "cpu_seconds": 1.0},
        ]
        rest = {name: found[f"unattributed_{name}_cpu_seconds"] for name in ("other_units", "no_unit", "unknown")}
        assert rest == pytest.approx({"other_units": 0.6, "no_unit": 1.2, "unknown": 0.2})

    def test_has_no_more_in_its_parts_than_there_is(self, machine: Machine, perftrack: Run) -> None:
        for used in (0, 5000):
            machine.tick(
                process(used, cgroup="/a"),
                cgroups=[
                    cgroup_row("/", 8000 * (used > 0)),
                    cgroup_row("/a", 0),
                    cgroup_row("/b", 8000 * (used > 0)),
                ],
                cpu_user_ms=used + 1000,
            )
        last = perftrack("top", *RANGE).stdout.splitlines()[-1]
        assert last == "(unattributed) 1.0 CPU s, 17 % of the 6.0 s that all CPUs worked: /b 1.0 s"

    def test_is_not_known_of_the_time_before_groups_were_looked_at(self, machine: Machine, perftrack: Run) -> None:
        for number in range(4):
            groups = [cgroup_row("/", 4000 * number), cgroup_row("/a", 3000 * number)] if number > 1 else None
            machine.tick(cgroups=groups, cpu_user_ms=4000 * (number > 0))
        last = perftrack("top", *RANGE, "--wide").stdout.splitlines()[-1]
        assert last.endswith(" 12.0 s that all CPUs worked: /a 3.0 s, no unit 1.0 s, not known 8.0 s")

    def test_of_a_machine_without_control_groups_is_one_figure(self, machine: Machine, perftrack: Run) -> None:
        for used in (0, 5000):
            machine.tick(process(used), cpu_user_ms=used * 2)
        last = perftrack("top", *RANGE).stdout.splitlines()[-1]
        assert last == "(unattributed) 5.0 CPU s, 50 % of the 10.0 s that all CPUs worked"
        assert "unattributed_by_unit" not in document(perftrack)


def test_what_a_group_held_before_the_range_counts_until_it_is_gone(machine: Machine, path: str) -> None:
    """The last row of an idle group may be long before the range."""
    service = "/system.slice/idle.service"
    machine.tick(
        cgroups=[cgroup_row("/"), cgroup_row(service, 0, memory_bytes=5000), cgroup_row("/b", 0, memory_bytes=7)]
    )
    for number in range(5):
        machine.tick(cgroups=[cgroup_row("/", number), cgroup_row(service, 0, memory_bytes=5000)])
    span = TimeRange(datetime(2026, 11, 20, 12, 3, 30, tzinfo=UTC), datetime(2026, 11, 20, 12, 5, 30, tzinfo=UTC))
    for _ in range(2):
        rows = {row.unit: row.memory_max_bytes for row in top_units(path, span).rows}
        assert rows == {"/": None, "idle.service": 5000}
        machine.tick(cgroups=[cgroup_row("/", 9), cgroup_row(service, 0, memory_bytes=6000)])  # later than the range


def test_of_real_programs_of_milliseconds_a_unit_shows_what_the_kernel_counted(
    group: Callable[..., Any], perftrack: Run, path: str
) -> None:
    made = group()
    perftrack("record", "--cpu-window", "0", "--top", "0", "--filter", OWN)

    def usage() -> int:
        return int((made / "cpu.stat").read_text().split()[1]) // 1000

    before = usage()
    run_in(made, "sh", "-c", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); /bin/true; done")
    perftrack("record", "--cpu-window", "0", "--top", "0", "--filter", OWN)
    now = datetime.now(UTC)
    span = ("--since", (now - timedelta(hours=1)).isoformat(), "--until", (now + timedelta(hours=1)).isoformat())
    found = json.loads(perftrack("top", "--group", "unit", "--format", "json", "-n", "100", *span).stdout)
    (shown,) = (row["cpu_seconds"] for row in found["rows"] if made.name in row["unit"])
    assert 0.99 * (usage() - before) <= 1000 * shown <= usage() - before
    split = json.loads(perftrack("top", "--format", "json", *span).stdout)
    if split["system_cpu_seconds"]:  # a sandbox may not say
        assert made.name in split["unattributed_by_unit"][0]["unit"]
