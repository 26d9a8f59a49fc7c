"""Files that are written beside their target, to take its place when they are whole; and what killed runs left."""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress

from perftrack.private import CAREFULLY

if sys.platform != "win32":
    import fcntl

# What SQLite keeps beside a database, and a copy from before an upgrade.
_BESIDE = re.compile(r"(-wal|-shm|-journal|\.before-upgrade-from-\w+(\.new)?)")


def new_file(folder: str, name: str) -> tuple[int, str]:
    """Return the descriptor and the path of a new file in *folder*, 0600, locked as long as it is open."""
    while True:
        descriptor, path = tempfile.mkstemp(prefix=f".{name}.perftrack-", suffix=".tmp", dir=folder)
        if sys.platform != "win32":
            with suppress(OSError):  # no locks here
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.exists(path):
            return descriptor, path
        os.close(descriptor)  # another run came before the lock, and took it for a leftover


class Unfinished:
    """A file that is to take another's place: its path, and a descriptor that holds its lock."""

    def __init__(self, folder: str, name: str) -> None:
        """Make it in *folder*, to be called *name*. Raises: OSError."""
        self.descriptor, self.path = new_file(folder, name)
        self._is_open = True

    def take_place_of(self, target: str) -> None:
        """Put it in the place of *target*, in one step. Raises: OSError."""
        if sys.platform == "win32":  # which replaces no open file
            self.close()
        os.replace(self.path, target)

    def close(self) -> None:
        """Let go of it."""
        if self._is_open:
            self._is_open = False
            os.close(self.descriptor)


@contextmanager
def unfinished_file(folder: str, name: str) -> Generator[Unfinished]:
    """Yield a new file in *folder*, which is removed at the end unless it has taken its place. Raises: OSError."""
    file = Unfinished(folder, name)
    try:
        yield file
    finally:
        with suppress(OSError):
            remove_with_side_files(file.path)
        file.close()


def remove_leftovers(folder: str, name: str | None = None) -> None:
    """Remove what killed runs have left of files that were to be called *name*: those of this user that nobody holds.

    None: of all files but exports that can still be taken back.
    """
    if sys.platform == "win32":
        return
    if name is None:
        pattern = re.compile(r"\..+\.perftrack-\w{8}\.tmp", re.ASCII | re.DOTALL)
    else:
        pattern = re.compile(rf"\.{re.escape(name)}\.perftrack-\w{{8}}(-former)?\.tmp", re.ASCII)
    for file in filter(pattern.fullmatch, os.listdir(folder)):
        path = os.path.join(folder, file)
        with suppress(OSError):  # another run was quicker, or it is no file of ours
            descriptor = os.open(path, os.O_RDWR | CAREFULLY)
            try:
                found = os.fstat(descriptor)
                if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_with_side_files(path)
            finally:
                os.close(descriptor)


def remove_with_side_files(path: str) -> None:
    """Remove the file at *path*, if it is there; SQLite's files beside a database of this name first."""
    folder, name = os.path.split(path)
    for file in os.listdir(folder):
        if file.startswith(name) and _BESIDE.fullmatch(file.removeprefix(name)):
            os.unlink(os.path.join(folder, file))
    with suppress(FileNotFoundError):
        os.unlink(path)
