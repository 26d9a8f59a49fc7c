"""What the tests of recording share: a sample of this machine, and what was recorded of it."""

from __future__ import annotations

import datetime
import os
import subprocess
from collections.abc import Callable
from typing import Any

import psutil
from conftest import OWN, query, until

from perftrack.recording.sampler import Sampler
from perftrack.sample import Sample
from perftrack.settings import load
from perftrack.storage.models import Process, ProcessSample, columns_of

Row = dict[str, Any]
Spawn = Callable[..., subprocess.Popen[bytes]]
Python = Callable[..., subprocess.Popen[bytes]]
SLEEPER, BURNER = OWN + "sleeper", OWN + "burner"
PR_SET_NAME = 15
SLEEP = "import time; print(flush=True); time.sleep(1000)"
CALL_ITSELF = f"""
import ctypes, sys
ctypes.CDLL(None).prctl({PR_SET_NAME}, bytes.fromhex(sys.argv[1]), 0, 0, 0)
{SLEEP}
"""
PROCESS_COLUMNS = {
    *Process.__table__.columns.keys(),
    *(column.name for column in columns_of(ProcessSample) if not column.info.get("is_of_condensing")),
    "filter",
    "cgroup",
    "named_itself",
} - {
    "id",
    "boot_id",
    "sample_id",
    "process_id",
    "filter_id",
    "cgroup_id",
}


def no_baseline(*_about: Any) -> None:
    return None


def sampler_of(*filters: str, window: float = 0.05, **settings: Any) -> Sampler:
    return Sampler(load({"process_filter": [*filters], "cpu_window": window, "top": 0, **settings}))


def take(*filters: str, window: float = 0.05, **settings: Any) -> Sample:
    return sampler_of(*filters, window=window, **settings).take(no_baseline)


def row_of(process: subprocess.Popen[bytes], sample: Sample) -> Row:
    return next(row for row in sample.processes if row["pid"] == process.pid)


def nulls(sample: Sample) -> set[str]:
    return {name for name, value in sample.system.items() if value is None}


def timestamp(utc_text: str) -> float:
    return datetime.datetime.fromisoformat(f"{utc_text}+00:00").timestamp()


def spawn_zombie(spawn: Spawn, name: str) -> subprocess.Popen[bytes]:
    process = spawn(name, "0")
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    return process


def count(path: str, table: str = "system_sample") -> int:
    return query(path, f"SELECT count(*) FROM {table}")[0]


def newest(path: str, column: str, name: str | None = None) -> Any:
    """Return *column* of the newest sample: of the system, or of the process of that name."""
    if name is None:
        return query(path, f"SELECT {column} FROM system_sample ORDER BY id DESC LIMIT 1")[0]
    return query(
        path,
        f"SELECT {column} FROM process_sample JOIN process ON process.id = process_id "
        f"WHERE name = '{name}' AND sample_id = (SELECT max(id) FROM system_sample)",
    )[0]


def environment(path: str, **variables: str) -> dict[str, str]:
    own = {"PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0.05", "PERFTRACK_TOP": "0"}
    return {**os.environ, **own, **variables}
