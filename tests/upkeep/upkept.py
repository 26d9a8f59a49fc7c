"""What the tests of upkeep share: databases of some size, damage, a loop that records meanwhile, another user."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic import command
from conftest import make_database, query, until
from machine import Machine, process

from perftrack.storage import opening, schema

COUNT = "SELECT count(*) FROM system_sample"


def fill(path: str, samples: int = 3, processes: int = 5, after: float = 60) -> None:
    """Record *samples* of *processes* each, which no other call has; the first one *after* so many seconds."""
    if not os.path.exists(path):
        make_database(path)
    with closing(opening.open_current(path)) as connection:
        machine = Machine(connection)
        for number in range(samples):
            rows = [process(number, pid=pid, started_ticks=pid, name=f"p{pid}") for pid in range(processes)]
            machine.tick(*rows, after=after if number == 0 else 60)


def of_revision(path: str, revision: str) -> None:
    """Make a database of an older perftrack, which holds nothing yet."""
    with schema.migrating(path) as connection:
        config = schema.alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def overwritten_in_the_middle(path: str) -> None:
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(size // 3)
        file.write(b"\xa5" * (size // 3))


def without_its_header(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(os.urandom(4096))


def cut_off(path: str) -> None:
    os.truncate(path, os.path.getsize(path) // 2)


def overwritten_where_rows_are(path: str) -> None:
    """A tick goes on in such a one."""
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(size * 6 // 8)
        file.write(b"\xa5" * (size // 8))


DAMAGES: list[Callable[[str], None]] = [
    overwritten_in_the_middle,
    overwritten_where_rows_are,
    without_its_header,
    cut_off,
]


def is_sound(path: str) -> bool:
    return query(path, "PRAGMA integrity_check") == ["ok"] and query(path, "PRAGMA foreign_key_check") == []


@contextmanager
def recording(path: str, **env: str) -> Generator[subprocess.Popen[str]]:
    """Record every 0.2 s meanwhile, from a first sample until a last one after the body."""
    settings = {"PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0", "PERFTRACK_TOP": "0", **env}
    loop = subprocess.Popen(
        [sys.executable, "-m", "perftrack", "record", "--every", "0.2s"],
        env={**os.environ, **settings},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        before = count(path)
        until(lambda: count(path) > before)
        yield loop
        after = count(path)
        until(lambda: count(path) > after + 1)
        assert loop.poll() is None
    finally:
        loop.send_signal(signal.SIGTERM)
        _, told = loop.communicate(timeout=60)
    assert "Traceback" not in told


def count(path: str) -> int:
    """Return how many samples there are."""
    if not os.path.exists(path):
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        found = connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,)
        return int(connection.execute(COUNT).fetchone()[0]) if found else 0


def beside(path: str | Path) -> list[str]:
    """Return the names of what is in the folder of *path*, without what SQLite has there while it is open."""
    return sorted(name for name in os.listdir(os.path.dirname(path)) if not name.endswith(("-wal", "-shm")))


def dying(call: str, at_step: int) -> list[str]:
    """Return a command that kills itself in step *at_step*, of 5 pages, of a *call* that shows its progress."""
    program = f"""
import os, signal, sys
from perftrack.upkeep import backup, copying, restore
copying.PAGES = 5
steps = 0
def progress(done, total):
    global steps
    steps += 1
    if steps == {at_step}:
        os.kill(os.getpid(), signal.SIGKILL)
{call}
"""
    return [sys.executable, "-c", program]


# The other user need not be able to read the Python that runs the tests.
AS_USER = """
import os, sys
import alembic.command, alembic.runtime.migration, perftrack.cli.app, perftrack.upkeep.check, perftrack.upkeep.backup
import perftrack.upkeep.restore, perftrack.upkeep.vacuum, perftrack.storage.schema, sqlalchemy.dialects.sqlite
import perftrack.upkeep.surroundings, encodings.idna, json, secrets
from perftrack.__main__ import main
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.argv = ["perftrack", *sys.argv[1:]]
main()
"""


def as_another(path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program as user 65534, who is nobody."""
    return subprocess.run(
        [sys.executable, "-c", AS_USER, *arguments],
        env={**os.environ, "PERFTRACK_DATABASE": path, "HOME": "/nonexistent"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
