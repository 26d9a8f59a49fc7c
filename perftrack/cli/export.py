"""`perftrack export`: files of what was recorded, as CSV and in the formats of other tools."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from perftrack.cli import options
from perftrack.cli.coverage import nothing_in_range
from perftrack.cli.cron_line import tell
from perftrack.cli.progress import progress_bar
from perftrack.cli.targets import refuse_own_files, target
from perftrack.errors import UsageError
from perftrack.figures import count
from perftrack.settings import Settings, load
from perftrack.text import printable

Format = Literal["csv", "jsonl", "parquet", "openmetrics"]


def export(
    since: options.Since = None,
    until: options.Until = None,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="CSV as the original's; JSON Lines or Parquet, with every column, typed, and times in UTC; or "
            "OpenMetrics, one file for Prometheus.",
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
            show_default="system_log.csv or .jsonl or .parquet, or as configured",
        ),
    ] = None,
    process_file: Annotated[
        str | None,
        typer.Option(
            "--process-csv",
            "--process-file",
            metavar="FILE",
            help="The processes' rows; - is stdout. Compressed likewise.",
            show_default="process_log.csv or .jsonl or .parquet, or as configured",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The one file of --format openmetrics.", show_default="- (stdout)"
        ),
    ] = None,
    new: Annotated[
        bool,
        typer.Option(
            "--new",
            help="Append to the files what was recorded since the last time, each row once. FILE.position beside "
            "each keeps how far that is.",
        ),
    ] = False,
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

    With --new, a file that was moved away (logrotate) is begun anew, and goes on where that one ended.

    OpenMetrics has the system's metrics, and those of processes added up by name and unit. `promtool tsdb
    create-blocks-from openmetrics FILE FOLDER` makes blocks of it. The last three hours are not safe to add to a
    Prometheus that runs: end with --until 3h. For a long range, give promtool --max-block-duration=744h.
    """
    settings = load({"database": database, "system_csv": system_file, "process_csv": process_file}, config)
    _refuse_what_does_not_fit(
        output_format, time, [system_file, process_file], output, spreadsheet_safe=spreadsheet_safe
    )
    targets = _targets(settings, output_format, [system_file, process_file], output, directory)
    written = [path for path in targets if path is not None]
    if new:
        from perftrack.reading.export.growing import position_file

        _refuse_for_new(output_format, since, until, targets)
        written += [position_file(path) for path in written]
    refuse_own_files(settings, *written)
    span = options.time_range(since, until)

    from perftrack.reading.export import files as exporting
    from perftrack.reading.export.logs import Form
    from perftrack.reading.export.new import export_new
    from perftrack.reading.export.openmetrics import export_openmetrics

    system, process = targets
    with progress_bar("exporting samples", shown="-" not in targets) as progress:
        if output_format == "openmetrics":
            done = export_openmetrics(settings.database, system or "-", span, host=host, progress=progress)
        else:
            form = Form(output_format, wide, time or ("local" if output_format == "csv" else "utc"), spreadsheet_safe)
            if new:
                done = export_new(settings.database, system, process, form, host=host, progress=progress)
            else:
                done = exporting.export(
                    settings.database, system, process, span, host=host, form=form, progress=progress
                )
    if len(done.hosts) > 1 and not wide and output_format == "csv" and not new:
        tell(f"the rows are of {', '.join(done.hosts)}; --host chooses, --wide has a column of it")
    if done.in_range.samples == 0 and not new:
        tell(nothing_in_range(done.everything, settings.database))
    elif sys.stdout.isatty() and "-" not in targets:
        rows_to = zip((done.system_rows, done.process_rows), targets, strict=True)
        wrote = " and ".join(f"{count(rows, 'row')} to {path}" for rows, path in rows_to if rows is not None)
        print(printable(f"{'appended' if new else 'wrote'} {wrote}"))


def _targets(
    settings: Settings, output_format: Format, named: list[str | None], output: str | None, directory: str | None
) -> list[str | None]:
    """Return where the system's rows and those of processes are written to; None: nowhere. OpenMetrics: all to one.

    *named*: the two files, *output*: the one, as options have them.
    """
    if output_format == "openmetrics":
        return [target(output or "-", directory), None]
    only_named = "-" in named and directory is None
    return [
        None if only_named and name is None else target(_named_for(output_format, setting, name), directory)
        for name, setting in zip(named, (settings.system_csv, settings.process_csv), strict=True)
    ]


def _named_for(output_format: Format, setting: str, named: str | None) -> str:
    """Return the file's name: as it is *named* by an option, else the *setting*, ending as *output_format* does."""
    if named is not None or output_format == "csv" or setting == "-" or setting.startswith("/dev/"):
        return setting
    name = setting.removesuffix(".gz").removesuffix(".zst")
    compressed = "" if output_format == "parquet" else setting.removeprefix(name)  # Parquet is so within
    return f"{name.removesuffix('.csv')}.{output_format}{compressed}"


def _refuse_what_does_not_fit(
    output_format: Format,
    time: str | None,
    named: list[str | None],
    output: str | None,
    *,
    spreadsheet_safe: bool,
) -> None:
    """Raise UsageError for options that mean nothing to the format. *named*: the two files, *output* the one."""
    options.refuse_spreadsheet_safe(output_format, is_given=spreadsheet_safe)
    if output_format == "openmetrics":
        if named != [None, None]:
            raise UsageError("--format openmetrics writes one file: name it with --output")
        if time is not None:
            raise UsageError("OpenMetrics has instants of its own: leave --time away")
    elif output is not None:
        raise UsageError("--output is of --format openmetrics: name the files with --system-csv and --process-csv")
    if output_format == "parquet":
        if time == "epoch":
            raise UsageError("a Parquet file has instants of its own; --time utc or local")
        if any(name is not None and name.endswith((".gz", ".zst")) for name in named):
            raise UsageError("a Parquet file is compressed within; name it without .gz or .zst")


def _refuse_for_new(output_format: Format, since: str | None, until: str | None, targets: list[str | None]) -> None:
    """Raise UsageError for options that --new does not go with."""
    if output_format not in {"csv", "jsonl"}:
        raise UsageError(f"--new appends to CSV and JSON Lines alone: a {output_format} file cannot be made longer")
    if since is not None or until is not None:
        raise UsageError("--new goes on where the last export ended: leave --since and --until away")
    if "-" in targets:
        raise UsageError("--new appends to files: name them with --system-csv and --process-csv, and not -")
