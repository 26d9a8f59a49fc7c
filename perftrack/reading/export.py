"""The two CSV files: the original's bytes by default, streamed from one snapshot of the database."""

from __future__ import annotations

import csv
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TextIO

from sqlalchemy import Connection, Select

from perftrack.reading import queries
from perftrack.reading.output import output_files
from perftrack.reading.process_csv import instructions, write_processes
from perftrack.reading.process_lines import Instructions
from perftrack.reading.queries import Extent, TimeRange
from perftrack.reading.second_process import SecondProcess, same_snapshot, second_process
from perftrack.reading.spreadsheet import neutralised
from perftrack.storage.database import explained
from perftrack.storage.engine import current_engine

TimeFormat = Literal["local", "utc", "epoch"]
ROWS_AT_ONCE = 1000
LONG_SAMPLES = 2000  # from here on a second process saves more time than it takes to start


class Exported(NamedTuple):
    """What an export wrote (None: that file was not asked for), and what the database holds of the range.

    *everything*: all that the database holds, where the range holds nothing; else as *in_range*.
    """

    system_rows: int | None
    process_rows: int | None
    in_range: Extent
    everything: Extent


def export(
    database: str,
    system_csv: str | None,
    process_csv: str | None,
    span: TimeRange,
    *,
    wide: bool = False,
    time_format: TimeFormat = "local",
    spreadsheet_safe: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Write the rows of *span* to two files (None: not that one; '-': stdout) and return how many there were.

    Both come from one snapshot: a sample is in both or in neither. *wide*: every column of the views.
    *spreadsheet_safe*: text that begins like a formula is behind an apostrophe. *progress* is told how many samples
    are done, of how many. Raises: PerftrackError, ClosedPipeError; then both
    files are as before.
    """
    instant = "datetime" if time_format == "local" else "taken_at"
    shown: Callable[[str], str] = neutralised if spreadsheet_safe else str
    told = instructions(spreadsheet_safe=spreadsheet_safe)
    with (
        explained(database),
        current_engine(database).connect() as connection,
        _snapshot(connection, database, None if process_csv is None or wide else span, told) as second,
        output_files(system_csv, process_csv) as streams,
    ):
        in_range = queries.extent(connection, span)
        # counting all samples of a year would take longer than exporting an hour of it
        everything = in_range if in_range.samples else queries.extent(connection, TimeRange())
        system_rows = process_rows = None
        system_stream, process_stream = streams
        total = 2 * in_range.samples
        if system_stream is not None:
            statement = queries.system_log(span, wide=wide, instant=instant)
            system_rows = _write(
                connection, statement, system_stream, time_format, lambda done: progress(done, total), shown
            )
        if process_stream is not None:

            def second_half(done: int) -> None:
                progress(in_range.samples + done, total)

            if wide:
                statement = queries.process_log(span, wide=True, instant=instant)
                process_rows = _write(connection, statement, process_stream, time_format, second_half, shown)
            else:
                formatted = _Instants(time_format).formatted
                process_rows = write_processes(
                    connection, second, told, span, process_stream, instant, formatted, second_half
                )
    return Exported(system_rows, process_rows, in_range, everything)


@contextmanager
def _snapshot(
    connection: Connection, database: str, span: TimeRange | None, told: Instructions
) -> Generator[SecondProcess | None]:
    """Begin to read, and where the processes of *span* are many, begin so in a second process too."""
    long = False
    if span is not None:
        with connection.begin():
            long = queries.extent(connection, span).samples >= LONG_SAMPLES
    with second_process() if long else nullcontext() as second:

        def begin() -> Callable[[], None]:
            transaction = connection.begin()
            connection.execute(queries.revision())  # the first statement takes the snapshot
            return transaction.rollback

        if second is None:
            begin()
            yield None
        else:
            yield second if same_snapshot(database, begin, second, told) else None


def _write(
    connection: Connection,
    statement: Select[Any],
    stream: TextIO,
    time_format: TimeFormat,
    done: Callable[[int], None],
    shown: Callable[[str], str],
) -> int:
    """Write the header and the rows of *statement*, text as *shown* makes it; return the number of rows."""
    result = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(statement)
    header = list(result.keys())
    position = header.index("datetime")
    instants = _Instants(time_format)
    writer = csv.writer(stream)
    writer.writerow(header)
    count = 0
    for partition in result.partitions():
        rows = ((*row[:position], instants.formatted(row[position]), *row[position + 1 :]) for row in partition)
        if shown is not str:
            rows = (tuple(shown(value) if type(value) is str else value for value in row) for row in rows)
        writer.writerows(rows)
        count += len(partition)
        done(instants.seen)
    stream.flush()
    return count


class _Instants:
    """Formats the database's instants; the rows of a sample come together, so the last answer often serves again."""

    def __init__(self, time_format: TimeFormat) -> None:
        self._format = time_format
        self._last: tuple[str, str] = ("", "")
        self.seen = 0

    def formatted(self, text: str) -> str:
        """Return *text* as the CSV shows it: local as `str(datetime)`, utc as ISO 8601, epoch as seconds."""
        if text != self._last[0]:
            self.seen += 1
            # str(datetime) leaves microseconds out when they are zero
            shown = text.removesuffix(".000000")
            if self._format == "utc":
                shown = shown.replace(" ", "T") + "Z"
            elif self._format == "epoch":
                whole = datetime.fromisoformat(text[:19]).replace(tzinfo=UTC).timestamp()
                shown = f"{whole:.0f}{shown[19:]}"
            self._last = (text, shown)
        return self._last[1]
