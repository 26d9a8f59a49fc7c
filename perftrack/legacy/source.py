"""A file of the original, read by a process of its own: whatever is in it, this one stays as it is.

Imports neither SQLAlchemy nor typer: the file is being read while others import them.
"""

from __future__ import annotations

import os
import signal
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

import perftrack
from perftrack.errors import PerftrackError
from perftrack.legacy.child import ENTRIES
from perftrack.legacy.columns import unpacked
from perftrack.legacy.entries import ProcessEntry, SystemEntry
from perftrack.legacy.limits import LARGEST_PIPE_BYTES, answer_bytes, wall_seconds

# Isolated: neither the current folder nor the user's environment decides what is imported.
_COMMAND = (
    *("-I", "-S", "-B", "-c"),
    "import sys; sys.path.insert(0, sys.argv[1]); from perftrack.legacy.child import main; main()",
    os.path.dirname(os.path.dirname(os.path.abspath(perftrack.__file__))),
)
NONSENSE = (ValueError, IndexError, OverflowError, struct.error)


class Source:
    """A file that is being read."""

    def __init__(self, path: str, size: int, process: subprocess.Popen[bytes]) -> None:
        """*size*: bytes in the file, or the most that is taken out of a pipe."""
        self.path = path
        self._size = size
        self._process = process
        self._too_late = False

    def entries(self) -> tuple[list[SystemEntry], list[ProcessEntry]]:
        """Wait for the file's entries and return them. Raises: PerftrackError where it is not the original's."""
        assert self._process.stdout is not None
        timer = threading.Timer(wall_seconds(self._size), self._stop)
        timer.start()
        try:
            answer = self._process.stdout.read(answer_bytes(self._size))
            if self._process.stdout.read(1):
                raise PerftrackError(f"{self.path}: refused, it holds more entries than a file of its size can")
            exit_code = self._process.wait()
        finally:
            timer.cancel()
        if exit_code or not answer:
            raise PerftrackError(f"{self.path}: {self._why_no_answer(exit_code)}")
        if not answer.startswith(ENTRIES):
            raise PerftrackError(self.path + answer[1:].decode("utf-8", "replace"))
        try:
            return unpacked(answer[len(ENTRIES) :])
        except NONSENSE:  # what is in the file has taken over its reader
            raise PerftrackError(f"{self.path}: refused, the process that reads it answers with nonsense") from None

    def _stop(self) -> None:
        self._too_late = True
        self._process.kill()

    def _why_no_answer(self, exit_code: int) -> str:
        if self._too_late:
            return f"refused, reading it took more than {wall_seconds(self._size)} seconds"
        if exit_code >= 0:
            return f"not readable, the process that reads it ended with exit code {exit_code}"
        name = next((known.name for known in signal.Signals if known == -exit_code), f"signal {-exit_code}")
        if name == "SIGXCPU":
            return "refused, reading it takes more CPU time than the original's data of its size does"
        if name == "SIGKILL":
            return "not read, the process that reads it was killed; is memory short?"
        return f"refused, the process that reads it crashed ({name})"


@contextmanager
def reading(path: str) -> Generator[Source]:
    """Begin to read *path*; at the end nobody does any more. Raises: PerftrackError where it cannot be opened."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            process = subprocess.Popen(
                (sys.executable, *_COMMAND), stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
    except OSError as error:
        raise PerftrackError(f"cannot read {path}: {error.strerror}") from None
    try:
        yield Source(path, status.st_size if stat.S_ISREG(status.st_mode) else LARGEST_PIPE_BYTES, process)
    finally:
        process.kill()
        assert process.stdout is not None
        process.stdout.close()
        process.wait()
