"""End a tick that hangs, so that those after it do not pile up. Imported by every tick."""

from __future__ import annotations

import _thread
import os
import sys
import time
from contextlib import contextmanager

from perftrack.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class Watchdog:
    """Ends the program with exit code 1 if what it watches takes longer than *seconds*.

    *last_words* makes the line for stderr (empty: none) of what was being read when it hung. A thread does this, not
    a signal: reading /proc of a process that is stuck in the kernel is interrupted by the end of the program only.
    A loop keeps one, whose thread sleeps on while samples are taken in time.
    """

    def __init__(self, seconds: float, last_words: Callable[[str], str]) -> None:
        self._seconds = seconds
        self._last_words = last_words
        self._deadline: float | None = None  # by time.monotonic(); None: nothing is watched now
        self._in_use = _thread.allocate_lock()

    @contextmanager
    def watching(self) -> Generator[None]:
        """Watch over what is inside."""
        self._deadline = time.monotonic() + self._seconds
        if not self._in_use.locked():
            self._in_use.acquire()
            _thread.start_new_thread(self._wait, (_thread.get_ident(),))
        try:
            yield
        finally:
            self._deadline = None

    def close(self) -> None:
        """End the thread."""
        if self._in_use.locked():
            self._in_use.release()

    def _wait(self, watched: int) -> None:
        seconds = self._seconds
        while not self._in_use.acquire(timeout=seconds):
            deadline = self._deadline
            # a deadline that is set while this sleeps is later than its end
            seconds = self._seconds if deadline is None else deadline - time.monotonic()
            if seconds <= 0:
                self._end(watched)

    def _end(self, watched: int) -> None:
        try:
            line = self._last_words(_file_being_read(watched))
            if line:
                os.write(2, f"perftrack: {printable(line)}\n".encode(errors="backslashreplace"))
        finally:
            os._exit(1)


def _file_being_read(thread: int) -> str:
    """Return the file or the process that the innermost function of *thread* was given; empty: neither.

    It goes by the names of that function's variables: those of proc_files.py, linux_processes.py and linux_system.py.
    """
    frame = sys._current_frames().get(thread)
    given = {} if frame is None else frame.f_locals
    if "folder" in given:  # it is one of proc_files.OpenFiles
        return str(given["self"].path(given["folder"], given["name"]))
    return str(given.get("path") or (f"/proc/{given['pid']}" if "pid" in given else ""))
