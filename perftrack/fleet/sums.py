"""What machines, units and processes of a fleet used over a range: plain sums, which the server computes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from perftrack.errors import PerftrackError, UsageError
from perftrack.fleet import ranking
from perftrack.fleet.connecting import connected
from perftrack.fleet.machines import Named, named
from perftrack.fleet.ranking import FleetGroup, kind_of
from perftrack.fleet.summing import BEGINNING, END, LOOK_AHEAD, NOBODY
from perftrack.reading.queries import TimeRange

_MACHINES = f"SELECT id, {ranking.MACHINE} FROM perftrack.source"
_OF_HOURS = {"host", "unit", "name"}
# Hours before are added up, and stay so in what a transaction sees.
_OPEN_SINCE = """
SELECT min(hour) FROM perftrack.open_hour WHERE hour >= date_trunc('hour', %(since)s::timestamptz, 'UTC')
"""
_BOOTS = "SELECT source_id, boot_id, host FROM perftrack.boot WHERE source_id = ANY(%(sources)s)"


class FleetTop(NamedTuple):
    """The largest, best first: *rows* by column; *machines*: of so many. *system*: all machines together, likewise.

    *recorded_cpu_ms*: what recorded processes used of that themselves; None: not asked for. *hours_until*: before
    that, sums by hour were taken; None: there are samples of all.
    """

    rows: list[dict[str, Any]]
    system: dict[str, Any]
    recorded_cpu_ms: float | None
    hours_until: datetime | None


class Kept(NamedTuple):
    """The names of machines, and from when on there are samples of them; None: of all that was shipped."""

    machines: list[str]
    kept_since: datetime | None

    def is_of_hours(self, since: datetime | None) -> bool:
        """Return whether a range from *since* on begins before there are samples."""
        return self.kept_since is not None and (since or BEGINNING) < self.kept_since


def kept_of(url: str, pattern: str | None) -> Kept:
    """Return what the centre at *url* has of the machines that *pattern* matches; None: of all.

    Raises: PerftrackError.
    """
    with connected(url, "perftrack fleet") as centre:
        return _kept(centre, url, pattern)[0]


def _kept(centre: Any, url: str, pattern: str | None) -> tuple[Kept, Named]:
    found = named(centre, url, pattern)
    ((kept_since,),) = centre.execute("SELECT max(since) FROM perftrack.kept").fetchall()
    return Kept(found.names, kept_since), found


def fleet_top(
    url: str,
    span: TimeRange,
    group: FleetGroup,
    by: str,
    limit: int,
    name: str | None,
    pattern: str | None,
    *,
    whole_hours: bool = False,
) -> FleetTop:
    """Return the *limit* largest of *group* in *span*. *name*: only those that have it in their key.

    *pattern*: of which machines, * and ? standing for any characters; None: of all. *whole_hours*: take sums by hour
    as far as there are some, not only before there are samples. Raises: PerftrackError.
    """
    kind = kind_of(group)
    if by not in ranking.RANKED[kind]:
        raise UsageError(f"--group {group} has no --by {by}: {', '.join(ranking.RANKED[kind])}")
    if whole_hours and group not in _OF_HOURS:
        raise UsageError(f"--group {group} has no sums by hour (--whole-hours): host, unit, name")
    with connected(url, "perftrack fleet") as centre, centre.transaction():
        centre.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        centre.execute("SET LOCAL jit = off")  # compiling takes longer than an hour's sums
        there, found_machines = _kept(centre, url, pattern)
        given = _parameters(span) | _whose(centre, found_machines, pattern) | {"name": name, "limit": limit}
        if whole_hours:
            ((open_since,),) = centre.execute(_OPEN_SINCE, given).fetchall()
            added_up_until = open_since or min(given["until"], datetime.now(UTC))
            given["since"] = max(given["since"], added_up_until)
            there = there._replace(kept_since=max(added_up_until, there.kept_since or added_up_until))
        given["hours_until"] = there.kept_since
        has_hours = there.is_of_hours(span.since)
        if has_hours and group not in _OF_HOURS:
            raise PerftrackError(
                f"before {there.kept_since:%Y-%m-%d} the centre has sums by hour: --group host, unit or name, or a "
                "later --since"
            )
        rows = _rows(centre, ranking.largest(group, by, has_hours=has_hours), given)
        machine_of = dict(centre.execute(_MACHINES).fetchall())
        (system,) = _rows(centre, ranking.all_systems(has_hours=has_hours), given)
        for row in [*rows, system]:
            if "sources" in row:
                row["machines"] = len({machine_of.get(each) for each in row.pop("sources") or []})
        recorded = None
        if kind == "process" and name is None and not has_hours:
            ((recorded,),) = centre.execute(ranking.all_processes(), given).fetchall()
        return FleetTop(rows, system, recorded, there.kept_since if has_hours else None)


def _whose(centre: Any, machines: Named, pattern: str | None) -> dict[str, Any]:
    """Return the parameters that say whose rows count, and how machines are called that share a name."""
    if pattern is None:
        sources, others = None, []
    else:
        sources = machines.sources
        boots = centre.execute(_BOOTS, {"sources": sources}).fetchall()
        others = [
            f"{source_id} {boot_id}" for source_id, boot_id, host in boots if (source_id, host) not in machines.chosen
        ]
    shared = {f"{source} {host}": name for (source, host), name in machines.shown.items() if name != host}
    return {"sources": sources, "others": others or NOBODY, "shared": json.dumps(shared)}


def _parameters(span: TimeRange) -> dict[str, Any]:
    since, until = span.since or BEGINNING, span.until or END
    return {
        "since": since,
        "until": until,
        "ahead": min(until, END - LOOK_AHEAD) + LOOK_AHEAD,
        "since_ms": round(since.timestamp() * 1000),
        "until_ms": round(until.timestamp() * 1000),
        "hours_since": since,
    }


def _rows(centre: Any, statement: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    cursor = centre.execute(statement, given)
    names = [each.name for each in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
