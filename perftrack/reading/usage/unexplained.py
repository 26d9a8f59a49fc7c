"""Which units used what no recorded process explains."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, text

from perftrack.reading.queries import TimeRange
from perftrack.reading.usage.groups import UNIT
from perftrack.reading.usage.units import add_up_groups, looks, own

NAMED = 3
_NO_UNIT = "/"
_UNEXPLAINED = f"""
WITH recorded AS (
  SELECT cgroup.unit, sum(coalesce(used.cpu_ms, 0) + coalesce(used.children_cpu_ms, 0)) AS recorded_ms
  FROM used JOIN process ON process.id = used.key JOIN cgroup ON cgroup.id = process.cgroup_id
  GROUP BY cgroup.unit)
SELECT key, unexplained_ms, sum(unexplained_ms) FILTER (WHERE key <> '{_NO_UNIT}') OVER () AS all_units_ms
FROM (SELECT key, {own("cpu_ms")} - coalesce(recorded_ms, 0) AS unexplained_ms
  FROM grown LEFT JOIN recorded ON recorded.unit = key)
WHERE unexplained_ms > 0
ORDER BY key = '{_NO_UNIT}' DESC, unexplained_ms DESC, key LIMIT {NAMED} + 1
"""


class UnitPart(NamedTuple):
    """So much CPU time of what is not explained was used by this unit of this machine."""

    host: str
    unit: str
    cpu_ms: float


class Unexplained(NamedTuple):
    """What no recorded process explains, in parts that add up to it: the largest units, best first; all others; what
    was in no unit: interrupts, threads of the kernel, processes that nobody put into one; and what no control group
    tells, for none was looked at, or not before.
    """

    units: list[UnitPart]
    other_units_ms: float
    no_unit_ms: float
    unknown_ms: float


class UnitParts(NamedTuple):
    """The same of one machine: its largest units, what all of its units used, and what was in none."""

    units: list[UnitPart]
    all_units_ms: float
    no_unit_ms: float


def unexplained_units(connection: Connection, span: TimeRange) -> UnitParts | None:
    """Return what units of one machine used that the processes of `processes.add_up` do not explain. None: no sample
    of *span* looked at control groups.
    """
    if not looks(connection, span).samples:
        return None
    add_up_groups(connection, span, UNIT, with_memory=False)
    rows = connection.execute(text(_UNEXPLAINED)).all()
    units = [UnitPart(span.hosts[0], row.key, row.unexplained_ms) for row in rows if row.key != _NO_UNIT]
    no_unit = sum(row.unexplained_ms for row in rows if row.key == _NO_UNIT)
    return UnitParts(units, (rows[0].all_units_ms if rows else None) or 0.0, no_unit)


def split(unattributed_ms: float, found: list[UnitParts]) -> Unexplained:
    """Return *unattributed_ms* in parts by what was *found* of each machine.

    Groups are read a little later than the system: all parts have no more than there is.
    """
    left = unattributed_ms

    def taken(wanted_ms: float) -> float:
        nonlocal left
        part = min(left, max(0.0, wanted_ms))
        left -= part
        return part

    largest = sorted((unit for parts in found for unit in parts.units), key=lambda unit: -unit.cpu_ms)[:NAMED]
    named = [unit._replace(cpu_ms=taken(unit.cpu_ms)) for unit in largest]
    others = taken(sum(parts.all_units_ms for parts in found) - sum(unit.cpu_ms for unit in named))
    no_unit = taken(sum(parts.no_unit_ms for parts in found))
    return Unexplained([unit for unit in named if unit.cpu_ms], others, no_unit, left)
