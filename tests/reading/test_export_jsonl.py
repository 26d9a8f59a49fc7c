"""`perftrack export --format jsonl`: every value of every row, as JSON has it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, on_a_terminal, process_row, sample
from exported import INSTANTS, record_minutes, record_mixed, rows_in

from perftrack.storage.insertion import insert_sample

LOGS = ("system_log", "process_log")


def objects(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().decode().split("\n")[:-1]]


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """What JSON has of a row of the database, where times are UTC."""
    instants = {
        name: row[name] and f"{datetime.fromisoformat(row[name]).isoformat()}Z" for name in INSTANTS if name in row
    }
    return row | instants | {"datetime": instants["taken_at"]}


class TestTheFiles:
    def test_hold_every_column_of_every_row(
        self, connection: sqlite3.Connection, path: str, perftrack: Run, tmp_path: Path
    ) -> None:
        record_mixed(connection, 40, ("web1", "web2"))
        perftrack("export", "--format", "jsonl")
        for log in LOGS:
            found = objects(tmp_path / "work" / f"{log}.jsonl")
            expected = [as_json(row) for row in rows_in(path, log)]
            assert found == expected
            # equal is not enough: 1 == 1.0 == True
            assert [list(map(type, row.values())) for row in found] == [
                list(map(type, row.values())) for row in expected
            ]
            assert [list(row) for row in found] == [list(row) for row in expected]

    def test_hold_what_is_not_known_as_null_and_counters_as_integers(
        self, connection: sqlite3.Connection, perftrack: Run
    ) -> None:
        unknown = process_row(cpu_percent=None, cpu_user_ms=2**62 + 1, read_bytes=None)
        insert_sample(connection, sample(unknown))
        line = perftrack("export", "--format", "jsonl", "--process-csv", "-").stdout
        assert '"cpu_usage":null,"datetime":"2026-11-20T12:00:00Z"' in line
        assert '"cpu_user_ms":4611686018427387905,' in line
        assert '"read_bytes":null,' in line

    def test_hold_no_infinity_which_json_has_not(self, connection: sqlite3.Connection, perftrack: Run) -> None:
        insert_sample(connection, sample(process_row(cpu_percent=float("inf"))))
        line = perftrack("export", "--format", "jsonl", "--process-csv", "-").stdout
        assert json.loads(line, parse_constant=pytest.fail)["cpu_usage"] is None

    @pytest.mark.parametrize(
        ("option", "shown", "utc"),
        [
            ("local", "2026-11-20T13:00:00.250000", "2026-11-20T12:00:00.250000Z"),
            ("utc", "2026-11-20T12:00:00.250000Z", "2026-11-20T12:00:00.250000Z"),
            ("epoch", 1795176000.25, 1795176000.25),
        ],
    )
    def test_show_instants_as_asked_for(
        self, connection: sqlite3.Connection, perftrack: Run, option: str, shown: str | float, utc: str | float
    ) -> None:
        taken = {"taken_at": "2026-11-20 12:00:00.250000", "taken_at_local": "2026-11-20 13:00:00.250000"}
        insert_sample(connection, sample(**taken))
        line = perftrack("export", "--format", "jsonl", "--system-file", "-", "--time", option).stdout
        row = json.loads(line)
        assert (row["datetime"], row["taken_at"]) == (shown, utc)
        booted = {"local": "2026-11-20T10:00:00Z", "utc": "2026-11-20T10:00:00Z", "epoch": 1795168800}
        assert row["booted_at"] == booted[option]

    def test_are_what_jq_reads(self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path) -> None:
        if shutil.which("jq") is None:
            pytest.skip("jq is not installed")
        record_mixed(connection, 10)
        perftrack("export", "--format", "jsonl")
        command = ["jq", "-r", '.taken_at | sub("\\\\.[0-9]+"; "") | fromdateiso8601', "system_log.jsonl"]
        done = subprocess.run(command, cwd=tmp_path / "work", capture_output=True, text=True, check=True)
        assert [int(line) for line in done.stdout.splitlines()] == [1795176000 + 60 * number for number in range(10)]

    def test_are_named_as_configured_but_for_the_ending(
        self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path
    ) -> None:
        record_minutes(connection, 1)
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        env = {"PERFTRACK_SYSTEM_CSV": f"{folder}/s.csv.gz", "PERFTRACK_PROCESS_CSV": f"{folder}/p"}
        perftrack("export", "--format", "jsonl", env=env)
        perftrack("export", "--format", "parquet", env=env)
        perftrack("export", "--format", "jsonl", "--system-csv", "named.csv", env=env)
        assert sorted(os.listdir(folder)) == ["p.jsonl", "p.parquet", "s.jsonl.gz", "s.parquet"]
        assert os.listdir(tmp_path / "work") == ["named.csv"]
        assert stat.S_IMODE((folder / "p.jsonl").stat().st_mode) == 0o600

    def test_are_of_the_range(self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path) -> None:
        record_minutes(connection, 3)
        done = perftrack("export", "--format", "jsonl", "--since", "2026-11-20 12:01", "--until", "2026-11-20 12:02")
        assert [len(objects(tmp_path / "work" / f"{log}.jsonl")) for log in LOGS] == [1, 1]
        assert (done.stdout, done.stderr) == ("", "")
        perftrack("export", "--format", "jsonl", "--since", "2026-11-21")
        assert [(tmp_path / "work" / f"{log}.jsonl").read_bytes() for log in LOGS] == [b"", b""]

    def test_act_on_no_terminal(self, connection: sqlite3.Connection, path: str) -> None:
        name = "\x1b[2J\x7f\x9b\u202e"
        insert_sample(connection, sample(process_row(name=name)))
        shown = on_a_terminal("export", "--format", "jsonl", "--process-csv", "-", "--database", path)
        assert json.loads(shown)["name"] == name
        assert shown.removesuffix("\n").isprintable()

    @pytest.mark.usefixtures("connection")
    def test_take_no_option_that_is_csvs(self, perftrack: Run) -> None:
        done = perftrack("export", "--format", "jsonl", "--spreadsheet-safe", expect=2)
        assert "--spreadsheet-safe is about CSV" in done.stderr
