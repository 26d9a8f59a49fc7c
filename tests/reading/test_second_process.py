"""The second process of a long export: the same bytes, the same snapshot, and not needed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import process_row, sample

from perftrack.reading import export as exporting
from perftrack.reading import process_csv, second_process
from perftrack.reading.queries import TimeRange
from perftrack.reading.second_process import SecondProcess
from perftrack.storage.database import insert_sample, transaction

SAMPLES = 2 * process_csv.SAMPLES_AT_ONCE * process_csv.PARTS_AHEAD + 130


@pytest.fixture
def started(
    monkeypatch: pytest.MonkeyPatch, connection: sqlite3.Connection
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The second processes that were started; as on a machine of two CPUs, whatever this one has."""
    for number in range(SAMPLES):
        unlike = {"pid": 100 + number % 7, "name": 'java "%s"', "cpu_percent": None if number % 5 else number / 3}
        insert_sample(connection, sample(process_row(), process_row(**unlike), taken_at=instant(number)))
    processes = []
    start = second_process._started

    def watched() -> subprocess.Popen[bytes] | None:
        processes.append(start())
        return processes[-1]

    monkeypatch.setattr(second_process, "_started", watched)
    monkeypatch.setattr(second_process, "_cpu_count", lambda: 2)
    monkeypatch.setattr(exporting, "LONG_SAMPLES", SAMPLES)
    yield processes
    assert all(process.poll() is not None for process in processes)  # none is left behind


def instant(number: int) -> str:
    return f"2026-11-20 {number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000000"


def exported(path: str, folder: Path) -> tuple[list[str], list[str]]:
    """Return the lines of both files, without their headers."""
    files = folder / "system.csv", folder / "process.csv"
    exporting.export(path, *map(str, files), TimeRange())
    system, process = (file.read_bytes().decode().split("\r\n")[1:-1] for file in files)
    return system, process


def alone(path: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    with monkeypatch.context() as patch:
        patch.setattr(second_process, "_cpu_count", lambda: 1)
        return exported(path, folder)


def watch(monkeypatch: pytest.MonkeyPatch, method: str) -> list[Any]:
    """Return a list that fills with what *method* of SecondProcess returns."""
    results: list[Any] = []
    original = getattr(SecondProcess, method)

    def watched(second: SecondProcess, *arguments: Any) -> Any:
        results.append(original(second, *arguments))
        return results[-1]

    monkeypatch.setattr(SecondProcess, method, watched)
    return results


def test_half_of_the_lines_are_its_and_all_are_the_same(
    started: list[Any], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = alone(path, tmp_path, monkeypatch)
    assert not started
    answers = watch(monkeypatch, "answer")
    assert exported(path, tmp_path) == expected
    assert len(started) == 1
    assert len(expected[1]) == 2 * SAMPLES
    assert len(expected[1]) * 0.4 < sum(rows for _, rows in answers) < len(expected[1]) * 0.6


def test_a_short_export_does_not_start_one(
    started: list[Any], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "LONG_SAMPLES", SAMPLES + 1)
    exported(path, tmp_path)
    assert not started


def test_both_see_the_same_snapshot(
    started: list[Any],
    path: str,
    tmp_path: Path,
    connection: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sample that is deleted between the beginnings of the two is in both files or in neither."""
    begin = SecondProcess.begin
    deleted: list[int] = []

    def begin_late(second: SecondProcess, *arguments: Any) -> bool:
        if not deleted:
            deleted.extend(range(1, 100))
            with transaction(connection):
                connection.execute("DELETE FROM process_sample WHERE sample_id < 100")
                connection.execute("DELETE FROM system_sample WHERE id < 100")
        return begin(second, *arguments)

    monkeypatch.setattr(SecondProcess, "begin", begin_late)
    answers = watch(monkeypatch, "answer")
    system, process = exported(path, tmp_path)
    assert answers
    assert (len(system), len(process)) == (SAMPLES - 99, 2 * (SAMPLES - 99))


def test_somebody_who_commits_all_the_time_keeps_it_out(
    started: list[Any],
    path: str,
    tmp_path: Path,
    connection: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = SecondProcess.begin
    committed: list[int] = []

    def commit_first(second: SecondProcess, *arguments: Any) -> bool:
        number = SAMPLES + len(committed)
        committed.append(
            insert_sample(connection, sample(process_row(), process_row(pid=7), taken_at=instant(number)))
        )
        return begin(second, *arguments)

    monkeypatch.setattr(SecondProcess, "begin", commit_first)
    answers = watch(monkeypatch, "answer")
    system, process = exported(path, tmp_path)
    assert not answers
    assert len(committed) == second_process.ATTEMPTS
    assert (len(system), len(process)) == (SAMPLES + len(committed), 2 * (SAMPLES + len(committed)))


@pytest.mark.parametrize("after", [0, 1, 5])
def test_its_end_costs_nothing_but_time(
    started: list[Any], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    expected = alone(path, tmp_path, monkeypatch)
    answers = watch(monkeypatch, "answer")
    ask = SecondProcess.ask
    asked = []

    def kill_before(second: SecondProcess, *arguments: Any) -> None:
        if len(asked) == after:
            os.kill(started[0].pid, signal.SIGKILL)
            started[0].wait()
        asked.append(arguments)
        ask(second, *arguments)

    monkeypatch.setattr(SecondProcess, "ask", kill_before)
    assert exported(path, tmp_path) == expected
    assert None in answers


def test_a_machine_that_starts_no_more_processes_exports_all_the_same(
    started: list[Any], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = alone(path, tmp_path, monkeypatch)
    monkeypatch.setattr(second_process.sys, "executable", str(tmp_path / "missing"))
    assert exported(path, tmp_path) == expected
    assert started == [None]
    started.clear()
