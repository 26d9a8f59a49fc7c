"""`perftrack export --spreadsheet-safe`: a process that calls itself =1+1 stays so, but on request."""

from __future__ import annotations

import csv
import io
import sqlite3
from pathlib import Path

import pytest
from conftest import Run, process_row, sample

from perftrack.reading.export.spreadsheet import neutralised
from perftrack.storage.insertion import insert_sample

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x/?"&A1,"java, click")', "=")
PLAIN = ("java", "1=1", " =1", "'=1", "", "\\x3d1", "ünï")


@pytest.fixture
def named_alike(connection: sqlite3.Connection) -> list[str]:
    """A sample of processes that are called like formulas, and have such owners, command lines and filters."""
    names = [*FORMULAS, *PLAIN]
    rows = [
        process_row(pid=pid, name=name, filter=name, username=name, command=name, cpu_percent=None)
        for pid, name in enumerate(names)
    ]
    insert_sample(connection, sample(*rows, host="=host"))
    return names


def exported(perftrack: Run, folder: Path, *options: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    perftrack("export", "--directory", str(folder), *options)
    both = []
    for name in ("system_log.csv", "process_log.csv"):
        with open(folder / name, encoding="utf-8", newline="") as file:
            both.append(list(csv.DictReader(file)))
    return both[0], both[1]


@pytest.mark.parametrize("wide", [[], ["--wide"]], ids=["", "wide"])
class TestTextLikeAFormula:
    def test_is_as_it_is_by_default(
        self, wide: list[str], named_alike: list[str], perftrack: Run, tmp_path: Path
    ) -> None:
        _, processes = exported(perftrack, tmp_path, *wide)
        for column in ("name", "filter", *(["username", "command"] if wide else [])):
            assert [row[column] for row in processes] == named_alike

    @pytest.mark.usefixtures("named_alike")
    def test_is_behind_an_apostrophe_on_request(self, wide: list[str], perftrack: Run, tmp_path: Path) -> None:
        system, processes = exported(perftrack, tmp_path, "--spreadsheet-safe", *wide)
        expected = [*(f"'{name}" for name in FORMULAS), *PLAIN]
        for column in ("name", "filter", *(["username", "command"] if wide else [])):
            assert [row[column] for row in processes] == expected
        if wide:
            assert [row["host"] for row in system] == ["'=host"]
        beginnings = {value[:1] for row in (*system, *processes) for value in row.values()}
        assert beginnings.isdisjoint("=+-@\t\r")

    @pytest.mark.usefixtures("named_alike")
    def test_changes_nothing_else(self, wide: list[str], perftrack: Run, tmp_path: Path) -> None:
        text = ("name", "filter", "username", "command", "host")
        default, safe = (
            exported(perftrack, tmp_path, *wide),
            exported(perftrack, tmp_path, "--spreadsheet-safe", *wide),
        )
        for before, after in zip((*default[0], *default[1]), (*safe[0], *safe[1]), strict=True):
            assert list(before) == list(after)
            assert {key: before[key] for key in before if key not in text} == {
                key: after[key] for key in after if key not in text
            }


@pytest.mark.usefixtures("named_alike")
class TestTopAsCsv:
    RANGE = ("top", "--since", "2026-11-20", "--until", "2026-11-21", "-n", "100")

    @pytest.mark.parametrize("arguments", [RANGE, ("top", "--at", "2026-11-20 12:00", "-n", "100")])
    def test_is_safe_on_request(self, arguments: tuple[str, ...], perftrack: Run) -> None:
        for options, apostrophe in (((), ""), (("--spreadsheet-safe",), "'")):
            done = perftrack(*arguments, "--format", "csv", *options, env={"PYTHONUTF8": "1"})
            rows = [row for row in csv.DictReader(io.StringIO(done.stdout)) if row["name"] != "(unattributed)"]
            expected = {name.replace("\r", "\n") for name in (*(apostrophe + name for name in FORMULAS), *PLAIN)}
            for column in ("name", "username", "command"):
                assert {row[column] for row in rows} == expected

    @pytest.mark.parametrize("output", ["table", "json"])
    def test_alone_can_be(self, output: str, perftrack: Run) -> None:
        done = perftrack(*self.RANGE, "--format", output, "--spreadsheet-safe", expect=2)
        assert done.stderr == "perftrack: --spreadsheet-safe is about CSV: add --format csv, or leave it away\n"


def test_neutralised_text_stays_text() -> None:
    assert [neutralised(neutralised(name)) for name in FORMULAS] == [f"'{name}" for name in FORMULAS]
