"""`perftrack export`: the two CSV files."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Literal

import typer

from perftrack.cli import options
from perftrack.cli.cron_line import tell
from perftrack.cli.progress import progress_bar
from perftrack.cli.show import count, nothing_in_range
from perftrack.cli.targets import refuse_own_files
from perftrack.settings import expand, load
from perftrack.text import printable


def export(
    since: options.Since = None,
    until: options.Until = None,
    directory: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="The folder of files that are not named in full.", show_default="this folder"
        ),
    ] = None,
    system_csv: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The system's rows; - is stdout.",
            show_default="system_log.csv, or as configured",
        ),
    ] = None,
    process_csv: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The processes' rows; - is stdout.",
            show_default="process_log.csv, or as configured",
        ),
    ] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="Add every further column of the views system_log and process_log.")
    ] = False,
    time: Annotated[
        Literal["local", "utc", "epoch"],
        typer.Option(
            help="The column datetime: the recorded machine's wall clock, ISO 8601 in UTC, or seconds since 1970."
        ),
    ] = "local",
    spreadsheet_safe: options.SpreadsheetSafe = False,
    host: options.Host = None,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Write what was recorded to two CSV files.

    One is of the system and one of the processes. The columns and the format are those of the original
    PerformanceTrack. The range is half open, since <= t < until, so that consecutive exports fit together. With - for
    one file, the other is written only if it is named too, or --directory is.
    """
    only_named = "-" in {system_csv, process_csv} and directory is None
    settings = load({"database": database, "system_csv": system_csv, "process_csv": process_csv}, config)
    targets = [
        None if only_named and named is None else _target(setting, directory)
        for named, setting in ((system_csv, settings.system_csv), (process_csv, settings.process_csv))
    ]
    refuse_own_files(settings, *(target for target in targets if target is not None))
    first, last = options.instants(since, until)

    from perftrack.reading import export as exporting
    from perftrack.reading.queries import TimeRange

    span = TimeRange(first, last)
    with progress_bar("exporting samples", shown="-" not in targets) as progress:
        done = exporting.export(
            settings.database,
            targets[0],
            targets[1],
            span,
            host=host,
            wide=wide,
            time_format=time,
            spreadsheet_safe=spreadsheet_safe,
            progress=progress,
        )
    if len(done.hosts) > 1 and not wide:
        tell(f"the rows are of {', '.join(done.hosts)}; --host chooses, --wide has a column of it")
    if done.in_range.samples == 0:
        tell(nothing_in_range(done.everything, settings.database))
    elif sys.stdout.isatty() and "-" not in targets:
        written = zip((done.system_rows, done.process_rows), targets, strict=True)
        wrote = " and ".join(f"{count(rows, 'row')} to {target}" for rows, target in written if rows is not None)
        print(printable(f"wrote {wrote}"))


def _target(setting: str, directory: str | None) -> str:
    return setting if setting == "-" else os.path.join(directory or "", expand(setting, "the file's name"))
