"""The processes' CSV file in the original's columns, assembled a sample at a time.

The csv module over rows of the view takes twice as long. Here SQLite joins nothing, and what is constant of a process
(filter, name, pid) is quoted once, not once a row.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any, TextIO

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite

from perftrack.reading import queries
from perftrack.reading.queries import TimeFormat, TimeRange
from perftrack.storage.views import PROCESS_LOG_ORIGINAL

SAMPLES_AT_ONCE = 20
REMEMBERED = 10_000


def write_processes(
    connection: Connection,
    span: TimeRange,
    time_format: TimeFormat,
    stream: TextIO,
    shown: Callable[[str], str],
    done: Callable[[int], None],
    *,
    header: bool = True,
) -> int:
    """Write the rows of *span* to *stream*, and return how many. *header*: the line of names first.

    *shown*: what is written of a text. *done* is given the number of samples written.
    """
    driver = connection.connection.driver_connection  # without SQLAlchemy: two questions a sample
    assert driver is not None
    dialect = sqlite.dialect(paramstyle="named")
    values, process = (str(ask.compile(dialect=dialect)) for ask in (queries.process_values(), queries.process_of()))
    places = _Remembered(lambda key: driver.execute(process, {"key": key}).fetchone())

    def constant(key: int) -> str:
        pid, _, text, _, name = places[key]
        return f",{_fields(shown(text), shown(name), pid)},"

    constants = _Remembered(constant)
    percents = _Remembered(lambda value: "," if value is None else f"{value!r},")
    ends = _Remembered(lambda vms: ",\r\n" if vms is None else f",{vms}\r\n")  # that of a process seldom changes
    if header:
        stream.write(f"{_fields(*PROCESS_LOG_ORIGINAL)}\r\n")
    cursor = driver.cursor()
    samples = rows = 0
    keys: list[int] = []
    order: list[int] = []
    fixed: list[str] = []
    found = connection.execute(queries.samples(span, time_format), execution_options={"yield_per": SAMPLES_AT_ONCE})
    for partition in found.partitions():
        lines = []
        for sample_id, instant in partition:
            of_sample = cursor.execute(values, {"sample_id": sample_id}).fetchall()
            before, keys = keys, [row[0] for row in of_sample]
            if keys != before:  # the same processes are in the same order
                order = sorted(range(len(keys)), key=lambda index: places[keys[index]])
                fixed = [constants[keys[index]] for index in order]
            in_order = map(of_sample.__getitem__, order)
            lines += [
                f"{percents[cpu]}{instant}{process}{rss}{ends[vms]}"
                for process, (_, cpu, rss, vms) in zip(fixed, in_order, strict=True)
            ]
        stream.write("".join(lines))
        rows += len(lines)
        samples += len(partition)
        done(samples)
    return rows


class _Remembered(dict[Any, Any]):
    """What *make* returns for a key, a bounded number of them; a third of the cost of functools.lru_cache."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __missing__(self, key: Any) -> Any:
        if len(self) >= REMEMBERED:
            self.clear()
        self[key] = value = self._make(key)
        return value


def _fields(*values: object) -> str:
    """Return *values* as the csv module writes them, without the end of the line."""
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue().removesuffix("\r\n")
