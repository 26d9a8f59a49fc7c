"""`perftrack export`: files of what was recorded, as CSV and in the formats of other tools."""

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
from perftrack.errors import UsageError
from perftrack.settings import expand, load
from perftrack.text import printable

Format = Literal["csv", "jsonl", "parquet"]


def export(
    since: options.Since = None,
    until: options.Until = None,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="CSV as the original's; or JSON Lines or Parquet, with every column, typed, and times in UTC.",
        ),
    ] = "csv",
    directory: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="The folder of files that are not named in full.", show_default="this folder"
        ),
    ] = None,
    system_file: Annotated[
        str | None,
        typer.Option(
            "--system-csv",
            "--system-file",
            metavar="FILE",
            help="The system's rows; - is stdout. Compressed where its name ends in .gz or .zst.",
            show_default="system_log.csv, or as configured, or .jsonl, .parquet",
        ),
    ] = None,
    process_file: Annotated[
        str | None,
        typer.Option(
            "--process-csv",
            "--process-file",
            metavar="FILE",
            help="The processes' rows; - is stdout. Compressed likewise.",
            show_default="process_log.csv, or as configured, or .jsonl, .parquet",
        ),
    ] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="CSV: add every further column of the views system_log and process_log.")
    ] = False,
    time: Annotated[
        Literal["local", "utc", "epoch"] | None,
        typer.Option(
            help="The column datetime: the recorded machine's wall clock, ISO 8601 in UTC, or seconds since 1970.",
            show_default="local in CSV, else utc",
        ),
    ] = None,
    spreadsheet_safe: options.SpreadsheetSafe = False,
    host: options.Host = None,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Write what was recorded to two files, CSV or other formats.

    One is of the system and one of the processes. The columns and the format are by default those of the original
    PerformanceTrack. The range is half open, since <= t < until, so that consecutive exports fit together. With - for
    one file, the other is written only if it is named too, or --directory is.
    """
    _refuse_what_does_not_fit(output_format, time, [system_file, process_file], spreadsheet_safe=spreadsheet_safe)
    only_named = "-" in {system_file, process_file} and directory is None
    settings = load({"database": database, "system_csv": system_file, "process_csv": process_file}, config)
    targets = [
        None if only_named and named is None else _target(_named_for(output_format, setting, named), directory)
        for named, setting in ((system_file, settings.system_csv), (process_file, settings.process_csv))
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
            output_format=output_format,
            wide=wide,
            time_format=time or ("local" if output_format == "csv" else "utc"),
            spreadsheet_safe=spreadsheet_safe,
            progress=progress,
        )
    if len(done.hosts) > 1 and not wide and output_format == "csv":
        tell(f"the rows are of {', '.join(done.hosts)}; --host chooses, --wide has a column of it")
    if done.in_range.samples == 0:
        tell(nothing_in_range(done.everything, settings.database))
    elif sys.stdout.isatty() and "-" not in targets:
        written = zip((done.system_rows, done.process_rows), targets, strict=True)
        wrote = " and ".join(f"{count(rows, 'row')} to {target}" for rows, target in written if rows is not None)
        print(printable(f"wrote {wrote}"))


def _target(setting: str, directory: str | None) -> str:
    return setting if setting == "-" else os.path.join(directory or "", expand(setting, "the file's name"))


def _named_for(output_format: Format, setting: str, named: str | None) -> str:
    """Return the file's name: as it is *named* by an option, else the *setting*, ending as *output_format* does."""
    if named is not None or output_format == "csv":
        return setting
    name = setting.removesuffix(".gz").removesuffix(".zst")
    compressed = "" if output_format == "parquet" else setting.removeprefix(name)  # Parquet is so within
    return f"{name.removesuffix('.csv')}.{output_format}{compressed}"


def _refuse_what_does_not_fit(
    output_format: Format,
    time: str | None,
    named: list[str | None],
    *,
    spreadsheet_safe: bool,
) -> None:
    """Raise UsageError for options that mean nothing to the format. *named*: the files."""
    options.refuse_spreadsheet_safe(output_format, is_given=spreadsheet_safe)
    if output_format == "parquet":
        if time == "epoch":
            raise UsageError("a Parquet file has instants of its own; --time utc or local")
        if any(name is not None and name.endswith((".gz", ".zst")) for name in named):
            raise UsageError("a Parquet file is compressed within; name it without .gz or .zst")
