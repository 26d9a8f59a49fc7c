"""Condensing the rows of control groups: as if the samples that stay had been the only ones that looked at them.

A row is there where something had changed since the look before, so that those of a look that goes are put to the
next one that stays. Standard library only, as the tick.
"""

from __future__ import annotations

from perftrack.storage import tick_sql

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from typing import Any

_VALUES = tick_sql.CGROUP_SAMPLE_COLUMNS
_LARGEST = tick_sql.CGROUP_SAMPLE_LARGEST
# Whether each is the last one of its recorder, by which the next one knows which groups are new.
_LOOKS = """
SELECT id, row_number() OVER (PARTITION BY recorder_id ORDER BY uptime_seconds DESC, id DESC) = 1 AS is_last
FROM system_sample WHERE id IN (SELECT value FROM json_each(?)) AND cgroups_seen IS NOT NULL
ORDER BY uptime_seconds, id
"""
# *is_unlike*: the view does not know what some counter grew by, though the row has it. *is_unknown*: of CPU.
_UNLIKE = " OR ".join(
    f"(shown.{name} IS NULL AND own.{name} IS NOT NULL)" for name in tick_sql.CGROUP_SAMPLE_COUNTERS
)
_ROWS = f"""
SELECT shown.sample_id, shown.cgroup_id, shown.previous_sample_id, {_UNLIKE} AS is_unlike,
  shown.cpu_user_ms IS NULL AND own.cpu_user_ms IS NOT NULL AS is_unknown, shown.samples,
  {", ".join(f"shown.{name}" for name in _LARGEST)}, {", ".join(f"own.{name}" for name in _VALUES)}
FROM cgroup_interval AS shown JOIN cgroup_sample AS own USING (sample_id, cgroup_id)
WHERE shown.sample_id IN (SELECT value FROM json_each(?))
"""
_SAMPLE, _CGROUP, _PREVIOUS, _IS_UNLIKE, _IS_UNKNOWN, _STANDS_FOR, _LARGEST_FROM = range(7)
_VALUES_FROM = _LARGEST_FROM + len(_LARGEST)
_INSERTED = ["sample_id", "cgroup_id", "previous_sample_id", "samples", *_LARGEST, *_VALUES]
_INSERT = f"INSERT INTO cgroup_sample ({', '.join(_INSERTED)}) VALUES ({', '.join('?' * len(_INSERTED))})"
_UPDATE_LATEST = "UPDATE cgroup SET latest_sample_id = ? WHERE id = ? AND latest_sample_id = ?"
_UPDATE_GONE = "UPDATE cgroup SET gone_sample_id = ? WHERE gone_sample_id = ?"
_LATER = "SELECT sample_id, cgroup_id, previous_sample_id FROM cgroup_sample WHERE sample_id > ? ORDER BY sample_id"
_UPDATE_PREVIOUS = "UPDATE cgroup_sample SET previous_sample_id = ? WHERE sample_id = ? AND cgroup_id = ?"


def condense_cgroups(connection: sqlite3.Connection, ids: str) -> set[int]:
    """Condense the rows of control groups in samples, *ids* as a JSON list; return the looks that stay: the last of
    each recorder, and both ends of what some group has an interval of that is not known whole.

    Raises: sqlite3.Error.
    """
    found = connection.execute(_LOOKS, (ids,)).fetchall()
    if not found:
        return set()
    looks = [sample_id for sample_id, _ in found]
    place = {sample_id: number for number, sample_id in enumerate(looks)}
    rows = sorted(connection.execute(_ROWS, (ids,)), key=lambda row: place[row[_SAMPLE]])
    unlike = {place[row[_SAMPLE]] for row in rows if row[_IS_UNLIKE]}
    staying = {looks[number] for each in unlike for number in (each - 1, each) if number >= 0}
    staying |= {sample_id for sample_id, is_last in found if is_last}
    target = _targets(looks, staying)
    runs: dict[tuple[int, int], list[Any]] = {}
    for row in rows:
        runs.setdefault((target[row[_SAMPLE]], row[_CGROUP]), []).append(row)
    connection.executemany("DELETE FROM cgroup_sample WHERE sample_id = ?", ((each,) for each in looks))
    connection.executemany(_INSERT, (_condensed(key, run, target) for key, run in runs.items()))
    newest = {cgroup_id: (run[-1][_SAMPLE], sample_id) for (sample_id, cgroup_id), run in runs.items()}
    _tell_next_rows(connection, max(looks), newest)
    gone = [(new, old) for old, new in target.items() if new != old]
    connection.executemany(_UPDATE_GONE, gone)
    connection.executemany("UPDATE system_sample SET cgroups_seen = NULL WHERE id = ?", ((old,) for _, old in gone))
    return staying


def _targets(looks: list[int], staying: set[int]) -> dict[int, int]:
    """Return for each of *looks* the first from it on that stays."""
    targets = {}
    following = 0
    for sample_id in reversed(looks):
        following = targets[sample_id] = sample_id if sample_id in staying else following
    return targets


def _condensed(key: tuple[int, int], run: list[Any], target: dict[int, int]) -> list[Any]:
    """Return the row of *key*, a sample and a group, that stands for *run*: as _INSERTED says."""
    previous = run[0][_PREVIOUS]
    # one of which nothing is known is only what later ones are compared with
    stands_for = 0 if run[0][_IS_UNKNOWN] else sum(row[_STANDS_FOR] for row in run)
    largest = largest_known(row[_LARGEST_FROM:_VALUES_FROM] for row in run)
    return [*key, target.get(previous, previous), stands_for, *largest, *run[-1][_VALUES_FROM:]]


def largest_known(rows: Iterable[Sequence[Any]]) -> list[Any]:
    """Return the largest value of each column of *rows*; NULL: none is known."""
    columns = zip(*rows, strict=True)
    return [max((value for value in column if value is not None), default=None) for column in columns]


def _tell_next_rows(connection: sqlite3.Connection, last: int, newest: dict[int, tuple[int, int]]) -> None:
    """Let the next row of each group behind the sample *last* know where the one before it is now.

    *newest*: of each group, where that was and where it is.
    """
    waiting = {(cgroup_id, old): new for cgroup_id, (old, new) in newest.items() if old != new}
    for (cgroup_id, old), new in list(waiting.items()):
        if connection.execute(_UPDATE_LATEST, (new, cgroup_id, old)).rowcount:  # there is no next row
            del waiting[cgroup_id, old]
    updates = []
    for sample_id, cgroup_id, previous_id in connection.execute(_LATER, (last,)) if waiting else ():
        new = waiting.pop((cgroup_id, previous_id), 0)
        if new:
            updates.append((new, sample_id, cgroup_id))
            if not waiting:
                break
    connection.executemany(_UPDATE_PREVIOUS, updates)
