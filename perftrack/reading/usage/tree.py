"""Processes under their parents: who is shown, where the largest are asked for, and in which order."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import NamedTuple

from sqlalchemy import Connection, text

from perftrack.reading.usage.children import PARENT
from perftrack.reading.usage.processes import Ranked, largest

# Of processes, the parents; in `used` they have the id of their first name, and are shown under the newest.
# The + lets SQLite use the index of a column that has no type.
_PARENTS = f"""
SELECT child.id, parent_key, coalesce(used.newest & 0xffffffff, used.key)
FROM (
  SELECT id, {PARENT.format(of="process")} AS parent_key
  FROM process WHERE id IN (SELECT value FROM json_each(:process_ids))) AS child
  LEFT JOIN used ON used.key = +parent_key
"""


class Branch(NamedTuple):
    """A process in the tree. *is_last*: whether no sibling follows, of each ancestor below the root and of it."""

    row: Ranked
    is_last: list[bool]


def with_parents(connection: Connection, rows: list[Ranked], *, host: str, by: str, is_tree: bool) -> list[Ranked]:
    """Return *rows* of processes that `add_up` has added up, with their parents as far as these are recorded in the
    range. *is_tree*: those and all ancestors too.
    """
    found: dict[int, Ranked] = {}
    missing = rows
    while missing:
        of_id = {row.process.process_id: row for row in missing if row.process is not None}
        parameters = {"process_ids": json.dumps(list(of_id))}
        keys = []
        for process_id, parent_key, parent_id in connection.execute(text(_PARENTS), parameters):
            found[process_id] = of_id[process_id]._replace(parent_id=parent_id)
            if parent_id is not None:
                keys.append((parent_key, parent_id))
        wanted = [key for key, parent_id in keys if parent_id not in found]
        missing = largest(connection, host, "process", by, len(wanted), wanted) if is_tree and wanted else []
    return list(found.values())


def best_and_ancestors(rows: list[Ranked], limit: int) -> list[Ranked]:
    """Return the first *limit* of *rows*, and those of the others that are their ancestors."""
    by_id = {_identity(row): row for row in rows}
    kept: dict[tuple[str, int | None], Ranked] = {}
    for row in rows[:limit]:
        ancestor: Ranked | None = row
        while ancestor is not None and _identity(ancestor) not in kept:
            kept[_identity(ancestor)] = ancestor
            ancestor = by_id.get((ancestor.host, ancestor.parent_id))
    return list(kept.values())


def branches(rows: list[Ranked]) -> list[Branch]:
    """Return *rows* in the order of a tree: each below its parent, siblings by the largest rank in their branches."""
    shown = {_identity(row) for row in rows}
    children: dict[tuple[str, int | None] | None, list[Ranked]] = defaultdict(list)
    for row in rows:
        parent = row.host, row.parent_id
        children[parent if parent in shown else None].append(row)
    ranks: dict[tuple[str, int | None], float] = {}

    def rank(row: Ranked) -> float:
        identity = _identity(row)
        if identity not in ranks:
            ranks[identity] = -1 if row.rank is None else row.rank
            ranks[identity] = max(ranks[identity], *(rank(child) for child in children[identity]), -1)
        return ranks[identity]

    found: list[Branch] = []

    def add(parent: tuple[str, int | None] | None, is_last: list[bool]) -> None:
        siblings = sorted(children[parent], key=rank, reverse=True)
        for number, row in enumerate(siblings, 1):
            below = [] if parent is None else [*is_last, number == len(siblings)]
            found.append(Branch(row, below))
            add(_identity(row), below)

    add(None, [])
    return found


def _identity(row: Ranked) -> tuple[str, int | None]:
    return row.host, None if row.process is None else row.process.process_id
