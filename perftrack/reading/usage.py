"""What each process consumed over a range, from the counters: added up in SQL a day at a time, so that memory holds.

Between two samples of a process in the range, all that its counters grew by is its own, also where it was not
recorded in between. What belongs to its first sample is what the view process_interval says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, and_, bindparam, case, func, select

from perftrack.reading.queries import Extent, TimeRange
from perftrack.storage.intervals import PROCESS_INTERVAL
from perftrack.storage.models import NameFilter, Process, ProcessSample, SystemSample

AT_ONCE = timedelta(days=1)
IDS_AT_ONCE = 500
COUNTERS = ("cpu_ms", "read_bytes", "write_bytes")
GROUPS = {"name": Process.name, "command": Process.command, "user": Process.username}
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
    held: Extent,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Usage]:
    """Return the usage of each process of *span* by process.id. *held*: its extent."""
    used: dict[int, Usage] = {}
    last: dict[int, Row[Any]] = {}
    first_interval = _first_interval(connection)
    for part in _parts(span, held, progress):
        for row in connection.execute(_process_part(part, _further_filters(connection))):
            found = used.setdefault(row.process_id, Usage())
            before = last.get(row.process_id)
            opening = first_interval(row.sample_id, row.process_id) if before is None else _growth(before, row)
            for name, amount in zip(COUNTERS, opening, strict=True):
                found.add(name, amount)
                found.add(name, getattr(row, name))
            found.see(row)
            last[row.process_id] = row
    return used


def group_usage(
    connection: Connection, span: TimeRange, held: Extent, group: Group, used: dict[int, Usage]
) -> dict[str | None, Usage]:
    """Return the usage of each group (name, command, user: None is not known) from that of its processes, *used*."""
    groups: dict[str | None, Usage] = {}
    column = GROUPS[group]
    for process_id, key in _keys(connection, column, list(used)):
        found = groups.setdefault(key, Usage())
        for name in COUNTERS:
            found.add(name, getattr(used[process_id], name))
    for part in _parts(span, held):
        for row in connection.execute(_group_part(part, column, _further_filters(connection))):
            groups[row.key].see(row)
    return groups


def _keys(connection: Connection, column: Any, process_ids: list[int]) -> Iterator[tuple[int, str | None]]:
    """Yield process.id and *column* of processes."""
    for start in range(0, len(process_ids), IDS_AT_ONCE):
        wanted = Process.id.in_(process_ids[start : start + IDS_AT_ONCE])
        yield from connection.execute(select(Process.id, column).where(wanted))


def _parts(
    span: TimeRange, held: Extent, progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[TimeRange]:
    if held.first is None or held.last is None:
        return
    days = (held.last - held.first) // AT_ONCE + 1
    for day in range(days):
        since = held.first + day * AT_ONCE
        yield TimeRange(since, min(since + AT_ONCE, span.until) if span.until else since + AT_ONCE)
        progress(day + 1, days)


def _further_filters(connection: Connection) -> list[int]:
    """Return the filters under which a process has a second row in the same sample (imported data)."""
    return list(connection.execute(select(NameFilter.id).where(NameFilter.rank > 0)).scalars())


def _process_part(part: TimeRange, further_filters: list[int]) -> Select[Any]:
    """Select of each process what its counters grew by, their first and last values, and memory."""
    order: dict[str, Any] = {
        "partition_by": ProcessSample.process_id,
        "order_by": (SystemSample.uptime_seconds, SystemSample.id),
    }
    rows = (
        select(
            ProcessSample.process_id,
            ProcessSample.sample_id,
            ProcessSample.rss_bytes,
            ProcessSample.num_threads,
            *(value.label(name) for name, value in _VALUES.items()),
            *(func.lag(value).over(**order).label(f"{name}_before") for name, value in _VALUES.items()),
            (func.row_number().over(**order) == 1).label("is_first"),
            func.lead(ProcessSample.sample_id).over(**order).is_(None).label("is_last"),
        )
        .select_from(SystemSample)
        .join(ProcessSample)
        .where(*part.holds(SystemSample.__table__.c.taken_at), ProcessSample.filter_id.not_in(further_filters))
        .subquery()
    )
    columns = []
    for name in COUNTERS:
        value, before = rows.c[name], rows.c[f"{name}_before"]
        columns += [
            func.sum(case((value >= before, value - before))).label(name),
            func.max(case((rows.c.is_first, value))).label(f"{name}_first"),
            func.max(case((rows.c.is_last, value))).label(f"{name}_last"),
        ]
    first_sample = func.max(case((rows.c.is_first, rows.c.sample_id))).label("sample_id")
    return select(rows.c.process_id, first_sample, *columns, *_memory(rows.c)).group_by(rows.c.process_id)


def _group_part(part: TimeRange, column: Any, further_filters: list[int]) -> Select[Any]:
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
        .where(*part.holds(SystemSample.__table__.c.taken_at), ProcessSample.filter_id.not_in(further_filters))
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
    """Return what the counters grew by from one part of the range to the next."""
    pairs = ((getattr(before, f"{name}_last"), getattr(row, f"{name}_first")) for name in COUNTERS)
    return tuple(None if None in pair or pair[1] < pair[0] else pair[1] - pair[0] for pair in pairs)


def _largest(*values: int | None) -> int | None:
    return max((value for value in values if value is not None), default=None)
