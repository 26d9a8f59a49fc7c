"""The rows of system_log and process_log, written to a stream in the form that is asked for."""

from __future__ import annotations

import csv
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, TextIO

from sqlalchemy import Connection

from perftrack.reading import queries
from perftrack.reading.export import json_lines, parquet
from perftrack.reading.export.process_csv import write_processes
from perftrack.reading.export.spreadsheet import text_of
from perftrack.reading.queries import TimeFormat, TimeRange
from perftrack.storage.views import PROCESS_LOG, PROCESS_LOG_ORIGINAL, SYSTEM_LOG, SYSTEM_LOG_ORIGINAL

ROWS_AT_ONCE = 1000
Log = Literal["system", "process"]
RowFormat = Literal["csv", "jsonl", "parquet"]
_VIEWS = {"system": SYSTEM_LOG, "process": PROCESS_LOG}


class Form(NamedTuple):
    """How rows are written. *wide*: every column of the views, as formats that are not CSV always have them.

    *time_format*: the column datetime. *spreadsheet_safe*: text that begins like a formula is behind an apostrophe.
    """

    format: RowFormat = "csv"
    wide: bool = False
    time_format: TimeFormat = "local"
    spreadsheet_safe: bool = False


CSV = Form()


def columns_of(log: Log, form: Form) -> list[str]:
    """Return the names of the columns of *log* in that form."""
    if form.wide or form.format != "csv":
        return list(_VIEWS[log].c.keys())
    return SYSTEM_LOG_ORIGINAL if log == "system" else PROCESS_LOG_ORIGINAL


def write_log(
    connection: Connection,
    log: Log,
    span: TimeRange,
    form: Form,
    stream: TextIO,
    done: Callable[[int], None],
    *,
    header: bool = True,
) -> int:
    """Write the rows of *span* to *stream*, and return how many. *header*: the line of names first, in CSV.

    On a terminal text is escaped. *done* is given the number of samples written.
    """
    is_wide = form.wide or form.format != "csv"
    shown = text_of(stream, form.spreadsheet_safe)
    if log == "process" and not is_wide:
        return write_processes(connection, span, form.time_format, stream, shown, done, header=header)
    # Parquet has instants of its own, made from those that are stored
    time_format = "local" if form.format == "parquet" else form.time_format
    if log == "system":
        statement = queries.system_log(span, time_format, wide=is_wide)
    else:
        statement = queries.process_log(span, time_format)
    result = connection.execute(statement, execution_options={"yield_per": ROWS_AT_ONCE})
    rows = samples = 0
    instants: set[str] = set()
    with _rows_writer(log, form, stream, list(result.keys()), shown, header=header) as write:
        for partition in result.partitions():
            write(partition)
            rows += len(partition)
            before, instants = instants, {row.datetime for row in partition}
            samples += len(instants - before)  # the rows of a sample can be in two partitions
            done(samples)
    return rows


@contextmanager
def _rows_writer(
    log: Log, form: Form, stream: TextIO, names: list[str], shown: Callable[[str], str], *, header: bool
) -> Generator[Callable[[Sequence[Any]], None]]:
    """Yield what writes rows of the columns *names*. *shown*: what is written of a text in CSV."""
    columns = [_VIEWS[log].c[name] for name in names]
    if form.format == "parquet":
        with parquet.rows_writer(stream.buffer, columns, form.time_format) as write:
            yield write
    elif form.format == "jsonl":
        yield json_lines.rows_writer(stream, columns, form.time_format)
    else:
        writer = csv.writer(stream)
        if header:
            writer.writerow(names)
        yield (
            writer.writerows
            if shown is str
            else lambda rows: writer.writerows(
                [shown(value) if type(value) is str else value for value in row] for row in rows
            )
        )
