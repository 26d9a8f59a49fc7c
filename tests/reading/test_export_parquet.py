"""`perftrack export --format parquet`, read back with DuckDB and pandas."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas
import pyarrow
import pytest
from conftest import REPOSITORY, Run, on_a_terminal, process_row, sample
from exported import INSTANTS, minute, record_minutes, record_mixed, rows_in
from pyarrow import parquet as arrow_parquet

from perftrack.reading.export import files as exporting
from perftrack.reading.export import parquet
from perftrack.reading.export.logs import Form
from perftrack.reading.queries import TimeRange
from perftrack.storage.insertion import insert_sample

LOGS = ("system_log", "process_log")


def typed(row: dict[str, Any]) -> dict[str, Any]:
    """What a row of the database is in Parquet: instants are instants."""
    instants = {
        name: row[name] and datetime.fromisoformat(row[name]).replace(tzinfo=UTC) for name in INSTANTS if name in row
    }
    return row | instants | {"datetime": instants["taken_at"]}


@pytest.fixture
def files(connection: sqlite3.Connection, path: str, tmp_path: Path) -> dict[str, Path]:
    record_mixed(connection, 40, ("web1", "web2"))
    made = {log: tmp_path / f"{log}.parquet" for log in LOGS}
    exporting.export(path, *map(str, made.values()), TimeRange(), form=Form("parquet", time_format="utc"))
    return made


class TestTheFiles:
    @pytest.mark.parametrize("log", LOGS)
    def test_are_in_duckdb_what_the_database_holds(self, files: dict[str, Path], path: str, log: str) -> None:
        with duckdb.connect() as database:
            database.execute("SET TimeZone = 'UTC'")
            found = database.execute(f"SELECT * FROM '{files[log]}'")
            names = [column[0] for column in found.description]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
            types = dict(
                database.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{files[log]}')").fetchall()
            )
        assert rows == [typed(row) for row in rows_in(path, log)]
        assert types["taken_at"] == types["datetime"] == "TIMESTAMP WITH TIME ZONE"
        assert types["cpu_user_ms"] == "BIGINT"
        assert types["cpu_usage"] == "DOUBLE"
        assert types["host"] == "VARCHAR"

    @pytest.mark.parametrize("log", LOGS)
    def test_are_in_pandas_what_the_database_holds(self, files: dict[str, Path], path: str, log: str) -> None:
        frame = pandas.read_parquet(files[log], dtype_backend="pyarrow")
        found = [
            {name: None if pandas.isna(value) else value for name, value in row.items()}
            for row in frame.to_dict("records")
        ]
        assert found == [typed(row) for row in rows_in(path, log)]
        assert str(pandas.read_parquet(files[log]).dtypes["taken_at"]) == "datetime64[us, UTC]"

    def test_name_each_text_once(self, files: dict[str, Path]) -> None:
        for log, texts in zip(
            LOGS, (["host"], ["name", "filter", "host", "username", "unit", "command"]), strict=True
        ):
            group = arrow_parquet.ParquetFile(files[log]).metadata.row_group(0)
            columns = {group.column(place).path_in_schema: group.column(place) for place in range(group.num_columns)}
            assert [name for name in texts if "RLE_DICTIONARY" not in columns[name].encodings] == []
            assert {column.compression for column in columns.values()} == {"ZSTD"}

    def test_are_private(self, files: dict[str, Path]) -> None:
        assert {stat.S_IMODE(file.stat().st_mode) for file in files.values()} == {0o600}

    def test_have_the_local_clock_where_it_is_asked_for(
        self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path
    ) -> None:
        taken = {"taken_at": "2026-11-20 12:00:00.250000", "taken_at_local": "2026-11-20 13:00:00.250000"}
        insert_sample(connection, sample(**taken))
        perftrack("export", "--format", "parquet", "--time", "local")
        (row,) = arrow_parquet.read_table(tmp_path / "work" / "system_log.parquet").to_pylist()
        assert row["datetime"] == datetime(2026, 11, 20, 13, 0, 0, 250000)
        assert row["taken_at"] == datetime(2026, 11, 20, 12, 0, 0, 250000, UTC)
        assert "instants of its own" in perftrack("export", "--format", "parquet", "--time", "epoch", expect=2).stderr

    def test_of_an_empty_range_have_the_columns_all_the_same(
        self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path, path: str
    ) -> None:
        record_minutes(connection, 1)
        perftrack("export", "--format", "parquet", "--since", "2026-11-21")
        for log in LOGS:
            table = arrow_parquet.read_table(tmp_path / "work" / f"{log}.parquet")
            assert (table.num_rows, table.column_names) == (0, list(rows_in(path, log)[0]))


class TestStreaming:
    def test_writes_row_groups_and_holds_one(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parquet, "ROWS_IN_GROUP", 4000)
        rows = [process_row(pid=pid) for pid in range(200)]
        for number in range(200):
            insert_sample(connection, sample(*rows, taken_at=minute(number)))

        def peak(until_minute: int) -> int:
            until = datetime.fromisoformat(f"{minute(until_minute)}+00:00")
            before = pyarrow.total_allocated_bytes()
            held: list[int] = []
            tracemalloc.start()
            exporting.export(
                path,
                None,
                str(tmp_path / "p.parquet"),
                TimeRange(until=until),
                form=Form("parquet"),
                progress=lambda *_: held.append(pyarrow.total_allocated_bytes() - before),
            )
            try:
                return tracemalloc.get_traced_memory()[1] + max(held)
            finally:
                tracemalloc.stop()

        peak(40)
        few, many = peak(40), peak(200)
        assert many < few * 1.5
        metadata = arrow_parquet.ParquetFile(tmp_path / "p.parquet").metadata
        assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [4000] * 10

    def test_goes_into_a_pipe_and_onto_no_terminal(self, connection: sqlite3.Connection, path: str) -> None:
        record_minutes(connection, 3)
        command = ["export", "--format", "parquet", "--process-csv", "-", "--database", path]
        piped = subprocess.run([sys.executable, "-m", "perftrack", *command], capture_output=True, check=True).stdout
        assert arrow_parquet.read_table(pyarrow.BufferReader(piped)).num_rows == 3
        said = on_a_terminal(*command, expect=2)
        assert said == "perftrack: a Parquet file is not for a terminal: name a file, or pipe it into a program\n"

    def test_leaves_the_earlier_file_when_the_disk_is_full(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path
    ) -> None:
        record_mixed(connection, 3)
        (tmp_path / "p.parquet").write_text("earlier")
        export = (
            f"exec {sys.executable} -m perftrack export --format parquet --database {path} --process-csv p.parquet"
        )
        limited = ["sh", "-c", f"trap '' XFSZ; ulimit -f 0; {export}"]
        done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert done.stderr.startswith("perftrack: cannot write ")
        assert (tmp_path / "p.parquet").read_text() == "earlier"


class TestARefusal:
    @pytest.mark.usefixtures("connection")
    def test_of_compressing_what_is_compressed(self, perftrack: Run) -> None:
        done = perftrack("export", "--format", "parquet", "--process-csv", "p.parquet.gz", expect=2)
        assert done.stderr == "perftrack: a Parquet file is compressed within; name it without .gz or .zst\n"

    def test_says_what_is_missing(self, connection: sqlite3.Connection, path: str, tmp_path: Path) -> None:
        record_minutes(connection, 1)
        program = "import sys; sys.modules['pyarrow'] = None; import perftrack.__main__ as m; m.main()"
        command = [sys.executable, "-c", program, "export", "--format", "parquet", "--database", path]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("perftrack: --format parquet needs pyarrow: ")
        assert done.stderr.endswith(" -m pip install pyarrow\n")
        assert os.listdir(tmp_path) == ["data"]

    def test_of_a_value_that_is_not_of_its_columns_type(self, connection: sqlite3.Connection, perftrack: Run) -> None:
        record_minutes(connection, 1)
        connection.execute("UPDATE process_sample SET rss_bytes = 'many'")
        done = perftrack("export", "--format", "parquet", expect=1)
        assert done.stderr.startswith("perftrack: column rss_memory holds what is no int64: ")
        assert len(done.stderr.splitlines()) == 1


def test_the_query_of_the_readme_works(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (program,) = re.findall(
        r"```python\n(.*?)```",
        (REPOSITORY / "perftrack" / "reading" / "README.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )
    monkeypatch.chdir(files["process_log"].parent)
    exec(program, {})
    assert "python3" in capsys.readouterr().out
