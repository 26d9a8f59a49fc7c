"""What runs in the process that reads a file of the original, which may be hostile: within limits, and into CSV text.

It gets the file as stdin and opens nothing itself. It answers on stdout: a line that says what the file is, then the
file itself if it is one of the two CSV files, or what a pickle holds as the text of both. What is in them is checked
by the process that reads the answer. It imports no SQLAlchemy and no typer.
"""

from __future__ import annotations

import gc
import io
import os
import shutil
import stat

from perftrack.errors import PerftrackError
from perftrack.legacy.csv_file import is_csv
from perftrack.legacy.limits import LARGEST_PIPE_BYTES, limit_resources
from perftrack.legacy.pickle_file import unpickle, write_as_csv

CSV, PICKLE = "csv\n", "pickle\n"
REFUSED = 65  # the exit code; stderr says why, behind the file's name. EX_DATAERR of sysexits.h


def main() -> None:
    """Answer with what is in the file, or with why it is refused."""
    gc.disable()  # there are no cycles to find in millions of entries, only time to lose
    exit_code = 1
    try:
        refused = _answer()
        os.write(2, refused.encode("utf-8", "backslashreplace"))
        exit_code = REFUSED if refused else 0
    finally:
        os._exit(exit_code)  # taking millions of objects apart takes longer than reading them


def _answer() -> str:
    """Write the answer; return why the file is refused, or nothing."""
    try:
        with open(1, "w", encoding="utf-8", errors="surrogateescape", newline="", closefd=False) as stdout:
            file = _file()
            if is_csv(file):
                stdout.write(CSV)
                stdout.flush()
                shutil.copyfileobj(file, stdout.buffer)
            else:
                stdout.write(PICKLE)
                write_as_csv(unpickle(file), stdout)
    except PerftrackError as error:
        return str(error)
    except MemoryError:
        return ": refused, it takes more memory than the original's data of its size does"
    except OSError as error:
        return f": cannot be read: {error.strerror}"
    return ""


def _file() -> io.BufferedReader:
    """Return the file, all limits in force."""
    status = os.fstat(0)
    file = open(0, "rb", closefd=False)  # noqa: SIM115 - as long as we run
    if stat.S_ISREG(status.st_mode):
        limit_resources(status.st_size)
        return file
    content = file.read(LARGEST_PIPE_BYTES + 1)
    if len(content) > LARGEST_PIPE_BYTES:
        raise PerftrackError(
            f": more than {LARGEST_PIPE_BYTES >> 20} MiB come out of it, and it is no regular file; save them to one"
        )
    limit_resources(len(content))
    return io.BufferedReader(io.BytesIO(content))
