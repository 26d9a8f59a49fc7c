"""End a tick that hangs, so that those after it do not pile up. Imported by every tick."""

from __future__ import annotations

import _thread
import os
import sys
from contextlib import contextmanager

from perftrack.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@contextmanager
def ended_after(seconds: float, last_words: Callable[[str], str]) -> Generator[None]:
    """End the program with exit code 1 if what is inside takes longer than *seconds*.

    *last_words* makes the line for stderr (empty: none) of what was being read when it hung. A thread does this, not
    a signal: reading /proc of a process that is stuck in the kernel is interrupted by the end of the program only.
    """
    running = _thread.allocate_lock()
    running.acquire()
    _thread.start_new_thread(_wait, (running, seconds, last_words, _thread.get_ident()))
    try:
        yield
    finally:
        running.release()


def _wait(running: _thread.LockType, seconds: float, last_words: Callable[[str], str], watched: int) -> None:
    if running.acquire(timeout=seconds):
        return
    try:
        line = last_words(_file_being_read(watched))
        if line:
            os.write(2, f"perftrack: {printable(line)}\n".encode(errors="backslashreplace"))
    finally:
        os._exit(1)


def _file_being_read(thread: int) -> str:
    """Return the path or the process that the innermost function of *thread* was given; empty: neither."""
    frame = sys._current_frames().get(thread)
    given = {} if frame is None else frame.f_locals
    return str(given.get("path") or (f"/proc/{given['pid']}" if "pid" in given else ""))
