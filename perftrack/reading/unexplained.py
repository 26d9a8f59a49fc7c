"""Which units used what no recorded process explains."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, text

from perftrack.reading.queries import TimeRange
from perftrack.reading.units import UNIT, add_up_groups, looks, own

NAMED = 3
# The unit "/" is what is in none: the kernel's threads, interrupts, and processes that nobody put into a group.
_UNEXPLAINED = f"""
WITH recorded AS MATERIALIZED (
  SELECT cgroup.unit, sum(coalesce(used.cpu_ms, 0) + coalesce(used.children_cpu_ms, 0)) AS recorded_ms
  FROM used JOIN process ON process.id = used.key JOIN cgroup ON cgroup.id = process.cgroup_id
  GROUP BY cgroup.unit)
SELECT key, unexplained_ms, sum(unexplained_ms) OVER ()
FROM (SELECT key, {own("cpu_ms")} - coalesce(recorded_ms, 0) AS unexplained_ms
  FROM grown LEFT JOIN recorded ON recorded.unit = key)
WHERE unexplained_ms > 0 AND key <> '/'
ORDER BY unexplained_ms DESC, key LIMIT {NAMED}
"""


class UnitPart(NamedTuple):
    """So much CPU time of what is not explained was used by this unit of this machine."""

    host: str
    unit: str
    cpu_ms: float


class Unexplained(NamedTuple):
    """What no recorded process explains, in parts that add up to it: the largest units, best first; all others; and
    what no unit used: interrupts, threads of the kernel, and what was in no group that was seen.
    """

    units: list[UnitPart]
    other_units_ms: float
    no_unit_ms: float


def unexplained_units(connection: Connection, span: TimeRange) -> tuple[list[UnitPart], float] | None:
    """Return what the largest units of one machine used that the processes of `usage.add_up` do not explain, and
    what all units did. None: no sample of *span* looked at control groups.
    """
    if not looks(connection, span).samples:
        return None
    add_up_groups(connection, span, UNIT, None)
    rows = connection.execute(text(_UNEXPLAINED)).all()
    return [UnitPart(span.hosts[0], unit, cpu_ms) for unit, cpu_ms, _ in rows], rows[0][2] if rows else 0.0


def split(unattributed_ms: float, found: list[tuple[list[UnitPart], float]]) -> Unexplained:
    """Return *unattributed_ms* in parts by what was *found* of each machine.

    Groups are read a little later than the system: units have no more than there is.
    """
    rest = unattributed_ms
    named = []
    parts = [part for parts, _ in found for part in parts]
    for part in sorted(parts, key=lambda part: -part.cpu_ms)[:NAMED]:
        named.append(part._replace(cpu_ms=min(part.cpu_ms, rest)))
        rest -= named[-1].cpu_ms
    others = min(rest, max(0.0, sum(cpu_ms for _, cpu_ms in found) - sum(part.cpu_ms for part in named)))
    return Unexplained([part for part in named if part.cpu_ms], others, rest - others)
