"""`perftrack schedule`: let the system's own scheduler record, see whether it does, and take that away again."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

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
    """
    from perftrack.scheduling import plan
    from perftrack.scheduling.job import job, not_pinned

    settings = load({"database": database}, config)
    wanted = job(settings, every)
    chosen = plan.choose(wanted, using)
    if dry_run:
        for where, text in plan.MECHANISMS[chosen].contents(wanted):
            print(f"# {printable(where)}\n{text}", end="")
    else:
        installed = plan.install(wanted, chosen)
        print(printable(f"records {wanted.beat} now: {installed.where}: {installed.line}"))
        for line in plan.MECHANISMS[chosen].missing(installed):
            tell(line)
        if sys.stdout.isatty() and shutil.which("perftrack"):
            print("`perftrack --install-completion` lets your shell complete commands and options")
    for name in not_pinned(settings):
        tell(f"the scheduler will not know {settings.origins[name]}: set {name} in {settings.config_file}")


@app.command()
def show(
    output: Annotated[
        Literal["text", "json"], typer.Option("--format", help="For people, or for programs.")
    ] = "text",
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Tell what records, when next, and whether samples arrive.

    Also what was written by hand, and what is missing for it to work. Exit code 1 when nothing is scheduled.
    """
    document = _document(load({"database": database}, config))
    if output == "json":
        print(json.dumps(document, indent=2))
    else:
        for label, text in _lines(document):
            shown.entry(label, text)
    if not document["schedules"]:
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


def _lines(document: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("database", document["database"])]
    for schedule in document["schedules"]:
        by = "`perftrack schedule install`" if schedule["is_own"] else "hand"
        lines.append(("schedule", f"{schedule['kind']}, {schedule['where']}, written by {by}: {schedule['line']}"))
        if schedule["next_run_at"]:
            lines.append(("next run", shown.local(datetime.fromisoformat(schedule["next_run_at"]))))
        lines += [("missing", text) for text in schedule["missing"]]
    if not document["schedules"]:
        lines.append(("schedule", "none: `perftrack schedule install` makes one"))
    age = document["age_seconds"]
    newest = "no sample was recorded yet" if age is None else f"{shown.span(max(0, age))} old"
    lines.append(("newest", document["problem"] or f"{'LATE: ' if document['is_late'] else ''}{newest}"))
    return lines


@app.command()
def remove(database: options.Database = None, config: options.Config = None) -> None:
    """Take away what install wrote for the database.

    Nothing else: what was recorded stays, and so does a line that was written by hand.
    """
    from perftrack.scheduling import plan

    for schedule in plan.remove(load({"database": database}, config).database):
        print(printable(f"removed from {schedule.where}: {schedule.line}"))
