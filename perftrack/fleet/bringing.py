"""Brings rows of the centre into a temporary database, under ids of its own: two sources may have the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import DateTime, Table

from perftrack.fleet.centre import CGROUP_SAMPLE, PROCESS_SAMPLE, SYSTEM_SAMPLE
from perftrack.fleet.rebuilding import STATEMENTS, brought
from perftrack.fleet.summing import BEGINNING, END, IN_RANGE
from perftrack.progress import Progress
from perftrack.reading.usage.parts import LOOK_AHEAD

_ROWS_AT_ONCE = 5000
# What was held, and what is usual, is looked for so long before a range; what processes had used, so long.
LOOK_BACK, LOOK_BACK_OF_PROCESSES = timedelta(days=1), timedelta(hours=1)
_NONE = (0, 0)  # a row that refers to nothing
# What has ids of its own here, by the name of the key.
_KEYS = {
    "boot_id": "boot",
    "recorder_id": "recorder",
    "filter_id": "name_filter",
    "cgroup_id": "cgroup",
    "process_id": "process",
}

_ENDS = """
SELECT source_id, min(sample_id), max(sample_id) FROM perftrack.system_sample
WHERE source_id = ANY(%(sources)s) AND taken_at >= %(since)s AND taken_at < %(until)s
GROUP BY source_id ORDER BY source_id
"""
# Those that end after the range belong to it as far as they began in it.
_IN_RANGE = f"WHERE source_id = ANY(%(sources)s) AND {IN_RANGE}"
_PROCESSES = f"""
FROM perftrack.process
WHERE source_id = ANY(%(sources)s) AND EXISTS (
  SELECT 1 FROM (SELECT source_id, process_id FROM perftrack.process_sample {_IN_RANGE}) AS sample
  WHERE (sample.source_id, sample.process_id) = (process.source_id, process.process_id))
ORDER BY source_id, process_id
"""
# All of these PIDs: only some are parents.
_PARENTS = """
FROM perftrack.process WHERE source_id = ANY(%(sources)s) AND pid = ANY(%(pids)s) ORDER BY source_id, process_id
"""
_OF_SOURCES = "WHERE source_id = ANY(%(sources)s) ORDER BY source_id, {key}"
_LAST_ROWS = """
FROM perftrack.cgroup JOIN perftrack.cgroup_sample AS sample
  ON (sample.source_id, sample.taken_at, sample.sample_id, sample.cgroup_id)
   = (cgroup.source_id, cgroup.latest_taken_at, cgroup.latest_sample_id, cgroup.cgroup_id)
WHERE cgroup.source_id = ANY(%(sources)s) AND cgroup.latest_taken_at < %(since)s
"""


class Boot(NamedTuple):
    """A boot of a machine that was chosen. *host*: what that is called here; *key*, *booted_at*: None, not known."""

    source_id: int
    boot_id: int
    host: str
    key: str | None
    booted_at: str | None


def instant(column: str, zone: str = " AT TIME ZONE 'UTC'") -> str:
    """Return SQL for the instant in *column* as SQLite keeps it. *zone*: what a wall clock's has not."""
    return f"to_char({column}{zone}, 'YYYY-MM-DD HH24:MI:SS.US')"


def _select(table: Table) -> str:
    """Return the columns of *table* as SQL, instants as SQLite keeps them."""
    shown = {"taken_at_local": instant("taken_at_local", "")}
    of = {each.name: instant(each.name) for each in table.columns if isinstance(each.type, DateTime)} | shown
    return ", ".join(of.get(name, f'"{name}"') for name in brought(table))


class Fetch:
    """Brings rows from the centre, under ids of the temporary database: those of several sources can be the same."""

    def __init__(
        self, centre: Any, database: sqlite3.Connection, boots: list[Boot], since: datetime, until: datetime
    ) -> None:
        self._centre, self._database, self._chosen = centre, database, boots
        back = max(since, BEGINNING + LOOK_BACK) - LOOK_BACK
        ahead = min(until, END - LOOK_AHEAD) + LOOK_AHEAD
        self._times = {"since": back, "until": until, "ahead": ahead}
        self._times_of_processes = self._times | {
            "since": max(since, BEGINNING + LOOK_BACK_OF_PROCESSES) - LOOK_BACK_OF_PROCESSES
        }
        self._sources = sorted({boot.source_id for boot in boots})
        self._ids: dict[str, dict[Any, int]] = {}  # by table: from source and id there to the id here
        self._first: dict[int, tuple[int, int, int]] = {}  # by source: first and last sample there, first here

    def all(self, progress: Progress) -> None:
        """Bring everything."""
        self._number_samples()
        self._bring_boots()
        self._bring("recorder", "recorder_id", ("username", "selection"))
        self._bring("name_filter", "filter_id", ("text", "rank"))
        self._bring_groups()
        self._bring_processes()
        for table in (SYSTEM_SAMPLE, PROCESS_SAMPLE, CGROUP_SAMPLE):
            columns = ", ".join(f'"{name}"' for name in brought(table))
            self._database.execute(f"CREATE TEMPORARY TABLE fetched_{table.name} ({columns})")
        everything = self._times | {"until": self._times["ahead"]}  # a later sample shows that something has ended
        self._bring_samples(SYSTEM_SAMPLE, everything)
        self._bring_samples(CGROUP_SAMPLE, self._times)
        self._bring_last_rows()
        self._bring_samples(PROCESS_SAMPLE, self._times_of_processes, progress)
        for statement in STATEMENTS:
            self._database.execute(statement)

    def _number_samples(self) -> None:
        following = 1
        times = {**self._times, "until": self._times["ahead"], "sources": self._sources}
        for source_id, first, last in self._centre.execute(_ENDS, times):
            self._first[source_id] = (first, last, following + 1)  # one is left for what was before
            following += last - first + 2
        self._sources = list(self._first)
        self._chosen = [boot for boot in self._chosen if boot.source_id in self._first]

    def _sample(self, source_id: int, sample_id: int | None) -> int | None:
        """Return the id here of a sample; of one before those that are fetched one that is before, None: after."""
        if sample_id is None:
            return None
        first, last, here = self._first[source_id]
        return None if sample_id > last else here + max(sample_id - first, -1)

    def _rows(self, sql: str, times: dict[str, Any] | None = None) -> Iterator[tuple[Any, ...]]:
        with self._centre.cursor(name="fetch") as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(sql, {**self._times, **(times or {}), "sources": self._sources})
            yield from cursor

    def _bring_boots(self) -> None:
        hosts: dict[str, int] = {}
        known: dict[tuple[str, str | None, int], int] = {}
        ids = self._ids["boot"] = {}
        for boot in self._chosen:
            host_id = hosts.setdefault(boot.host, len(hosts) + 1)
            # imported data has none: each is its own
            key = (boot.host, boot.key, 0 if boot.key is not None else len(known))
            is_new = key not in known
            ids[boot.source_id, boot.boot_id] = known.setdefault(key, len(known) + 1)
            if is_new:
                self._insert(
                    "boot", ("id", "host_id", "key", "booted_at"), [(known[key], host_id, boot.key, boot.booted_at)]
                )
        self._insert("host", ("id", "name"), [(number, name) for name, number in hosts.items()])

    def _bring(self, table: str, key: str, columns: tuple[str, ...]) -> None:
        """Bring what samples refer to; what is the same in two sources is one."""
        sql = f"SELECT source_id, {key}, {', '.join(columns)} FROM perftrack.{table} {_OF_SOURCES.format(key=key)}"
        known: dict[tuple[Any, ...], int] = {}
        ids = self._ids[table] = {}
        for source_id, own, *values in self._rows(sql):
            ids[source_id, own] = known.setdefault(tuple(values), len(known) + 1)
        if table == "name_filter":  # a row of no filter that is known
            known.setdefault(("", 0), len(known) + 1)
            ids[_NONE] = known["", 0]
        self._insert(table, ("id", *columns), [(number, *values) for values, number in known.items()])

    def _bring_groups(self) -> None:
        columns = "source_id, cgroup_id, boot_id, path, inode, unit, parent_id, latest_sample_id, gone_sample_id"
        sql = f"SELECT {columns} FROM perftrack.cgroup {_OF_SOURCES.format(key='cgroup_id')}"
        rows: dict[tuple[Any, ...], list[Any]] = {}
        ids = self._ids["cgroup"] = {}
        for source_id, own, boot_id, path, inode, unit, parent_id, latest, gone in self._rows(sql):
            boot = self._ids["boot"].get((source_id, boot_id))
            if boot is None:
                continue
            samples = (self._sample(source_id, latest), self._sample(source_id, gone))
            row = rows.setdefault((boot, path, inode), [len(rows) + 1, boot, path, inode, unit, None, *samples])
            ids[source_id, own] = row[0]
            row[5] = row[5] or (source_id, parent_id)
        for row in rows.values():
            row[5] = ids.get(row[5])
        names = ("id", "boot_id", "path", "inode", "unit", "parent_id", "latest_sample_id", "gone_sample_id")
        self._insert("cgroup", names, rows.values())

    def _bring_processes(self) -> None:
        columns = ("pid", "started_ticks", "name", "started_at", "ppid", "username", "command")
        shown = ", ".join(instant(each) if each == "started_at" else each for each in columns)
        known: dict[tuple[Any, ...], int] = {}
        ids = self._ids["process"] = {}
        units = dict(
            self._database.execute("SELECT boot_id || ' ' || unit, min(id) FROM cgroup GROUP BY boot_id, unit")
        )

        wanted: set[tuple[int, int]] = set()  # boots here and PIDs of parents
        looked_for: set[tuple[int, int]] = set()

        def rows(what: str, times: dict[str, Any], *, are_parents: bool = False) -> Iterator[tuple[Any, ...]]:
            sql = f"SELECT source_id, process_id, boot_id, unit, {shown} {what}"
            for source_id, own, boot_id, unit, *values in self._rows(sql, times):
                boot = self._ids["boot"].get((source_id, boot_id))
                pid, started_ticks, name, _, ppid, *_ = values
                if boot is None or (are_parents and (boot, pid) not in looked_for):
                    continue
                identity = (boot, pid, started_ticks, name)
                is_new = identity not in known
                ids[source_id, own] = known.setdefault(identity, len(known) + 1)
                if is_new:
                    wanted.add((boot, ppid))
                    yield (known[identity], boot, units.get(f"{boot} {unit}"), *values)

        names = ("id", "boot_id", "cgroup_id", *columns)
        self._insert("process", names, rows(_PROCESSES, self._times_of_processes))
        while parents := {each for each in wanted if each[1]} - looked_for:
            looked_for |= parents
            pids = {"pids": sorted({pid for _, pid in parents})}
            self._insert("process", names, rows(_PARENTS, pids, are_parents=True))

    def _bring_samples(self, table: Table, times: dict[str, Any], progress: Progress | None = None) -> None:
        names = brought(table)
        total = 0
        if progress is not None:
            count = f"SELECT count(*) FROM perftrack.{table.name} {_IN_RANGE}"
            ((total,),) = self._centre.execute(count, {**times, "sources": self._sources}).fetchall()
        rows = self._rows(f"SELECT {_select(table)} FROM perftrack.{table.name} {_IN_RANGE}", times)
        self._insert(f"temp.fetched_{table.name}", names, self._translated(rows, names, total, progress))

    def _bring_last_rows(self) -> None:
        """Bring the last row of each group that has none since."""
        names = brought(CGROUP_SAMPLE)
        shown = ", ".join(instant("sample.taken_at") if name == "taken_at" else f'sample."{name}"' for name in names)
        rows = self._rows(f"SELECT {shown} {_LAST_ROWS}")
        self._insert("temp.fetched_cgroup_sample", names, self._translated(rows, names))

    def _translated(
        self,
        rows: Iterator[tuple[Any, ...]],
        names: list[str],
        total: int = 0,
        progress: Progress | None = None,
    ) -> Iterator[list[Any]]:
        """Yield *rows* with the ids of here, but those of other machines. *total*: so many there are."""
        places = [(names.index(key), self._ids[table]) for key, table in _KEYS.items() if key in names]
        sample = names.index("sample_id")
        needed = [names.index(key) for key in ("boot_id", "process_id", "cgroup_id") if key in names]
        for number, row in enumerate(rows, 1):
            source_id = row[0]
            changed = list(row)
            changed[sample] = self._sample(source_id, row[sample])
            for place, ids in places:
                changed[place] = ids.get((source_id, row[place]), ids.get(_NONE))
            if progress is not None and (number % _ROWS_AT_ONCE == 0 or number == total):
                progress(number, total)
            if all(changed[place] is not None for place in needed):
                yield changed

    def _insert(self, table: str, columns: Any, rows: Any) -> None:
        listed = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" for _ in columns)
        self._database.executemany(f"INSERT INTO {table} ({listed}) VALUES ({marks})", rows)
