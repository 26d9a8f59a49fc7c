"""What the tests of exports share: samples a minute apart, and the two files as lines."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from conftest import process_row, sample

from perftrack.storage.insertion import insert_sample

SYSTEM_HEADER = "cpu_usage,datetime,mem_available,mem_percent_used,mem_total,mem_used"
PROCESS_HEADER = "cpu_usage,datetime,filter,name,pid,rss_memory,vms_memory"


def minute(number: int) -> str:
    return f"2026-11-20 {12 + number // 60:02d}:{number % 60:02d}:00.000000"


def record_minutes(connection: sqlite3.Connection, number: int) -> None:
    """Insert samples at 12:00, 12:01 and so on, one process in each."""
    for index in range(number):
        insert_sample(connection, sample(process_row(pid=100 + index), taken_at=minute(index)))


def read_both(folder: Path) -> tuple[list[str], list[str]]:
    return (folder / "system_log.csv").read_text().splitlines(), (folder / "process_log.csv").read_text().splitlines()
