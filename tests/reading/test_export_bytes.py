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

from perftrack.reading.export.files import export
from perftrack.reading.export.logs import Form
from perftrack.reading.export.spreadsheet import neutralised
from perftrack.reading.queries import TimeFormat, TimeRange
from perftrack.storage import insertion

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
PROCESSES = st.fixed_dictionaries(
    {
        "pid": st.integers(1, 2**31 - 1),
        "name": NAMES | st.sampled_from(["=1+1", 'a"b', "a,b", "a\r\nb", "%s", "-x"]),
    }
)
ROWS = st.fixed_dictionaries(
    {
        "filter": NAMES | st.sampled_from(["java", "python"]),
        "cpu_percent": st.none() | st.floats(0, 1e300) | st.sampled_from([0.1 + 0.2, 1e16, 1e-7, 100.0]),
        "rss_bytes": st.none() | st.integers(0, 2**63 - 1),
        "vms_bytes": st.none() | st.integers(0, 2**63 - 1),
    }
)
# Which of the processes are in a sample, and the row of each for every filter that matched it.
SAMPLES = st.dictionaries(st.integers(0, 4), st.lists(ROWS, min_size=1, max_size=3))
BOTH_CLOCKS = (("", 12), ("_local", 13))
SHOWN = {
    "local": "datetime",
    "utc": "replace(taken_at, ' ', 'T') || 'Z'",
    "epoch": "strftime('%s', taken_at) || substr(taken_at, 20)",
}


@pytest.mark.parametrize("time_format", ["local", "utc", "epoch"])
@pytest.mark.parametrize("safe", [False, True])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(processes=st.lists(PROCESSES, min_size=5, max_size=5), samples=st.lists(SAMPLES, max_size=4))
def test_whatever_the_values_are(
    connection: sqlite3.Connection,
    path: str,
    tmp_path: Path,
    time_format: TimeFormat,
    safe: bool,
    processes: list[dict[str, Any]],
    samples: list[dict[int, list[dict[str, Any]]]],
) -> None:
    for table in ("process_sample", "system_sample", "process", "name_filter"):
        connection.execute(f"DELETE FROM {table}")
    for number, places in enumerate(samples):
        first = [
            process_row(started_ticks=place, **processes[place], **rows[0]) for place, rows in sorted(places.items())
        ]
        taken = {f"taken_at{zone}": f"2026-11-20 {hour}:0{number}:00.00000{number}" for zone, hour in BOTH_CLOCKS}
        insertion.insert_sample(connection, sample(*first, **taken))
        for place, rows in places.items():
            for rank, row in enumerate(rows[1:], 1):
                insert_further_row(connection, {"started_ticks": place, "rank": rank, **processes[place], **row})
    form = Form(time_format=time_format, spreadsheet_safe=safe)
    export(path, None, str(tmp_path / "p.csv"), TimeRange(), form=form)

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


def insert_further_row(connection: sqlite3.Connection, row: dict[str, Any]) -> None:
    """Add to the last sample the row of one more filter that matched a process of it, as an import does."""
    connection.execute("INSERT OR IGNORE INTO name_filter (text, rank) VALUES (:filter, :rank)", row)
    connection.execute(
        "INSERT INTO process_sample (sample_id, process_id, filter_id, cpu_percent, rss_bytes, vms_bytes)"
        " SELECT (SELECT max(id) FROM system_sample), process.id, name_filter.id,"
        " :cpu_percent, :rss_bytes, :vms_bytes FROM process, name_filter WHERE text = :filter AND rank = :rank"
        " AND pid = :pid AND started_ticks = :started_ticks AND name = :name",
        row,
    )
