"""What runs in the process that reads a file of the original, which may be hostile: within limits, and into columns.

It gets the file as stdin and answers on stdout. It imports no SQLAlchemy and no typer, and opens nothing itself.
"""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap

from perftrack.errors import PerftrackError
from perftrack.legacy.columns import REFUSED
from perftrack.legacy.csv_file import is_csv, read_csv
from perftrack.legacy.limits import LARGEST_PIPE_BYTES, limit_resources
from perftrack.legacy.packing import packed, piece
from perftrack.legacy.pickle_file import read_pickle


def main() -> None:
    """Answer with the file's entries, or with why it is refused: the message behind the file's name."""
    gc.disable()  # there are no cycles to find in millions of entries, only time to lose
    exit_code = 1
    try:
        with open(1, "wb", closefd=False) as stdout:
            for part in _answer():
                stdout.writelines(part)
        exit_code = 0
    finally:
        os._exit(exit_code)  # taking millions of objects apart takes longer than reading them


def _answer() -> Iterator[list[bytes]]:
    try:
        content = _content()
        yield from packed(read_csv(content, "") if is_csv(content) else read_pickle(content, ""))
        return
    except PerftrackError as error:
        refused = str(error)
    except MemoryError:
        refused = ": refused, it takes more memory than the original's data of its size does"
    except OSError as error:
        refused = f": cannot be read: {error.strerror}"
    yield piece(REFUSED, refused.encode("utf-8", "backslashreplace"))


def _content() -> bytes | mmap:
    """Return the file's bytes, all limits in force."""
    status = os.fstat(0)
    with open(0, "rb", closefd=False) as file:
        if stat.S_ISREG(status.st_mode):
            limit_resources(status.st_size)
            return mmap(0, 0, access=ACCESS_READ) if status.st_size else file.read()
        content = file.read(LARGEST_PIPE_BYTES + 1)
    if len(content) > LARGEST_PIPE_BYTES:
        raise PerftrackError(
            f": more than {LARGEST_PIPE_BYTES >> 20} MiB come out of it, and it is no regular file; save them to one"
        )
    limit_resources(len(content))
    return content
