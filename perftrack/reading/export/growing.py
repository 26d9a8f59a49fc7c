"""Files that each export makes longer: what is new is appended to them, each row once, whatever ends the export.

Beside FILE is FILE.position: up to which sample FILE has the rows, and how long it was then. It is replaced in one
step after they are on the disk. What is behind that length an export left that was killed; the next one cuts it off.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TextIO

from perftrack import private
from perftrack.errors import BusyError, PerftrackError
from perftrack.reading.export.compression import compressing, is_compressed

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_TAIL_BYTES = 4096
_BEYOND = 2**40  # where Windows locks a byte that is none of the file's


class Newest(NamedTuple):
    """The newest sample in a file: its id, and what tells it from another database's of that id.

    *taken_at*, *boot*: as the tables have them. None: there was no sample; the boot has no key.
    """

    id: int = 0
    taken_at: str | None = None
    boot: str | None = None


class Position(NamedTuple):
    """What FILE.position holds. *size*: of the file, in bytes. *tail*: the SHA-256 of its last bytes, by which it is
    known again. *written*: the options and columns that its rows were written with.
    """

    sample: Newest
    size: int
    tail: str
    written: dict[str, Any]


def position_file(path: str) -> str:
    """Return where it is kept how far the export to *path* is."""
    return f"{path}.position"


class GrowingFile:
    """A file that is appended to, by one export at a time. *last*: the newest sample that it has the rows of.

    *is_begun*: it is empty, so that it begins with a header. One that was moved away (logrotate) is begun anew, and
    goes on where that one ended.
    """

    stream: TextIO

    def __init__(self, path: str, written: dict[str, Any]) -> None:
        """Open it. Raises: BusyError while another export has it; PerftrackError where it is not what was written."""
        self.path = path
        self._written = written
        self._size: int | None = None  # None: it is as it should stay
        self._lock = self._file = -1
        try:
            with readable_errors(path):
                self._open()
        except BaseException:
            self.close()
            raise

    def save(self, last: Newest, *, is_longer: bool) -> None:
        """Put what was written on the disk, and then that it is the rows up to the sample *last*.

        *is_longer*: there was anything to write; else the file stays as it was.
        """
        with readable_errors(self.path):
            self.stream.close()
            self._end.close()
            if not is_longer:
                self._cut()
            os.fsync(self._file)
            private.sync_folder(os.path.dirname(self.path))
            if is_longer or last != self.last:
                self._write_position(last, os.fstat(self._file).st_size)
            self._size = None

    def close(self) -> None:
        """Close it; what is not saved is cut off."""
        if self._size is not None:
            for stream in (self.stream, self._end):
                with suppress(OSError):
                    stream.close()
            with suppress(OSError):
                self._cut()
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)

    def _open(self) -> None:
        self._lock = _locked(self.path)
        position = _read_position(self.path, self._lock)
        self._file = _open(self.path)
        if sys.platform == "win32":
            os.lseek(self._file, _BEYOND, os.SEEK_SET)
            try:
                msvcrt.locking(self._file, msvcrt.LK_NBLCK, 1)
            except OSError:
                raise _busy(self.path) from None
        size = os.fstat(self._file).st_size
        self.last = position.sample if position else Newest()
        self.is_begun = size == 0 or (position is not None and position.size == 0)
        if self.is_begun:
            if position is None or position.size or position.written != self._written:
                # before the first row is in it: an export that is killed in between knows it again
                self._write_position(self.last, 0)
            size = 0
        else:
            size = self._known_size(position, size)
        os.ftruncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)
        self._end = open(self._file, "wb", closefd=False)
        compressed = is_compressed(self.path)
        self.stream = (
            compressing(self.path, self._end)
            if compressed
            else io.TextIOWrapper(self._end, encoding="utf-8", newline="")
        )
        self._size = size

    def _known_size(self, position: Position | None, size: int) -> int:
        """Return how long it was when it was saved. Raises: PerftrackError where it is another file than then."""
        begin = "move it away, and the next export begins a new one"
        if position is None:
            raise PerftrackError(
                f"{self.path} is there, and no {position_file(self.path)} tells which samples it has: {begin}, "
                "or name another file"
            )
        if size < position.size or self._tail(position.size) != position.tail:
            raise PerftrackError(
                f"{self.path} is another file than the last export left, or was changed since: {begin}"
            )
        if position.written != self._written:
            was, now = position.written, self._written
            what = ", ".join(name for name in now | was if now.get(name) != was.get(name))
            raise PerftrackError(f"{self.path} was begun with another {what}: {begin}")
        return position.size

    def _tail(self, size: int) -> str:
        begin = max(0, size - _TAIL_BYTES)
        os.lseek(self._file, begin, os.SEEK_SET)
        return hashlib.sha256(os.read(self._file, size - begin)).hexdigest()

    def _cut(self) -> None:
        assert self._size is not None
        os.ftruncate(self._file, self._size)

    def _write_position(self, last: Newest, size: int) -> None:
        """Write it in one step; whoever waits for the lock of the former one meets that of the new one."""
        position = Position(last, size, self._tail(size), self._written)._asdict() | {"sample": last._asdict()}
        path = position_file(self.path)
        new = f"{path}.new"
        with suppress(FileNotFoundError):
            os.unlink(new)  # a killed export's
        descriptor = private.create(new)
        try:
            _lock(descriptor)
            os.write(descriptor, f"{json.dumps(position, indent=1)}\n".encode())
            os.fsync(descriptor)
            if sys.platform == "win32":  # which replaces no open file
                os.close(descriptor)
                descriptor = -1
            os.replace(new, path)
            private.sync_folder(os.path.dirname(path))
        except BaseException:
            if descriptor >= 0:
                os.close(descriptor)
            raise
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = descriptor


def _locked(path: str) -> int:
    """Return a descriptor of the position file, which is made if need be, locked. Raises: BusyError, OSError."""
    while True:
        descriptor = _open(position_file(path))
        try:
            _lock(descriptor)
            there = os.stat(position_file(path))
            if os.path.samestat(there, os.fstat(descriptor)):
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(descriptor)
            raise _busy(path) from None
        os.close(descriptor)  # it was replaced before it was locked


def _lock(descriptor: int) -> None:
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # no locks here
            pass


def _busy(path: str) -> BusyError:
    return BusyError(f"another export is appending to {path}; try again later")


def _open(path: str) -> int:
    """Return a descriptor of the file of this user's at *path*, which is made private if need be. Raises: OSError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | private.CAREFULLY, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PerftrackError(f"{path} is a link, which is not appended to: name the file itself") from None
        raise
    found = os.fstat(descriptor)
    problem = (
        "it is no regular file"
        if not stat.S_ISREG(found.st_mode)
        else "it belongs to another user"
        if hasattr(os, "geteuid") and found.st_uid not in {0, os.geteuid()}
        else None
    )
    if problem is not None:
        os.close(descriptor)
        raise PerftrackError(f"cannot append to {path}: {problem}")
    return descriptor


def _read_position(path: str, descriptor: int) -> Position | None:
    """Return what the open position file of *path* holds; None: it is new. Raises: PerftrackError, OSError."""
    text = os.read(descriptor, os.fstat(descriptor).st_size)
    if not text:
        return None
    try:
        found = json.loads(text)
        return Position(Newest(**found["sample"]), int(found["size"]), str(found["tail"]), dict(found["written"]))
    except (ValueError, TypeError, KeyError):
        raise PerftrackError(
            f"{position_file(path)} cannot be read: move it and {path} away, to begin with all samples"
        ) from None


@contextmanager
def readable_errors(path: str) -> Generator[None]:
    """Say as a PerftrackError what keeps from writing to *path*."""
    try:
        yield
    except OSError as error:
        raise PerftrackError(f"cannot append to {path}: {error.strerror}") from error
