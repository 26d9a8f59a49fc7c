"""The two CSV files: the original's bytes by default, streamed from one snapshot of the database."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any, NamedTuple, TextIO

from sqlalchemy import Connection, Select

from perftrack.reading import queries
from perftrack.reading.machines import machines
from perftrack.reading.output import output_files
from perftrack.reading.process_csv import write_processes
from perftrack.reading.queries import Extent, TimeFormat, TimeRange
from perftrack.reading.snapshot import snapshot
from perftrack.reading.spreadsheet import text_of

ROWS_AT_ONCE = 1000


class Exported(NamedTuple):
    """What an export wrote (None: that file was not asked for), and what the database holds of the range.

    *everything*: all that the database holds, where the range holds nothing; else as *in_range*. *hosts*: the
    machines.
    """

    system_rows: int | None
    process_rows: int | None
    in_range: Extent
    everything: Extent
    hosts: list[str]


def export(
    database: str,
    system_csv: str | None,
    process_csv: str | None,
    span: TimeRange,
    *,
    host: str | None = None,
    wide: bool = False,
    time_format: TimeFormat = "local",
    spreadsheet_safe: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Write the rows of *span* to two files (None: not that one; '-': stdout) and return how many there were.

    Both come from one snapshot: a sample is in both or in neither. *host*: see `machines`. *wide*: every column of
    the views. *spreadsheet_safe*: text that begins like a formula is behind an apostrophe. On a terminal text is
    escaped. *progress* is told how many samples are done, of how many. Raises: PerftrackError, ClosedPipeError; then
    both files are as before.
    """
    # in this order, so that nothing is published that is no snapshot
    with output_files(system_csv, process_csv) as (system, process), snapshot(database) as connection:
        hosts = machines(connection, host)
        span = span._replace(hosts=tuple(hosts))
        in_range = queries.extent(connection, span)
        # counting all samples of a year would take longer than exporting an hour of it
        everything = in_range if in_range.samples else queries.extent(connection, TimeRange())
        total = 2 * in_range.rows
        system_rows = process_rows = None

        def first_half(done: int) -> None:
            progress(done, total)

        def second_half(done: int) -> None:
            progress(in_range.rows + done, total)

        if system is not None:
            statement = queries.system_log(span, time_format, wide=wide)
            system_rows = _write(connection, statement, system, text_of(system, spreadsheet_safe), first_half)
        if process is not None and wide:
            statement = queries.process_log(span, time_format)
            process_rows = _write(connection, statement, process, text_of(process, spreadsheet_safe), second_half)
        elif process is not None:
            shown = text_of(process, spreadsheet_safe)
            process_rows = write_processes(connection, span, time_format, process, shown, second_half)
    return Exported(system_rows, process_rows, in_range, everything, hosts)


def _write(
    connection: Connection,
    statement: Select[Any],
    stream: TextIO,
    shown: Callable[[str], str],
    done: Callable[[int], None],
) -> int:
    """Write the header and the rows of *statement*, text as *shown* makes it; return the number of rows."""
    result = connection.execute(statement, execution_options={"yield_per": ROWS_AT_ONCE})
    writer = csv.writer(stream)
    writer.writerow(result.keys())
    rows = samples = 0
    instants: set[str] = set()
    for partition in result.partitions():
        if shown is str:
            writer.writerows(partition)
        else:
            writer.writerows([shown(value) if type(value) is str else value for value in row] for row in partition)
        rows += len(partition)
        before, instants = instants, {row.datetime for row in partition}
        samples += len(instants - before)  # the rows of a sample can be in two partitions
        done(samples)
    return rows
