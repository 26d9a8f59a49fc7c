"""Agents of launchd, which macOS has: a property list that says how often, or to keep a program going."""

from __future__ import annotations

import glob
import os
import plistlib
import shlex
import sys
from datetime import datetime
from typing import Any
from xml.parsers.expat import ExpatError

from perftrack.errors import PerftrackError
from perftrack.programs import run
from perftrack.scheduling import files
from perftrack.scheduling.job import MINUTE, Job, require_text
from perftrack.scheduling.schedule import NOTE, SHIP, Schedule, is_system, one_line, target, task_of

DAEMONS = "/Library/LaunchDaemons"
FOLDERS = (DAEMONS, "/Library/LaunchAgents", "~/Library/LaunchAgents")


def found() -> list[Schedule]:
    """Return the agents and daemons that record or ship. What cannot be read is skipped."""
    schedules = []
    for path in sorted(path for folder in FOLDERS for path in glob.glob(f"{os.path.expanduser(folder)}/*.plist")):
        text = files.read(path)
        words = _arguments(text)
        command = shlex.join(words)
        if (task := task_of(command)) is not None:
            kind = "launchd daemon" if path.startswith(DAEMONS) else "launchd agent"
            database = target(command, {})
            schedules.append(Schedule("launchd", kind, path, one_line(command), database, NOTE in text, task))
    return schedules


def _arguments(text: str) -> list[str]:
    try:
        words = plistlib.loads(os.fsencode(text)).get("ProgramArguments", [])
    except (ValueError, AttributeError, ExpatError, plistlib.InvalidFileException):  # it may be no property list
        return []
    return [str(word) for word in words]


def contents(job: Job) -> list[tuple[str, str]]:
    """Return the file of *job* and its text; the keys are those of launchd.plist(5). Raises: UsageError."""
    require_text(job.command, "launchd")
    keys: dict[str, Any] = {"Label": job.name, "ProgramArguments": job.command, "Nice": 10}
    if job.task == SHIP:  # not when it is loaded: all machines may be switched on at once
        minutes = range(job.offset_seconds // MINUTE, 60, job.every_seconds // MINUTE)
        keys |= {"StartCalendarInterval": [{"Minute": minute} for minute in minutes]}
    else:
        # without LegacyTimers, launchd puts the beat off to when others wake up too
        beat = {"KeepAlive": True} if job.is_loop else {"StartInterval": job.every_seconds, "LegacyTimers": True}
        keys |= {"RunAtLoad": True, **beat}
    head, end, rest = plistlib.dumps(keys, sort_keys=False).decode().partition("<plist ")
    return [(_path(job.name), f"{head}<!-- {NOTE} -->\n{end}{rest}")]


def obstacle() -> str | None:
    """Return what is in the way of installing here, and what to do about it."""
    return None if sys.platform == "darwin" else "launchd is a part of macOS: give --using systemd or cron"


def missing(schedule: Schedule) -> list[str]:
    """Return what keeps the agent from being started, and what to do about it."""
    name = os.path.basename(schedule.where).removesuffix(".plist")
    if run("launchctl", "print", f"{_domain()}/{name}").exit_code == 0:
        return []
    return [f"it is not loaded: launchctl bootstrap {_domain()} {shlex.quote(schedule.where)}"]


def install(job: Job) -> None:
    """Write the agent of *job* and load it, or leave all as it was. Raises: PerftrackError."""
    ((path, text),) = contents(job)
    files.refuse_what_is_not_ours(path)
    before = files.read(path) or None
    is_loaded = run("launchctl", "print", f"{_domain()}/{job.name}").exit_code == 0
    if before == text and is_loaded:
        return
    if is_loaded:
        _launchctl("bootout", f"{_domain()}/{job.name}")
    try:
        files.replace(path, text)
        _launchctl("bootstrap", _domain(), path)
    except PerftrackError:
        files.replace(path, before)
        if is_loaded:
            _launchctl("bootstrap", _domain(), path)
        raise


def remove(schedule: Schedule) -> None:
    """Unload the agent of *schedule* and remove its file, and nothing else. Raises: PerftrackError."""
    name = os.path.basename(schedule.where).removesuffix(".plist")
    if schedule.where != _path(name):
        raise PerftrackError(f"{schedule.where} is the system's: run `perftrack schedule remove` as root")
    if not missing(schedule):
        _launchctl("bootout", f"{_domain()}/{name}")
    files.replace(schedule.where, None)


def next_run(schedule: Schedule, now: datetime) -> datetime | None:  # noqa: ARG001 - as all mechanisms have it
    """Return None: launchd does not tell."""
    return None


def _launchctl(*words: str) -> None:
    done = run("launchctl", *words, wait_seconds=100)
    if done.exit_code:
        raise PerftrackError(
            f"launchctl {words[0]} failed, and all was left as it was ({done.error}): log in at the screen of this "
            "Mac, or give --using cron"
        )


def _domain() -> str:
    return "system" if is_system() else f"gui/{os.getuid()}"


def _path(name: str) -> str:
    folder = DAEMONS if is_system() else os.path.expanduser("~/Library/LaunchAgents")
    return os.path.join(folder, f"{name}.plist")
