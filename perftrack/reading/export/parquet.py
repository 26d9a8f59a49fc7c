"""Parquet, for DuckDB, pandas and whatever reads columns: typed, compressed, a bounded number of rows in memory.

Text is dictionary-encoded, in its file as the name of a process is in the database: once, and a number in each row.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import Column

from perftrack.errors import PerftrackError, UsageError
from perftrack.installation import how_to_install
from perftrack.reading.queries import TimeFormat, is_instant

if TYPE_CHECKING:
    import pyarrow

# A row group: readers skip those that a condition rules out, and hold one at a time. Here one is held too.
ROWS_IN_GROUP = 100_000


def require() -> None:
    """Raise PerftrackError without pyarrow."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise PerftrackError(f"--format parquet needs pyarrow: {how_to_install('pyarrow')}") from None


@contextmanager
def rows_writer(
    stream: IO[bytes], columns: Sequence[Column[Any]], time_format: TimeFormat
) -> Generator[Callable[[Sequence[Any]], None]]:
    """Yield what writes rows of *columns* to *stream*, their instants as the database stores them.

    The file is whole at the end. *time_format*: whether datetime is an instant, UTC, or what a local clock showed.
    Raises: UsageError where *stream* is a terminal; PerftrackError for a value that is not of its column's type.
    """
    if stream.isatty():
        raise UsageError("a Parquet file is not for a terminal: name a file, or pipe it into a program")
    import pyarrow
    from pyarrow import parquet

    names = [column.name for column in columns]
    types = [_type_of(column, time_format) for column in columns]
    schema = pyarrow.schema(list(zip(names, types, strict=True)))
    texts = [column.name for column in columns if column.type.python_type is str]
    # where datetime is UTC, it is what taken_at is
    source = [names.index("taken_at" if time_format == "utc" and name == "datetime" else name) for name in names]
    waiting: list[pyarrow.RecordBatch] = []
    with parquet.ParquetWriter(stream, schema, compression="zstd", use_dictionary=texts) as writer:

        def write_group() -> None:
            if waiting:
                table = pyarrow.Table.from_batches(waiting, schema)
                writer.write_table(table, row_group_size=ROWS_IN_GROUP)
                waiting.clear()

        def write(rows: Sequence[Any]) -> None:
            values = list(zip(*rows, strict=True))
            arrays = [
                _array(values[place], kind, name) for place, kind, name in zip(source, types, names, strict=True)
            ]
            waiting.append(pyarrow.record_batch(arrays, schema=schema))
            if sum(batch.num_rows for batch in waiting) + len(rows) > ROWS_IN_GROUP:
                write_group()

        yield write
        write_group()


def _type_of(column: Column[Any], time_format: TimeFormat) -> pyarrow.DataType:
    import pyarrow

    if is_instant(column):
        is_local = column.name == "datetime" and time_format == "local"
        return pyarrow.timestamp("us", None if is_local else "UTC")
    return {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}[column.type.python_type]


def _array(values: Sequence[Any], kind: pyarrow.DataType, name: str) -> pyarrow.Array:
    import pyarrow

    try:
        if pyarrow.types.is_timestamp(kind):
            return pyarrow.array(values, pyarrow.string()).cast(pyarrow.timestamp("us")).view(kind)
        return pyarrow.array(values, kind)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise PerftrackError(f"column {name} holds what is no {kind}: {error}") from None
