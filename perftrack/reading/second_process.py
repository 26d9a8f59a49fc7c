"""A second process that assembles every other part of a long export, where there is a second CPU to run it.

Two processes have two snapshots, which must be the same one: none may be committed between the moments at which both
began. PRAGMA data_version of a third connection tells (https://sqlite.org/pragma.html#pragma_data_version).
"""

from __future__ import annotations

import marshal
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from typing import Any

from perftrack.reading.process_lines import Instructions, ProcessLines, Samples
from perftrack.storage.database import connect

ATTEMPTS = 10
PIPE_BYTES = 1 << 20  # room for a part that is done, so that the next can be begun
# Without the `site` module, and with the search path of the first process, wherever that found perftrack.
_START = "import sys; sys.path[:] = sys.argv[1:]; from perftrack.reading.second_process import serve; serve()"


class SecondProcess:
    """Assembles lines as ProcessLines does. It is not needed: where it fails, its part is left to the caller."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def begin(self, database: str, told: Instructions) -> bool:
        """Begin with a new snapshot of *database*; return whether there is one."""
        self._send((database, tuple(told)))
        return self._receive() is True

    def ask(self, samples: Samples) -> None:
        """Have the lines of *samples* assembled while the caller does something else."""
        self._send(samples)

    def answer(self) -> tuple[str, int] | None:
        """Wait for what was asked: the lines and how many there are, or None where the process has ended."""
        answer: tuple[str, int] | None = self._receive()
        return answer

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(marshal.dumps(message))
            self._process.stdin.flush()

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        try:
            return marshal.load(self._process.stdout)  # noqa: S302 - from our own process
        except (EOFError, ValueError, TypeError, OSError):
            return None


@contextmanager
def second_process() -> Generator[SecondProcess | None]:
    """Start a second process, and end it at last. None: it cannot be had, or there is no CPU for it."""
    process = _started() if _cpu_count() > 1 else None
    try:
        yield None if process is None else SecondProcess(process)
    finally:
        if process is not None:
            process.kill()  # it only reads
            process.communicate()


def same_snapshot(
    database: str, begin: Callable[[], Callable[[], None]], second: SecondProcess, told: Instructions
) -> bool:
    """Begin in this process (*begin* returns how to end that again) and in the *second* one, on one snapshot.

    Return whether that succeeded. It does not while somebody commits all the time; then only *begin* is in effect.
    """
    with closing(connect(database, read_only=True)) as witness:
        for _ in range(ATTEMPTS):
            before = _data_version(witness)
            end = begin()
            if not second.begin(database, told):
                return False
            if _data_version(witness) == before:
                return True
            end()
    begin()
    return False


def serve() -> None:
    """Be the second process: answer on stdout what comes in on stdin, until that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to answer
    lines: ProcessLines | None = None
    with suppress(EOFError, OSError):
        while True:
            message = marshal.load(sys.stdin.buffer)  # noqa: S302 - from our own process
            if isinstance(message, tuple):
                database, told = message
                connection = connect(database, read_only=True)
                connection.execute("BEGIN")
                connection.execute("SELECT * FROM alembic_version").fetchall()  # from here on, one snapshot
                lines = ProcessLines(connection, Instructions(*told))
                answer: Any = True
            else:
                assert lines is not None
                answer = lines.of_samples(message)
            sys.stdout.buffer.write(marshal.dumps(answer))
            sys.stdout.buffer.flush()


def _started() -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pipesize=PIPE_BYTES,
        )
    except OSError:
        return None


def _cpu_count() -> int:
    """Return how many CPUs this process may use; 1 elsewhere than on Linux, where a pipe may be too small for us."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _data_version(connection: Any) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
