"""The processes' CSV file in the original's columns, fast: a part at a time, every other by a second process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TextIO

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite

from perftrack.reading import queries
from perftrack.reading.process_lines import Instructions, ProcessLines, Samples
from perftrack.reading.queries import TimeRange
from perftrack.reading.second_process import SecondProcess

HEADER = "cpu_usage,datetime,filter,name,pid,rss_memory,vms_memory\r\n"
SAMPLES_AT_ONCE = 20
PARTS_AHEAD = 16  # what the second process has before it, so that neither waits for the other


def instructions(*, spreadsheet_safe: bool = False) -> Instructions:
    """Return what both processes go by."""
    dialect = sqlite.dialect(paramstyle="named")
    values, process = (
        str(select.compile(dialect=dialect)) for select in (queries.process_values(), queries.process_of())
    )
    return Instructions(values, process, spreadsheet_safe)


def write_processes(
    connection: Connection,
    second: SecondProcess | None,
    told: Instructions,
    span: TimeRange,
    stream: TextIO,
    instant: str,
    formatted: Callable[[str], str],
    done: Callable[[int], None],
) -> int:
    """Write the header and the rows of *span* to *stream*, and return how many.

    *second* sees the same snapshot, is *told* the same and does half of the work; None: nobody does. *instant* is
    the column that *formatted* makes the field `datetime` of. *done* is given the number of samples written.
    """
    driver = connection.connection.driver_connection
    assert driver is not None
    lines = ProcessLines(driver, told)
    stream.write(HEADER)
    samples = rows = 0
    for part, text, lines_in_it in _texts(_parts(connection, span, instant, formatted), lines, second):
        stream.write(text)
        samples += len(part)
        rows += lines_in_it
        done(samples)
    return rows


def _parts(
    connection: Connection, span: TimeRange, instant: str, formatted: Callable[[str], str]
) -> Iterator[Samples]:
    """Yield the samples of *span*, some at a time."""
    found = connection.execution_options(yield_per=SAMPLES_AT_ONCE).execute(queries.samples(span, instant=instant))
    for partition in found.partitions():
        yield [(sample_id, formatted(taken_at)) for sample_id, taken_at in partition]


def _texts(
    parts: Iterator[Samples], lines: ProcessLines, second: SecondProcess | None
) -> Iterator[tuple[Samples, str, int]]:
    """Yield each part with its lines and their number."""
    if second is None:
        for part in parts:
            yield part, *lines.of_samples(part)
        return
    asked: deque[tuple[Samples, Samples]] = deque()
    for others in parts:
        second.ask(others)
        asked.append((others, next(parts, [])))
        if len(asked) == PARTS_AHEAD:
            yield from _answered(second, lines, *asked.popleft())
    for pair in asked:
        yield from _answered(second, lines, *pair)


def _answered(
    second: SecondProcess, lines: ProcessLines, others: Samples, own: Samples
) -> Iterator[tuple[Samples, str, int]]:
    own_lines = lines.of_samples(own)
    yield others, *(second.answer() or lines.of_samples(others))
    yield own, *own_lines
