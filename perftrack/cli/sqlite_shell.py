"""`perftrack database shell`: the real sqlite3 shell on the database, which it can only read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Annotated

import typer

from perftrack import programs
from perftrack.cli import options
from perftrack.errors import PerftrackError
from perftrack.settings import load
from perftrack.storage.sqlite_file import address, connect, is_immutable

# https://sqlite.org/releaselog/3_33_0.html; the program need not be of the library that Python has.
_HAS_BOX = (3, 33)


def shell(
    sql: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SQL]...", help="What to run; without any, a prompt.", show_default=False),
    ] = None,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Open the database in the sqlite3 shell, to read.

    Options that are not listed here are sqlite3's own: `perftrack database shell --csv "SELECT * FROM gap"`.
    Nothing can be changed. The exit code is sqlite3's.
    """
    path = load({"database": database}, config).database
    connect(path, read_only=True).close()
    program = programs.path_of("sqlite3")
    if program is None:
        raise PerftrackError(
            f"there is no program sqlite3 in {' or '.join(programs.FOLDERS)}: install the package sqlite3 (Debian, "
            "Ubuntu) or sqlite (Fedora, Alpine, Arch)"
        )
    named = address(path, read_only=True) if is_immutable(path) else path
    looks = "-box" if _version() >= _HAS_BOX else "-column"
    command = [program, "-readonly", "-header", looks, named, *(sql or [])]
    sys.stdout.flush()
    if os.name == "nt":
        raise typer.Exit(subprocess.run(command, check=False).returncode)
    for name in ("SIGPIPE", "SIGXFSZ"):  # which Python ignores, and what it runs would too
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execv(program, command)  # noqa: S606 - in our place: signals and the terminal are its own


def _version() -> tuple[int, ...]:
    text = programs.run("sqlite3", "-version").output.split(b" ")[0].decode(errors="replace")
    return tuple(int(part) if part.isdigit() else 0 for part in text.split("."))
