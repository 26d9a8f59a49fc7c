"""PostgreSQL servers of the tests' own, in temporary folders and on unix sockets: never the system's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")

BINARIES = Path("/usr/lib/postgresql/15/bin")
CITUS = Path("/usr/lib/postgresql/15/lib/citus.so")
USER = "postgres"  # whom initdb wants instead of root; Debian's package makes it
LISTENING = "listen_addresses=127.0.0.1"  # else on its socket alone: servers of one port get on with each other
_SETTINGS = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60", "autovacuum=off"]


class Server:
    """A server that is running."""

    def __init__(self, folder: Path, port: int, *settings: str) -> None:
        self.folder, self.port, self.settings = folder, port, [*_SETTINGS, *settings]
        self._as = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
        self._run("initdb", "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8")
        self.start()

    @property
    def data(self) -> str:
        return str(self.folder / f"data-{self.port}")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [BINARIES / program, *arguments],
            cwd=self.folder,
            env={**os.environ, "HOME": str(self.folder)},
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=120,
            **self._as,
        )
        log = self.folder / f"log-{self.port}"
        assert done.returncode == 0, (done.stdout, log.read_text()[-5000:] if log.exists() else "")

    def start(self) -> None:
        given = " ".join(f"-c {each}" for each in self.settings)
        options = f"-p {self.port} -k {self.folder} -c listen_addresses= {given}"
        self._run(
            "pg_ctl", "-D", self.data, "-w", "-l", str(self.folder / f"log-{self.port}"), "-o", options, "start"
        )

    def stop(self, how: str = "immediate") -> None:
        self._run("pg_ctl", "-D", self.data, "-w", "-m", how, "stop")

    def kill(self) -> None:
        """End it as the kernel does where memory is short: its own processes notice, and nothing is tidied up."""
        postmaster = psutil.Process(int(Path(self.data, "postmaster.pid").read_text().split()[0]))
        postmaster.suspend()  # else it makes further ones meanwhile
        children = postmaster.children(recursive=True)
        postmaster.kill()
        psutil.wait_procs([postmaster, *children], timeout=60)

    def url(self, database: str = "postgres", role: str = USER) -> str:
        return f"postgresql://{role}@/{database}?host={self.folder}&port={self.port}"

    def connect(self, database: str = "postgres", role: str = USER) -> psycopg.Connection:
        return psycopg.connect(self.url(database, role), autocommit=True)


@contextmanager
def a_folder() -> Iterator[Path]:
    """Make a folder that the server's user may enter, with a short name: a socket's has 107 bytes."""
    if not (BINARIES / "initdb").exists():
        pytest.skip("PostgreSQL 15 is not installed: apt install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="perftrack-pg-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(folder: Path, port: int = 5432, *settings: str) -> Iterator[Server]:
    server = Server(folder, port, *settings)
    try:
        yield server
    finally:
        with suppress(AssertionError):  # a test may have stopped it
            server.stop()
