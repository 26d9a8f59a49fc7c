"""Which processes used most over a range, what no recorded one explains, and which there were at an instant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from perftrack.progress import Progress, no_progress
from perftrack.reading.coverage import Coverage, coverage
from perftrack.reading.machines import machines
from perftrack.reading.queries import SAMPLES, TimeRange, stored, utc
from perftrack.reading.usage.processes import (
    ALL,
    CpuTotals,
    Filters,
    Group,
    Ranked,
    add_up,
    cpu_totals,
    largest,
    recorded_cpu_ms,
    system_cpu_ms,
)
from perftrack.reading.usage.tree import best_and_ancestors, with_parents
from perftrack.reading.usage.unexplained import Unexplained, split, unexplained_units
from perftrack.storage.models import Boot, Cgroup, Host, Process, ProcessSample, SystemSample
from perftrack.storage.snapshot import snapshot

_IDENTITY = (Process.pid, Process.name, Process.username, Cgroup.unit, Process.command, Process.started_at)


class Top(NamedTuple):
    """The largest, best first; *is_of_all*: of all processes, not those of some filters.

    *unexplained*: what of *cpu* is unattributed, in parts; None: not known, or no control groups were looked at.
    """

    coverage: Coverage
    is_of_all: bool
    rows: list[Ranked]
    cpu: CpuTotals
    unexplained: Unexplained | None


class NearestSample(NamedTuple):
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
    host: str | None = None,
    by: str = "cpu",
    group: Group = "process",
    filters: Filters = ALL,
    limit: int = 15,
    is_tree: bool = False,
    now: datetime | None = None,
    progress: Progress = no_progress,
) -> Top:
    """Return the *limit* largest consumers of *span*; *is_tree*: and the ancestors of these processes.

    *host*: see `machines`; *by*: `largest`. Raises: PerftrackError.
    """
    with snapshot(database) as connection:
        span = span._replace(hosts=machines(connection, host))
        covered = coverage(connection, span, now or datetime.now(UTC))
        (found,) = rankings(connection, covered, [by], group, limit, filters, progress, is_tree=is_tree)
        return found


def rankings(
    connection: Connection,
    covered: Coverage,
    orders: list[str],
    group: Group,
    limit: int,
    filters: Filters = ALL,
    progress: Progress = no_progress,
    *,
    is_tree: bool = False,
) -> list[Top]:
    """Return one `Top` for each of *orders*, see `largest`. *is_tree*: see `top`."""
    rows: dict[str, list[Ranked]] = {by: [] for by in orders}
    systems = []
    units = []
    used = 0.0
    for host in covered.hosts:
        span = covered.span._replace(hosts=(host,))
        add_up(connection, span, group, filters, progress)
        systems.append(system_cpu_ms(connection, span))
        used += recorded_cpu_ms(connection)
        for by in orders:
            found_here = largest(connection, host, group, by, limit)
            if group == "process":
                found_here = with_parents(connection, found_here, host=host, by=by, is_tree=is_tree)
            rows[by] += found_here
        if filters == ALL and systems[-1][0] is not None:
            if group != "process":
                add_up(connection, span, "process", filters)
            found_units = unexplained_units(connection, span)
            units += [] if found_units is None else [found_units]
    cpu = cpu_totals(systems, used, is_of_all=filters == ALL)
    unexplained = split(cpu.unattributed_cpu_ms, units) if cpu.unattributed_cpu_ms is not None and units else None
    found = []
    for by in orders:
        best = sorted(rows[by], key=lambda ranked: (ranked.rank is None, -(ranked.rank or 0)))
        shown = best_and_ancestors(best, limit) if is_tree else best[:limit]
        found.append(Top(covered, filters == ALL, shown, cpu, unexplained))
    return found


def nearest_sample(database: str, instant: datetime, host: str | None = None) -> NearestSample | None:
    """Return the sample nearest to *instant*; None: there is none. *host*: see `machines`. Raises: PerftrackError."""
    taken_at = SAMPLES.taken_at
    with snapshot(database) as connection:
        hosts = machines(connection, host)
        before = _one(connection, hosts, taken_at < stored(instant), taken_at.desc())
        after = _one(connection, hosts, taken_at >= stored(instant), taken_at)
        near = [row for row in (before, after) if row is not None]
        if not near:
            return None
        sample = min(near, key=lambda row: abs((row.taken_at - stored(instant)).total_seconds()))
        previous = _one(connection, (sample.host,), taken_at < sample.taken_at, taken_at.desc())
        following = _one(connection, (sample.host,), taken_at > sample.taken_at, taken_at)
        processes = connection.execute(
            select(*_IDENTITY, *ProcessSample.__table__.columns)
            .join_from(ProcessSample, Process)
            .outerjoin(Cgroup, Cgroup.id == Process.cgroup_id)
            .where(ProcessSample.sample_id == sample.id)
            .order_by(ProcessSample.cpu_percent.desc().nulls_last(), ProcessSample.rss_bytes.desc(), Process.pid)
        ).all()
    at = utc(sample.taken_at)
    return NearestSample(
        sample,
        at,
        abs((at - instant).total_seconds()),
        previous and utc(previous.taken_at),
        following and utc(following.taken_at),
        list(processes),
    )


def _one(connection: Connection, hosts: tuple[str, ...], condition: Any, order: Any) -> Row[Any] | None:
    statement = (
        select(SystemSample.__table__, Host.name.label("host"))
        .join(Boot, Boot.id == SystemSample.boot_id)
        .join(Host, Host.id == Boot.host_id)
    )
    span = TimeRange(hosts=hosts)
    found = statement.where(condition, *span.holds(SAMPLES)).order_by(order).limit(1)
    return connection.execute(found).first()
