"""A server that is full, or that is started anew, in the middle of a ship: the next one goes on."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import agent
import pytest
from centres import Centre, make
from conftest import query, until
from test_condensing import Restless
from test_interrupted import REACHED
from test_ship import assert_the_same

pytest.importorskip("psycopg")
pytestmark = pytest.mark.faults


@contextmanager
def a_small_disk(folder: Path, mib: int) -> Iterator[Path]:
    """Mount a disk of *mib* MiB at a new *folder*, which is PostgreSQL's."""
    from server import USER

    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    try:
        shutil.chown(folder, USER, USER)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(folder: Path, kib: int) -> Iterator[None]:
    """Leave *kib* KiB of the disk of *folder*."""
    disk = os.statvfs(folder)
    filler = folder / "filler"
    filler.write_bytes(b"x" * max(0, disk.f_bavail * disk.f_frsize - kib * 1024))
    try:
        yield
    finally:
        filler.unlink()


def assert_whole(centre: Centre) -> None:
    ((reached, held),) = centre.query(REACHED)
    assert held == reached


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def a_fleet(stack: ExitStack, server: Any, tablespace: str = "pg_default") -> Centre:
    with server.connect() as opened:
        opened.execute("CREATE ROLE owner LOGIN CREATEROLE")
        opened.execute(f"CREATE DATABASE fleet OWNER owner TABLESPACE {tablespace}".encode())
    make(server.url("fleet", "owner"))
    return Centre(server, "fleet")


def test_the_disk_of_the_tables_is_full(stack: ExitStack, connection: sqlite3.Connection, path: str) -> None:
    """It is full after 0, 32, 64 ... KiB more."""
    from server import a_folder, running

    folder = stack.enter_context(a_folder())
    disk = stack.enter_context(a_small_disk(folder / "small", 64))
    server = stack.enter_context(running(folder, 5434))
    (disk / "space").mkdir(mode=0o700)
    shutil.chown(disk / "space", "postgres", "postgres")
    with server.connect() as opened:
        opened.execute(f"CREATE TABLESPACE small LOCATION '{disk / 'space'}'".encode())
    centre = a_fleet(stack, server, "small")
    simulation = Restless(connection, 21)
    told = []
    for kib in range(0, 1600, 80):
        simulation.run(20)
        with full(disk, kib):
            told.append(agent.ship(path, centre.url()))
            assert_whole(centre)
    assert "disk of the server is full" in told[0]
    assert told[-1] == ""
    assert all("disk of the server is full" in each for each in told if each)
    assert agent.ship(path, centre.url()) == ""
    assert_the_same(centre, connection)


def test_the_disk_of_the_log_is_full(stack: ExitStack, connection: sqlite3.Connection, path: str) -> None:
    """PostgreSQL gives up then, and is started once there is room."""
    from server import a_folder, running

    folder = stack.enter_context(a_folder())
    disk = stack.enter_context(a_small_disk(folder / "small", 300))
    server = stack.enter_context(running(folder, 5434, "synchronous_commit=on", "min_wal_size=32MB"))
    server.stop("fast")
    shutil.move(f"{server.data}/pg_wal", disk / "pg_wal")
    os.symlink(disk / "pg_wal", f"{server.data}/pg_wal")
    for found in [disk / "pg_wal", *(disk / "pg_wal").rglob("*")]:
        shutil.chown(found, "postgres", "postgres")
    server.start()
    centre = a_fleet(stack, server)
    simulation = Restless(connection, 22)
    simulation.run(20)
    assert agent.ship(path, centre.url()) == ""
    failed = 0
    for kib in (1, 10, 20, 40, 80, 160):
        simulation.run(60)
        with server.connect() as opened, full(disk, 0):
            # of the pieces of the log that are there, all but some KiB; each page of 8 KiB has a head
            further = "count(*) FILTER (WHERE name > pg_walfile_name(pg_current_wal_insert_lsn()))"
            left = f"(1 + {further}) * 16777216 - (pg_current_wal_insert_lsn() - '0/0')::bigint % 16777216"
            size = f"(({left} - 1024 * {kib}) * 0.997)::integer"
            emitted = f"pg_logical_emit_message(true, 'x', repeat('x', {size}))"
            opened.execute(f"SELECT {emitted} FROM pg_ls_waldir()".encode())
            failed += bool(agent.ship(path, centre.url()))
        start_anew(server)
        assert_whole(centre)
    assert failed > 2
    assert agent.ship(path, centre.url()) == ""
    assert_the_same(centre, connection)


def start_anew(server: Any) -> None:
    """Start a server that goes on, gave up, or is about to."""

    def is_started() -> bool:
        with suppress(AssertionError):
            server.stop()
        with suppress(AssertionError):
            server.start()
            return True
        return False

    until(is_started)


def test_a_server_is_restarted_at_any_message(stack: ExitStack, connection: sqlite3.Connection, path: str) -> None:
    from proxy import proxy_before
    from server import a_folder, running

    folder = stack.enter_context(a_folder())
    server = stack.enter_context(running(folder, 5434))
    centre = a_fleet(stack, server)
    proxy = stack.enter_context(proxy_before(server))
    simulation = Restless(connection, 23)
    failed = 0
    for number in range(1, 25):
        simulation.run(20)
        messages = 0
        is_done = threading.Event()

        def restart(sent: bytes, number: int = number, is_done: threading.Event = is_done) -> None:
            nonlocal messages
            messages += 1
            if messages == number:
                server.stop("fast")
                server.start()
                is_done.set()

        proxy.before = restart
        failed += bool(agent.ship(path, proxy.url("fleet", "web1")))
        proxy.before = lambda sent: None
        assert messages < number or is_done.wait(60)
        assert_whole(centre)
    assert failed > 15
    assert agent.ship(path, centre.url()) == ""
    assert_the_same(centre, connection)


def test_a_loop_goes_on_when_the_server_is_there_again(
    stack: ExitStack, connection: sqlite3.Connection, path: str
) -> None:
    from server import a_folder, running

    server = stack.enter_context(running(stack.enter_context(a_folder()), 5434))
    centre = a_fleet(stack, server)
    simulation = Restless(connection, 24)
    simulation.run(20)
    server.stop("fast")
    loop = agent.start(path, centre.url(), "--every", "0.2s")
    try:
        assert loop.stderr.readline().endswith("try again later\n")
        server.start()
        for _ in range(3):
            simulation.run(10)
            (recorded,) = query(connection, "SELECT max(id) FROM system_sample")
            until(lambda recorded=recorded: centre.query(REACHED)[0][0] == recorded)
    finally:
        loop.send_signal(signal.SIGINT)
        _, said = loop.communicate(timeout=60)
    assert loop.returncode in {0, 130}
    assert all(line.endswith("try again later") for line in said.splitlines()), said
    assert_the_same(centre, connection)


def test_a_server_that_is_read_only_for_a_while(stack: ExitStack, connection: sqlite3.Connection, path: str) -> None:
    from server import a_folder, running

    server = stack.enter_context(running(stack.enter_context(a_folder()), 5434))
    centre = a_fleet(stack, server)
    Restless(connection, 25).run(20)
    with server.connect() as opened:
        opened.execute("ALTER DATABASE fleet SET default_transaction_read_only = on")
        assert "read-only" in agent.ship(path, centre.url())
        opened.execute("ALTER DATABASE fleet RESET default_transaction_read_only")
    assert agent.ship(path, centre.url()) == ""
    assert_the_same(centre, connection)
