"""Which processes used most over a range, what no recorded one explains, and which there were at an instant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row, func, select

from perftrack.reading.coverage import Coverage, coverage
from perftrack.reading.queries import TimeRange, stored
from perftrack.reading.snapshot import snapshot
from perftrack.reading.usage import IDS_AT_ONCE, Group, Usage, Used, group_usage, usage
from perftrack.storage.intervals import SYSTEM_INTERVAL
from perftrack.storage.models import Boot, Host, Process, ProcessSample, SystemSample

By = Literal["cpu", "rss", "io", "threads"]
_RANKED_BY: dict[By, Callable[[Usage], int | None]] = {
    "cpu": lambda used: used.cpu_ms,
    "rss": lambda used: used.rss_max_bytes,
    "io": lambda used: used.io_bytes,
    "threads": lambda used: used.num_threads_max,
}
_IDENTITY = (Process.pid, Process.name, Process.username, Process.command, Process.started_at)


class Ranked(NamedTuple):
    """A process or a group, and what it used. *process*: pid, name, username, command, started_at; None for a group.

    *key*: the group's name; None: not known.
    """

    key: str | None
    process: Row[Any] | None
    used: Usage


class Top(NamedTuple):
    """The largest, best first, and of how many. *system_cpu_ms*: what all CPUs worked in the range, and
    *unattributed_cpu_ms* what of it no recorded process explains. None: not known.
    """

    coverage: Coverage
    rows: list[Ranked]
    entries: int
    system_cpu_ms: int | None
    recorded_cpu_ms: int
    unattributed_cpu_ms: int | None


class Moment(NamedTuple):
    """The sample nearest to an instant: the row of system_sample, its processes, and its neighbours' times (UTC)."""

    sample: Row[Any]
    taken_at: datetime
    away_seconds: float
    previous_at: datetime | None
    next_at: datetime | None
    processes: list[Row[Any]]


def top(
    database: str,
    span: TimeRange,
    *,
    by: By = "cpu",
    group: Group = "process",
    limit: int = 15,
    now: datetime | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Top:
    """Return the *limit* largest consumers of *span*. *progress* is told the samples done. Raises: PerftrackError."""
    with snapshot(database) as connection:
        return largest(connection, coverage(connection, span, now or datetime.now(UTC)), by, group, limit, progress)


def largest(
    connection: Connection,
    covered: Coverage,
    by: By,
    group: Group,
    limit: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Top:
    """Return what `top` does, of a range whose coverage is known."""
    used = usage(connection, covered.span, progress)
    (top,) = rankings(connection, covered, used, [by], group, limit)
    return top


def rankings(
    connection: Connection, covered: Coverage, used: Used, orders: list[By], group: Group, limit: int
) -> list[Top]:
    """Return one `Top` for each of *orders*."""
    entries: dict[Any, Usage] = (
        used.by_process() if group == "process" else group_usage(connection, covered.span, group, used)
    )
    worked = select(func.sum(SYSTEM_INTERVAL.c.cpu_ms)).where(*covered.span.holds(SYSTEM_INTERVAL.c.taken_at))
    system_cpu_ms = connection.execute(worked).scalar()
    recorded = sum(each.cpu_ms or 0 for each in used.each.values())
    # processes are read a little later than the system: a difference below nothing is none
    unattributed = None if system_cpu_ms is None else max(0, system_cpu_ms - recorded)
    found = []
    for by in orders:
        rank = _RANKED_BY[by]
        known = [key for key, each in entries.items() if rank(each) is not None]
        unknown = [key for key in entries if rank(entries[key]) is None]
        chosen = (sorted(known, key=lambda key: -(rank(entries[key]) or 0)) + unknown)[:limit]
        rows = [Ranked(None if group == "process" else key, None, entries[key]) for key in chosen]
        if group == "process":
            described = {row.id: row for row in _described(connection, chosen)}
            rows = [row._replace(process=described[key]) for row, key in zip(rows, chosen, strict=True)]
        found.append(Top(covered, rows, len(entries), system_cpu_ms, recorded, unattributed))
    return found


def moment(database: str, instant: datetime) -> Moment | None:
    """Return the sample nearest to *instant*; None: the database holds none. Raises: PerftrackError."""
    table = SystemSample.__table__.c
    taken_at = table.taken_at
    with snapshot(database) as connection:
        before = _one(connection, taken_at < stored(instant), taken_at.desc())
        after = _one(connection, taken_at >= stored(instant), taken_at)
        near = [row for row in (before, after) if row is not None]
        if not near:
            return None
        sample = min(near, key=lambda row: abs((row.taken_at - stored(instant)).total_seconds()))
        previous = _one(connection, taken_at < sample.taken_at, taken_at.desc())
        following = _one(connection, taken_at > sample.taken_at, taken_at)
        processes = connection.execute(
            select(*_IDENTITY, *ProcessSample.__table__.columns)
            .join_from(ProcessSample, Process)
            .where(ProcessSample.sample_id == sample.id)
            .order_by(ProcessSample.cpu_percent.desc().nulls_last(), ProcessSample.rss_bytes.desc(), Process.pid)
        ).all()
    at = sample.taken_at.replace(tzinfo=UTC)
    return Moment(
        sample,
        at,
        abs((at - instant).total_seconds()),
        previous and previous.taken_at.replace(tzinfo=UTC),
        following and following.taken_at.replace(tzinfo=UTC),
        list(processes),
    )


def _one(connection: Connection, condition: Any, order: Any) -> Row[Any] | None:
    statement = (
        select(SystemSample.__table__, Host.name.label("host"))
        .join(Boot, Boot.id == SystemSample.boot_id)
        .join(Host, Host.id == Boot.host_id)
    )
    return connection.execute(statement.where(condition).order_by(order).limit(1)).first()


def _described(connection: Connection, process_ids: list[int]) -> list[Row[Any]]:
    rows: list[Row[Any]] = []
    for start in range(0, len(process_ids), IDS_AT_ONCE):
        wanted = Process.id.in_(process_ids[start : start + IDS_AT_ONCE])
        rows += connection.execute(select(Process.id, *_IDENTITY).where(wanted))
    return rows
