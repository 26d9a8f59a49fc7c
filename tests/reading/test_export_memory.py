"""An export holds some samples at a time in memory, however many there are."""

from __future__ import annotations

import io
import sqlite3
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import process_row, sample
from exported import minute
from sqlalchemy import CursorResult

from perftrack.reading import queries
from perftrack.reading.export import files as exporting
from perftrack.reading.export import logs, process_csv
from perftrack.reading.queries import TimeRange
from perftrack.storage.insertion import insert_sample
from perftrack.storage.snapshot import snapshot


class TestMemory:
    @pytest.fixture
    def many_rows(self, connection: sqlite3.Connection) -> None:
        rows = [process_row(pid=pid) for pid in range(200)]
        for number in range(200):
            insert_sample(connection, sample(*rows, taken_at=minute(number)))

    @pytest.mark.usefixtures("many_rows")
    def test_does_not_grow_with_the_rows(self, path: str, tmp_path: Path) -> None:
        def peak(until_minute: int) -> int:
            until = queries.datetime.fromisoformat(minute(until_minute) + "+00:00")
            tracemalloc.start()
            exporting.export(path, None, str(tmp_path / "p.csv"), TimeRange(until=until))
            try:
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        peak(20)  # SQLAlchemy fills its caches
        assert peak(200) < peak(20) * 1.5

    @pytest.mark.usefixtures("many_rows")
    def test_holds_the_rows_of_some_samples_at_a_time(self, path: str) -> None:
        """Whenever it asks for the rows of a further sample, it has written those of all but some before."""
        written: list[str] = []
        held: list[int] = []

        class Stream(io.StringIO):
            def write(self, text: str) -> int:
                written.extend(text.splitlines())
                return len(text)

        def asked(sql: str) -> None:
            if "FROM process_sample" in sql:
                held.append((len(held) + 1) * 200 - len(written) + 1)  # the header is no row

        with snapshot(path) as connection:
            connection.connection.driver_connection.set_trace_callback(asked)
            process_csv.write_processes(connection, TimeRange(), "local", Stream(), str, lambda done: None)
        assert (len(held), len(written)) == (200, 1 + 200 * 200)
        assert max(held) == process_csv.SAMPLES_AT_ONCE * 200

    @pytest.mark.usefixtures("many_rows")
    @pytest.mark.parametrize(
        ("wide", "rows", "at_once"),
        [(False, 200, process_csv.SAMPLES_AT_ONCE), (True, 40000, logs.ROWS_AT_ONCE)],
    )
    def test_fetches_a_bounded_number_of_rows_at_once(
        self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide: bool, rows: int, at_once: int
    ) -> None:
        fetched: list[int] = []
        partitions = CursorResult.partitions

        def watched(result: CursorResult[Any]) -> Iterator[Sequence[Any]]:
            for partition in partitions(result):
                fetched.append(len(partition))
                yield partition

        monkeypatch.setattr(CursorResult, "partitions", watched)
        exporting.export(path, None, str(tmp_path / "p.csv"), TimeRange(), form=logs.Form(wide=wide))
        assert (sum(fetched), max(fetched)) == (rows, at_once)
