"""The databases and files that are measured: made from a seed, kept in a temporary folder for the next run."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from perftrack.storage import database, inserts

PROCESSES = 50
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)


def recorded(path: Path, process_rows: int, progress: Callable[[float], None], first_minute: int = 0) -> Path:
    """Return a database of one sample a minute with 50 processes each, of which one is replaced every ten minutes."""
    if path.exists():
        return path
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    chance = random.Random(first_minute)
    samples = process_rows // PROCESSES
    with closing(database.open_current(str(unfinished))) as connection:
        connection.execute("PRAGMA synchronous=OFF")  # only the making is in a hurry
        host = connection.execute(inserts.INSERT_HOST, {"name": "bench"}).lastrowid
        boot = {"host_id": host, "key": "bench", "booted_at": "2026-01-01 00:00:00.000000"}
        boot_id = connection.execute(inserts.INSERT_BOOT, boot).lastrowid
        connection.execute(inserts.INSERT_NAME_FILTER, {"text": "python", "rank": 0})
        processes = [_process(connection, boot_id, number) for number in range(PROCESSES)]
        for start in range(0, samples, 1000):
            progress(start / samples)
            connection.execute("BEGIN")
            for number in range(start, min(start + 1000, samples)):
                if number % 10 == 0:
                    processes[chance.randrange(PROCESSES)] = _process(connection, boot_id, number + PROCESSES)
                system = _system(chance, first_minute + number) | {"boot_id": boot_id}
                sample_id = connection.execute(inserts.INSERT_SYSTEM_SAMPLE, system).lastrowid
                rows = [
                    _counters(chance, number, process) | {"sample_id": sample_id} for process in sorted(processes)
                ]
                connection.executemany(inserts.INSERT_PROCESS_SAMPLE, rows)
            connection.execute("COMMIT")
    unfinished.rename(path)
    return path


def last_hour(path: Path) -> str:
    """Return what --since takes for the last hour that the database holds."""
    with closing(database.connect(str(path))) as connection:
        (newest,) = connection.execute("SELECT max(taken_at) FROM system_sample").fetchone()
    return (datetime.fromisoformat(newest) - timedelta(minutes=60)).isoformat() + "Z"


def one_hour_of(path: Path, since: str, target: Path) -> Path:
    """Return a database that holds the samples of *path* from *since* on, and nothing else."""
    if not target.exists():
        database.open_current(str(target)).close()
        with closing(database.connect(str(target))) as connection:
            connection.execute("ATTACH ? AS whole", (str(path),))
            connection.execute("BEGIN")
            newer = "SELECT id FROM whole.system_sample WHERE taken_at >= ?"
            since_text = since.replace("T", " ").removesuffix("Z")
            for table in ("host", "boot", "name_filter", "process"):
                connection.execute(f"INSERT INTO main.{table} SELECT * FROM whole.{table}")
            connection.execute(
                "INSERT INTO main.system_sample SELECT * FROM whole.system_sample WHERE taken_at >= ?", (since_text,)
            )
            connection.execute(
                f"INSERT INTO main.process_sample SELECT * FROM whole.process_sample WHERE sample_id IN ({newer})",
                (since_text,),
            )
            connection.execute("COMMIT")
    return target


def original_pickle(path: Path, samples: int, processes_each: int) -> Path:
    """Return a data.pik as the original would have written it."""
    if not path.exists():
        chance = random.Random(1)
        system, processes = [], []
        for number in range(samples):
            when = _BEGIN + timedelta(minutes=number, microseconds=chance.randrange(10**6))
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


def _process(connection: database.sqlite3.Connection, boot_id: int | None, number: int) -> tuple[int, int]:
    """Insert a process and return its id and the minute that it started in."""
    row = {
        "boot_id": boot_id,
        "pid": 1000 + number,
        "started_ticks": number * 6000,
        "started_at": _text(number),
        "name": f"python{number % 7}",
        "ppid": 1,
        "username": "app",
        "command": f"/usr/bin/python{number % 7} /srv/app/worker.py --queue {number}",
    }
    process_id = connection.execute(inserts.INSERT_PROCESS, row).lastrowid
    assert process_id is not None
    return process_id, number


def _counters(chance: random.Random, minute: int, process: tuple[int, int]) -> dict[str, object]:
    process_id, started = process
    age = max(0, minute - started)
    busy = process_id % 3 == 0
    return {
        "process_id": process_id,
        "filter_id": 1,
        "cpu_percent": chance.randrange(1000) / 10 if busy else 0.0,
        "cpu_user_ms": age * (600 if busy else 3) * 10,
        "cpu_system_ms": age * 2 * 10,
        "rss_bytes": (20_000 + chance.randrange(1000)) * 4096,
        "vms_bytes": (90_000 + process_id % 1000) * 4096,
        "num_threads": 4,
        "read_bytes": age * 4096 if busy else 0,
        "write_bytes": age * 8192 if busy else 0,
        "uss_bytes": None,
        "pss_bytes": None,
        "swap_bytes": None,
    }


def _system(chance: random.Random, minute: int) -> dict[str, object]:
    used = chance.randrange(10**10)
    total = 25276510208
    counters = dict.fromkeys(
        ("disk_read_bytes", "disk_write_bytes", "net_sent_bytes", "net_received_bytes", "cpu_idle_ms"),
        minute * 60_000,
    )
    return {
        "taken_at": _text(minute, chance.randrange(10**6)),
        "taken_at_local": _text(minute, chance.randrange(10**6)),
        "uptime_seconds": minute * 60.0,
        "window_seconds": 1.001,
        "cpu_percent": chance.randrange(1000) / 10,
        "cpu_user_ms": minute * 900,
        "cpu_system_ms": minute * 300,
        "cpu_iowait_ms": minute,
        "cpu_steal_ms": 0,
        "cpu_count": 2,
        "load_1min": 0.5,
        "load_5min": 0.4,
        "load_15min": 0.3,
        "mem_total_bytes": total,
        "mem_available_bytes": total - used,
        "mem_used_bytes": used,
        "swap_total_bytes": 0,
        "swap_used_bytes": 0,
        "pressure_cpu_ms": minute * 10,
        "pressure_memory_ms": 0,
        "pressure_io_ms": minute,
        "processes_seen": 120,
        "processes_denied": 0,
        "recorder_cpu_ms": 45,
        **counters,
    }


def _text(minute: int, microsecond: int = 0) -> str:
    return (_BEGIN + timedelta(minutes=minute, microseconds=microsecond)).isoformat(" ", "microseconds")
