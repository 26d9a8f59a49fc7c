"""`export --new`: what was recorded since the last one is appended to the same files, in the order it came in.

A sample is new by its id, which grows with each that comes in, whenever it was taken: none that waited or is imported
is missed. Only what an import adds to a sample that was there before is.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, func, select, type_coerce

from perftrack.errors import PerftrackError
from perftrack.progress import Progress, no_progress
from perftrack.reading import queries
from perftrack.reading.export import compression
from perftrack.reading.export.files import Exported
from perftrack.reading.export.growing import GrowingFile, Newest, position_file, readable_errors
from perftrack.reading.export.logs import Form, Log, columns_of, write_log
from perftrack.reading.machines import machines
from perftrack.reading.queries import TimeRange
from perftrack.storage.models import Boot, SystemSample
from perftrack.storage.snapshot import snapshot


def export_new(
    database: str,
    system_file: str | None,
    process_file: str | None,
    form: Form,
    *,
    host: str | None = None,
    progress: Progress = no_progress,
) -> Exported:
    """Append to two files (None: not that one) the rows of the samples that came in since, and return how many.

    Each file has a position of its own, and gets each row once, whatever ends this. *form*, *host*: as those
    of `export`. Raises: BusyError while another export appends to one; PerftrackError. Then the files have what they
    had.
    """
    compression.require(system_file, process_file)
    targets: list[tuple[Log, str | None]] = [("system", system_file), ("process", process_file)]
    files: dict[Log, GrowingFile] = {}
    rows: dict[Log, int] = {}
    with ExitStack() as opened:
        with snapshot(database) as connection:
            hosts = machines(connection, host)
            newest = _sample(connection, select(func.max(SystemSample.id)).scalar_subquery())
            for log, path in targets:
                if path is None:
                    continue
                file = files[log] = opened.enter_context(closing(GrowingFile(path, _written(log, form, host))))
                _refuse_another_database(connection, file, newest, database)
            oldest = min((file.last.id for file in files.values()), default=0)
            came = queries.extent(connection, TimeRange(hosts=hosts, after_id=oldest))
            for place, (log, file) in enumerate(files.items()):
                span = TimeRange(hosts=hosts, after_id=file.last.id)

                def done(samples: int, before: int = place * came.rows) -> None:
                    progress(before + samples, len(files) * came.rows)

                with readable_errors(file.path):
                    rows[log] = write_log(connection, log, span, form, file.stream, done, header=file.is_begun)
        # behind the snapshot's end, so that nothing is kept that is none
        for log, file in files.items():
            file.save(newest or file.last, is_longer=file.is_begun or rows[log] > 0)
    return Exported(rows.get("system"), rows.get("process"), came, came, hosts)


def _written(log: Log, form: Form, host: str | None) -> dict[str, Any]:
    """Return what all rows of a file have in common; a change of these needs a new file."""
    written: dict[str, Any] = {"--format": form.format, "--time": form.time_format, "--host": host}
    if form.format == "csv":  # in JSON, each row says what its columns are
        written |= {"--spreadsheet-safe": form.spreadsheet_safe, "set of columns": columns_of(log, form)}
    return written


def _refuse_another_database(connection: Connection, file: GrowingFile, newest: Newest | None, database: str) -> None:
    """Raise PerftrackError where the database is not the one that *file* was written from.

    By the newest sample that it has the rows of: a database has another of that id, or none and no later one. One of
    which that sample was purged is taken for the one that it says to be.
    """
    last = file.last
    if last.id == 0 or newest is None:
        return
    there = _sample(connection, last.id)
    if last.id > newest.id or there not in {None, last}:
        raise PerftrackError(
            f"{file.path} was written from another database than {database}, or from a newer copy of it: name "
            f"another file, or move it and {position_file(file.path)} away, to begin with all samples"
        )


def _sample(connection: Connection, sample_id: int | ColumnElement[int]) -> Newest | None:
    columns = SystemSample.id, type_coerce(SystemSample.taken_at, String), Boot.key
    statement = select(*columns).join(Boot, Boot.id == SystemSample.boot_id).where(SystemSample.id == sample_id)
    found = connection.execute(statement).one_or_none()
    return None if found is None else Newest(*found)
