"""`perftrack schedule`: let the system's own scheduler record and ship, see whether it does, and take that away."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

from perftrack import figures
from perftrack.cli import options
from perftrack.cli import show as shown
from perftrack.cli.cron_line import tell
from perftrack.errors import PerftrackError
from perftrack.settings import Settings, load
from perftrack.text import printable

app = typer.Typer(
    help="Let cron, systemd, launchd or the Windows Task Scheduler record.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def install(
    every: Annotated[
        str, typer.Option(metavar="DURATION", help="How often: 1m, 5m, 1h; 10s by a service that goes on.")
    ] = "1m",
    ship: Annotated[
        bool,
        typer.Option(
            "--ship",
            help="Also ship every 10 minutes to the centre of a fleet, which ship_to in the config file names.",
        ),
    ] = False,
    using: Annotated[
        Literal["cron", "systemd", "launchd", "schtasks"] | None,
        typer.Option(
            help="By default what this system has: a systemd timer, a line in your crontab, a launchd agent, a "
            "Windows task.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be written, and write nothing.")
    ] = False,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Record from now on, also after a reboot.

    Writes what you would write by hand: a marked line in your crontab; or a systemd timer (as root for the system,
    else yours); or a launchd agent; or a Windows task. It names this perftrack, the database, and the config file if
    there is one, in full. Everything else there stays as it is. Installing again changes what is there, for instance
    how often. Where something records into that database already, it is named and nothing is written.

    With --ship it writes another one of those, at a moment of the database's own, so that machines do not ship all at
    once. Installing again without it leaves that one alone.
    """
    from perftrack.scheduling import plan
    from perftrack.scheduling.job import job, not_pinned, ship_job
    from perftrack.scheduling.schedule import SHIP

    settings = load({"database": database}, config)
    jobs = [job(settings, every)]
    chosen = plan.choose(jobs[0], using)
    if ship:
        jobs.append(ship_job(settings))
        plan.choose(jobs[1], chosen)
    if dry_run:
        for wanted in jobs:
            for where, text in plan.MECHANISMS[chosen].contents(wanted):
                print(f"# {printable(where)}\n{text}", end="")
    else:
        missing: dict[str, None] = {}
        for wanted in jobs:
            installed = plan.install(wanted, chosen)
            does = "ships" if wanted.task == SHIP else "records"
            print(printable(f"{does} {wanted.beat} now: {installed.where}: {installed.line}"))
            missing |= dict.fromkeys(plan.MECHANISMS[chosen].missing(installed))
        for schedule in plan.schedules_of(settings.database):
            if not ship and (schedule.task, schedule.database) == (SHIP, settings.database):
                print(printable(f"goes on to ship: {schedule.where}: {schedule.line}"))
        for line in missing:
            tell(line)
        if sys.stdout.isatty() and shutil.which("perftrack"):
            print("`perftrack --install-completion` lets your shell complete commands and options")
    for name in not_pinned(settings):
        tell(f"the scheduler will not know {settings.origins[name]}: set {name} in {settings.config_file}")


@app.command()
def show(
    output: options.TextFormat = "text",
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Tell what records and ships, when next, and whether samples come.

    Also what was written by hand, and what is missing for it to work. Exit code 1 when nothing that records is
    scheduled.
    """
    settings = load({"database": database}, config)
    document = _document(settings)
    tasks = {schedule["task"] for schedule in document["schedules"]}
    if output == "json":
        print(json.dumps(document, indent=2))
    else:
        for label, text in _lines(document, tasks, is_fleet=bool(settings.ship_to)):
            shown.entry(label, text)
    if "record" not in tasks:
        raise typer.Exit(1)


def _document(settings: Settings) -> dict[str, Any]:
    from perftrack.reading.status import status
    from perftrack.scheduling import plan

    now = datetime.now().astimezone()
    document: dict[str, Any] = {"database": settings.database, "schedules": []}
    for schedule in plan.schedules_of(settings.database):
        mechanism = plan.MECHANISMS[schedule.using]
        next_run_at = shown.iso(mechanism.next_run(schedule, now))
        missing = mechanism.missing(schedule) if schedule.is_own else []
        document["schedules"].append(schedule._asdict() | {"next_run_at": next_run_at, "missing": missing})
    try:
        found = status(settings)
    except PerftrackError as error:
        return document | {"newest_recorded_at": None, "age_seconds": None, "is_late": None, "problem": str(error)}
    newest = {"newest_recorded_at": shown.iso(found.newest_at), "age_seconds": found.age_seconds}
    return document | newest | {"is_late": found.is_late, "problem": None}


def _lines(document: dict[str, Any], tasks: set[str], *, is_fleet: bool) -> list[tuple[str, str]]:
    lines = [("database", document["database"])]
    for schedule in document["schedules"]:
        by = "`perftrack schedule install`" if schedule["is_own"] else "hand"
        label = "shipping" if schedule["task"] == "ship" else "schedule"
        lines.append((label, f"{schedule['kind']}, {schedule['where']}, written by {by}: {schedule['line']}"))
        if schedule["next_run_at"]:
            lines.append(("next run", figures.local(datetime.fromisoformat(schedule["next_run_at"]))))
        lines += [("missing", text) for text in schedule["missing"]]
    if "record" not in tasks:
        lines.append(("schedule", "none: `perftrack schedule install` makes one"))
    if is_fleet and "ship" not in tasks:
        lines.append(("shipping", "none: `perftrack schedule install --ship` makes one"))
    age = document["age_seconds"]
    newest = "no sample was recorded yet" if age is None else f"{figures.span(max(0, age))} old"
    lines.append(("newest", document["problem"] or f"{'LATE: ' if document['is_late'] else ''}{newest}"))
    return lines


@app.command()
def remove(database: options.Database = None, config: options.Config = None) -> None:
    """Take away what install wrote for the database, also what ships.

    Nothing else: what was recorded stays, and so does a line that was written by hand.
    """
    from perftrack.scheduling import plan

    for schedule in plan.remove(load({"database": database}, config).database):
        print(printable(f"removed from {schedule.where}: {schedule.line}"))
