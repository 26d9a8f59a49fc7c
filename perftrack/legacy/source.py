"""A file of the original, read by a process of its own: whatever is in it, this one stays as it is.

The other answers with CSV text (child.py), which is read within limits of time and size, and checked like any other.
Imports neither SQLAlchemy nor typer: the file is being read while others import them.
"""

from __future__ import annotations

import gc
import io
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
from perftrack.legacy.child import CSV, PICKLE, REFUSED
from perftrack.legacy.csv_file import read_csv
from perftrack.legacy.entries import ProcessEntry, SystemEntry
from perftrack.legacy.limits import LARGEST_PIPE_BYTES, answer_bytes, wall_seconds

# Isolated: neither the current folder nor the user's environment decides what is imported.
_COMMAND = (
    *("-I", "-S", "-B", "-c"),
    "import sys; sys.path.insert(0, sys.argv[1]); from perftrack.legacy.child import main; main()",
    os.path.dirname(os.path.dirname(os.path.abspath(perftrack.__file__))),
)
_CHUNK_BYTES = 2**16
_LOOK_SECONDS = 0.5
_LONGEST_LINE_BYTES = 2**20
_LONGEST_REASON_BYTES = 500


class Source:
    """A file that is being read."""

    def __init__(self, path: str, size: int, process: subprocess.Popen[bytes]) -> None:
        """*size*: bytes in the file, or the most that is taken out of a pipe."""
        self.path = path
        self._size = size
        self._process = process
        self._too_late = False

    def entries(self) -> tuple[list[SystemEntry], list[ProcessEntry]]:
        """Wait for the system's and the processes' entries. Raises: PerftrackError where they cannot be."""
        read = threading.Event()
        threading.Thread(target=self._watch, args=(read,), daemon=True).start()
        try:
            lines = self._lines()
            kind = next(lines, "")
            if kind not in {CSV, PICKLE}:
                raise PerftrackError(f"{self.path}: refused, the process that reads it answers with nonsense")
            return read_csv(lines, self.path, numbered=kind == CSV)
        finally:
            read.set()

    def _lines(self) -> Iterator[str]:
        """Yield the lines of the answer. Raises: PerftrackError where it is not whole, or larger than it can be."""
        assert self._process.stdout is not None
        left, rest = answer_bytes(self._size), b""
        while chunk := self._process.stdout.read(_CHUNK_BYTES):
            left -= len(chunk)
            lines, end, rest = (rest + chunk).rpartition(b"\n")
            if left < 0:
                raise PerftrackError(f"{self.path}: refused, it holds more entries than a file of its size can")
            if len(rest) > _LONGEST_LINE_BYTES:
                raise PerftrackError(f"{self.path}: refused, a line of it is longer than any of the original's")
            yield from _text_lines(lines + end)
        self._refuse_failure()
        yield from _text_lines(rest)

    def _refuse_failure(self) -> None:
        """Wait for the end of the other process. Raises: PerftrackError where that did not read all of the file."""
        assert self._process.stderr is not None
        reason = self._process.stderr.read(_LONGEST_REASON_BYTES).decode("utf-8", "replace")
        exit_code = self._process.wait()
        if exit_code:
            raise PerftrackError(self.path + (reason if exit_code == REFUSED else f": {self._failure(exit_code)}"))

    def _watch(self, read: threading.Event) -> None:
        """End the other process if it comes to no end, by what this one has seen pass: neither may run meanwhile."""
        seconds = 0.0
        while not read.wait(_LOOK_SECONDS):
            if not _is_stopped(self._process.pid):
                seconds += _LOOK_SECONDS
            if seconds >= wall_seconds(self._size):
                self._too_late = True
                self._process.kill()
                return

    def _failure(self, exit_code: int) -> str:
        if self._too_late:
            return (
                f"not read, for that took more than {wall_seconds(self._size)} seconds; does its disk or pipe hang?"
            )
        if exit_code >= 0:
            return f"not readable, the process that reads it ended with exit code {exit_code}"
        name = next((known.name for known in signal.Signals if known == -exit_code), f"signal {-exit_code}")
        if name == "SIGXCPU":
            return "refused, reading it takes more CPU time than the original's data of its size does"
        if name == "SIGKILL":
            return "not read, the process that reads it was killed; is memory short?"
        return f"refused, the process that reads it crashed ({name})"


def _is_stopped(pid: int) -> bool:
    """Return whether a process is stopped, as Ctrl-Z does."""
    import psutil

    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def _text_lines(content: bytes) -> Iterator[str]:
    return io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")  # as csv.reader wants them


@contextmanager
def reading(path: str) -> Generator[Source]:
    """Begin to read *path*; at the end nobody does any more. Raises: PerftrackError where it cannot be opened.

    Meanwhile nobody collects garbage either: in millions of entries there are no cycles, only time to lose.
    """
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            process = subprocess.Popen(
                (sys.executable, *_COMMAND), bufsize=0, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
    except OSError as error:
        raise PerftrackError(f"cannot read {path}: {error.strerror}") from None
    collecting = gc.isenabled()
    gc.disable()
    with process:
        try:
            yield Source(path, status.st_size if stat.S_ISREG(status.st_mode) else LARGEST_PIPE_BYTES, process)
        finally:
            process.kill()
            if collecting:
                gc.enable()
