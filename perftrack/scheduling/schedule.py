"""What a schedule is, and which database a command line is about. Every mechanism's module imports this."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from perftrack.errors import UsageError
from perftrack.settings import load

# The original PerformanceTrack's script records too.
_RECORDS = re.compile(r"perftrack(\.exe)?['\"]?\s+(-\S+\s+)*record\b|log_current_state_(linux\.sh|windows\.cmd)")
_SHIPS = re.compile(r"perftrack(\.exe)?['\"]?\s+(-\S+\s+)*ship\b")
RECORD, SHIP = "record", "ship"
# In every file that `perftrack schedule install` writes, which tells it from one that somebody wrote by hand.
NOTE = "Written by `perftrack schedule install`; `perftrack schedule remove` takes it away."


class Schedule(NamedTuple):
    """Something that starts recording, or shipping.

    *using*: the mechanism, as --using has it. *where*: the file, or `crontab -l`. *line*: what it says there.
    *database*: what it records into, or ships; None: that cannot be known. *is_own*: `perftrack schedule install`
    wrote it. *task*: RECORD or SHIP.
    """

    using: str
    kind: str
    where: str
    line: str
    database: str | None
    is_own: bool = False
    task: str = RECORD


def is_system() -> bool:
    """Return whether this user is root, whose schedules are the system's."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def one_line(text: str) -> str:
    """Return *text* with single spaces, as schedules are shown."""
    return " ".join(text.split())


def task_of(command: str) -> str | None:
    """Return what a line of a crontab, or a command, starts: RECORD, also where it ships as well; SHIP; or None."""
    text = one_line(command)
    if text.startswith("#"):
        return None
    return RECORD if _RECORDS.search(text) else SHIP if _SHIPS.search(text) else None


def target(command: str, environ: Mapping[str, str], user: str | None = None) -> str | None:
    """Return the database that *command* records into, or ships; None: that cannot be known.

    *environ*: what the scheduler sets for it, besides the variables in front of the command itself. *user*: whose
    schedule it is, where that is somebody else's.
    """
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        return None
    options: dict[str, str | None] = {"--database": None, "--config": None}
    variables = {name: value for name, value in environ.items() if name.startswith("PERFTRACK_")}
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in options:
            options[name] = value if equals else next(iter(words[number + 1 :]), None)
        elif equals and name.startswith("PERFTRACK_"):
            variables[name] = value
    database, config = (_expanded(text) for text in options.values())
    stated = database or variables.get("PERFTRACK_DATABASE")
    if stated and not os.path.isabs(os.path.expanduser(stated)):  # it starts wherever that command is run
        return None
    if user is not None and not stated:
        return os.path.expanduser(f"~{user}/.local/share/perftrack/perftrack.db")
    try:
        return load({"database": database}, config, variables).database
    except UsageError:
        return None


def _expanded(path: str | None) -> str | None:
    """Return *path* as a shell makes it; one that is absolute stands in quotes perhaps, and is taken as it is."""
    return path if path is None or os.path.isabs(path) else os.path.expandvars(path)
