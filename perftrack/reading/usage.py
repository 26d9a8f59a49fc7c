"""What each process consumed over a range, from the counters: added up in SQL, some samples at a time.

Between two samples of a process in the range, all that its counters grew by is its own, also where it was not
recorded in between. What belongs to its first sample is what the view process_interval says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, case, func, select
from sqlalchemy.orm import aliased
from sqlalchemy.sql.expression import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from perftrack.reading.queries import TimeRange
from perftrack.storage.intervals import PROCESS_INTERVAL
from perftrack.storage.models import NameFilter, Process, ProcessSample, SystemSample

SAMPLES_AT_ONCE = 1440  # a day of a tick a minute
IDS_AT_ONCE = 500
COUNTERS = ("cpu_ms", "read_bytes", "write_bytes")
GROUPS = {"name": Process.name, "command": Process.command, "user": Process.username}
SAMPLE = SystemSample.__table__.c
Part = list[ColumnElement[bool]]
Group = Literal["process", "name", "command", "user"]

_VALUES = {
    "cpu_ms": ProcessSample.cpu_user_ms + ProcessSample.cpu_system_ms,
    "read_bytes": ProcessSample.read_bytes,
    "write_bytes": ProcessSample.write_bytes,
}


class Usage:
    """What a process, or a group of them, consumed. None: not known.

    cpu_ms, read_bytes, write_bytes; rss_max_bytes and rss_mean_bytes over the samples that it is in (of a group: of
    its sum), num_threads_max likewise.
    """

    __slots__ = (*COUNTERS, "num_threads_max", "rss_max_bytes", "rss_samples", "rss_sum_bytes")

    cpu_ms: int | None
    read_bytes: int | None
    write_bytes: int | None

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.cpu_ms = self.read_bytes = self.write_bytes = None
        self.rss_max_bytes: int | None = None
        self.num_threads_max: int | None = None
        self.rss_sum_bytes = self.rss_samples = 0

    @property
    def rss_mean_bytes(self) -> int | None:
        """Return the mean of the samples with a known rss."""
        return round(self.rss_sum_bytes / self.rss_samples) if self.rss_samples else None

    @property
    def io_bytes(self) -> int | None:
        """Return what was read and written together."""
        known = [value for value in (self.read_bytes, self.write_bytes) if value is not None]
        return sum(known) if known else None

    def add(self, name: str, amount: int | None) -> None:
        """Add to a counter, if the amount is known."""
        if amount is not None:
            setattr(self, name, (getattr(self, name) or 0) + amount)

    def see(self, row: Row[Any]) -> None:
        """Take in rss and threads of some samples."""
        self.rss_max_bytes = _largest(self.rss_max_bytes, row.rss_max_bytes)
        self.num_threads_max = _largest(self.num_threads_max, row.num_threads_max)
        self.rss_sum_bytes += row.rss_sum_bytes or 0
        self.rss_samples += row.rss_samples


def usage(
    connection: Connection,
    span: TimeRange,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Usage]:
    """Return the usage of each process of *span* by process.id."""
    used: dict[int, Usage] = {}
    last: dict[int, Row[Any]] = {}
    first_interval = _first_interval(connection)
    further = _further_filters(connection)
    for part in _parts(connection, span, progress):
        for row in connection.execute(_process_part(part, further)).all():
            found = used.setdefault(row.process_id, Usage())
            before = last.get(row.process_id)
            opening = first_interval(row.first_sample, row.process_id) if before is None else _growth(before, row)
            grown = _growth_within(connection, part, row)
            for name, *amounts in zip(COUNTERS, opening, grown, strict=True):
                for amount in amounts:
                    found.add(name, amount)
            found.see(row)
            last[row.process_id] = row
    return used


def group_usage(
    connection: Connection, span: TimeRange, group: Group, used: dict[int, Usage]
) -> dict[str | None, Usage]:
    """Return the usage of each group (name, command, user: None is not known) from that of its processes, *used*."""
    groups: dict[str | None, Usage] = {}
    column = GROUPS[group]
    for process_id, key in _keys(connection, column, list(used)):
        found = groups.setdefault(key, Usage())
        for name in COUNTERS:
            found.add(name, getattr(used[process_id], name))
    for part in _parts(connection, span):
        for row in connection.execute(_group_part(part, column, _further_filters(connection))):
            groups[row.key].see(row)
    return groups


def _keys(connection: Connection, column: Any, process_ids: list[int]) -> Iterator[tuple[int, str | None]]:
    """Yield process.id and *column* of processes."""
    for start in range(0, len(process_ids), IDS_AT_ONCE):
        wanted = Process.id.in_(process_ids[start : start + IDS_AT_ONCE])
        yield from connection.execute(select(Process.id, column).where(wanted))


def _parts(
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


def _further_filters(connection: Connection) -> list[int]:
    """Return the filters under which a process has a second row in the same sample (imported data)."""
    return list(connection.execute(select(NameFilter.id).where(NameFilter.rank > 0)).scalars())


def _process_part(part: Part, further_filters: list[int]) -> Select[Any]:
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


def _sums(part: Part, process_id: int) -> Select[Any]:
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


def _group_part(part: Part, column: Any, further_filters: list[int]) -> Select[Any]:
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


def _first_interval(connection: Connection) -> Callable[[int, int], tuple[int | None, ...]]:
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


def _growth(before: Row[Any], row: Row[Any]) -> tuple[int | None, ...]:
    """Return what the counters grew by, from the last values of *before* to the first of *row*."""
    pairs = ((getattr(before, f"{name}_last"), getattr(row, f"{name}_first")) for name in COUNTERS)
    return tuple(None if None in pair or pair[1] < pair[0] else pair[1] - pair[0] for pair in pairs)


def _growth_within(connection: Connection, part: Part, row: Row[Any]) -> Sequence[int | None]:
    """Return what the counters of a process grew by in *part*, which *row* is of, from first to last sample."""
    if row.first_sample == row.last_sample:
        return (None,) * len(COUNTERS)
    if not _never_fell(row):
        return connection.execute(_sums(part, row.process_id)).one()
    pairs = ((getattr(row, f"{name}_first"), getattr(row, f"{name}_last")) for name in COUNTERS)
    return tuple(None if None in pair else pair[1] - pair[0] for pair in pairs)


def _never_fell(row: Row[Any]) -> bool:
    return all(
        getattr(row, f"{name}_first") == getattr(row, f"{name}_least")
        and getattr(row, f"{name}_last") == getattr(row, f"{name}_most")
        for name in COUNTERS
    )


def _largest(*values: int | None) -> int | None:
    return max((value for value in values if value is not None), default=None)
