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
from conftest import process_row, query, sample
from tick_statements import MODULES, explained, statements_of

from perftrack.recording.recorder import record_every
from perftrack.settings import load
from perftrack.storage import insertion, opening


@pytest.mark.parametrize("processes", [0, 1, 50])
def test_a_tick_is_two_statements_a_process_and_seven_more(connection: sqlite3.Connection, processes: int) -> None:
    rows = [process_row(pid=pid) for pid in range(processes)]
    insertion.insert_sample(connection, sample(*rows, taken_at="2026-11-20 12:00:00.000000"))
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    insertion.insert_sample(connection, sample(*rows, taken_at="2026-11-20 12:01:00.000000"))
    connection.set_trace_callback(None)
    verbs = [" ".join(statement.split()[:4]) for statement in statements]
    asked = ["SELECT id FROM boot", "SELECT host.id, name FROM", "SELECT id FROM recorder"]
    assert verbs[:5] == ["BEGIN IMMEDIATE", *asked, "INSERT INTO system_sample (boot_id,"]
    assert verbs.count("SELECT id FROM process") == processes
    assert verbs.count("INSERT INTO process_sample (sample_id,") == processes
    assert len(statements) == 2 * processes + (7 if processes else 6)


def test_a_loop_asks_only_for_what_it_does_not_know(connection: sqlite3.Connection) -> None:
    known = insertion.KnownIds()
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    for number in range(3):
        rows = [process_row(pid=pid) for pid in range(number, number + 10)]
        statements.clear()
        insertion.insert_sample(connection, sample(*rows, taken_at=f"2026-11-20 12:0{number}:00.000000"), known)
        asked = [" ".join(statement.split()[:4]) for statement in statements if "SELECT" in statement]
        if number == 0:
            once = ["boot", "host", "name_filter"]  # no device: this made-up sample has none
            assert sorted(asked) == [f"SELECT id FROM {table}" for table in (*once, *["process"] * 10, "recorder")]
        else:
            assert asked == ["SELECT id FROM process"]
            assert len(statements) == 4 + 2 + 10  # BEGIN, data_version, the system, COMMIT; the new process; the rows
    assert query(connection, "SELECT count(*) FROM process_sample") == [30]
    assert query(connection, "PRAGMA foreign_key_check") == []


def test_a_further_sample_does_not_read_the_revision_of_a_database_that_nobody_else_wrote_to(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening.open_current(path).close()
    read, is_current = [], opening.is_current
    monkeypatch.setattr(opening, "is_current", lambda *given: (read.append(given), is_current(*given))[1])
    asked = []
    for number, _ in enumerate(record_every(load({"database": path, "cpu_window": 0}), 0.01, 6)):
        asked.append(len(read))
        read.clear()
        if number == 3:
            query(path, "DELETE FROM process_sample")
    assert asked == [1, 1, 0, 0, 1, 0]


def test_a_loop_asks_again_when_somebody_else_has_written(path: str, connection: sqlite3.Connection) -> None:
    known = insertion.KnownIds()
    insertion.insert_sample(connection, sample(process_row(), taken_at="2026-11-20 12:00:00.000000"), known)
    query(path, "DELETE FROM process_sample")
    query(path, "DELETE FROM process")
    insertion.insert_sample(connection, sample(process_row(), taken_at="2026-11-20 12:01:00.000000"), known)
    assert query(path, "SELECT count(*) FROM process JOIN process_sample ON process_id = process.id") == [1]


def test_a_loop_does_not_know_what_was_rolled_back(connection: sqlite3.Connection) -> None:
    known = insertion.KnownIds()
    insertion.insert_sample(connection, sample(taken_at="2026-11-20 12:00:00.000000"), known)
    refused = sample(process_row(), process_row(), taken_at="2026-11-20 12:01:00.000000")  # twice the same
    with pytest.raises(sqlite3.IntegrityError):
        insertion.insert_sample(connection, refused, known)
    insertion.insert_sample(connection, sample(process_row(), taken_at="2026-11-20 12:02:00.000000"), known)
    assert query(connection, "SELECT count(*) FROM process JOIN process_sample ON process_id = process.id") == [1]


def test_no_statement_of_a_tick_reads_the_history(connection: sqlite3.Connection) -> None:
    statements = [statement for module in MODULES for statement in statements_of(module)]
    assert len(statements) > 20
    plans = {text: [row[3] for row in explained(connection, text, "EXPLAIN QUERY PLAN")] for text in statements}
    others = {text: [step for step in plan if not step.startswith("SEARCH")] for text, plan in plans.items()}
    # Boots are few: they are all looked at, and where the system does not tell them apart, sorted.
    assert {text: steps for text, steps in others.items() if steps} == {
        insertion._BOOT: ["SCAN boot USING COVERING INDEX sqlite_autoindex_boot_1"],
        insertion._BOOT_OF_HOST: ["USE TEMP B-TREE FOR ORDER BY"],
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


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_further_sample_syncs_once_and_opens_only_what_it_lists(path: str, tmp_path: Path) -> None:
    """And the files of processes that are new, of which a machine may have some at any time."""
    opening.open_current(path).close()
    trace = tmp_path / "trace"
    options = ["--every", "0.1", "--count", "5", "--cpu-window", "0.01", "--database", path]
    command = [sys.executable, "-m", "perftrack", "record", *options]
    calls = "trace=fsync,fdatasync,open,openat,clone,clone3,execve"
    subprocess.run(["strace", "-f", "-e", calls, "-o", trace, *command], check=True)
    synced = re.split(r"f(?:data)?sync\(.*", trace.read_text())
    assert len(synced) - 1 == 5 + 4  # a tick's, and those of four further samples
    *_, the_fifth, _the_log, _the_database, _after = synced
    called = set(re.findall(r"^\d+ +(\w+)\(", the_fifth, re.MULTILINE))
    opened = set(re.findall(r'"(.*)"', the_fifth))
    assert called <= {"open", "openat"}  # it starts no thread and no program
    assert {file for file in opened if not re.match(r"/proc/\d+/", file)} <= {
        "/proc",
        "/proc/loadavg",
        "/sys/block",
        "/sys/devices/system/cpu/online",
    }
