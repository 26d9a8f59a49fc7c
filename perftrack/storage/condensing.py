"""Condensing: of each hour of a boot one sample stays, and what processes ended in it; no sum and no peak is lost.

Counters are cumulative, so that rows between two of them may go. A row that goes is condensed into the next one that
stays, of the same process, control group or boot: `samples` says how many that stands for, and further columns have
the largest values in them. Rows are condensed into one as long as the interval views know the same counters of them,
so that what is NULL stays so. Standard library only: the tick does this, a piece at a time.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise

from perftrack.storage import tick_sql
from perftrack.storage.condensing_cgroups import condense_cgroups, largest_known
from perftrack.storage.sqlite_file import transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Sequence
    from typing import Any


# So many rows of processes are condensed in one transaction of a tick: some milliseconds.
ROWS_MAX = 300

_OLDEST = f"""
SELECT boot_id, substr(taken_at, 1, 13), uptime_seconds, id FROM system_sample
WHERE {tick_sql.ORDINARY} AND taken_at < ? ORDER BY taken_at LIMIT 1
"""
_NEXT = """
SELECT id, substr(taken_at, 1, 13), samples FROM system_sample
WHERE boot_id = ? AND (uptime_seconds, id) >= (?, ?) ORDER BY uptime_seconds, id
"""
_BEFORE = """
SELECT id, substr(taken_at, 1, 13), samples FROM system_sample
WHERE boot_id = ? AND (uptime_seconds, id) < (?, ?) ORDER BY uptime_seconds DESC, id DESC
"""
# The columns of what `_read` reads; the largest values are behind them.
_SAMPLE, _PREVIOUS, _UNKNOWN, _IS_UNLIKE, _SECONDS, _KEY, _STANDS_FOR = range(7)
_COUNT = "SELECT count(*) FROM process_sample WHERE sample_id = ?"


def _is_unknown(name: str) -> str:
    """Return SQL that tells whether the row itself, `own`, does not have the counter *name*."""
    own = f"own.{name}"
    if name.startswith("own_"):  # all is its own, as long as no child of it has ended
        of_all = f"own.{name.removeprefix('own_')}"
        own = f"iif(own.children_user_ms + own.children_system_ms = 0, {of_all}, {own})"
    return f"{own} IS NULL"


def _read(view: str, table: str, key: str, using: str, counters: list[str], largest: list[str]) -> str:
    """Return SQL for the rows of some samples.

    *unknown*: of which counters it is not known what they grew by, as bits; *is_unlike*: the row has one of them.
    LIMIT -1 keeps SQLite from computing a column of the view anew wherever it is used.
    """
    unknown = " | ".join(f"(shown.{name} IS NULL) << {bit}" for bit, name in enumerate(counters))
    unlike = " OR ".join(f"(shown.{name} IS NULL AND NOT {_is_unknown(name)})" for name in counters)
    columns = ", ".join(f"shown.{name}" for name in ["samples", *largest])
    inner = ["sample_id", "previous_sample_id", "seconds", "samples", *counters, *largest]
    return f"""
SELECT shown.sample_id, shown.previous_sample_id, {unknown} AS unknown, {unlike} AS is_unlike, shown.seconds, {key},
  {columns}
FROM (SELECT {", ".join(inner)}{"" if key == "NULL" else ", process_id"} FROM {view}
  WHERE sample_id IN (SELECT value FROM json_each(?)) LIMIT -1) AS shown JOIN {table} AS own ON {using}
"""


def _update(table: str, keys: list[str], columns: list[str]) -> str:
    assigned = ", ".join(f"{name} = ?" for name in columns)
    return f"UPDATE {table} SET {assigned} WHERE {' AND '.join(f'{key} = ?' for key in keys)}"


_SYSTEM = _read(
    "system_interval",
    "system_sample",
    "NULL",
    "own.id = shown.sample_id",
    tick_sql.SYSTEM_SAMPLE_COUNTERS,
    tick_sql.SYSTEM_SAMPLE_LARGEST,
)
_PROCESSES = _read(
    "process_interval",
    "process_sample",
    "shown.process_id",
    "own.sample_id = shown.sample_id AND own.process_id = shown.process_id",
    tick_sql.PROCESS_SAMPLE_COUNTERS,
    tick_sql.PROCESS_SAMPLE_LARGEST,
)
_ENDS = "SELECT min(taken_at), max(taken_at) FROM system_sample WHERE id IN (SELECT value FROM json_each(?))"
_GAPS = "SELECT sample_id FROM gap WHERE taken_at BETWEEN ? AND ?"
# The last sample of each recorder, by which the next one knows which processes are new, and that of the highest id,
# which is not to be used again.
_LAST = """
SELECT id FROM (
  SELECT id, row_number() OVER (PARTITION BY recorder_id ORDER BY uptime_seconds DESC, id DESC) AS place
  FROM system_sample WHERE id IN (SELECT value FROM json_each(?))) WHERE place = 1
UNION ALL SELECT max(id) FROM system_sample
"""
_CONDENSED = "samples", "previous_sample_id"
_UPDATE_SYSTEM = _update("system_sample", ["id"], ["samples", *tick_sql.SYSTEM_SAMPLE_LARGEST])
_UPDATE_PROCESS = _update(
    "process_sample", ["sample_id", "process_id"], [*_CONDENSED, *tick_sql.PROCESS_SAMPLE_LARGEST]
)


def condense(connection: sqlite3.Connection, before: str, rows_max: int = ROWS_MAX) -> int:
    """Condense a piece of the oldest hour that has ended by *before*, in one transaction; return of how many samples
    that is, 0: there is nothing.

    *before*: as the database has instants; empty: never. *rows_max*: of processes, about so many at a time.
    Raises: sqlite3.Error, and then all is as it was.
    """
    if not before:
        return 0
    with unchecked(connection), transaction(connection):
        piece, ordinary = _oldest_piece(connection, before, rows_max)
        if not piece:
            return 0
        staying = _condense_processes(connection, piece)
        staying |= condense_cgroups(connection, ids_of(piece))
        _condense_samples(connection, piece, staying)
        return ordinary


@contextmanager
def unchecked(connection: sqlite3.Connection) -> Generator[None]:
    """Leave foreign keys to the caller: for each row that goes, SQLite would look through tables that have no index
    for it.
    """
    connection.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.execute("PRAGMA foreign_keys=ON")


def ids_of(samples: Sequence[int]) -> str:
    """Return a JSON list: importing json would cost a tick more than reading it does."""
    return f"[{','.join(map(str, samples))}]"


def _oldest_piece(connection: sqlite3.Connection, before: str, rows_max: int) -> tuple[list[int], int]:
    """Return what is next: samples of an hour that follow one another, with about *rows_max* rows of processes, and
    before them the one that the piece before this one left last; and how many of them are ordinary ones.
    """
    found = connection.execute(_OLDEST, (f"{before[:13]}:",)).fetchone()
    if found is None:
        return [], 0
    boot_id, hour, *oldest = found
    ids: list[int] = []
    ordinary = rows = 0
    # a clock that was set back can make one that was taken before it younger
    for sample_id, hour_of_it, stands_for in connection.execute(_BEFORE, (boot_id, *oldest)):
        if hour_of_it != hour:
            break
        ids.insert(0, sample_id)
        if stands_for is not None:
            break
        ordinary += 1
    for sample_id, hour_of_it, stands_for in connection.execute(_NEXT, (boot_id, *oldest)):
        if hour_of_it != hour or (rows >= rows_max and len(ids) > 2):
            break
        rows += connection.execute(_COUNT, (sample_id,)).fetchone()[0]
        ids.append(sample_id)
        ordinary += stands_for is None
    return ids, ordinary


def _condense_processes(connection: sqlite3.Connection, piece: list[int]) -> set[int]:
    """Condense rows of processes; return the samples of those that stay."""
    place = {sample_id: number for number, sample_id in enumerate(piece)}
    by_process: dict[int, list[Any]] = {}
    found = connection.execute(_PROCESSES, (ids_of(piece),))
    for row in sorted(found, key=lambda row: place[row[_SAMPLE]]):
        by_process.setdefault(row[_KEY], []).append(row)
    updates, gone = [], []
    staying = set()
    for process_id, of_process in by_process.items():
        for run in _runs(of_process):
            last = run[-1][_SAMPLE]
            staying.add(last)
            gone += [(row[_SAMPLE], process_id) for row in run[:-1]]
            # one of which nothing is known is only what later ones are compared with
            stands_for = 0 if run[0][_SECONDS] is None else _stands_for(run)
            updates.append((stands_for, run[0][_PREVIOUS], *_largest(run), last, process_id))
    connection.executemany(_UPDATE_PROCESS, updates)
    whole = [sample_id for sample_id in piece if sample_id not in staying]
    connection.executemany("DELETE FROM process_sample WHERE sample_id = ?", ((each,) for each in whole))
    connection.executemany(
        "DELETE FROM process_sample WHERE sample_id = ? AND process_id = ?",
        (each for each in gone if each[0] in staying),
    )
    return staying


def _condense_samples(connection: sqlite3.Connection, piece: list[int], staying: set[int]) -> None:
    """Condense samples: those stay that are *staying*, the last of each recorder, both ends of a gap, the first of
    a boot.
    """
    ids = (ids_of(piece),)
    found = {row[_SAMPLE]: row for row in connection.execute(_SYSTEM, ids)}
    gaps = {sample_id for (sample_id,) in connection.execute(_GAPS, connection.execute(_ENDS, ids).fetchone())}
    staying |= {sample_id for (sample_id,) in connection.execute(_LAST, ids)}
    run: list[Any] = []
    updates, gone = [], []
    for sample_id, following in zip(piece, [*piece[1:], None], strict=True):
        row, after = found.get(sample_id), found.get(following)
        if row is None:
            connection.execute("UPDATE system_sample SET samples = coalesce(samples, 1) WHERE id = ?", (sample_id,))
            continue  # there is no sample before it
        run.append(row)
        is_like = after is not None and _is_like(row, after) and not gaps & {sample_id, following}
        if is_like and sample_id not in staying:
            gone.append((sample_id,))
        else:
            updates.append((_stands_for(run), *_largest(run), sample_id))
            run = []
    connection.executemany(_UPDATE_SYSTEM, updates)
    connection.executemany("DELETE FROM system_sample WHERE id = ?", gone)


def _is_like(row: Sequence[Any], after: Sequence[Any]) -> bool:
    """Return whether the row *after* it may take its place: it is the next one, and the same is known of both; what
    is not, the row *after* it does not have itself, so that it stays so.
    """
    is_next = after[_PREVIOUS] == row[_SAMPLE] and row[_SECONDS] is not None
    return bool(is_next and after[_UNKNOWN] == row[_UNKNOWN] and not (row[_IS_UNLIKE] or after[_IS_UNLIKE]))


def _runs(rows: list[Any]) -> list[list[Any]]:
    """Return rows of a process, each with those that it may take the place of before it."""
    runs = [[rows[0]]]
    for row, after in pairwise(rows):
        if _is_like(row, after):
            runs[-1].append(after)
        else:
            runs.append([after])
    return runs


def _stands_for(run: list[Any]) -> int:
    return sum(row[_STANDS_FOR] for row in run)


def _largest(run: list[Any]) -> list[Any]:
    """Return the largest values of *run*, or where that is a single ordinary row, none: they are its own."""
    if len(run) == 1 and run[0][_STANDS_FOR] == 1:
        return [None] * (len(run[0]) - _STANDS_FOR - 1)
    return largest_known(row[_STANDS_FOR + 1 :] for row in run)
