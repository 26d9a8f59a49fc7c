"""Files that people read: nobody ever sees half of one, and a failure leaves the one that was there."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import IO, TextIO

from perftrack.errors import ClosedPipeError, PerftrackError
from perftrack.private import is_ours
from perftrack.reading.export.compression import compressing, is_compressed
from perftrack.unfinished import new_file, remove_leftovers

STDOUT = "-"
_STDOUT_NAMES = (STDOUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


class OutputFile:
    """A text file that is written beside its target and takes its place in one step; '-' is stdout.

    Mode 0600; compressed where its name ends so. A symbolic link at the target is replaced, not followed; a device or
    a pipe is written to directly.
    What is beside it is locked until then; by that, the next export knows what a killed one has left, and removes it.
    """

    stream: TextIO

    def __init__(self, path: str) -> None:
        """Open for writing. Raises: PerftrackError where the folder does not allow it."""
        self.path = path
        self._temporary: str | None = None
        self._former: str | None = None  # where what was at the target is until all files are published
        self._is_new = False
        self._compressed: IO[bytes] | None = None  # what the stream is compressed into
        with self._readable_errors():
            if path in _STDOUT_NAMES:
                self.stream = open(sys.stdout.fileno(), "w", encoding="utf-8", newline="", closefd=False)
            elif _is_special(path):
                if not is_ours(path):  # whoever put a pipe there, or a link to one, waits for what comes out
                    raise PerftrackError(f"cannot write {path}: it is no regular file, and belongs to another user")
                self.stream = self._opened(path)
            else:
                folder, name = os.path.split(os.path.abspath(path))
                remove_leftovers(folder, name)
                descriptor, self._temporary = new_file(folder, name)
                self.stream = self._opened(descriptor)
                os.chmod(self._temporary, 0o600)

    def sync(self) -> None:
        """Put everything on the disk."""
        with self._readable_errors():
            file: IO[str] | IO[bytes] = self.stream
            if self._compressed is not None:
                self.stream.close()  # which writes its end, and leaves the file open
                file = self._compressed
            file.flush()
            if self._temporary is not None:
                os.fsync(file.fileno())
            if self._temporary is None or sys.platform == "win32":  # which replaces no open file
                file.close()

    def publish(self, *, for_good: bool) -> None:
        """Take the target's place; not *for_good*: as long as it is not taken back."""
        if self._temporary is not None:
            with self._readable_errors():
                if not for_good:
                    self._keep_former(self._temporary.removesuffix(".tmp") + "-former.tmp")
                os.replace(self._temporary, self.path)
                self._temporary = None

    def take_back(self) -> None:
        """Put what was there before into the target's place again, where the file system allows it."""
        with suppress(OSError):
            if self._former is not None:
                os.replace(self._former, self.path)
            elif self._is_new:
                os.unlink(self.path)

    def discard(self) -> None:
        """Drop what is not published, and what was there before."""
        with suppress(OSError):
            self.stream.close()
        if self._compressed is not None:
            with suppress(OSError):
                self._compressed.close()
        for file in (self._temporary, self._former):
            if file is not None:
                with suppress(OSError):
                    os.unlink(file)

    def _opened(self, file: str | int) -> TextIO:
        if not is_compressed(self.path):
            return open(file, "w", encoding="utf-8", newline="")
        self._compressed = open(file, "wb")
        return compressing(self.path, self._compressed)

    def _keep_former(self, name: str) -> None:
        try:
            os.link(self.path, name, follow_symlinks=False)
            self._former = name
        except FileNotFoundError:
            self._is_new = True
        except (OSError, NotImplementedError):  # no such links here: it cannot be taken back
            pass

    @contextmanager
    def _readable_errors(self) -> Generator[None]:
        try:
            yield
        except BrokenPipeError:
            raise ClosedPipeError from None
        except OSError as error:
            raise PerftrackError(f"cannot write {self.path}: {error.strerror}") from error


@contextmanager
def output_files(*paths: str | None) -> Generator[list[TextIO | None]]:
    """Yield a stream for each path (None for None); at the end all take their targets' places, or on failure none.

    None does before all are whole on the disk, and where one then may not, those before it are taken back.
    Raises: PerftrackError; ClosedPipeError where stdout alone was written to, and its reader has seen enough.
    """
    files: list[OutputFile | None] = []
    try:
        for path in paths:
            files += [None if path is None else OutputFile(path)]
        try:
            yield [None if file is None else file.stream for file in files]
        except BrokenPipeError:
            raise ClosedPipeError from None
        except OSError as error:
            raise PerftrackError(f"cannot write the export: {error.strerror}") from error
        opened = [file for file in files if file is not None]
        for file in opened:
            file.sync()
        _publish(opened)
    except ClosedPipeError:
        unwritten = [path for path in paths if path not in {None, *_STDOUT_NAMES}]
        if unwritten:
            raise PerftrackError(f"stdout was closed before its end; {unwritten[0]} is as it was") from None
        raise
    finally:
        for leftover in files:
            if leftover is not None:
                leftover.discard()


def _publish(files: list[OutputFile]) -> None:
    published: list[OutputFile] = []
    try:
        for file in files:
            file.publish(for_good=file is files[-1])
            published.append(file)
    except BaseException:
        for file in published:
            file.take_back()
        raise


def _is_special(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
