"""What ended children used, at who waited for them: less what samples show, and no more than the machine worked."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Run
from machine import Machine, process

WHOLE = ("--since", "2026-11-20T12:00Z", "--until", "2026-11-21T12:00Z")
Asked = Callable[..., dict[str, float | None]]


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


@pytest.fixture
def document(perftrack: Run) -> Callable[..., dict[str, Any]]:
    def ask(*arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(perftrack("top", "--format", "json", *(arguments or WHOLE)).stdout)
        return found

    return ask


@pytest.fixture
def children(document: Callable[..., dict[str, Any]]) -> Asked:
    """What children used, in seconds, by the name of who waited for them."""

    def ask(*arguments: str) -> dict[str, float | None]:
        rows = document(*arguments)["rows"]
        return {row.get("name") or row["username"]: row["children_cpu_seconds"] for row in rows}

    return ask


def parent(cpu_ms: int, children_ms: int, **values: Any) -> dict[str, Any]:
    return process(cpu_ms, **{"name": "parent", "pid": 10, "children_user_ms": children_ms, **values})


def child(machine: Machine, cpu_ms: int, **values: Any) -> dict[str, Any]:
    """Return a process of PID 20 that begins now, unless it is said when."""
    began = {"started_ticks": int(machine.uptime_seconds * 100) + 100}
    return process(cpu_ms, **{"name": "child", "pid": 20, "ppid": 10, **began, **values})


def tick(machine: Machine, *processes: dict[str, Any], worked: int = 60_000, **values: Any) -> None:
    machine.tick(*processes, recorder="--all", cpu_user_ms=worked, **values)


def test_of_processes_that_no_sample_has_found_is_all_at_who_waited_for_them(
    machine: Machine, document: Callable[..., dict[str, Any]], perftrack: Run
) -> None:
    tick(machine, parent(0, 500))
    tick(machine, parent(1000, 30_500))
    found = document()
    (row,) = found["rows"]
    assert (row["cpu_seconds"], row["children_cpu_seconds"]) == (1.0, 30.0)
    assert (found["recorded_cpu_seconds"], found["unattributed_cpu_seconds"]) == (31.0, 29.0)
    header, line = [line.split() for line in perftrack("top", *WHOLE).stdout.splitlines() if "  " in line]
    assert (header[:4], line[:2]) == (["CPU", "s", "children", "s"], ["1.0", "30.0"])
    (cells, _) = csv.DictReader(perftrack("top", *WHOLE, "--format", "csv").stdout.splitlines())
    assert (cells["cpu_seconds"], cells["children_cpu_seconds"]) == ("1.0", "30.0")
    report = perftrack("report", *WHOLE).stdout
    assert next(line for line in report.splitlines() if "parent" in line).split()[:2] == ["1.0", "30.0"]


def test_of_one_that_samples_show_is_what_it_used_after_its_last_one(machine: Machine, children: Asked) -> None:
    tick(machine, parent(0, 0))
    one = child(machine, 20_000)
    tick(machine, parent(0, 0), one)
    tick(machine, parent(0, 23_000))
    assert children() == {"parent": 3.0, "child": 0.0}


def test_of_one_that_began_before_the_range_is_what_it_used_after_its_last_sample(
    machine: Machine, children: Asked
) -> None:
    tick(machine, parent(0, 0), process(900_000, name="child", pid=20, ppid=10))
    tick(machine, parent(0, 905_000))
    assert children() == {"parent": 5.0, "child": None}
    assert children("--since", "2026-11-20T12:01:10Z", "--until", WHOLE[3]) == {"parent": pytest.approx(5 * 50 / 60)}


def test_of_one_that_is_recorded_late_is_what_it_had_used_before_too(machine: Machine, children: Asked) -> None:
    values = {"recorder": "--filter java --top 5", "cpu_user_ms": 60_000}
    machine.tick(parent(0, 0), **values)
    began = {"started_ticks": int(machine.uptime_seconds * 100) + 100, "started_at": "2026-11-20 12:01:01.000000"}
    machine.tick(parent(0, 0), **values)
    machine.tick(parent(0, 0), child(machine, 8_000, **began), **values)
    machine.tick(parent(0, 0), child(machine, 20_000, **began), **values)
    machine.tick(parent(0, 21_000), **values)
    assert children() == {"parent": 9.0, "child": 0.0}


def test_of_one_that_began_before_another_recorders_sample_is_no_more_than_is_not_shown(
    machine: Machine, children: Asked
) -> None:
    values = {"cpu_user_ms": 60_000}
    machine.tick(parent(0, 0), **values)
    one = child(machine, 8_000, started_at="2026-11-20 12:01:01.000000")
    machine.tick(recorder="--filter java", **values)
    machine.tick(parent(0, 0), one, **values)
    machine.tick(parent(0, 8_500), **values)
    assert children() == {"parent": 0.5, "child": 0.0}


def test_counts_what_a_child_had_waited_for_once(machine: Machine, children: Asked) -> None:
    """The grandchild is in the child's counter, and with it in its parent's."""
    tick(machine, parent(0, 0))
    one = child(machine, 1_000, children_user_ms=5_000)
    tick(machine, parent(0, 0), one)
    tick(machine, parent(0, 6_500))
    assert children() == {"parent": 0.5, "child": 5.0}


def test_of_a_child_and_its_own_that_end_together_is_at_who_waited_for_it(machine: Machine, children: Asked) -> None:
    tick(machine, parent(0, 0))
    family = child(machine, 1_000), child(machine, 7_000, name="grandchild", pid=30, ppid=20)
    tick(machine, parent(0, 0), *family)
    tick(machine, parent(0, 8_600))
    assert children() == {"parent": 0.6, "child": 0.0, "grandchild": 0.0}


def test_is_taken_off_once_of_the_nearest_that_can_have_it(machine: Machine, children: Asked) -> None:
    grandparent = {"name": "grandparent", "pid": 5, "started_ticks": 4_000}
    tick(machine, parent(0, 0, ppid=5), parent(0, 0, **grandparent))
    family = child(machine, 1_000), child(machine, 7_000, name="grandchild", pid=30, ppid=20)
    tick(machine, parent(0, 0, ppid=5), parent(0, 0, **grandparent), *family)
    tick(machine, parent(0, 8_600, ppid=5), parent(0, 9_000, **grandparent))
    assert children() == {"parent": 0.6, "child": 0.0, "grandchild": 0.0, "grandparent": 9.0}
    tick(machine, parent(0, 8_600), parent(0, 20_000, **grandparent))
    assert children()["grandparent"] == 20.0


def test_of_a_parent_whose_pid_was_anothers_before_knows_nothing_of_that_ones_ancestors(
    machine: Machine, children: Asked
) -> None:
    """The first one of PID 10 was gone in a sample of all processes; the second one was never recorded."""
    init, shell = {"name": "init", "pid": 1, "ppid": 0, "started_ticks": 1}, {"name": "shell", "pid": 50}
    tick(machine, parent(0, 0, **init), parent(0, 0, **shell), parent(0, 0, name="first", ppid=1))
    tick(machine, parent(0, 0, **init), parent(0, 0, **shell))
    values = {"recorder": "--filter python", "cpu_user_ms": 60_000}
    machine.tick(parent(0, 0, **init), parent(0, 0, **shell), **values)
    machine.tick(parent(0, 0, **init), parent(0, 0, **shell), child(machine, 7_000), **values)
    machine.tick(parent(0, 8_000, **init), parent(0, 8_000, **shell), **values)
    assert children() == {"init": 8.0, "shell": 1.0, "first": None, "child": 0.0}


def test_of_one_whose_parent_is_not_recorded_is_taken_off_where_its_time_arrives(
    machine: Machine, children: Asked
) -> None:
    values = {"recorder": "--filter python", "cpu_user_ms": 60_000}
    machine.tick(parent(0, 0), **values)
    machine.tick(parent(0, 0), child(machine, 20_000, ppid=15), **values)
    machine.tick(parent(0, 21_000), **values)
    assert children() == {"parent": 1.0, "child": 0.0}


def test_of_one_that_nobody_waited_for_is_taken_off_nowhere(machine: Machine, children: Asked) -> None:
    """Its parent ignores SIGCHLD; what the grandparent waited for in the meantime is another's."""
    grandparent = {"name": "grandparent", "pid": 5}
    tick(machine, parent(0, 0, ppid=5), parent(0, 0, **grandparent))
    tick(machine, parent(0, 0, ppid=5), parent(0, 0, **grandparent), child(machine, 4_000))
    tick(machine, parent(0, 0, ppid=5), parent(0, 9_000, **grandparent))
    assert children() == {"parent": 0.0, "child": 0.0, "grandparent": 9.0}


def test_of_one_that_ended_while_it_was_measured_is_in_the_growth_of_the_same_sample(
    machine: Machine, children: Asked
) -> None:
    tick(machine, parent(0, 0))
    tick(machine, parent(0, 5_500), child(machine, 5_000, cpu_percent=None))
    tick(machine, parent(0, 5_500))
    assert children() == {"parent": 0.5, "child": 0.0}


def test_is_of_the_process_that_has_changed_its_name(machine: Machine, children: Asked) -> None:
    tick(machine, parent(0, 0))
    began = {"started_ticks": int(machine.uptime_seconds * 100) + 100}
    tick(machine, parent(0, 0), child(machine, 5_000, name="sh", **began))
    tick(machine, parent(0, 0), child(machine, 9_000, name="make", **began))
    tick(machine, parent(0, 10_000))
    assert children() == {"parent": 1.0, "make": 0.0}
    assert children(*WHOLE, "--group", "name") == {"parent": 1.0, "sh": 0.0, "make": 0.0}


def test_takes_off_nothing_of_a_process_that_has_the_parents_pid_by_now(machine: Machine, children: Asked) -> None:
    tick(machine, parent(0, 0, name="old"), child(machine, 0))
    tick(machine, child(machine, 0, started_ticks=100_100))
    again = {"started_ticks": int(machine.uptime_seconds * 100) + 100}
    tick(machine, parent(0, 0, **again), child(machine, 0, started_ticks=100_100))
    tick(machine, parent(0, 7_000, **again))
    assert children()["parent"] == 7.0


def test_is_no_more_than_the_machine_worked_beyond_what_others_show(machine: Machine, children: Asked) -> None:
    """What was waited for has run for an hour; who else waited for something has its share of what is left."""
    other = {"name": "other", "pid": 11}
    tick(machine, parent(0, 0), parent(0, 0, **other))
    tick(machine, parent(20_000, 3_600_000), parent(0, 400_000, **other), worked=60_000)
    assert children() == {"parent": pytest.approx(36.0), "other": pytest.approx(4.0)}


def test_of_an_interval_that_is_longer_is_of_where_the_machine_worked(
    machine: Machine, children: Asked, document: Callable[..., dict[str, Any]]
) -> None:
    tick(machine, parent(0, 0))
    tick(machine, worked=1_000)
    tick(machine, parent(0, 40_000), worked=60_000)
    assert children() == {"parent": pytest.approx(40.0, abs=0.01)}
    (row,) = document("--since", "2026-11-20T12:02:30Z", "--until", WHOLE[3])["rows"]
    assert row["children_cpu_seconds"] == row["children_cpu_estimated_seconds"] != 0
    (before,) = document(*WHOLE[:2], "--until", "2026-11-20T12:02:01Z")["rows"]
    assert before["children_cpu_seconds"] < 2


def test_of_some_processes_is_theirs_alone(machine: Machine, children: Asked) -> None:
    tick(machine, parent(0, 0), parent(0, 0, name="other", pid=11))
    one = child(machine, 3_000)
    tick(machine, parent(0, 0), parent(0, 0, name="other", pid=11), one)
    tick(machine, parent(0, 5_000), parent(0, 7_000, name="other", pid=11))
    assert children(*WHOLE, "--pid", "10") == {"parent": 2.0}
    assert children(*WHOLE, "--name", "oth", "--group", "name") == {"other": 7.0}
    assert children(*WHOLE, "--pid", "10", "--group", "user") == {"root": 2.0}


def test_counts_in_the_ranking(machine: Machine, document: Callable[..., dict[str, Any]]) -> None:
    tick(machine, parent(0, 0), process(0, name="busy", pid=11))
    tick(machine, parent(100, 30_000), process(20_000, name="busy", pid=11))
    assert [row["name"] for row in document()["rows"]] == ["parent", "busy"]


def test_is_not_known_where_it_was_not_noted(machine: Machine, children: Asked, perftrack: Run) -> None:
    for cpu_ms in (0, 5_000):
        tick(machine, parent(cpu_ms, 0, children_user_ms=None, children_system_ms=None))
    assert children() == {"parent": None}
    assert "children s" not in perftrack("top", *WHOLE).stdout
