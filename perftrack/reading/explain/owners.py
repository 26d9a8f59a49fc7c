"""Who used more than usual in a stretch of time: how much more, what share of the excess it is, who started it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from statistics import median
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from perftrack.reading.explain.consumption import (
    NOTHING,
    UNKNOWN,
    Consumption,
    Kind,
    Used,
    consumption,
    processes_of,
    used_by_command,
)
from perftrack.reading.explain.usual import DAYS_MIN, HISTORY, PART_SECONDS, Resource
from perftrack.reading.queries import TimeRange
from perftrack.storage.models import Process

# Who explains less of an excess is not named, and no more than so many are.
SHARE_MIN, NAMED = 0.1, 3
DAY = timedelta(days=1)
BESIDE = tuple(timedelta(seconds=PART_SECONDS) * part / 2 for part in (-2, -1, 1, 2))


class Grown(NamedTuple):
    """A process that used more than its command usually does: by *grown*, of what is looked at. *unit*: its own.

    *parents*: those that are known, its own parent first; *unknown_parent*: the PID of the next one, which was not
    recorded.
    """

    process: Row[Any]
    unit: str | None
    used: Used
    usual: Used
    grown: float
    parents: list[Row[Any]]
    unknown_parent: int | None


class Owner(NamedTuple):
    """Somebody who used more of a resource than usual. *kind*: what *key* is. *share*: of the excess, 0 to 1.

    *used*: in the time of the stretch, and *usual*: in comparable ones. *processes*: how many of its processes grew
    much; *largest*: the one that grew most, None: none is known.
    """

    kind: Kind
    key: str
    used: Used
    usual: Used
    share: float
    processes: int
    largest: Grown | None


class Excess(NamedTuple):
    """What was used of a resource above the usual, in ms or bytes; None: not known.

    *owners*: those who used much more than they usually do, the largest first. *others_share*: what all others did;
    *unknown_share*: what has no known owner. *compared*: with so many times of the same length; *is_of_hour*: they
    were at the same hour of other days.
    """

    resource: Resource
    used: float | None
    usual: float | None
    owners: list[Owner]
    others_share: float | None
    unknown_share: float | None
    compared: int
    is_of_hour: bool


def excess(connection: Connection, span: TimeRange, resource: Resource, within: TimeRange) -> Excess:
    """Return who used more of *resource* in *span* of one machine than in comparable times.

    *within*: the range that is looked at. Where it has too few days before it, what is around *span* is comparable.
    """
    now = consumption(connection, span)
    others, is_of_hour = _comparable(connection, span, within)
    used = now.system.of(resource)
    usual = _median(_usually(now, others, [each.system for each in others])).of(resource)
    nobody = Excess(resource, used, usual, [], None, None, len(others), is_of_hour)
    if used is None or usual is None or used <= usual:
        return nobody
    whole = used - usual
    kind = _kind(now, others, resource)
    usuals = {key: _median(_of(kind, key, now, others)) for key in now.by[kind]}
    more = {key: _more(of_key, usuals[key], resource) for key, of_key in now.by[kind].items()}
    keys = [key for key in more if more[key] >= SHARE_MIN * whole]
    # what somebody does a little earlier or later on other days is not unusual; of a long stretch that is little
    is_short = is_of_hour and now.seconds <= 4 * PART_SECONDS
    for beside in (timedelta(0), *BESIDE) if is_short else (timedelta(0),):
        if beside and len(keys) < 2:  # nobody else could have done it
            break
        moved = _moved(connection, others, beside) if beside else others
        keys = [
            key
            for key in keys
            if _above_most(now.by[kind][key], _of(kind, key, now, moved), resource) >= SHARE_MIN * whole
        ]
    keys = sorted(keys, key=lambda key: -more[key])[:NAMED]
    grown = _processes(connection, now, others, resource) if keys else []
    owners = []
    for key in keys:
        of_key = [each for each in grown if (each.unit if kind == "unit" else each.process.name) == key]
        of_key = [each for each in of_key if each.grown >= SHARE_MIN * more[key]]
        largest = _with_parents(connection, of_key[0]) if of_key else None
        share = _share(more[key], whole)
        owners.append(Owner(kind, key, now.by[kind][key], usuals[key], share, len(of_key), largest))
    together = _median(_usually(now, others, [each.together(kind) for each in others]))
    rest = max(0.0, 1 - sum(owner.share for owner in owners))
    unknown = min(_share(whole - _more(now.together(kind), together, resource), whole), rest)
    return nobody._replace(owners=owners, others_share=rest - unknown, unknown_share=unknown)


def _kind(now: Consumption, others: list[Consumption], resource: Resource) -> Kind:
    """Return by what owners are told: by units, where what they used is known of now and of most other times."""
    known = [each for each in others if each.together("unit").of(resource) is not None]
    is_known = now.together("unit").of(resource) is not None and 2 * len(known) > len(others)
    return "unit" if is_known else "name"


def _comparable(connection: Connection, span: TimeRange, within: TimeRange) -> tuple[list[Consumption], bool]:
    """Return what was used at the same hour of the days before, and True; or if those are too few, around *span*."""
    since, until = span.ends
    earliest, latest = within.ends
    length, days = until - since, HISTORY // DAY

    def known(moves: list[timedelta]) -> list[Consumption]:
        found = (consumption(connection, _later(span, move), is_exact=False) for move in moves)
        return [each for each in found if each.seconds * 2 >= length.total_seconds()]

    # a stretch of more than a day is not compared with a part of itself
    found = known([-number * DAY for number in range(length // DAY + 1, days + 1)])
    if len(found) >= DAYS_MIN:
        return found, True
    before = min((since - earliest + HISTORY) // length, days)
    after = min((latest - until) // length, days)
    return known([number * length for number in range(-before, after + 1) if number]), False


def _later(span: TimeRange, by: timedelta) -> TimeRange:
    since, until = span.ends
    return TimeRange(since + by, until + by, span.hosts)


def _moved(connection: Connection, others: list[Consumption], by: timedelta) -> list[Consumption]:
    moved = (consumption(connection, _later(other.span, by), is_exact=False) for other in others)
    return [each for each in moved if each.seconds]


def _of(kind: Kind, key: str, now: Consumption, others: list[Consumption]) -> list[Used]:
    return _usually(now, others, [each.by[kind].get(key) for each in others])


def _usually(now: Consumption, others: list[Consumption], used: Sequence[Used | None]) -> list[Used]:
    """Return what somebody used in each of *others*, for as long as *now* is. None: it was not there."""
    return [
        (each or NOTHING).in_proportion(now.seconds / other.seconds) for other, each in zip(others, used, strict=True)
    ]


def _median(of: list[Used]) -> Used:
    known = [[amount for amount in amounts if amount is not None] for amounts in zip(*of, strict=True)]
    return Used(*(median(amounts) if amounts else None for amounts in known)) if known else UNKNOWN


def _above_most(used: Used, usually: list[Used], resource: Resource) -> float:
    """Return how much more it used than in nine of ten comparable times: little, if it does that now and then."""
    amounts = sorted(each.of(resource) or 0.0 for each in usually)
    return (used.of(resource) or 0.0) - (amounts[len(amounts) * 9 // 10] if amounts else 0.0)


def _more(used: Used, usual: Used, resource: Resource) -> float:
    return (used.of(resource) or 0.0) - (usual.of(resource) or 0.0)


def _share(part: float, whole: float) -> float:
    return min(max(part / whole, 0.0), 1.0)


def _processes(
    connection: Connection, now: Consumption, others: list[Consumption], resource: Resource
) -> list[Grown]:
    """Return the processes that used more of *resource* than their commands usually do, the largest first.

    None by more than its name did: a job of every day may have another command line each time.
    """
    of_commands = [used_by_command(connection, other.span, resource) for other in others]
    found = []
    for row, unit, used in processes_of(connection, now.span, resource):
        of_name = now.by["name"].get(row.name, NOTHING)
        limit = _more(of_name, _median(_of("name", row.name, now, others)), resource)
        usual = _median(_usually(now, others, [of.get(row.command) for of in of_commands]))
        grown = min(_more(used, usual, resource), limit)
        if grown > 0:
            found.append(Grown(row, unit, used, usual, grown, [], None))
    return sorted(found, key=lambda each: -each.grown)


def _with_parents(connection: Connection, grown: Grown) -> Grown:
    parents, unknown = parents_of(connection, grown.process.process_id)
    return grown._replace(parents=parents, unknown_parent=unknown)


def parents_of(connection: Connection, process_id: int) -> tuple[list[Row[Any]], int | None]:
    """Return the recorded ancestors of a process, its parent first, without PID 1, and the PID of one that was not.

    A parent is the latest process of its PID that had begun when the child did.
    """
    table = Process.__table__.c
    columns = (table.id, table.boot_id, table.pid, table.ppid, table.name, table.command, table.started_ticks)
    child = connection.execute(select(*columns).where(table.id == process_id)).one()
    parents: list[Any] = []
    while child.ppid is not None and child.ppid > 1 and child.started_ticks is not None:
        parent = connection.execute(
            select(*columns)
            .where(
                table.boot_id == child.boot_id, table.pid == child.ppid, table.started_ticks <= child.started_ticks
            )
            .order_by(table.started_ticks.desc(), table.id.desc())
            .limit(1)
        ).first()
        if parent is None or parent.pid in {each.pid for each in parents}:
            return parents, child.ppid
        parents.append(parent)
        child = parent
    return parents, None
