"""What the machine, its units and the recorded names used in a stretch of time, to compare it with others."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row, text

from perftrack.reading.explain.usual import PART_SECONDS, Resource, bounds
from perftrack.reading.queries import OF_HOST, TimeRange
from perftrack.reading.usage.parts import LOOK_AHEAD
from perftrack.reading.usage.processes import ALL, Usage, add_up, largest
from perftrack.reading.usage.units import unit_usage

Kind = Literal["unit", "name"]

# Where many times are compared, an interval that ends after one is looked for no longer than so: a day is too much.
SHORT_LOOK_AHEAD = timedelta(seconds=PART_SECONDS)
_EVERYBODY = -1
# Those that used most: what a process below them did explains nothing.
PROCESSES, COMMANDS = 100, 1000
_RANKED_BY = {"cpu": "cpu", "memory": "rss", "io": "io"}
_MACHINE = f"""
SELECT * FROM (
  SELECT coalesce(sum(seconds), 0) AS seconds, sum(cpu_ms) AS cpu_ms, sum(disk_read_bytes) AS read_bytes,
    sum(disk_write_bytes) AS write_bytes
  FROM system_interval WHERE taken_at >= :since AND taken_at < :until AND +host = :host)
CROSS JOIN (
  SELECT max(coalesce(mem_used_max_bytes, mem_used_bytes)) AS memory_max_bytes,
    sum(mem_used_bytes * coalesce(samples, 1)) * 1.0 / sum(iif(mem_used_bytes IS NULL, 0, coalesce(samples, 1)))
      AS memory_mean_bytes
  FROM system_sample WHERE taken_at >= :since AND taken_at < :until AND {OF_HOST})
"""


class Used(NamedTuple):
    """CPU time, the most memory at once, and bytes read and written. None: not known."""

    cpu_ms: float | None
    memory_bytes: float | None
    read_bytes: float | None
    write_bytes: float | None

    @classmethod
    def from_usage(cls, usage: Usage) -> Used:
        """Return that of a process or a group of them, and what its ended children used of CPU."""
        return cls(usage.all_cpu_ms, usage.rss_max_bytes, usage.read_bytes, usage.write_bytes)

    def of(self, resource: Resource) -> float | None:
        """Return what of *resource* it is: ms or bytes."""
        if resource == "cpu":
            return self.cpu_ms
        return self.memory_bytes if resource == "memory" else _sum([self.read_bytes, self.write_bytes])

    def in_proportion(self, factor: float) -> Used:
        """Return what that is in a time that is *factor* times as long."""
        cpu_ms, _, *moved = (None if each is None else each * factor for each in self)
        return Used(cpu_ms, self.memory_bytes, *moved)


NOTHING, UNKNOWN = Used(0, 0, 0, 0), Used(None, None, None, None)


class Consumption(NamedTuple):
    """What was used in *span*, of which *seconds* are known, by the machine, by each unit and each name.

    *by*: of units only what is their own, not that of units below them; empty: not recorded.
    """

    span: TimeRange
    seconds: float
    system: Used
    by: dict[Kind, dict[str, Used]]

    def together(self, kind: Kind) -> Used:
        """Return what all of a *kind* used."""
        return added_up(self.by[kind].values())


def consumption(connection: Connection, span: TimeRange, *, is_exact: bool = True) -> Consumption:
    """Return what was used in *span* of one machine. Not *is_exact*: without what SHORT_LOOK_AHEAD misses."""
    row = of_machine(connection, span)
    by: dict[Kind, dict[str, Used]] = {"unit": {}, "name": {}}
    if row.seconds:
        names = usage_by_name(connection, span, LOOK_AHEAD if is_exact else SHORT_LOOK_AHEAD)
        by["name"] = {name: Used.from_usage(usage) for name, usage in names.items()}
        by["unit"] = used_by_unit(connection, span)
    return Consumption(span, row.seconds, Used(row.cpu_ms, row.memory_max_bytes, row.read_bytes, row.write_bytes), by)


def of_machine(connection: Connection, span: TimeRange) -> Row[Any]:
    """Return what one machine used in *span*: cpu_ms, read_bytes, write_bytes, of which *seconds* are known,
    memory_max_bytes and memory_mean_bytes. None: not known.
    """
    return connection.execute(text(_MACHINE), bounds(span)).one()


def usage_by_name(connection: Connection, span: TimeRange, look_ahead: timedelta) -> dict[str, Usage]:
    """Return what the processes of each name used in *span* of one machine. *look_ahead*: see `processes.add_up`."""
    add_up(connection, span, "name", ALL, look_ahead=look_ahead)
    found = largest(connection, span.hosts[0], "name", "cpu", _EVERYBODY)
    return {each.key: each.used for each in found if each.key is not None}


def used_by_unit(connection: Connection, span: TimeRange, *, with_memory: bool = True) -> dict[str, Used]:
    """Return what units used in *span* themselves; nothing where none is recorded. *with_memory*: it takes longer."""
    units = unit_usage(connection, span, with_memory=with_memory)
    return {each.unit: Used(each.cpu_ms, each.memory_max_bytes, each.read_bytes, each.write_bytes) for each in units}


def processes_of(
    connection: Connection, span: TimeRange, resource: Resource
) -> list[tuple[Row[Any], str | None, Used]]:
    """Return the processes that used most of *resource* in *span*, as `Ranked` has them, with their units."""
    add_up(connection, span, "process", ALL)
    found = largest(connection, span.hosts[0], "process", _RANKED_BY[resource], PROCESSES)
    return [
        (each.process, each.process.unit, used)
        for each in found
        if each.process is not None and (used := Used.from_usage(each.used)).of(resource)
    ]


def used_by_command(connection: Connection, span: TimeRange, resource: Resource) -> dict[str | None, Used]:
    """Return what was used in *span* by command line, of those that used most of *resource*."""
    add_up(connection, span, "command", ALL, look_ahead=SHORT_LOOK_AHEAD)
    found = largest(connection, span.hosts[0], "command", _RANKED_BY[resource], COMMANDS)
    return {each.key: Used.from_usage(each.used) for each in found}


def added_up(of: Iterable[Used]) -> Used:
    """Return the sums."""
    found = list(of)
    return Used(*(_sum([used[number] for used in found]) for number in range(len(UNKNOWN))))


def _sum(of: list[float | None]) -> float | None:
    known = [each for each in of if each is not None]
    return sum(known) if known else None
