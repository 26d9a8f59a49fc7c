"""The questions that `usage` asks: conditions for parts of a range, and SQL over one part each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, case, func, select
from sqlalchemy.orm import aliased
from sqlalchemy.sql.expression import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from perftrack.reading.queries import TimeRange
from perftrack.storage.intervals import PROCESS_INTERVAL
from perftrack.storage.models import NameFilter, Process, ProcessSample, SystemSample

SAMPLES_AT_ONCE = 1440  # a day of a tick a minute
COUNTERS = ("cpu_ms", "read_bytes", "write_bytes")
SAMPLE = SystemSample.__table__.c
Part = list[ColumnElement[bool]]

_VALUES = {
    "cpu_ms": ProcessSample.cpu_user_ms + ProcessSample.cpu_system_ms,
    "read_bytes": ProcessSample.read_bytes,
    "write_bytes": ProcessSample.write_bytes,
}


def parts(
    connection: Connection, span: TimeRange, progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Part]:
    """Yield the conditions on system_sample of each part of *span*.

    Parts are of samples as they were stored: unlike the time, that goes on when the clock is set back.
    """
    within = span.holds(SAMPLE.taken_at)
    first, last = connection.execute(select(func.min(SAMPLE.id), func.max(SAMPLE.id)).where(*within)).one()
    if first is None:
        return
    # SQLite's unary plus: no index by time, which would read all of the range for each part
    again = span.holds(UnaryExpression(SAMPLE.taken_at, operator=custom_op("+"), type_=SAMPLE.taken_at.type))
    for start in range(first, last + 1, SAMPLES_AT_ONCE):
        yield [SAMPLE.id >= start, SAMPLE.id < start + SAMPLES_AT_ONCE, *again]
        progress(min(start + SAMPLES_AT_ONCE, last + 1) - first, last + 1 - first)


def further_filters(connection: Connection) -> list[int]:
    """Return the filters under which a process has a second row in the same sample (imported data)."""
    return list(connection.execute(select(NameFilter.id).where(NameFilter.rank > 0)).scalars())


def process_part(part: Part, further_filters: list[int]) -> Select[Any]:
    """Select of each process its counters' first and last values, their least and largest, and its memory."""
    extremes = [
        extreme(value).label(f"{name}_{label}")
        for name, value in _VALUES.items()
        for label, extreme in (("least", func.min), ("most", func.max))
    ]
    each = (
        select(
            ProcessSample.process_id,
            func.min(ProcessSample.sample_id).label("first_sample"),
            func.max(ProcessSample.sample_id).label("last_sample"),
            *extremes,
            *_memory(ProcessSample),
        )
        .select_from(SystemSample)
        .join(ProcessSample)
        .where(*part, ProcessSample.filter_id.not_in(further_filters))
        .group_by(ProcessSample.process_id)
        .subquery()
    )
    statement = select(each)
    for label in ("first", "last"):
        row = aliased(ProcessSample, name=label)
        statement = statement.join(
            row,
            and_(
                row.sample_id == each.c[f"{label}_sample"],
                row.process_id == each.c.process_id,
                row.filter_id.not_in(further_filters),
            ),
        ).add_columns(
            (row.cpu_user_ms + row.cpu_system_ms).label(f"cpu_ms_{label}"),
            row.read_bytes.label(f"read_bytes_{label}"),
            row.write_bytes.label(f"write_bytes_{label}"),
        )
    return statement


def sums(part: Part, process_id: int) -> Select[Any]:
    """Select what the counters of a process grew by from sample to sample, where one of them went backwards."""
    order: dict[str, Any] = {"order_by": (SystemSample.uptime_seconds, SystemSample.id)}
    rows = (
        select(
            *(value.label(name) for name, value in _VALUES.items()),
            *(func.lag(value).over(**order).label(f"{name}_before") for name, value in _VALUES.items()),
        )
        .select_from(SystemSample)
        .join(ProcessSample)
        .where(*part, ProcessSample.process_id == process_id)
        .subquery()
    )
    differences = ((rows.c[name], rows.c[f"{name}_before"]) for name in COUNTERS)
    return select(*(func.sum(case((value >= before, value - before))) for value, before in differences))


def group_part(part: Part, column: Any, further_filters: list[int]) -> Select[Any]:
    """Select memory and threads of each group, whose processes' values are added up in each sample."""
    rows = (
        select(
            column.label("key"),
            func.sum(ProcessSample.rss_bytes).label("rss_bytes"),
            func.sum(ProcessSample.num_threads).label("num_threads"),
        )
        .select_from(SystemSample)
        .join(ProcessSample)
        .join(Process, Process.id == ProcessSample.process_id)
        .where(*part, ProcessSample.filter_id.not_in(further_filters))
        .group_by(SystemSample.id, column)
        .subquery()
    )
    return select(rows.c.key, *_memory(rows.c)).group_by(rows.c.key)


def _memory(columns: Any) -> list[Any]:
    return [
        func.max(columns.rss_bytes).label("rss_max_bytes"),
        func.sum(columns.rss_bytes).label("rss_sum_bytes"),
        func.count(columns.rss_bytes).label("rss_samples"),
        func.max(columns.num_threads).label("num_threads_max"),
    ]


def first_interval(connection: Connection) -> Callable[[int, int], tuple[int | None, ...]]:
    """Return a function that tells what a process used up to its first sample of a range: sample id, process id."""
    view = PROCESS_INTERVAL.c
    wanted = and_(view.sample_id == bindparam("sample_id"), view.process_id == bindparam("process_id"))
    sql = str(select(*(view[name] for name in COUNTERS)).where(wanted).compile(connection.engine))
    driver = connection.connection.driver_connection
    assert driver is not None

    def ask(sample_id: int, process_id: int) -> tuple[int | None, ...]:
        # by the driver itself: this is asked once for each process that there was
        found = driver.execute(sql, (sample_id, process_id)).fetchone()
        return found or (None,) * len(COUNTERS)

    return ask


def named_part(part: Part, process_ids: str, further_filters: list[int]) -> Select[Any]:
    """Select sample, process and counters of the processes *process_ids* (JSON) in the order of time."""
    wanted = select(func.json_each(process_ids).table_valued("value").c.value)
    columns: list[Any] = [ProcessSample.sample_id, ProcessSample.process_id, *_VALUES.values()]
    return (
        select(*columns)
        .select_from(SystemSample)
        .join(ProcessSample)
        .where(*part, ProcessSample.process_id.in_(wanted), ProcessSample.filter_id.not_in(further_filters))
        .order_by(SystemSample.uptime_seconds, SystemSample.id)
    )
