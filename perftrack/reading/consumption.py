"""What the machine and those who are recorded used in a stretch of time, for comparing it with other times."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from perftrack.reading.queries import TimeRange
from perftrack.reading.usage import LOOK_AHEAD, Filters, Usage, add_up, largest
from perftrack.reading.usual import Resource, bounds

_EVERYBODY = -1
# Of one name.
_PROCESSES = 100
_RANKED_BY = {"cpu": "cpu", "memory": "rss", "io": "io"}
_SYSTEM = """
SELECT coalesce(sum(seconds), 0) AS seconds, sum(cpu_ms) AS cpu_ms, sum(disk_read_bytes) AS read_bytes,
  sum(disk_write_bytes) AS write_bytes
FROM system_interval WHERE taken_at >= :since AND taken_at < :until AND +host = :host
"""
_MEMORY = """
SELECT max(mem_used_bytes) FROM system_sample
WHERE taken_at >= :since AND taken_at < :until
  AND +boot_id IN (SELECT boot.id FROM boot JOIN host ON host.id = host_id WHERE host.name = :host)
"""


class Used(NamedTuple):
    """CPU time, the most memory at once, and bytes read and written. None: not known."""

    cpu_ms: float | None
    memory_bytes: float | None
    read_bytes: float | None
    write_bytes: float | None

    @classmethod
    def made(cls, usage: Usage) -> Used:
        """Return that of a process or a group of them."""
        return cls(usage.cpu_ms, usage.rss_max_bytes, usage.read_bytes, usage.write_bytes)

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
    """What was used in *span*, of which *seconds* are known: by the machine, by all that is recorded, by name."""

    span: TimeRange
    seconds: float
    system: Used
    recorded: Used
    by_name: dict[str, Used]


def consumption(connection: Connection, span: TimeRange, *, look_ahead: bool = True) -> Consumption:
    """Return what was used in *span* of one machine. Not *look_ahead*: as far as intervals end in it."""
    row = connection.execute(text(_SYSTEM), bounds(span)).one()
    memory = connection.execute(text(_MEMORY), bounds(span)).scalar()
    by_name: dict[str, Used] = {}
    if row.seconds:
        add_up(connection, span, "name", Filters(), look_ahead=LOOK_AHEAD if look_ahead else timedelta(0))
        found = largest(connection, span.hosts[0], "name", "cpu", _EVERYBODY)
        by_name = {each.key: Used.made(each.used) for each in found if each.key is not None}
    recorded = Used(*(_sum([used[number] for used in by_name.values()]) for number in range(len(Used._fields))))
    return Consumption(
        span, row.seconds, Used(row.cpu_ms, memory, row.read_bytes, row.write_bytes), recorded, by_name
    )


def processes_of(
    connection: Connection, span: TimeRange, name: str, resource: Resource
) -> list[tuple[Row[Any], Usage]]:
    """Return the processes of *name* that used most of *resource* in *span*, as `Ranked` has them, and their use."""
    add_up(connection, span, "process", Filters(name))
    found = largest(connection, span.hosts[0], "process", _RANKED_BY[resource], _PROCESSES)
    return [(each.process, each.used) for each in found if each.process is not None and each.process.name == name]


def used_by_command(connection: Connection, span: TimeRange, name: str) -> dict[str | None, Used]:
    """Return what was used in *span* by command line, of processes whose name contains *name*."""
    add_up(connection, span, "command", Filters(name), look_ahead=timedelta(0))
    found = largest(connection, span.hosts[0], "command", "cpu", _EVERYBODY)
    return {each.key: Used.made(each.used) for each in found}


def _sum(of: list[float | None]) -> float | None:
    known = [each for each in of if each is not None]
    return sum(known) if known else None
