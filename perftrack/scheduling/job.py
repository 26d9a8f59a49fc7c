"""What is to be started, and how often: the same for every mechanism. A first `perftrack record` imports this."""

from __future__ import annotations

import hashlib
import os
import platform
import sqlite3
import zlib
from contextlib import closing, suppress
from typing import NamedTuple

from perftrack.errors import PerftrackError, UsageError
from perftrack.installation import program
from perftrack.scheduling.schedule import RECORD, SHIP
from perftrack.settings import SETTINGS, Settings, default_database, usual_config_file
from perftrack.timerange import parse_duration, require_time

MINUTE = 60
SHIP_SECONDS = 10 * MINUTE
_HOUR_MINUTES = 60
_DAY_MINUTES = 24 * _HOUR_MINUTES
_OPTIONS = {
    "process_filter": "--filter",
    "all": "--all",
    "top": "--top",
    "cpu_window": "--cpu-window",
}


class Job(NamedTuple):
    """What is to be started. *name*: of its files and units, one for each database and task. *command*: its words.

    *offset_seconds*: how long after the beat, which all machines have in common.
    """

    name: str
    command: list[str]
    every_seconds: int
    database: str
    task: str = RECORD
    offset_seconds: int = 0

    @property
    def description(self) -> str:
        """What it does, and how often, as a person says it."""
        what = "Ship samples to the centre" if self.task == SHIP else "Record a sample of this machine"
        return f"{what} {self.beat}"

    @property
    def is_loop(self) -> bool:
        """Whether the command itself records at its beat, because no scheduler starts programs that often."""
        return self.every_seconds < MINUTE

    @property
    def beat(self) -> str:
        """How often, as a person says it."""
        hours, minutes = divmod(self.every_seconds // MINUTE, _HOUR_MINUTES)
        amount, unit = (self.every_seconds, "second") if self.is_loop else (minutes, "minute")
        if hours:
            amount, unit = hours, "hour"
        return f"every {unit}" if amount == 1 else f"every {amount} {unit}s"


def job(settings: Settings, every: str) -> Job:
    """Return the job that records with these *settings*, *every* so often. Raises: UsageError."""
    seconds = parse_duration(every).total_seconds()
    minutes, rest = divmod(seconds, MINUTE)
    is_even = minutes and (
        _HOUR_MINUTES % minutes == 0 or (minutes % _HOUR_MINUTES == 0 and _DAY_MINUTES % minutes == 0)
    )
    fits = seconds.is_integer() if seconds < MINUTE else is_even and rest == 0
    if not fits:
        raise UsageError(
            f"--every {every} is not what schedulers can do: whole seconds below a minute, minutes that an hour is "
            "a multiple of (1m, 5m, 15m), or hours that a day is a multiple of (1h, 6h)"
        )
    require_time(every, seconds, settings.cpu_window, "cpu_window")
    command = [*program(), "record", *options(settings, pinned=True)]
    if seconds < MINUTE:
        command += ["--every", f"{seconds:g}s"]
    return Job(name(settings.database), _checked(command), int(seconds), settings.database)


def ship_job(settings: Settings) -> Job:
    """Return the job that ships with these *settings*, at a moment that is the database's own, so that a centre is
    not asked by all machines at once. Raises: PerftrackError, also where a scheduler would not know where to.
    """
    if not settings.ship_to or _is_of_here(settings, "ship_to"):
        file = settings.config_file or "a config file"
        raise UsageError(
            "the scheduler, which knows nothing of this shell, would not know where to ship to: set ship_to in "
            f'{file}, e.g. ship_to = "postgresql://ROLE@HOST/DATABASE"'
        )
    from perftrack.fleet.connecting import address

    address(settings.ship_to)  # no password is in it
    command = [*program(), "ship", *where_options(settings, pinned=True)]
    offset = zlib.crc32(_identity(settings.database).encode()) % SHIP_SECONDS
    return Job(f"{name(settings.database)}-ship", _checked(command), SHIP_SECONDS, settings.database, SHIP, offset)


def _identity(database: str) -> str:
    """Return the uuid of *database*; as long as there is none, the name of the machine."""
    from perftrack.storage.sqlite_file import connect

    try:
        with closing(connect(database, read_only=True)) as opened:
            return str(opened.execute("SELECT uuid FROM source").fetchone()[0])
    except (PerftrackError, sqlite3.Error):
        return platform.node()


def _checked(command: list[str]) -> list[str]:
    """Return *command*. Raises: UsageError where no scheduler takes it."""
    broken = next((word for word in command if any(ord(char) < 32 or ord(char) == 127 for char in word)), None)
    if broken is not None:
        raise UsageError(f"{broken}: no scheduler takes a path or a filter with a control character in it")
    return command


def require_text(words: list[str], scheduler: str) -> None:
    """Raise UsageError where one of *words* is no valid text: a path may be any bytes."""
    if any(0xD800 <= ord(char) <= 0xDFFF for word in words for char in word):
        raise UsageError(f"a path is no valid UTF-8, which {scheduler} needs; cron does not: --using cron")


def name(database: str) -> str:
    """Return what the files and units of the schedule for *database* are called: one name for each."""
    with suppress(UsageError):  # this user has no home folder
        if database == default_database():
            return "perftrack"
    return f"perftrack-{hashlib.sha256(os.fsencode(database)).hexdigest()[:8]}"


def options(settings: Settings, *, pinned: bool = False) -> list[str]:
    """Return the options that let a scheduler, which knows nothing of this environment, record the same.

    *pinned*: the database and the config file are named also where they are the usual ones.
    """
    words = []
    for name, option in _OPTIONS.items():
        if _is_of_here(settings, name):
            value = getattr(settings, name)
            for each in value if isinstance(value, list) else [value]:
                words += [option] * bool(each) if isinstance(each, bool) else [option, str(each)]
    return words + where_options(settings, pinned=pinned)


def where_options(settings: Settings, *, pinned: bool = False) -> list[str]:
    """Return those of them that say which database and which config file."""
    words = []
    if pinned or _is_of_here(settings, "database"):
        words += ["--database", settings.database]
    if settings.config_file != usual_config_file() or (pinned and os.path.exists(settings.config_file)):
        words += ["--config", os.path.abspath(settings.config_file)]
    return words


def _is_of_here(settings: Settings, name: str) -> bool:
    return settings.origins[name].startswith(("option", "environment"))


def not_pinned(settings: Settings) -> list[str]:
    """Return the settings that the environment sets here and no option of `record` can: a scheduler knows nothing of
    them.
    """
    matters = [name for name in SETTINGS if name not in {*_OPTIONS, "database", "system_csv", "process_csv"}]
    return [name for name in matters if _is_of_here(settings, name)]
