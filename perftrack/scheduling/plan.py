"""Which mechanism, and never two schedules for one task of one database: what is there is found first."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Protocol

from perftrack.errors import PerftrackError
from perftrack.scheduling import crontab, launchd, systemd, windows
from perftrack.scheduling.job import Job
from perftrack.scheduling.schedule import SHIP, Schedule


class Mechanism(Protocol):
    """What the module of a mechanism has."""

    def found(self) -> list[Schedule]:
        """Return what records or ships by this mechanism, whoever wrote it. What cannot be read is passed over."""

    def contents(self, job: Job) -> list[tuple[str, str]]:
        """Return where something is written for *job*, and what. Raises: UsageError, it cannot do that."""

    def obstacle(self) -> str | None:
        """Return what is in the way of installing here, and what to do about it."""

    def install(self, job: Job) -> None:
        """Write it and have it started, or leave everything as it was. Raises: PerftrackError."""

    def remove(self, schedule: Schedule) -> None:
        """Take away what `install` wrote, and nothing else. Raises: PerftrackError."""

    def missing(self, schedule: Schedule) -> list[str]:
        """Return what keeps a *schedule* that is installed from recording, and what to do about it."""

    def next_run(self, schedule: Schedule, now: datetime) -> datetime | None:
        """Return when *schedule* records next, in the zone of *now*; None: not known."""


MECHANISMS: dict[str, Mechanism] = {
    "cron": crontab,
    "systemd": systemd,
    "launchd": launchd,
    "schtasks": windows,
}


def schedules() -> list[Schedule]:
    """Return all that records or ships on this system, as far as this user may read it."""
    return [schedule for mechanism in MECHANISMS.values() for schedule in mechanism.found()]


def schedules_of(database: str) -> list[Schedule]:
    """Return those that record into *database*, or ship it, and those of which that cannot be known."""
    return [schedule for schedule in schedules() if schedule.database in {None, database}]


def default() -> str:
    """Return the mechanism that this system has."""
    usual = {"win32": "schtasks", "darwin": "launchd"}.get(sys.platform)
    return usual or ("systemd" if systemd.obstacle() is None else "cron")


def choose(job: Job, using: str | None) -> str:
    """Return the mechanism for *job*: *using*, or that of the schedule which is there, or what the system has.

    Raises: PerftrackError where another schedule does the same with the database already, or where it cannot do it.
    """
    there = [schedule for schedule in schedules_of(job.database) if schedule.task == job.task]
    for schedule in there:
        if not schedule.is_own or using not in {None, schedule.using}:
            away = "`perftrack schedule remove`" if schedule.is_own else "remove that by hand"
            raise PerftrackError(
                f"{schedule.where} {'ships' if job.task == SHIP else 'records into'} "
                f"{schedule.database or 'a database that cannot be known'} already, "
                f"and two would be one too many ({away} first): {schedule.line}"
            )
    chosen = using or next((schedule.using for schedule in there), None) or default()
    MECHANISMS[chosen].contents(job)
    return chosen


def install(job: Job, using: str) -> Schedule:
    """Install *job* by the mechanism *using* and return what is there now. Raises: PerftrackError."""
    mechanism = MECHANISMS[using]
    obstacle = mechanism.obstacle()
    if obstacle is not None:
        raise PerftrackError(obstacle)
    mechanism.install(job)
    wanted = job.database, job.task
    return next(each for each in mechanism.found() if each.is_own and (each.database, each.task) == wanted)


def remove(database: str) -> list[Schedule]:
    """Remove what was installed for *database* and return it. Raises: PerftrackError where there is nothing."""
    there = schedules_of(database)
    own = [schedule for schedule in there if schedule.is_own]
    if not own:
        by_hand = "".join(f"; {each.where} has a line that is yours to remove: {each.line}" for each in there)
        raise PerftrackError(f"`perftrack schedule install` wrote nothing for {database}{by_hand}")
    for schedule in own:
        MECHANISMS[schedule.using].remove(schedule)
    return own
