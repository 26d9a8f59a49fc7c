"""Shared by all tests: an environment of one's own, the program as a user runs it, real processes."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from perftrack.recording import cgroups
from perftrack.sample import Sample
from perftrack.settings import Settings, load
from perftrack.storage import opening
from perftrack.storage.models import SystemSample

REPOSITORY = Path(__file__).resolve().parent.parent
LEGACY = Path(__file__).parent / "legacy"
OWN = f"{os.getpid():x}-"  # in the names of processes of this run of the tests alone


def pytest_configure() -> None:
    """Let Ctrl-C end what the tests start, also where a shell that started them in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests away from the user's own database, settings and screen."""
    for name in [name for name in os.environ if name.startswith(("PERFTRACK_", "XDG_")) or name == "COLUMNS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TZ", "UTC")
    if hasattr(time, "tzset"):  # not on Windows
        time.tzset()


def seeds(count: int, often: int = 4) -> list[Any]:
    """Return the seeds of a made-up course of events: *often* so many of them, the others with the marker slow."""
    return [*range(often), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(often, count))]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a test's database is, or will be."""
    return str(tmp_path / "data" / "perftrack.db")


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def perftrack(path: str, tmp_path: Path) -> Run:
    """Run the program as a user does, in a folder of its own, with PERFTRACK_DATABASE set."""
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)

    def run(*arguments: str, expect: int | None = 0, **settings: Any) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0.05"} | settings.pop("env", {})
        env = {name: value for name, value in env.items() if value is not None}
        done = subprocess.run(
            [sys.executable, "-m", "perftrack", *arguments],
            env=env,
            cwd=settings.pop("cwd", folder),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            **settings,
        )
        assert expect is None or done.returncode == expect, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def let_others_in(folder: Path) -> None:
    """Let other users into *folder*, and into those of pytest that it is in."""
    for each in (folder, *folder.parents):
        if each.is_relative_to(tempfile.gettempdir()) and str(each) != tempfile.gettempdir():
            each.chmod(0o755)


def on_a_terminal(
    *arguments: str,
    program: Sequence[str] = (sys.executable, "-m", "perftrack"),
    folder: Path | None = None,
    expect: int = 0,
    **env: str,
) -> str:
    """Return all that a program writes where stdout and stderr are a terminal of 1000 columns."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*program, *arguments],
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "1000", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    try:
        while more := os.read(ours, 10_000):
            written += more
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == expect, written
    return written.decode().replace("\r\n", "\n")  # the terminal's line ends


@pytest.fixture
def sqlite3_shell(path: str) -> Callable[..., str]:
    """Ask the real sqlite3 shell, as a person at its prompt does."""
    program = shutil.which("sqlite3")
    if program is None:
        pytest.skip("the sqlite3 shell is not installed")

    def ask(sql: str, *options: str) -> str:
        done = subprocess.run([program, *options, path, sql], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return ask


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a real process that sleeps, under a name of one's choice; the arguments are sleep's, 1000 by default.

    It is asleep, or done with sleeping, by the time it returns.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str | bytes, *arguments: str | bytes) -> subprocess.Popen[bytes]:
        folder = tmp_path / "programs" / str(len(started))
        folder.mkdir(parents=True)
        program = os.path.join(os.fsencode(folder), name if isinstance(name, bytes) else name.encode())
        shutil.copy(b"/bin/sleep", program)
        process = subprocess.Popen([program, *(arguments or ("1000",))])
        started.append(process)
        asleep(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def asleep(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has started up and does nothing any more, so that two readings agree."""
    seen = psutil.Process(process.pid)
    status = seen.status
    # in the middle of exec, which is where Popen returns, it has neither its name nor its arguments yet
    until(lambda: status() == psutil.STATUS_ZOMBIE or (status() == psutil.STATUS_SLEEPING and seen.cmdline()))


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a Python program, wait until it prints a line, and go on while it runs."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str, *arguments: str | bytes) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE)
        started.append(child)
        child.stdout.readline()
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.fixture
def in_the_window(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Let something happen while the sampler sleeps between first and second counters."""

    def happen(event: Callable[[], Any]) -> None:
        sleep = time.sleep

        def eventful_sleep(seconds: float) -> None:
            monkeypatch.setattr(time, "sleep", sleep)
            event()
            sleep(seconds)

        monkeypatch.setattr(time, "sleep", eventful_sleep)

    return happen


@pytest.fixture
def group() -> Iterator[Callable[..., Path]]:
    """Make a real control group below that of this process, which is empty at the end of the test."""
    made: list[Path] = []

    def make(name: str = "") -> Path:
        found = cgroups.mount()
        if found is None:
            pytest.skip("no control groups of version 2 are mounted here")
        own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        below = own.removeprefix("0::").removeprefix(found[0]).rstrip("/")
        folder = Path(f"{found[1]}{below}/{OWN}group{name}")
        try:
            folder.mkdir()
            made.append(folder)
            (folder / "cgroup.procs").read_text()
        except OSError as error:
            pytest.skip(f"control groups cannot be made here: {error}")
        return folder

    yield make
    for folder in reversed(made):
        folder.rmdir()


def run_in(group: Path, *command: str) -> None:
    """Run a command to its end in a control group, in which it starts already."""
    enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
    subprocess.run(["sh", "-c", enter, "sh", *command], check=True)


@pytest.fixture
def settings(path: str) -> Callable[..., Settings]:
    """The settings of a tick that watches processes whose names contain OWN."""

    def made(**options: Any) -> Settings:
        return load({"database": path, "cpu_window": 0.05, "process_filter": [OWN], "top": 0, **options})

    return made


def make_database(path: str | Path) -> None:
    """Make a database without samples. It is a copy, for migrating takes longer than most of what is tested."""
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(_empty_database())


@cache
def _empty_database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        opening.open_current(f"{folder}/perftrack.db").close()
        return Path(folder, "perftrack.db").read_bytes()


@pytest.fixture
def database(path: str) -> str:
    """A fresh database, for what is not about the first tick, which makes it."""
    make_database(path)
    return path


@pytest.fixture
def connection(database: str) -> Iterator[sqlite3.Connection]:
    """A fresh database, open for writing."""
    opened = opening.open_current(database)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Any]:
    """A PostgreSQL server with a centre of a fleet in it, for all tests of a run."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    import centres

    with centres.a_server() as started:
        yield started


@pytest.fixture
def centre(server: Any) -> Iterator[Any]:
    """A centre of a fleet of a test's own, empty."""
    import centres

    with centres.a_centre(server) as made:
        yield made


def until(happened: Callable[[], Any], *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait for something, a minute at most; also where a test has put something else in time.sleep's place."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        sleep(0.005)


def query(database: str | Path | sqlite3.Connection, sql: str) -> list[Any]:
    """Return all rows of *sql*, or the values where it has one column; statements that write are committed."""
    if isinstance(database, sqlite3.Connection):
        rows = database.execute(sql).fetchall()
    else:
        with closing(sqlite3.connect(database)) as opened, opened:
            rows = opened.execute(sql).fetchall()
    return [row[0] if len(row) == 1 else row for row in rows]


def system_row(**values: Any) -> dict[str, Any]:
    """Return a row of system_sample as the sampler makes it, made-up but for *values*."""
    columns = SystemSample.__table__.columns.keys()
    row: dict[str, Any] = dict.fromkeys(name for name in columns if name not in {"id", "boot_id", "recorder_id"})
    row |= {
        "taken_at": "2026-11-20 12:00:00.000000",
        "cpu_percent": 12.5,
        "mem_total_bytes": 1000,
        "mem_used_bytes": 250,
        "mem_available_bytes": 750,
        "processes_seen": 100,
        **values,
    }
    row["taken_at_local"] = values.get("taken_at_local", row["taken_at"])
    return row


def process_row(**values: Any) -> dict[str, Any]:
    """Return a process of a sample as the sampler makes it, made-up but for *values*."""
    return {
        "pid": 100,
        "started_ticks": 5000,
        "started_at": "2026-11-20 11:00:00.000000",
        "name": "python3",
        "ppid": 1,
        "username": "root",
        "command": "python3 job.py",
        "filter": "python",
        "cpu_percent": 3.0,
        "cpu_user_ms": 1000,
        "cpu_system_ms": 500,
        "children_user_ms": 0,
        "children_system_ms": 0,
        "rss_bytes": 4096,
        "vms_bytes": 8192,
        "num_threads": 1,
        "major_faults": 0,
        "cgroup": None,
        "read_bytes": 0,
        "write_bytes": 0,
        "own_read_bytes": None,
        "own_write_bytes": None,
        "uss_bytes": None,
        "pss_bytes": None,
        "swap_bytes": None,
        **values,
    }


def cgroup_row(path: str, cpu_ms: int | None = 0, **values: Any) -> dict[str, Any]:
    """Return a control group of a sample as the sampler makes it, made-up but for *values*."""
    return {
        "path": path,
        "inode": 1 + sum(path.encode()),
        "cpu_user_ms": cpu_ms,
        "cpu_system_ms": None if cpu_ms is None else 0,
        "memory_bytes": None,
        "memory_peak_bytes": None,
        "oom_kills": None,
        "read_bytes": None,
        "write_bytes": None,
        "tasks": None,
        **values,
    }


def sample(
    *processes: dict[str, Any],
    host: str = "here",
    boot: str | None = "boot-1",
    recorder: str = "--filter python",
    cgroups: list[dict[str, Any]] | None = None,
    **system: Any,
) -> Sample:
    """Return a made-up sample."""
    return Sample(
        {"name": host},
        {"key": boot, "booted_at": "2026-11-20 10:00:00.000000"},
        {"username": "root", "selection": recorder},
        system_row(cgroups_seen=None if cgroups is None else len(cgroups), **system),
        list(processes),
        cgroups,
    )
