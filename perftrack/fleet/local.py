"""What of the local database is to be shipped: one snapshot, its samples as intervals. Standard library only."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from perftrack.storage import tick_sql


class SampleKey(NamedTuple):
    """A sample, as the centre is asked for it."""

    id: int
    fingerprint: UUID
    taken_at: str


class Batch(NamedTuple):
    """Samples that go into one transaction; *boots*: by boot, the uptime after which samples come anew."""

    samples: list[int]
    rows: int
    boots: dict[int, float]


ROWS_MAX = 20_000
# A counter that jumps by more is wrong: checks.py.
_GROWTH_MAX = 1 << 53
_GROWN = {"cpu_ms", "all_cpu_ms", *tick_sql.SYSTEM_SAMPLE_COUNTERS}
_GROWN |= {*tick_sql.PROCESS_SAMPLE_COUNTERS, *tick_sql.CGROUP_SAMPLE_COUNTERS}
_COUNTERS = tick_sql.SYSTEM_SAMPLE_COUNTERS
_THESE = "(SELECT value FROM json_each(:samples))"
_IDENTITY = f"""
SELECT system_sample.id, boot.key, taken_at, uptime_seconds, {", ".join(_COUNTERS)}
FROM system_sample JOIN boot ON boot.id = boot_id WHERE system_sample.id
"""
_SIZES = """
SELECT id, (SELECT count(*) FROM process_sample WHERE sample_id = system_sample.id)
  + (SELECT count(*) FROM cgroup_sample WHERE sample_id = system_sample.id)
FROM system_sample WHERE id > ? ORDER BY id
"""
_NEW = """
SELECT boot_id, min(uptime_seconds) FROM system_sample WHERE id > ? AND uptime_seconds NOTNULL GROUP BY boot_id
"""
_FIRST_SHIPPED = "SELECT min(uptime_seconds) FROM system_sample WHERE boot_id = ? AND id <= ?"
_IS_LATE = "SELECT 1 FROM system_sample WHERE boot_id = ? AND uptime_seconds > ? AND id <= ? LIMIT 1"
_CONDENSED = """
SELECT uptime_seconds, id, substr(taken_at, 1, 13) FROM system_sample
WHERE boot_id = ? AND uptime_seconds >= ? AND samples NOTNULL ORDER BY uptime_seconds, id LIMIT 1
"""
_BEFORE = """
SELECT uptime_seconds, substr(taken_at, 1, 13) FROM system_sample
WHERE boot_id = ? AND (uptime_seconds, id) < (?, ?) AND NOT (id > ? AND samples ISNULL)
ORDER BY uptime_seconds DESC, id DESC
"""
_AGAIN = "SELECT id FROM system_sample WHERE boot_id = ? AND uptime_seconds > ? AND id <= ? AND id > ? ORDER BY id"

# What the centre's tables are filled from; LIMIT -1 keeps SQLite from computing a column of a view again and again.
_FROM = {
    "boot": f"""(SELECT boot.*, boot.id AS boot_id, host.name AS host FROM boot JOIN host ON host.id = host_id)
WHERE boot_id IN (SELECT boot_id FROM system_sample WHERE id IN {_THESE})""",
    "process": f"""(
  SELECT process.*, process.id AS process_id, unit FROM process LEFT JOIN cgroup ON cgroup.id = cgroup_id)
WHERE process_id IN (SELECT process_id FROM process_sample WHERE sample_id IN {_THESE})""",
    "cgroup": f"""(
  SELECT cgroup.*, cgroup.id AS cgroup_id, taken_at AS latest_taken_at
  FROM cgroup LEFT JOIN system_sample ON system_sample.id = latest_sample_id)
WHERE gone_sample_id IN {_THESE} OR cgroup_id IN (
  WITH RECURSIVE above(id) AS (
    SELECT cgroup_id FROM cgroup_sample WHERE sample_id IN {_THESE}
    UNION SELECT parent_id FROM above JOIN cgroup USING (id) WHERE parent_id NOTNULL)
  SELECT id FROM above)""",
    "name_filter": f"""(SELECT *, id AS filter_id FROM name_filter)
WHERE filter_id IN (SELECT filter_id FROM process_sample WHERE sample_id IN {_THESE})""",
    "recorder": f"""(SELECT *, id AS recorder_id FROM recorder)
WHERE recorder_id IN (SELECT recorder_id FROM system_sample WHERE id IN {_THESE})""",
    "system_sample": f"""system_sample AS own LEFT JOIN (
  SELECT * FROM system_interval WHERE sample_id IN {_THESE} LIMIT -1) AS shown ON shown.sample_id = own.id
WHERE own.id IN {_THESE}""",
    "process_sample": f"""(
  SELECT shown.*, own.filter_id, own.cpu_percent AS window_cpu_percent,
    iif(coalesce(own.cpu_user_ms, own.children_user_ms) IS NULL, NULL,
      coalesce(own.cpu_user_ms + own.cpu_system_ms, 0)
      + coalesce(own.children_user_ms + own.children_system_ms, 0)) AS all_cpu_ms
  FROM (SELECT * FROM process_interval WHERE sample_id IN {_THESE} LIMIT -1) AS shown
    JOIN process_sample AS own USING (sample_id, process_id)
  WHERE own.filter_id NOT IN (SELECT id FROM name_filter WHERE rank > 0))""",
    "cgroup_sample": f"(SELECT * FROM cgroup_interval WHERE sample_id IN {_THESE} LIMIT -1)",
}
FINGERPRINT = "fingerprint"


def uuid_of(connection: sqlite3.Connection) -> UUID:
    """Return the name of the database."""
    return UUID(connection.execute("SELECT uuid FROM source").fetchone()[0])


def host_of(connection: sqlite3.Connection) -> str | None:
    """Return what the machine of the newest sample is called; None: there is no sample."""
    found = connection.execute(
        "SELECT name FROM system_sample JOIN boot ON boot.id = boot_id JOIN host ON host.id = host_id"
        " ORDER BY system_sample.id DESC LIMIT 1"
    ).fetchone()
    return None if found is None else str(found[0])


def newest_id(connection: sqlite3.Connection) -> int:
    """Return the id of the newest sample; 0: there is none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM system_sample").fetchone()[0])


def samples_down(connection: sqlite3.Connection, sample_id: int | None, count: int) -> list[SampleKey]:
    """Return up to *count* samples from *sample_id* downwards, None: from the newest."""
    limit = (1 << 63) - 1 if sample_id is None else sample_id
    found = connection.execute(f"{_IDENTITY} <= ? ORDER BY system_sample.id DESC LIMIT ?", (limit, count))
    return [_identified(row) for row in found]


def sample_after(connection: sqlite3.Connection, sample_id: int) -> SampleKey | None:
    """Return the sample after *sample_id*, or None."""
    found = connection.execute(f"{_IDENTITY} > ? ORDER BY system_sample.id LIMIT 1", (sample_id,)).fetchone()
    return None if found is None else _identified(found)


def _identified(row: Sequence[Any]) -> SampleKey:
    """Return a row of _IDENTITY with its fingerprint: of what neither condensing changes, nor a further counter that
    a later perftrack has and this sample has not.
    """
    sample_id, key, taken_at, uptime_seconds, *values = row
    known = [f"{name}={value}" for name, value in zip(_COUNTERS, values, strict=True) if value is not None]
    text = "\0".join([str(sample_id), str(key), taken_at, repr(uptime_seconds), *sorted(known)])
    found = UUID(bytes=hashlib.blake2b(text.encode(), digest_size=16).digest())
    return SampleKey(sample_id, found, taken_at)


def batches(connection: sqlite3.Connection, position: int, fork_position: int) -> Iterator[Batch]:
    """Yield the samples after *position*, in the order of ids, in batches that never split one.

    The first one begins with shipped samples that have changed since. What is in another source, up to
    *fork_position*, is never shipped anew.
    """
    boots = _cuts(connection, position)
    samples: list[int] = []
    for boot_id, uptime_seconds in boots.items():
        found = connection.execute(_AGAIN, (boot_id, uptime_seconds, position, fork_position))
        samples += [sample_id for (sample_id,) in found]
    rows, is_new = len(samples), False
    for sample_id, size in connection.execute(_SIZES, (position,)):
        if is_new and rows + 1 + size > ROWS_MAX:
            yield Batch(samples, rows, boots)
            samples, rows, boots = [], 0, {}
        samples.append(sample_id)
        rows += 1 + size
        is_new = True
    if is_new:
        yield Batch(samples, rows, boots)


def _cuts(connection: sqlite3.Connection, position: int) -> dict[int, float]:
    """Return the boots of which shipped samples have changed since, each with the uptime after which they have.

    A sample that came late changes what the one after it has used. One that was condensed stands for others too,
    which may have been shipped; rows are condensed within an hour, so that what was told until its beginning stays.
    """
    cuts = {}
    for boot_id, earliest in connection.execute(_NEW, (position,)).fetchall():
        (first,) = connection.execute(_FIRST_SHIPPED, (boot_id, position)).fetchone()
        if first is None:
            continue
        # what was purged here stays there: nothing before the first one that is left is told anew
        is_late = connection.execute(_IS_LATE, (boot_id, earliest, position)).fetchone() is not None
        found = [max(earliest, math.nextafter(first, 0))] if is_late else []
        condensed = connection.execute(_CONDENSED, (boot_id, earliest)).fetchone()
        if condensed is not None:
            *place, hour = condensed
            before = connection.execute(_BEFORE, (boot_id, *place, position))
            found.append(max(first, next((uptime for uptime, hour_of_it in before if hour_of_it != hour), first)))
        if found:
            cuts[boot_id] = min(found)
    return cuts


class Reader:
    """Reads the rows of samples for the tables of the centre, those columns that both have."""

    def __init__(self, connection: sqlite3.Connection, columns: dict[str, list[str]]) -> None:
        """*columns*: of each staging table, those that the centre has."""
        self._connection = connection
        self._selects = {name: _select(connection, name, wanted) for name, wanted in columns.items() if name in _FROM}
        self._known: set[tuple[str, int]] = set()
        self._sent: set[tuple[str, int]] = set()

    def columns(self, name: str) -> list[str]:
        """Return the columns of the table *name* that `rows` reads."""
        return self._selects[name][0]

    @property
    def tables(self) -> list[str]:
        """Return the tables of the centre that there is something for."""
        return list(self._selects)

    def rows(self, name: str, samples: list[int]) -> Iterator[Sequence[Any]]:
        """Yield the rows of the table *name* that *samples* have or need, but what is known to be there."""
        columns, sql = self._selects[name]
        ids = json.dumps(samples)
        found = self._connection.execute(sql, {"samples": ids})
        if name == "system_sample":
            identities = self._connection.execute(f"{_IDENTITY} IN {_THESE}", {"samples": ids})
            fingerprints = {each.id: each.fingerprint for each in map(_identified, identities)}
            place = columns.index("sample_id")
            for row in found:
                yield (*row, fingerprints[row[place]])
        elif name in {"process", "cgroup", "name_filter", "recorder"}:
            place = columns.index(f"{name.removeprefix('name_')}_id")
            for row in found:
                if (name, row[place]) not in self._known:
                    self._sent.add((name, row[place]))
                    yield row
        else:
            yield from found

    def committed(self) -> None:
        """Note that what was read is there now."""
        self._known |= self._sent
        self._sent.clear()


def _select(connection: sqlite3.Connection, name: str, wanted: list[str]) -> tuple[list[str], str]:
    """Return the columns of *wanted* that are known here, and the SELECT for them."""
    source = _FROM[name]
    if name == "system_sample":
        own, interval = (_columns(connection, of) for of in ("system_sample", "system_interval"))
        expressions = {"sample_id": "own.id", "window_cpu_percent": "own.cpu_percent"}
        for column in wanted:
            of_interval = f"shown.{column}" if column in interval else ""
            if column == "samples":  # of the first of a boot, which has no interval, too
                expressions[column] = "coalesce(shown.samples, own.samples, 1)"
            elif column in own and not (of_interval and (column in _COUNTERS or column.startswith("cpu_percent"))):
                expressions[column] = f"coalesce({of_interval}, own.{column})" if of_interval else f"own.{column}"
            elif of_interval:
                expressions.setdefault(column, of_interval)
    else:
        found = connection.execute(f"SELECT * FROM {source} LIMIT 0", {"samples": "[]"})
        expressions = {each[0]: f'"{each[0]}"' for each in found.description}
    columns = [each for each in wanted if each in expressions]
    shown = [_shown(each, expressions[each]) for each in columns]
    if name == "system_sample":
        return [*columns, FINGERPRINT], f"SELECT {', '.join(shown)} FROM {source}"
    return columns, f"SELECT {', '.join(shown)} FROM {source}"


def _shown(name: str, sql: str) -> str:
    """Return what is shipped of a column: an instant with its zone; no growth that the centre refuses as absurd."""
    if name.endswith("_at"):
        return f"{sql} || '+00'"
    return f"nullif(min({sql}, {_GROWTH_MAX}), {_GROWTH_MAX})" if name in _GROWN else sql


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [each[0] for each in connection.execute(f"SELECT * FROM {table} LIMIT 0").description]
