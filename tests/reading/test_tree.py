"""`perftrack top --tree`: processes under their parents."""

from __future__ import annotations

import csv
import json
import sqlite3

import pytest
from conftest import Run
from machine import Machine, process

WHOLE = ("--since", "2026-11-20T12:00Z", "--until", "2026-11-21T12:00Z")


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    """One of whose processes init has cron and sshd, cron a job that has two, and sshd a shell."""
    made = Machine(connection)
    for number in range(2):
        made.tick(
            process(0, name="init", pid=1, ppid=0, started_ticks=1, command="/sbin/init"),
            process(number * 20, name="sshd", pid=5, started_ticks=10, command=None),
            process(number * 10, name="cron", pid=6, started_ticks=11, command="cron -f"),
            process(number * 500, name="job", pid=20, ppid=6, started_ticks=900, command="sh job"),
            process(number * 9000, name="backup", pid=21, ppid=20, started_ticks=901, command="backup /srv"),
            process(number * 700, name="gzip", pid=22, ppid=20, started_ticks=902, command="gzip"),
            process(number * 30, name="bash", pid=30, ppid=5, started_ticks=800, command="-bash"),
            cpu_user_ms=60_000,
        )
    return made


@pytest.mark.usefixtures("machine")
class TestTree:
    def test_has_each_below_its_parent_and_the_largest_branch_first(self, perftrack: Run) -> None:
        table = perftrack("top", *WHOLE, "--tree", env={"COLUMNS": "150"}).stdout.splitlines()
        lines = [line for line in table if "  " in line][1:]
        column = lines[0].index("/sbin/init")
        assert [line[column:] for line in lines] == [
            "/sbin/init",
            "├─ cron -f",
            "│  └─ sh job",
            "│     ├─ backup /srv",
            "│     └─ gzip",
            "└─ [sshd]",
            "   └─ -bash",
        ]
        assert [line.split()[0] for line in lines] == ["0.0", "0.0", "0.5", "9.0", "0.7", "0.0", "0.0"]

    def test_of_the_n_largest_has_their_ancestors_too(self, perftrack: Run) -> None:
        found = json.loads(perftrack("top", *WHOLE, "--tree", "-n", "2", "--format", "json").stdout)
        assert [row["name"] for row in found["rows"]] == ["init", "cron", "job", "backup", "gzip"]

    def test_is_of_one_ranking(self, perftrack: Run) -> None:
        arguments = (*WHOLE, "--tree", "--by", "memory", "-n", "1", "--format", "csv")
        rows = list(csv.DictReader(perftrack("top", *arguments).stdout.splitlines()))
        assert [row["name"] for row in rows] == ["init", "(unattributed)"]

    @pytest.mark.parametrize("arguments", [(), ("--tree",)])
    def test_can_be_built_by_a_script(self, perftrack: Run, arguments: tuple[str, ...]) -> None:
        found = json.loads(perftrack("top", *WHOLE, *arguments, "--format", "json").stdout)
        names = {row["process_id"]: row["name"] for row in found["rows"]}
        parents = {row["name"]: (row["ppid"], names.get(row["parent_process_id"])) for row in found["rows"]}
        assert parents == {
            "init": (0, None),
            "sshd": (1, "init"),
            "cron": (1, "init"),
            "job": (6, "cron"),
            "backup": (20, "job"),
            "gzip": (20, "job"),
            "bash": (5, "sshd"),
        }

    def test_has_lines_that_a_terminal_of_its_encoding_can_show(self, perftrack: Run) -> None:
        out = perftrack("top", *WHOLE, "--tree", env={"PYTHONIOENCODING": "ascii"}).stdout
        assert "|- cron -f" in out
        assert "|  `- sh job" in out

    @pytest.mark.parametrize("arguments", [("--group", "name"), ("--at", "12:01")])
    def test_is_of_processes_over_time(self, perftrack: Run, arguments: tuple[str, ...]) -> None:
        assert "--tree" in perftrack("top", "--tree", *arguments, expect=2).stderr


def test_follows_who_was_alive_when_a_pid_is_reused_and_who_changed_its_name(
    machine: Machine, perftrack: Run
) -> None:
    for number in range(2):
        machine.tick(
            process(number, name="new", pid=6, started_ticks=5_000),
            process(number * 10, name="late", pid=40, ppid=6, started_ticks=6_000),
            process(number * 500, name="job2", pid=20, ppid=6, started_ticks=900, command="sh job"),
        )
    found = json.loads(perftrack("top", *WHOLE, "--tree", "--format", "json").stdout)
    names = {row["process_id"]: row["name"] for row in found["rows"]}
    parents = {row["name"]: names.get(row["parent_process_id"]) for row in found["rows"]}
    assert (parents["late"], parents["job2"], parents["backup"]) == ("new", "cron", "job2")
