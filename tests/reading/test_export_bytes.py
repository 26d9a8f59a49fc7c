"""The process CSV is assembled apart from the csv module: its bytes are those that module writes of the view."""

from __future__ import annotations

import csv
import io
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from conftest import process_row, sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perftrack.reading.export import TimeFormat, export
from perftrack.reading.queries import TimeRange
from perftrack.reading.spreadsheet import neutralised
from perftrack.storage import insertion

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "pid": st.integers(1, 2**31 - 1),
            "name": NAMES | st.sampled_from(["=1+1", 'a"b', "a,b", "a\r\nb", "%s", "-x"]),
            "filter": NAMES,
            "cpu_percent": st.none() | st.floats(0, 1e300) | st.sampled_from([0.1 + 0.2, 1e16, 1e-7, 100.0]),
            "rss_bytes": st.none() | st.integers(0, 2**63 - 1),
            "vms_bytes": st.none() | st.integers(0, 2**63 - 1),
        }
    ),
    max_size=5,
)
SHOWN = {"local": "datetime", "utc": "replace(taken_at, ' ', 'T') || 'Z'"}


@pytest.mark.parametrize("time_format", ["local", "utc"])
@pytest.mark.parametrize("safe", [False, True])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(samples=st.lists(ROWS, max_size=4))
def test_whatever_the_values_are(
    connection: sqlite3.Connection,
    path: str,
    tmp_path: Path,
    time_format: TimeFormat,
    safe: bool,
    samples: list[list[dict[str, Any]]],
) -> None:
    for table in ("process_sample", "system_sample", "process", "name_filter"):
        connection.execute(f"DELETE FROM {table}")
    for number, rows in enumerate(samples):
        processes = [process_row(started_ticks=place, **row) for place, row in enumerate(rows)]
        insertion.insert_sample(connection, sample(*processes, taken_at=f"2026-11-20 12:0{number}:00.00000{number}"))
    export(path, None, str(tmp_path / "p.csv"), TimeRange(), time_format=time_format, spreadsheet_safe=safe)

    expected = io.StringIO()
    writer = csv.writer(expected)
    writer.writerow(["cpu_usage", "datetime", "filter", "name", "pid", "rss_memory", "vms_memory"])
    sql = (
        f"SELECT cpu_usage, replace({SHOWN[time_format]}, '.000000', ''), filter, name, pid, rss_memory, vms_memory"
        " FROM process_log ORDER BY taken_at, sample_id, pid, filter_rank, filter, process_id"
    )
    for row in connection.execute(sql):
        writer.writerow([neutralised(value) if safe and isinstance(value, str) else value for value in row])
    assert (tmp_path / "p.csv").read_bytes().decode() == expected.getvalue()
