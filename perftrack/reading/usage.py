"""What each process consumed over a range, from the counters: added up in SQL, some samples at a time.

Between two samples of a process in the range, all that its counters grew by is its own, also where it was not
recorded in between. What belongs to its first sample is what the view process_interval says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row, select

from perftrack.reading import usage_statements as statements
from perftrack.reading.queries import TimeRange
from perftrack.reading.usage_statements import COUNTERS, Part
from perftrack.storage.models import Process

IDS_AT_ONCE = 500
GROUPS = {"name": Process.name, "command": Process.command, "user": Process.username}
Group = Literal["process", "name", "command", "user"]
Amounts = Sequence[int | None]  # of each of COUNTERS


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
        self.forget_counters()
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

    def forget_counters(self) -> None:
        """Know nothing of COUNTERS again."""
        self.cpu_ms = self.read_bytes = self.write_bytes = None

    def add_all(self, amounts: Iterable[int | None]) -> None:
        """Add to each of COUNTERS."""
        for name, amount in zip(COUNTERS, amounts, strict=True):
            self.add(name, amount)

    def add(self, name: str, amount: int | None) -> None:
        """Add to a counter, if the amount is known."""
        if amount is not None:
            setattr(self, name, (getattr(self, name) or 0) + amount)

    def see(self, row: Any) -> None:
        """Take in rss and threads of some samples: a row of them, or what another consumed."""
        self.rss_max_bytes = _largest(self.rss_max_bytes, row.rss_max_bytes)
        self.num_threads_max = _largest(self.num_threads_max, row.num_threads_max)
        self.rss_sum_bytes += row.rss_sum_bytes or 0
        self.rss_samples += row.rss_samples


class Used(NamedTuple):
    """What was consumed, by process.id. *renamed*: ids of one process under several names, the newest name's last."""

    each: dict[int, Usage]
    renamed: list[list[int]]

    def by_process(self) -> dict[int, Usage]:
        """Return it with one entry for a process of several names, which is the newest name's."""
        found = dict(self.each)
        for ids in self.renamed:
            whole = Usage()
            for process_id in ids:
                part = found.pop(process_id)
                whole.add_all(getattr(part, name) for name in COUNTERS)
                whole.see(part)
            found[ids[-1]] = whole
        return found


def usage(
    connection: Connection,
    span: TimeRange,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Used:
    """Return the usage of each process of *span*."""
    used: dict[int, Usage] = {}
    last: dict[int, Row[Any]] = {}
    first_interval = statements.first_interval(connection)
    further = statements.further_filters(connection)
    for part in statements.parts(connection, span, progress):
        for row in connection.execute(statements.process_part(part, further)).all():
            found = used.setdefault(row.process_id, Usage())
            before = last.get(row.process_id)
            found.add_all(
                first_interval(row.first_sample, row.process_id) if before is None else _growth(before, row)
            )
            found.add_all(_growth_within(connection, part, row))
            found.see(row)
            last[row.process_id] = row
    renamed = _renamed(connection, last)
    if renamed:
        _count_names_once(connection, span, used, renamed)
    return Used(used, renamed)


def group_usage(connection: Connection, span: TimeRange, group: Group, used: Used) -> dict[str | None, Usage]:
    """Return the usage of each group (name, command, user: None is not known) from that of its processes, *used*."""
    groups: dict[str | None, Usage] = {}
    column = GROUPS[group]
    for process_id, key in _columns(connection, used.each, column):
        groups.setdefault(key, Usage()).add_all(getattr(used.each[process_id], name) for name in COUNTERS)
    further = statements.further_filters(connection)
    for part in statements.parts(connection, span):
        for row in connection.execute(statements.group_part(part, column, further)):
            groups[row.key].see(row)
    return groups


def _columns(connection: Connection, process_ids: Iterable[int], *columns: Any) -> Iterator[tuple[Any, ...]]:
    """Yield process.id and *columns* of processes."""
    ids = list(process_ids)
    for start in range(0, len(ids), IDS_AT_ONCE):
        wanted = Process.id.in_(ids[start : start + IDS_AT_ONCE])
        for row in connection.execute(select(Process.id, *columns).where(wanted)):
            yield tuple(row)


def _renamed(connection: Connection, last: dict[int, Row[Any]]) -> list[list[int]]:
    """Return the ids of each process that has several, for it had several names: as they were seen last."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for process_id, *identity in _columns(connection, last, Process.boot_id, Process.pid, Process.started_ticks):
        if None not in identity:
            found.setdefault(tuple(identity), []).append(process_id)
    return [sorted(ids, key=lambda each: last[each].last_sample) for ids in found.values() if len(ids) > 1]


def _count_names_once(
    connection: Connection, span: TimeRange, used: dict[int, Usage], renamed: list[list[int]]
) -> None:
    """Count what a process of several names used for the name that it had at the end of each interval."""
    owner = {process_id: ids[0] for ids in renamed for process_id in ids}
    for process_id in owner:
        used[process_id].forget_counters()
    last: dict[int, Amounts] = {}
    first_interval = statements.first_interval(connection)
    further = statements.further_filters(connection)
    wanted = json.dumps(list(owner))
    for part in statements.parts(connection, span):
        for sample_id, process_id, *amounts in connection.execute(statements.named_part(part, wanted, further)):
            before = last.get(owner[process_id])
            used[process_id].add_all(
                first_interval(sample_id, process_id) if before is None else _differences(before, amounts)
            )
            last[owner[process_id]] = amounts


def _growth(before: Row[Any], row: Row[Any]) -> Amounts:
    """Return what the counters grew by, from the last values of *before* to the first of *row*."""
    return _differences(
        [getattr(before, f"{name}_last") for name in COUNTERS], [getattr(row, f"{name}_first") for name in COUNTERS]
    )


def _differences(before: Amounts, after: Amounts) -> Amounts:
    """Return what counters grew by. None: not known, or they went backwards."""
    pairs = zip(before, after, strict=True)
    return [None if old is None or new is None or new < old else new - old for old, new in pairs]


def _growth_within(connection: Connection, part: Part, row: Row[Any]) -> Amounts:
    """Return what the counters of a process grew by in *part*, which *row* is of, from first to last sample."""
    if row.first_sample == row.last_sample:
        return (None,) * len(COUNTERS)
    if not _never_fell(row):
        return connection.execute(statements.sums(part, row.process_id)).one()
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
