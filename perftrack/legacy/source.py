"""A file of the original, read by a process of its own: whatever is in it, this one stays as it is.

Imports neither SQLAlchemy nor typer: the file is being read while others import them.
"""

from __future__ import annotations

import gc
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import perftrack
from perftrack.errors import PerftrackError
from perftrack.legacy.answer import Answer, RefusedError
from perftrack.legacy.columns import PROCESS_BYTES, Moments, ProcessColumns, SystemColumns
from perftrack.legacy.limits import LARGEST_PIPE_BYTES, answer_bytes, cpu_seconds, wall_seconds

# Isolated: neither the current folder nor the user's environment decides what is imported.
_COMMAND = (
    *("-I", "-S", "-B", "-c"),
    "import sys; sys.path.insert(0, sys.argv[1]); from perftrack.legacy.child import main; main()",
    os.path.dirname(os.path.dirname(os.path.abspath(perftrack.__file__))),
)
_TOO_MANY = ": refused, it holds more entries than a file of its size can"


class Source:
    """A file that is being read."""

    def __init__(self, path: str, size: int, process: subprocess.Popen[bytes]) -> None:
        """*size*: bytes in the file, or the most that is taken out of a pipe."""
        self.path = path
        self._size = size
        assert process.stdout is not None
        self._process = process
        self._stdout = process.stdout
        self._left = answer_bytes(size) + 1  # for the end, which is none
        self._answer = Answer(self._read)
        self._timer = threading.Timer(0, self._stop)
        self._seconds = 0.0
        self._too_late = False

    def system(self) -> SystemColumns:
        """Wait for the system's entries and return them. Raises: PerftrackError where it is not the original's."""
        self._limit(wall_seconds(self._size))
        with self._making_sense():
            system = self._answer.system()
        self._limit(cpu_seconds(self._size))  # the database is locked from now on
        return system

    def moments(self) -> Moments:
        """Wait for the times of the process entries and return them. Raises: PerftrackError."""
        with self._making_sense():
            moments = self._answer.moments()
            if sum(moments.counts) * PROCESS_BYTES > self._left:
                raise RefusedError(_TOO_MANY)
        return moments

    def processes(self, moments: Moments) -> Iterator[ProcessColumns]:
        """Yield the process entries as they come; all have come where it ends. Raises: PerftrackError."""
        columns = self._answer.processes(moments)
        while True:
            with self._making_sense():
                some = next(columns, None)
            if some is None:
                return
            yield some

    def close(self) -> None:
        """End who still reads."""
        self._timer.cancel()
        self._process.kill()
        self._stdout.close()
        self._process.wait()

    @contextmanager
    def _making_sense(self) -> Generator[None]:
        try:
            yield
        except RefusedError as error:
            raise PerftrackError(f"{self.path}{error}") from None
        except (ValueError, OverflowError):  # what is in the file has taken over its reader
            raise PerftrackError(f"{self.path}: refused, the process that reads it answers with nonsense") from None

    def _read(self, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            raise RefusedError(_TOO_MANY)
        content = self._stdout.read(count)
        if len(content) < count:
            exit_code = self._process.wait()
            if exit_code:
                raise RefusedError(f": {self._why_no_answer(exit_code)}")
        return content

    def _limit(self, seconds: float) -> None:
        """Give the reader so much time from now on."""
        self._timer.cancel()
        self._seconds = seconds
        self._timer = threading.Timer(seconds, self._stop)
        self._timer.start()

    def _stop(self) -> None:
        self._too_late = True
        self._process.kill()

    def _why_no_answer(self, exit_code: int) -> str:
        if self._too_late:
            return f"refused, reading it took more than {self._seconds} seconds"
        if exit_code >= 0:
            return f"not readable, the process that reads it ended with exit code {exit_code}"
        name = next((known.name for known in signal.Signals if known == -exit_code), f"signal {-exit_code}")
        if name == "SIGXCPU":
            return "refused, reading it takes more CPU time than the original's data of its size does"
        if name == "SIGBUS":
            return "cannot be read: it became shorter meanwhile, or its disk reported an error"
        if name == "SIGKILL":
            return "not read, the process that reads it was killed; is memory short?"
        return f"refused, the process that reads it crashed ({name})"


@contextmanager
def reading(path: str) -> Generator[Source]:
    """Begin to read *path*; at the end nobody does any more. Raises: PerftrackError where it cannot be opened.

    Meanwhile nobody collects garbage either: in millions of entries there are no cycles, only time to lose.
    """
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            process = subprocess.Popen(
                (sys.executable, *_COMMAND), stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
    except OSError as error:
        raise PerftrackError(f"cannot read {path}: {error.strerror}") from None
    source = Source(path, status.st_size if stat.S_ISREG(status.st_mode) else LARGEST_PIPE_BYTES, process)
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield source
    finally:
        source.close()
        if collecting:
            gc.enable()
