"""What the tests of exports share: samples a minute apart, and the two files as lines."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from conftest import cgroup_row, process_row, sample

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


ODD_NAMES = [
    "python3",
    'quo"te',
    "new\nline",
    "back\\slash",
    "ünï",
    "\x1b[31m",
    "\x7f",
    "a,b",
    "=1+1",
    "\u2028",
    "NULL",
    "",
]


def record_mixed(
    connection: sqlite3.Connection, samples: int, hosts: tuple[str, ...] = ("web1",), *, begin: int = 0
) -> None:
    """Insert samples of every kind: processes come and go under odd names, in units and in none, values are missing,
    are large and have decimals, and a machine boots in between.
    """
    chance = random.Random(11)
    for number in range(begin, begin + samples):
        for host in hosts:
            rows = [
                process_row(
                    pid=pid,
                    name=ODD_NAMES[pid % len(ODD_NAMES)],
                    started_at=chance.choice([None, "2026-11-20 11:00:00.000000", "2026-11-20 11:00:00.000001"]),
                    username=chance.choice([None, "root", "ünï"]),
                    command=chance.choice([None, "", f"job --number {pid}", 'say "hi"\n']),
                    cgroup=chance.choice([None, "/system.slice/app.service"]),
                    cpu_percent=chance.choice([None, 0.0, 12.5, 0.1 + 0.2, chance.random() * 1e17]),
                    rss_bytes=chance.choice([None, 0, 1 << 40, 2**63 - 1]),
                    cpu_user_ms=chance.choice([None, 1000 * number]),
                    cpu_system_ms=500 * number,
                )
                for pid in chance.sample(range(40), 6)
            ]
            zone = {"taken_at": f"{minute(number)[:-6]}{chance.choice(['000000', '250000', '000001'])}"}
            zone["taken_at_local"] = zone["taken_at"].replace("2026-11-20 1", "2026-11-21 0")
            insert_sample(
                connection,
                sample(
                    *rows,
                    host=host,
                    boot=f"{host}-{number // 20}",
                    cgroups=[cgroup_row(path, 7 * number) for path in ("/", "/system.slice/app.service")],
                    **zone,
                    uptime_seconds=60.0 * number + 0.125,
                    window_seconds=chance.choice([None, 1.0]),
                    cpu_percent=chance.choice([None, 12.5, 100.0]),
                    load_1min=chance.choice([None, 0.1 + 0.2]),
                    cpu_user_ms=chance.choice([None, number << 33]),
                    disk_read_bytes=2**53 + number,
                ),
            )


def rows_in(path: str, view: str) -> list[dict[str, Any]]:
    """Return all of a view as SQLite has it, in the order of an export."""
    order = "taken_at, sample_id" + (", pid, filter_rank, filter, process_id" if view == "process_log" else "")
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {view} ORDER BY {order}")]


INSTANTS = ("taken_at", "booted_at", "started_at")
