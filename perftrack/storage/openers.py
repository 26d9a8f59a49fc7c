"""Who has the database open: who reads for long keeps SQLite from emptying the write-ahead log. Linux only."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple


class Opener(NamedTuple):
    """A process, by the name that the kernel knows it by."""

    pid: int
    name: str


def openers(database: str) -> list[Opener]:
    """Return the other processes that have *database* or its log open, of those that this user may look into.

    By proc_pid_fd(5); empty where there is no /proc.
    """
    files = {os.path.realpath(database) + suffix for suffix in ("", "-wal", "-shm")}
    found = []
    with suppress(OSError):
        for pid in os.listdir("/proc"):
            if pid.isdigit() and int(pid) != os.getpid() and not files.isdisjoint(_open_files(pid)):
                with (
                    suppress(OSError),
                    open(f"/proc/{pid}/comm", encoding="utf-8", errors="backslashreplace") as comm,
                ):
                    found.append(Opener(int(pid), comm.read().rstrip("\n")))
    return found


def _open_files(pid: str) -> set[str]:
    files = set()
    with suppress(OSError):  # another user's, or it has ended
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                files.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    return files
