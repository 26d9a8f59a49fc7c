"""What a fleet costs: made-up machines of a day each, shipped by processes side by side to real servers.

On plain PostgreSQL, and on Citus with a coordinator and two workers on this machine. Servers are as after installing
them, but for shared_buffers and, of Citus, what it needs.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from rich.table import Table

from benchmarks.bars import MissingError
from benchmarks.data import BEGIN, PROCESSES, recorded
from benchmarks.measure import run
from perftrack.fleet import agents, migrating
from perftrack.fleet.hours import close_hours
from perftrack.fleet.partitions import DAYS_BEFORE
from perftrack.storage import sqlite_file, tick_sql

sys.path.insert(0, str(Path(__file__).parent.parent / "fleet"))

DAY = 1440
GROUPS, BUSY_GROUPS = 40, 10
ROLE = "agent"
SHIPPERS = 2
FLEET = 10_000
# The first machines ship their day at once, the others an hour after the other in turn, and the last one so.
AT_ONCE = 4
HOUR, TEN_MINUTES = 60, 10
_PIECES = [HOUR] * (DAY // HOUR - 1) + [TEN_MINUTES] * (HOUR // TEN_MINUTES)
_ROWS_OF_A_SAMPLE = 1 + PROCESSES + 10
_AS_INSTALLED = (
    *("fsync=on", "synchronous_commit=on", "full_page_writes=on", "autovacuum=on"),
    *("shared_buffers=1GB", "max_wal_size=4GB"),
)
_FOR_CITUS = (
    *("shared_preload_libraries=citus", "citus.shard_count=8", "max_prepared_transactions=100"),
    "citus.node_conninfo=sslmode=disable",
)
_GROUPS = f"""
WITH RECURSIVE each(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM each WHERE number < {GROUPS})
INSERT INTO cgroup (id, boot_id, path, inode, unit)
SELECT number, 1, '/system.slice/unit' || number || '.service', number, 'unit' || number || '.service' FROM each
"""
_GROUP_SAMPLES = f"""
INSERT INTO cgroup_sample (sample_id, cgroup_id, previous_sample_id, cpu_user_ms, cpu_system_ms, memory_bytes)
SELECT system_sample.id, cgroup.id, nullif(system_sample.id - 1, 0), system_sample.id * 300, system_sample.id * 50,
  20000000 + system_sample.id % 1000 * 4096
FROM system_sample CROSS JOIN cgroup ON cgroup.id <= {BUSY_GROUPS} OR system_sample.id = 1
"""


class Figures(NamedTuple):
    """What was measured on one engine. Seconds are wall-clock times, but CPU seconds: of shipping a day at once."""

    engine: str
    machines: int
    rows: int  # of processes
    at_once_rows_per_second: float  # a machine's day at once
    in_turn_rows_per_second: float  # an hour of each machine in turn
    ships_per_second: float  # of ten minutes
    agent_cpu_seconds: float
    bytes_per_row: float  # of processes, with all else that belongs to it
    hours_seconds: float  # adding up the hours of the day
    answers: dict[str, float]  # by question
    columnar_bytes_per_row: float | None  # NULL: not Citus


class TenMinutes(NamedTuple):
    """What a `perftrack ship` of ten samples costs on a machine."""

    cpu_seconds: float
    peak_bytes: int


def measure(cache: Path, machines: int, say: Callable[[str], None]) -> tuple[list[Figures | str], TenMinutes]:
    """Measure *machines* machines on both engines; what is missing is said in the place of figures."""
    try:
        from server import BINARIES, CITUS
    except ImportError as error:
        raise MissingError(str(error)) from None
    if not (BINARIES / "initdb").exists():
        raise MissingError("PostgreSQL 15 is not installed: apt install postgresql")
    say("making a machine's day")
    day = _a_day(cache)
    with _plain() as url:
        ten_minutes = _ten_minutes(cache, day, url, say)
    found: list[Figures | str] = [_on("PostgreSQL", _plain, cache, day, machines, say)]
    found.append(
        _on("Citus, 2 workers", _citus, cache, day, machines, say) if CITUS.exists() else "Citus is not installed"
    )
    return found, ten_minutes


def _a_day(cache: Path) -> Path:
    """Return a database of the day before now: one sample a minute, and control groups."""
    first = int((datetime.now(UTC).replace(tzinfo=None) - BEGIN).total_seconds() // 60) - DAY
    path = cache / f"day-of-a-fleet-{tick_sql.REVISION}-{first // 60}.db"
    if not path.exists():
        for old in cache.glob("day-of-a-fleet-*"):
            old.unlink()
        unfinished = recorded(cache / "day-of-a-fleet.making", DAY * PROCESSES, lambda _: None, first)
        with closing(sqlite_file.connect(str(unfinished))) as connection:
            connection.execute("BEGIN")
            connection.execute(_GROUPS)
            connection.execute(_GROUP_SAMPLES)
            connection.execute(f"UPDATE process SET cgroup_id = id % {GROUPS} + 1")
            connection.execute(f"UPDATE system_sample SET cgroups_seen = {GROUPS}")
            connection.execute("UPDATE cgroup SET latest_sample_id = 1")
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        unfinished.rename(path)
    return path


def _machine(day: Path, path: Path, number: int, samples: int = DAY) -> str:
    """Make a machine of its own of *day*, with its first *samples*."""
    shutil.copyfile(day, path)
    with closing(sqlite_file.connect(str(path))) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        connection.execute("UPDATE source SET uuid = ?", (str(uuid4()),))
        connection.execute("UPDATE host SET name = ?", (f"machine{number}",))
        connection.execute("UPDATE boot SET key = key || ?", (number,))
        if samples < DAY:
            for table, key in (
                ("process_sample", "sample_id"),
                ("cgroup_sample", "sample_id"),
                ("system_sample", "id"),
            ):
                connection.execute(f"DELETE FROM {table} WHERE {key} > ?", (samples,))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return str(path)


class _EnoughError(Exception):
    """So much was to be shipped, and has been."""


def _make(day: str, folder: str, number: int) -> str:
    return _machine(Path(day), Path(folder) / f"machine{number}.db", number)


def _ship(path: str, url: str, samples: int | None) -> tuple[int, float]:
    """Ship so many samples of a machine, None: all; return how many rows of processes, and CPU seconds."""
    from perftrack.fleet import local
    from perftrack.fleet.ship import ship

    shipped = 0

    def stop(done: int, _waiting: int) -> None:
        nonlocal shipped
        shipped = done
        if samples is not None:
            raise _EnoughError

    local.ROWS_MAX = 20_000 if samples is None else samples * _ROWS_OF_A_SAMPLE
    began = time.process_time()
    with suppress(_EnoughError):
        ship(path, url, stop)
    return shipped * PROCESSES, time.process_time() - began


@contextmanager
def _plain() -> Iterator[Callable[[str], str]]:
    from server import a_folder, running

    with a_folder() as folder, running(folder, 5432, *_AS_INSTALLED) as server:
        with server.connect() as connection:
            connection.execute("CREATE DATABASE fleet")
        yield _made(lambda role: server.url("fleet", role))


@contextmanager
def _citus() -> Iterator[Callable[[str], str]]:
    from server import LISTENING, a_folder, running

    settings = (*_AS_INSTALLED, *_FOR_CITUS, LISTENING)
    with a_folder() as folder, ExitStack() as stack:
        servers = [stack.enter_context(running(folder, 5460 + number, *settings)) for number in range(3)]
        for server in servers:
            with server.connect() as connection:
                connection.execute("CREATE DATABASE fleet")
            with server.connect("fleet") as connection:
                connection.execute("CREATE EXTENSION citus")
        with servers[0].connect("fleet") as coordinator:
            coordinator.execute("SELECT citus_set_coordinator_host('127.0.0.1', 5460)")
            coordinator.execute("SELECT citus_set_node_property('127.0.0.1', 5460, 'shouldhaveshards', false)")
            for number in (1, 2):
                coordinator.execute("SELECT citus_add_node('127.0.0.1', %s)", (5460 + number,))
        yield _made(lambda role: servers[0].url("fleet", role))


def _made(url: Callable[[str], str]) -> Callable[[str], str]:
    migrating.upgrade(url("postgres"), is_new=True)
    agents.add(url("postgres"), ROLE)
    return url


def _ten_minutes(cache: Path, day: Path, url: Callable[[str], str], say: Callable[[str], None]) -> TenMinutes:
    say("a ship of ten minutes")
    costs = []
    for number in range(5):
        path = cache / "ten-minutes.db"
        whole = _machine(day, path, number)
        program = [sys.executable, "-m", "perftrack", "ship", "--to", url(ROLE), "--database", whole]
        begun = cache / "begun.db"
        _machine(day, begun, number, DAY - 10)
        with closing(sqlite_file.connect(whole)) as connection:
            (uuid,) = connection.execute("SELECT uuid FROM source").fetchone()
        with closing(sqlite_file.connect(str(begun))) as connection:
            connection.execute("UPDATE source SET uuid = ?", (uuid,))
        run([*program[:-1], str(begun)])
        costs.append(run(program))
        path.unlink()
        begun.unlink()
    return TenMinutes(statistics.median(each.cpu_seconds for each in costs), max(each.peak_bytes for each in costs))


def _on(
    engine: str, servers: Callable[[], Any], cache: Path, day: Path, machines: int, say: Callable[[str], None]
) -> Figures:
    folder = cache / "machines"
    folder.mkdir(exist_ok=True)
    with servers() as url, ProcessPoolExecutor(SHIPPERS) as shippers:
        say(f"{engine}: making {machines} machines")
        paths = list(
            shippers.map(_make, *zip(*((str(day), str(folder), each) for each in range(machines)), strict=True))
        )

        def in_turn(some: list[str], samples: int | None) -> tuple[int, float, float]:
            """Return how many rows were shipped, the seconds that it took, and those of the agents' CPUs."""
            began = time.monotonic()
            done = list(shippers.map(_ship, some, [url(ROLE)] * len(some), [samples] * len(some)))
            return sum(rows for rows, _ in done), time.monotonic() - began, sum(cpu for _, cpu in done)

        say(f"{engine}: a day at once")
        at_once, others = paths[:AT_ONCE], paths[AT_ONCE:]
        rows, seconds, cpu_seconds = in_turn(at_once, None)
        at_once_rows_per_second = rows / seconds
        cost = cpu_seconds / len(at_once)
        hours, tens = [], []
        for number, piece in enumerate(_PIECES, 1):
            (hours if piece == HOUR else tens).append(in_turn(others, piece))
            say(f"{engine}: {len(others)} machines in turn, {number} of {len(_PIECES)}")
        in_turn(others, None)
        for path in paths:
            Path(path).unlink()
        with closing(_owner(url)) as owner:
            say(f"{engine}: adding up hours")
            hours_seconds = _timed(lambda: close_hours(owner, datetime.now(UTC)))
            owner.execute("ANALYZE")
            rows = owner.execute("SELECT count(*) FROM perftrack.process_sample").fetchone()[0]
            size = _bytes(owner)
            ((end,),) = owner.execute("SELECT max(taken_at) FROM perftrack.source").fetchall()
        answers = {}
        for span in (timedelta(hours=1), timedelta(days=1)):
            for group in ("host", "unit", "name"):
                say(f"{engine}: fleet top by {group}, {span}")
                what = f"top by {group}, {'an hour' if span < timedelta(days=1) else 'a day'}"
                answers[what] = min(_timed(lambda g=group, s=span: _asked(url, g, end - s, end)) for _ in range(2))
        for group in ("host", "unit", "name"):
            say(f"{engine}: fleet top by {group}, a day, of whole hours")
            what = f"top --whole-hours by {group}, a day"
            answers[what] = min(
                _timed(lambda g=group: _asked(url, g, end - timedelta(days=1), end, whole_hours=True))
                for _ in range(2)
            )
        with closing(_owner(url)) as owner:
            columnar = _columnar(owner, rows) if engine != "PostgreSQL" else None
    return Figures(
        engine,
        machines,
        rows,
        at_once_rows_per_second,
        sum(rows for rows, _, _ in hours) / sum(seconds for _, seconds, _ in hours),
        len(others) * len(tens) / sum(seconds for _, seconds, _ in tens),
        cost,
        size / rows,
        hours_seconds,
        answers,
        columnar,
    )


def _owner(url: Callable[[str], str]) -> Any:
    from perftrack.fleet.connecting import connect

    return connect(url("postgres"), "bench")


def _timed(measured: Callable[[], Any]) -> float:
    began = time.monotonic()
    measured()
    return time.monotonic() - began


def _asked(
    url: Callable[[str], str], group: Any, since: datetime, until: datetime, *, whole_hours: bool = False
) -> None:
    from perftrack.fleet.sums import fleet_top
    from perftrack.reading.queries import TimeRange

    span = TimeRange(since, until)
    assert fleet_top(url("postgres"), span, group, "cpu", 15, None, None, whole_hours=whole_hours).rows


def _bytes(owner: Any) -> int:
    """Return what all tables and indexes take, on all servers."""
    is_citus = owner.execute("SELECT count(*) FROM pg_extension WHERE extname = 'citus'").fetchone()[0]
    tables = "SELECT oid FROM pg_class WHERE relnamespace = 'perftrack'::regnamespace AND relkind = 'r'"
    if not is_citus:
        of = "pg_total_relation_size"
    else:
        of, tables = "citus_total_relation_size", f"{tables} AND oid IN (SELECT logicalrelid FROM pg_dist_partition)"
    return int(owner.execute(f"SELECT sum({of}(oid)) FROM ({tables}) AS tables").fetchone()[0])


def _columnar(owner: Any, rows: int) -> float:
    """Return the bytes of a row where its day is made columns."""
    for (name,) in owner.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent IN ('perftrack.process_sample'::regclass,"
        " 'perftrack.cgroup_sample'::regclass) AND inhrelid::regclass::text ~ '[0-9]{8}$'"
    ).fetchall():
        owner.execute("SELECT alter_table_set_access_method(%s, 'columnar')", (name,))
    return _bytes(owner) / rows


def tables(found: list[Figures | str], ten_minutes: TenMinutes) -> list[Table | str]:
    """Return what is printed."""
    engines = [each for each in found if isinstance(each, Figures)]
    table = Table(title=f"{engines[0].machines} machines of a day, {engines[0].rows:,} process rows")
    table.add_column("what")
    for each in engines:
        table.add_column(each.engine, justify="right")
    rows: dict[str, Callable[[Figures], str]] = {
        f"process rows/s by {SHIPPERS} agents, a day at once": lambda of: f"{of.at_once_rows_per_second:,.0f}",
        "the same, an hour of each in turn": lambda of: f"{of.in_turn_rows_per_second:,.0f}",
        "ships of ten minutes a second": lambda of: f"{of.ships_per_second:.1f}",
        "an agent's CPU for a day at once": lambda of: f"{of.agent_cpu_seconds:.2f} s",
        "bytes a process row, with all that belongs to it": lambda of: f"{of.bytes_per_row:.0f}",
        "the same, days made columns": lambda of: (
            "" if of.columnar_bytes_per_row is None else f"{of.columnar_bytes_per_row:.0f}"
        ),
        "adding up the hours of the day": lambda of: f"{of.hours_seconds:.1f} s",
        **{
            f"fleet {what}": (lambda of, what=what: f"{of.answers[what]:.2f} s")  # type: ignore[misc]
            for what in engines[0].answers
        },
    }
    for what, of in rows.items():
        table.add_row(what, *(of(each) for each in engines))
    missing = [each for each in found if isinstance(each, str)]
    plain = engines[0]
    a_day = FLEET * DAY * PROCESSES
    needs = (
        f"A ship of ten minutes: {ten_minutes.cpu_seconds:.2f} s of CPU, {ten_minutes.peak_bytes / 1e6:.0f} MB. "
        f"{FLEET:,} machines, a tick a minute, {PROCESSES} processes, are {a_day / 86400:,.0f} process rows a "
        f"second, {FLEET / 600:.1f} ships of ten minutes a second, "
        f"and {a_day * plain.bytes_per_row / 1e9:,.0f} GB a day."
    )
    return [table, *missing, needs]


assert DAYS_BEFORE >= 1  # else the day before now has no partition
