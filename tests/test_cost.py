"""What a tick does, counted instead of timed: statements, syncs, and nothing that grows with the history."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import process_row, sample

from perftrack.storage import database, inserts


@pytest.mark.parametrize("processes", [0, 1, 50])
def test_a_tick_is_two_statements_a_process_and_six_more(connection: sqlite3.Connection, processes: int) -> None:
    rows = [process_row(pid=pid) for pid in range(processes)]
    database.insert_sample(connection, sample(*rows, taken_at="2026-11-20 12:00:00.000000"))
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    database.insert_sample(connection, sample(*rows, taken_at="2026-11-20 12:01:00.000000"))
    connection.set_trace_callback(None)
    verbs = [" ".join(statement.split()[:3]) for statement in statements]
    of_every_tick = ["BEGIN IMMEDIATE", "SELECT host.id FROM", "SELECT boot.id FROM", "INSERT INTO system_sample"]
    assert verbs[:4] == of_every_tick
    assert verbs.count("SELECT process.id FROM") == verbs.count("INSERT INTO process_sample") == processes
    assert len(statements) == 2 * processes + (6 if processes else 5)


def test_no_statement_of_a_tick_reads_the_history(connection: sqlite3.Connection) -> None:
    plans = {}
    for name, sql in vars(inserts).items():
        if name.startswith("SELECT_"):
            values = dict.fromkeys(re.findall(r":(\w+)", sql))
            plans[name] = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    others = {name: [step for step in plan if not step.startswith("SEARCH")] for name, plan in plans.items()}
    # The boots of a machine are sorted, where the system does not tell them apart: they are few.
    assert {name: steps for name, steps in others.items() if steps} == {
        "SELECT_NEWEST_BOOT": ["USE TEMP B-TREE FOR ORDER BY"]
    }


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_tick_syncs_five_times(path: str, tmp_path: Path) -> None:
    """Log header, log, and at closing the log and the database once more: durable, and no more than that."""
    env = {**os.environ, "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"}
    command = [sys.executable, "-m", "perftrack", "record"]
    subprocess.run(command, env=env, check=True)
    trace = tmp_path / "trace"
    subprocess.run(["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", trace, *command], env=env, check=True)
    assert len(re.findall(r"f(?:data)?sync\(", trace.read_text())) == 5
