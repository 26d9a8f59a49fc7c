"""The databases and files that are measured: made from a seed, kept in a temporary folder for the next run."""

from __future__ import annotations

import pickle
import random
import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from perftrack.storage import opening, sqlite_file, tick_sql
from perftrack.storage.condensing import condense
from perftrack.storage.models import Base, ProcessSample, SystemSample

BOOT = "bench"
_MADE = "boot_id = (SELECT id FROM boot WHERE key = ?)"
PROCESSES = 50
LIFE_MINUTES = 10  # so often one of them is replaced
BEGIN = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_MEMORY = 25276510208
_AT_ONCE = 10_000  # minutes in a transaction


def recorded(path: Path, process_rows: int, progress: Callable[[float], None], first_minute: int = 0) -> Path:
    """Return a database of one sample a minute with 50 processes each, of which one is replaced every ten minutes.

    SQLite makes the rows itself: a year of them takes a minute.
    """
    if path.exists():
        return path
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    samples = process_rows // PROCESSES
    with closing(opening.open_current(str(unfinished))) as connection:
        connection.execute("PRAGMA synchronous=OFF")  # only the making is in a hurry
        # this machine, as a database is about it where it is in it, and ticks that are measured add it
        host = connection.execute(tick_sql.INSERT_HOST, {"name": socket.gethostname()}).lastrowid
        boot = {"host_id": host, "key": BOOT, "booted_at": "2026-01-01 00:00:00.000000"}
        boot_id = connection.execute(tick_sql.INSERT_BOOT, boot).lastrowid
        connection.execute(tick_sql.INSERT_NAME_FILTER, {"text": "python"})
        _insert_processes(connection, boot_id, samples, random.Random(first_minute))
        for start in range(0, samples, _AT_ONCE):
            progress(start / samples)
            minutes = {"since": start, "until": min(start + _AT_ONCE, samples), "first_minute": first_minute}
            connection.execute("BEGIN")
            connection.execute(_SYSTEM_SAMPLES, minutes)
            connection.execute(_PROCESS_SAMPLES, minutes)
            connection.execute("COMMIT")
    unfinished.rename(path)
    return path


def condensed(whole: Path, path: Path, progress: Callable[[float], None]) -> Path:
    """Return a copy of *whole*, of which the first three quarters are condensed."""
    if path.exists():
        return path
    unfinished = path.with_suffix(".unfinished")
    shutil.copyfile(whole, unfinished)
    with closing(sqlite_file.connect(str(unfinished))) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        first, last = connection.execute(
            f"SELECT min(taken_at), max(taken_at) FROM system_sample WHERE {_MADE}", (BOOT,)
        ).fetchone()
        begin, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
        until = begin + (end - begin) * 3 / 4
        while condense(connection, until.isoformat(" ", "microseconds"), _AT_ONCE):
            reached = "SELECT max(taken_at) FROM system_sample WHERE samples NOTNULL"
            (taken_at,) = connection.execute(reached).fetchone()
            progress((datetime.fromisoformat(taken_at) - begin) / (until - begin))
        connection.execute("VACUUM")
    unfinished.rename(path)
    return path


def used_bytes(path: Path) -> int:
    """Return the size of a database without its free pages."""
    with closing(sqlite_file.connect(str(path))) as connection:
        return sqlite_file.used_bytes(connection)


def last_hour(path: Path) -> str:
    """Return what --since takes for the last hour that was made; ticks that were measured are later."""
    with closing(sqlite_file.connect(str(path))) as connection:
        (newest,) = connection.execute(f"SELECT max(taken_at) FROM system_sample WHERE {_MADE}", (BOOT,)).fetchone()
    return (datetime.fromisoformat(newest) - timedelta(minutes=60)).isoformat() + "Z"


def one_hour_of(path: Path, since: str, target: Path) -> Path:
    """Return a database that holds the samples that were made in *path* from *since* on, and nothing else."""
    if not target.exists():
        opening.open_current(str(target)).close()
        with closing(sqlite_file.connect(str(target))) as connection:
            connection.execute("ATTACH ? AS whole", (str(path),))
            connection.execute("BEGIN")
            newer = f"whole.system_sample WHERE {_MADE} AND taken_at >= ?"
            values = BOOT, since.replace("T", " ").removesuffix("Z")
            for table in ("host", "boot", "name_filter", "process"):
                connection.execute(f"INSERT INTO main.{table} SELECT * FROM whole.{table}")
            connection.execute(f"INSERT INTO main.system_sample SELECT * FROM {newer}", values)
            connection.execute(
                "INSERT INTO main.process_sample SELECT * FROM whole.process_sample "
                f"WHERE sample_id IN (SELECT id FROM {newer})",
                values,
            )
            connection.execute("COMMIT")
    return target


def original_pickle(path: Path, samples: int, processes_each: int) -> Path:
    """Return a data.pik as the original would have written it."""
    if not path.exists():
        chance = random.Random(1)
        system, processes = [], []
        for number in range(samples):
            when = BEGIN + timedelta(minutes=number, microseconds=chance.randrange(10**6))
            used = chance.randrange(10**10)
            total = 25276510208
            system.append(
                {
                    "datetime": when,
                    "cpu_usage": chance.randrange(1000) / 10,
                    "mem_total": total,
                    "mem_available": total - used,
                    "mem_used": used,
                    "mem_percent_used": used / total,
                }
            )
            processes += [
                {
                    "datetime": when,
                    "filter": "python",
                    "name": f"python{pid}",
                    "pid": pid,
                    "cpu_usage": chance.randrange(1000) / 10,
                    "rss_memory": chance.randrange(10**6) * 4096,
                    "vms_memory": chance.randrange(10**7) * 4096,
                }
                for pid in range(100, 100 + processes_each)
            ]
        path.write_bytes(pickle.dumps({"system": system, "processes": processes}))
    return path


def month_of_pickle(cache: Path) -> Path:
    """Return a pickle of a month, one sample every minute, of ten processes each."""
    return original_pickle(cache / "43200.pik", 43_200, 10)


def _insert_processes(
    connection: sqlite3.Connection, boot_id: int | None, samples: int, chance: random.Random
) -> None:
    """Insert all processes, and into a table of this connection alone which of them live in which ten minutes."""
    connection.execute(
        "CREATE TEMP TABLE alive (life, process_id, started, PRIMARY KEY (life, process_id)) WITHOUT ROWID"
    )
    connection.execute("BEGIN")
    alive = [_insert_process(connection, boot_id, number, 0) for number in range(PROCESSES)]
    for life in range(-(-samples // LIFE_MINUTES)):
        minute = life * LIFE_MINUTES
        if life:
            alive[chance.randrange(PROCESSES)] = _insert_process(connection, boot_id, PROCESSES + life, minute)
        connection.executemany("INSERT INTO alive VALUES (?, ?, ?)", [(life, *process) for process in sorted(alive)])
    connection.execute("COMMIT")


def _insert_process(connection: sqlite3.Connection, boot_id: int | None, number: int, minute: int) -> tuple[int, int]:
    """Insert the process *number*, and return its id and the minute that it started in."""
    row = {
        "boot_id": boot_id,
        "pid": 1000 + number,
        "started_ticks": minute * 6000,
        "started_at": (BEGIN + timedelta(minutes=minute)).isoformat(" ", "microseconds"),
        "name": f"python{number % 7}",
        "ppid": 1,
        "username": "app",
        "cgroup_id": None,
        "command": f"/usr/bin/python{number % 7} /srv/app/worker.py --queue {number}",
    }
    process_id = connection.execute(tick_sql.INSERT_PROCESS, row).lastrowid
    assert process_id is not None
    return process_id, minute


def _scattered(number: str, below: int) -> str:
    """Return SQL for an integer from 0 to less than *below*, the same for the same *number*."""
    return f"((({number}) * 2654435761 % 4294967291) * 48271 % 2147483647 % {below})"


def _instant(microsecond: str) -> str:
    begin = int(BEGIN.replace(tzinfo=UTC).timestamp())
    second = f"strftime('%Y-%m-%d %H:%M:%S', {begin} + 60 * (minute + :first_minute), 'unixepoch')"
    return f"{second} || printf('.%06d', {microsecond})"


def _insert(model: type[Base], values: dict[str, str], rows: str) -> str:
    """Return SQL that inserts into the table of *model* what *values* say of *rows*; other columns are NULL."""
    assert values.keys() <= set(model.__table__.columns.keys())
    return f"INSERT INTO {model.__tablename__} ({', '.join(values)}) SELECT {', '.join(values.values())} {rows}"


_MINUTES = """
FROM (WITH RECURSIVE each(minute) AS (
  SELECT :since UNION ALL SELECT minute + 1 FROM each WHERE minute + 1 < :until) SELECT minute FROM each)
"""
_USED = _scattered("minute + 7", 10**10)
_BYTES = ("disk_read_bytes", "disk_write_bytes", "net_sent_bytes", "net_received_bytes")
_SYSTEM_SAMPLES = _insert(
    SystemSample,
    {
        "id": "minute + 1",
        "boot_id": "1",
        "taken_at": _instant(_scattered("minute", 10**6)),
        "taken_at_local": _instant(_scattered("minute", 10**6)),
        "uptime_seconds": "(minute + :first_minute) * 60.0",
        "window_seconds": "1.001",
        "cpu_percent": _scattered("minute + 3", 1000) + " / 10.0",
        "cpu_user_ms": "(minute + :first_minute) * 12000 + " + _scattered("minute + 5", 10_000),
        "cpu_system_ms": "(minute + :first_minute) * 3000 + " + _scattered("minute + 6", 2500),
        "cpu_idle_ms": "(minute + :first_minute) * 100000",
        "cpu_iowait_ms": "minute + :first_minute",
        "cpu_steal_ms": "0",
        "cpu_count": "2",
        "load_1min": "0.5",
        "load_5min": "0.4",
        "load_15min": "0.3",
        "mem_total_bytes": str(_MEMORY),
        "mem_available_bytes": f"{_MEMORY} - {_USED}",
        "mem_used_bytes": _USED,
        "swap_total_bytes": "0",
        "swap_used_bytes": "0",
        **{name: f"(minute + :first_minute) * 60000 + {_scattered('minute', 50_000)}" for name in _BYTES},
        "pressure_cpu_ms": "(minute + :first_minute) * 10",
        "pressure_memory_ms": "0",
        "pressure_io_ms": "minute + :first_minute",
        "processes_seen": "120",
        "processes_denied": "0",
        "recorder_cpu_ms": "45",
    },
    _MINUTES,
)
_CHANCE = "minute * 50 + process_id"
_BUSY = "process_id % 3 = 0"
_PROCESS_SAMPLES = _insert(
    ProcessSample,
    {
        "sample_id": "minute + 1",
        "process_id": "process_id",
        "filter_id": "1",
        "cpu_percent": f"iif({_BUSY}, {_scattered(_CHANCE, 1000)} / 10.0, 0.0)",
        "cpu_user_ms": f"(minute - started) * iif({_BUSY}, 60, 3) * 10",
        "cpu_system_ms": "(minute - started) * 20",
        "rss_bytes": f"(20000 + {_scattered(_CHANCE, 1000)}) * 4096",
        "vms_bytes": "(90000 + process_id % 1000) * 4096",
        "num_threads": "4",
        "read_bytes": f"iif({_BUSY}, (minute - started) * 4096, 0)",
        "write_bytes": f"iif({_BUSY}, (minute - started) * 8192, 0)",
    },
    f"{_MINUTES} CROSS JOIN alive ON life = minute / {LIFE_MINUTES}",
)
