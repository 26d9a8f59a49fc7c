"""Which units used most over a range, as a list or as the tree of their control groups."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from perftrack.errors import PerftrackError
from perftrack.progress import Progress, no_progress
from perftrack.reading.coverage import Coverage, coverage
from perftrack.reading.machines import machines
from perftrack.reading.queries import TimeRange
from perftrack.reading.usage.groups import UNIT, Groups
from perftrack.reading.usage.processes import CpuTotals, cpu_totals, system_cpu_ms
from perftrack.reading.usage.units import (
    RANKED_BY_ALL,
    UnitUsage,
    add_up_groups,
    grown_cpu_ms,
    largest_units,
    looks,
    own,
)
from perftrack.storage.snapshot import snapshot

# A path, and the unit that it is of.
_PATH = Groups(
    "json_array(cgroup.path, cgroup.unit)",
    "iif(parent.id IS NULL, NULL, json_array(parent.path, parent.unit))",
    holding="NULL",
)
_SELECT_GROUPS = """
SELECT *
FROM (SELECT grown.*, json_extract(key, '$[0]') AS path, json_extract(key, '$[1]') AS unit, {own} AS own_cpu_ms,
    {value} AS rank
  FROM grown)
WHERE :name IS NULL OR instr(unit, :name)
ORDER BY rank DESC NULLS LAST, length(path), path
LIMIT :limit
"""


class Group(NamedTuple):
    """What a control group and all that is in it used in a range; None: not known. *depth*: in the tree that is
    shown; *label*: its unit, or inside of one the rest of its path. *own_cpu_ms*: without the groups in it.
    """

    host: str
    path: str
    unit: str
    label: str
    depth: int
    cpu_ms: float | None
    cpu_estimated_ms: float
    own_cpu_ms: float | None
    memory_max_bytes: int | None
    read_bytes: float | None
    write_bytes: float | None
    tasks_max: int | None
    oom_kills: int | None
    rank: float | None


class TopUnits(NamedTuple):
    """The largest units, best first; of a tree, *groups* instead, from the outermost on.

    *is_of_all*: as in `top.Top`. Recorded of *cpu* is what the outermost groups used.
    """

    coverage: Coverage
    is_of_all: bool
    rows: list[UnitUsage]
    groups: list[Group]
    cpu: CpuTotals


def top_units(
    database: str,
    span: TimeRange,
    *,
    host: str | None = None,
    by: str = "cpu",
    name: str | None = None,
    limit: int = 15,
    as_tree: bool = False,
    now: datetime | None = None,
    progress: Progress = no_progress,
) -> TopUnits:
    """Return the *limit* largest units of *span*, or with *as_tree* the largest control groups.

    *by*: see `largest_units`. *name*: only units whose name contains it. *host*: see `machines`.
    Raises: PerftrackError, also where no control group was looked at.
    """
    rows: list[UnitUsage] = []
    groups: list[Group] = []
    systems = []
    used = 0.0
    looked_at = 0
    with snapshot(database) as connection:
        span = span._replace(hosts=machines(connection, host))
        covered = coverage(connection, span, now or datetime.now(UTC))
        for machine in covered.hosts:
            own_span = covered.span._replace(hosts=(machine,))
            looked = looks(connection, own_span)
            looked_at += looked.samples
            systems.append(system_cpu_ms(connection, own_span))
            add_up_groups(connection, own_span, _PATH if as_tree else UNIT, progress)
            if as_tree:
                groups += _tree(connection, machine, by, limit, name)
            else:
                rows += largest_units(connection, machine, looked, by, limit, name)
            used += grown_cpu_ms(connection)
    if covered.held.samples and not looked_at:
        raise PerftrackError(
            "no control groups were recorded in this range: the samples are older, cgroups = false was set, or the "
            "machine has none of version 2"
        )
    rows.sort(key=lambda row: (row.rank is None, -(row.rank or 0)))
    return TopUnits(covered, name is None, rows[:limit], groups, cpu_totals(systems, used, is_of_all=name is None))


def _tree(connection: Connection, host: str, by: str, limit: int, name: str | None) -> list[Group]:
    """Return the *limit* largest groups in the order of a tree, in each group the largest first."""
    statement = text(_SELECT_GROUPS.format(own=own("cpu_ms"), value=RANKED_BY_ALL[by]))
    found = {row.path: row for row in connection.execute(statement, {"limit": limit, "name": name})}
    inside: dict[str, list[Row[Any]]] = {}
    for path, row in found.items():  # the largest comes first
        inside.setdefault(_around(path, found), []).append(row)

    def below(path: str, depth: int) -> list[Group]:
        groups = []
        for row in inside.get(path, []):
            groups.append(_group(row, found.get(path), host, depth))
            groups += below(row.path, depth + 1)
        return groups

    return below("", 0)


def _around(path: str, shown: dict[str, Row[Any]]) -> str:
    """Return the path of the innermost group that is shown around that of *path*; empty: there is none."""
    while path not in {"/", ""}:
        path = path.rpartition("/")[0] or "/"
        if path in shown:
            return path
    return ""


def _group(row: Row[Any], around: Row[Any] | None, host: str, depth: int) -> Group:
    is_inside = around is not None and around.unit == row.unit
    label = row.path[len(around.path) :].lstrip("/") if around is not None and is_inside else row.unit
    return Group(
        host,
        row.path,
        row.unit,
        label,
        depth,
        row.cpu_ms,
        row.cpu_estimated_ms or 0,
        row.own_cpu_ms,
        row.memory_max_bytes,
        row.read_bytes,
        row.write_bytes,
        row.tasks_max,
        None if row.oom_kills is None else round(row.oom_kills),
        row.rank,
    )
