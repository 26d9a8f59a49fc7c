"""The two files of an export: the original's bytes by default, streamed from one snapshot of the database."""

from __future__ import annotations

from typing import NamedTuple, TextIO

from perftrack.progress import Progress, no_progress
from perftrack.reading import queries
from perftrack.reading.export import compression, parquet
from perftrack.reading.export.logs import CSV, Form, Log, write_log
from perftrack.reading.export.output import output_files
from perftrack.reading.machines import machines
from perftrack.reading.queries import Extent, TimeRange
from perftrack.storage.snapshot import snapshot


class Exported(NamedTuple):
    """What an export wrote (None: that file was not asked for), and what the database holds of the range.

    *everything*: all that the database holds, where the range holds nothing; else as *in_range*. *hosts*: the
    machines.
    """

    system_rows: int | None
    process_rows: int | None
    in_range: Extent
    everything: Extent
    hosts: tuple[str, ...]


def export(
    database: str,
    system_file: str | None,
    process_file: str | None,
    span: TimeRange,
    *,
    host: str | None = None,
    form: Form = CSV,
    progress: Progress = no_progress,
) -> Exported:
    """Write the rows of *span* to two files (None: not that one; '-': stdout) and return how many there were.

    Both come from one snapshot: a sample is in both or in neither. A name that ends in .gz or .zst is compressed.
    *host*: see `machines`.
    Raises: PerftrackError, ClosedPipeError; then both files are as before.
    """
    compression.require(system_file, process_file)
    if form.format == "parquet":
        parquet.require()
    # in this order, so that nothing is published that is no snapshot
    with output_files(system_file, process_file) as (system, process), snapshot(database) as connection:
        span = span._replace(hosts=machines(connection, host))
        in_range = queries.extent(connection, span)
        everything = queries.held_at_all(connection, in_range)

        def written(log: Log, stream: TextIO | None, before: int) -> int | None:
            def done(samples: int) -> None:
                progress(before + samples, 2 * in_range.rows)

            return None if stream is None else write_log(connection, log, span, form, stream, done)

        system_rows = written("system", system, 0)
        process_rows = written("process", process, in_range.rows)
    return Exported(system_rows, process_rows, in_range, everything, span.hosts)
