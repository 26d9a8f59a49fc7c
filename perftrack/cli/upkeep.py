"""`perftrack database check`, `backup`, `restore` and `vacuum`: keeping the database healthy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from perftrack import figures
from perftrack.cli import options, show
from perftrack.cli.cron_line import say, tell
from perftrack.cli.progress import progress_bar
from perftrack.cli.targets import refuse_own_files
from perftrack.errors import PerftrackError, UsageError
from perftrack.settings import load

if TYPE_CHECKING:
    from perftrack.upkeep.copying import Contents

_MARKS = {True: "ok", False: "WRONG", None: "?"}


def check(
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not compare every index and key with what it points to.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Tell whether the database is healthy, and what to do.

    A line for each: whether it is sound, of this perftrack, yours alone, in WAL mode; its log, samples that wait,
    failures that go on, room on the disk. `?` is what you may not look at. It changes nothing, and recording goes on.

    Exit code 0 when nothing is wrong, 1 otherwise: a monitor can call it.
    """
    from perftrack.upkeep.check import check as find

    settings = load({"database": database}, config)
    try:
        with progress_bar(f"checking {settings.database}"):
            findings = find(settings.database, settings.disk_floor_mib, quick=quick)
    except PerftrackError as error:
        if as_json:
            print(json.dumps({"ok": False, "database": settings.database, "problem": str(error)}, indent=2))
        raise
    is_ok = all(finding.ok is not False for finding in findings)
    if as_json:
        checks = {finding.name: {"ok": finding.ok, "text": finding.text} for finding in findings}
        print(json.dumps({"ok": is_ok, "database": settings.database, "checks": checks}, indent=2))
    else:
        for finding in findings:
            show.entry(finding.name, f"{_MARKS[finding.ok]}: {finding.text}")
    if not is_ok:
        raise typer.Exit(1)


def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file, or a folder for one named by the instant.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Copy the database into one file, while recording goes on.

    The file (0600) is whole by itself, verified, and has its name only then. `perftrack database restore` takes it
    back; every command reads it with --database.
    """
    from perftrack.upkeep.backup import back_up, target_of

    if file == "-":
        raise UsageError("a backup is a file, and stdout may be none: name one, or a folder")
    settings = load({"database": database}, config)
    target = target_of(settings.database, file)
    refuse_own_files(settings, target)
    with progress_bar(f"backing up {settings.database}") as progress:
        made = back_up(settings.database, target, force=force, progress=progress)
    say(f"backed up to {made.path}: {figures.size(made.size_bytes)}, {_held(made.held)}")


def restore(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The backup, or another copy of a database.")],
    force: Annotated[
        bool,
        typer.Option("--force", help="Also where samples would be lost; what was there is kept beside the database."),
    ] = False,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Put a backup in the place of the database.

    It is verified first. Where the database holds samples that the backup lacks, that is said and nothing is done,
    unless with --force. Recording can go on: a tick at that moment waits, or keeps its sample for the next one.
    """
    from perftrack.upkeep.restore import restore as put_back

    settings = load({"database": database}, config)
    refuse_own_files(settings, file)
    with progress_bar(f"restoring {settings.database}") as progress:
        restored = put_back(settings.database, file, force=force, progress=progress)
    if restored.kept is not None:
        tell(f"what was in database {settings.database} is kept in {restored.kept}")
    say(f"database {settings.database} is restored from {file}: {_held(restored.held)}")


def vacuum(database: options.Database = None, config: options.Config = None) -> None:
    """Give the room of deleted rows back to the disk.

    Rewrites the whole file, which needs as much free disk space again, twice; deleting leaves room that new samples
    use, so this is seldom worth it. A tick at that moment waits, or keeps its sample for the next one.
    """
    from perftrack.upkeep.vacuum import vacuum as rewrite

    settings = load({"database": database}, config)
    with progress_bar(f"rewriting {settings.database}; recording waits, and loses nothing"):
        done = rewrite(settings.database)
    say(f"database {settings.database} has {figures.size(done.after)}, of {figures.size(done.before)} before")
    if not done.is_log_empty:
        tell(f"{settings.database}-wal could not be emptied, for somebody reads: a later tick does that")


def _held(held: Contents) -> str:
    newest = "" if held.newest is None else f", the newest of {held.newest[:19]} UTC"
    return f"{figures.count(held.samples, 'sample')}{newest}"
