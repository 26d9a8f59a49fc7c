"""`perftrack import`: the original PerformanceTrack's files."""

from __future__ import annotations

from datetime import tzinfo
from typing import Annotated

import typer

from perftrack.cli import options
from perftrack.cli.progress import progress_bar
from perftrack.errors import UsageError
from perftrack.figures import count
from perftrack.settings import load
from perftrack.text import printable, storable


def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="data.pik, system_log.csv, process_log.csv.")],
    timezone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="The time zone of the files, e.g. Europe/Berlin.",
            show_default="this system's",
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The machine that the files are of.", show_default="this host's name"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be imported, and import nothing.")
    ] = False,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Import what the original PerformanceTrack recorded.

    That is its pickle, or the CSV files that it extracted. Each file is imported whole or not at all, and importing
    it again adds nothing. An import that fails can leave a new database behind, empty. Nothing in a file is executed.
    """
    settings = load({"database": database}, config)
    zone = _zone(timezone)
    if host == "":
        raise UsageError("--host is empty; name the machine that the files are of")
    import socket

    from perftrack.legacy.source import reading

    for path in files:
        with progress_bar(f"importing {path}") as progress, reading(path) as source:
            from perftrack.legacy.importer import import_file  # takes as long as reading a file of months does

            done = import_file(
                source,
                settings.database,
                storable(socket.gethostname() if host is None else host),
                zone,
                dry_run=dry_run,
                progress=progress,
            )
        name = printable(storable(path))
        held = _counted(done.system_entries, done.process_entries)
        new = _counted(done.new_system_entries, done.new_process_entries)
        if not new:
            print(f"{name}: nothing new, the database has all of it already ({held or 'no entries'})")
        else:
            print(f"{name}: {'would import' if dry_run else 'imported'} {new}{'' if new == held else f' of {held}'}")


def _counted(system: int, processes: int) -> str:
    counts = ((system, "system entry"), (processes, "process entry"))
    return " and ".join(count(number, noun) for number, noun in counts if number)


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # not found, or no name of a zone at all
        raise UsageError(f"--timezone {name}: no such time zone; write one like Europe/Berlin or UTC") from None
