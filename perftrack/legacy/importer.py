"""Importing the original's files: each in one transaction, and a second time adds nothing."""

from __future__ import annotations

import gc
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, tzinfo
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, update

from perftrack.errors import PerftrackError
from perftrack.legacy.entries import ProcessEntry, SystemEntry
from perftrack.legacy.source import Source
from perftrack.storage.database import explained
from perftrack.storage.engine import current_engine
from perftrack.storage.models import Boot, Host, NameFilter, Process, ProcessSample, SystemSample
from perftrack.timerange import to_utc

ROWS_AT_ONCE = 5000
ROW_COLUMNS = ("sample_id", "process_id", "filter_id", "cpu_percent", "rss_bytes", "vms_bytes")


class Imported(NamedTuple):
    """What a file holds, and how much of it was new to the database."""

    system_entries: int
    process_entries: int
    new_system_entries: int
    new_process_entries: int


def import_file(
    source: Source,
    database: str,
    host: str,
    zone: tzinfo | None = None,
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Imported:
    """Import one file of the original as *host*'s, and return what was new.

    *zone*: of the file's local times; None is this system's. *dry_run*: leave the database as it is. *progress* is
    told how many process entries are done, of how many. Raises: PerftrackError, and then nothing is imported.
    """
    with ExitStack() as stack:
        if gc.isenabled():  # there are no cycles to find in millions of entries, only time to lose
            gc.disable()
            stack.callback(gc.enable)
        system, processes = source.entries()
        if dry_run and not os.path.lexists(database):
            database = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), "dry-run.db")
        stack.enter_context(explained(database))
        connection = stack.enter_context(current_engine(database, write=True).connect())
        transaction = connection.begin()
        importer = _Importer(connection, source.path, host, zone)
        imported = Imported(
            len(system),
            len(processes),
            importer.add_system(system),
            importer.add_processes(processes, progress),
        )
        if dry_run:
            transaction.rollback()
        else:
            transaction.commit()
        return imported


class _Sample:
    """A sample of the host's imported data, in the database already or (without an id) about to be."""

    __slots__ = ("has_system", "id", "taken_at", "taken_at_local")

    def __init__(self, taken_at_local: datetime, taken_at: datetime) -> None:
        self.taken_at_local = taken_at_local
        self.taken_at = taken_at
        self.id: int | None = None
        self.has_system = False


class _Importer:
    """One transaction's view of the host's imported data: what is there already, by the local time it carries."""

    def __init__(self, connection: Connection, path: str, host: str, zone: tzinfo | None) -> None:
        self._path = path
        self._connection = connection
        self._zone = zone
        columns_of_row: dict[str, Any] = {name: bindparam(name) for name in ROW_COLUMNS}
        statement = insert(ProcessSample).prefix_with("OR IGNORE").values(columns_of_row)
        self._insert_row = str(statement.compile(connection.engine))
        host_id = self._found_or_new(Host, name=host)
        self._boot_id = self._found_or_new(Boot, host_id=host_id, key=None)
        # More than one for a local time only in the hour that the end of daylight saving time doubles.
        self._samples: dict[datetime, list[_Sample]] = {}
        self._instants: set[datetime] = set()
        columns = (SystemSample.taken_at_local, SystemSample.taken_at, SystemSample.id, SystemSample.mem_total_bytes)
        for local, taken_at, sample_id, mem_total in connection.execute(
            select(*columns).where(SystemSample.boot_id == self._boot_id).order_by(SystemSample.taken_at)
        ):
            sample = _Sample(local, taken_at)
            sample.id, sample.has_system = sample_id, mem_total is not None
            self._samples.setdefault(local, []).append(sample)
            self._instants.add(taken_at)

    def add_system(self, entries: list[SystemEntry]) -> int:
        """Insert the entries that are new, and return how many that were."""
        seen: set[_Sample] = set()
        created: list[tuple[_Sample, dict[str, Any]]] = []
        filled: list[tuple[_Sample, dict[str, Any]]] = []
        for index, (sample, entry) in enumerate(zip(self._samples_of(entries, "system"), entries, strict=True), 1):
            if sample in seen:
                raise PerftrackError(f"{self._path}, system entry {index}: there are two of {entry.taken_at_local}")
            seen.add(sample)
            if not sample.has_system:
                sample.has_system = True
                values = entry._asdict() | {"taken_at_local": sample.taken_at_local, "taken_at": sample.taken_at}
                (created if sample.id is None else filled).append((sample, values))
        self._insert_samples(created)
        for sample, values in filled:  # its process rows came first, from process_log.csv
            self._connection.execute(update(SystemSample).where(SystemSample.id == sample.id).values(values))
        return len(created) + len(filled)

    def add_processes(self, entries: list[ProcessEntry], progress: Callable[[int, int], None]) -> int:
        """Insert the entries that are new, with instants for those that have none, and return how many."""
        samples = list(self._samples_of(entries, "process"))
        self._insert_samples([(sample, {}) for sample in dict.fromkeys(samples) if sample.id is None])
        rows = self._process_rows(entries, samples)
        before = self._total_changes()
        for start in range(0, len(rows), ROWS_AT_ONCE):
            progress(start, len(rows))
            self._connection.exec_driver_sql(self._insert_row, rows[start : start + ROWS_AT_ONCE])
        new = self._total_changes() - before
        if new < len(rows):
            self._refuse_repeated(entries, rows)
        return new

    def _refuse_repeated(self, entries: list[ProcessEntry], rows: list[tuple[Any, ...]]) -> None:
        """Raise PerftrackError where two rows of the file are one to the database; else it had them before."""
        keys = set()
        for index, row in enumerate(rows, 1):
            keys.add(row[:3])
            if len(keys) < index:
                raise PerftrackError(f"{self._path}, process entry {index}: there are two of {entries[index - 1]}")

    def _samples_of(self, entries: Sequence[SystemEntry | ProcessEntry], kind: str) -> Iterator[_Sample]:
        """Yield the sample that each entry belongs to, a new one where its time is not in the database.

        Which of the two a time is in the hour that the end of daylight saving time doubles is told by the order of
        the entries, and by the datetime's fold where Python noted it (3.6 and later, pickle protocol 4 and later).
        """
        runs = Counter(local for local, _ in groupby(entry.taken_at_local for entry in entries))
        last: _Sample | None = None
        for index, entry in enumerate(entries, 1):
            local = entry.taken_at_local
            if last is None or local != last.taken_at_local:
                after = None if last is None else last.taken_at
                where = f"{self._path}, {kind} entry {index}"
                last = self._sample_at(local, after, where, once=runs[local] == 1)
            yield last

    def _sample_at(self, local: datetime, after: datetime | None, where: str, *, once: bool) -> _Sample:
        known = self._samples.setdefault(local, [])
        taken_at = self._utc(local)
        if after is not None and taken_at <= after:
            taken_at = max(taken_at, self._utc(local.replace(fold=1)))
        for sample in known:
            if sample.taken_at == taken_at:
                return sample
        if once and len(known) == 1:  # taken for the other hour, or imported as another zone's
            sample = known[0]
            of_this_zone = sample.taken_at in {self._utc(local.replace(fold=fold)) for fold in (0, 1)}
            if of_this_zone and not sample.has_system:  # from process_log.csv, whose gaps can hide which hour it was
                sample.taken_at = taken_at
            return sample
        if taken_at in self._instants:
            raise PerftrackError(f"{where}: {local} is the same instant as another entry's; is --timezone right?")
        self._instants.add(taken_at)
        known.append(_Sample(local.replace(fold=0), taken_at))
        return known[-1]

    def _utc(self, local: datetime) -> datetime:
        """Return a local time as the database keeps instants: UTC, without saying so."""
        return to_utc(local, self._zone).replace(tzinfo=None)

    def _insert_samples(self, created: list[tuple[_Sample, dict[str, Any]]]) -> None:
        rows = []
        for sample_id, (sample, values) in enumerate(created, self._next_id(SystemSample)):
            sample.id = sample_id
            when = {"taken_at": sample.taken_at, "taken_at_local": sample.taken_at_local}
            rows.append(values | when | {"id": sample_id, "boot_id": self._boot_id})
        if rows:
            self._connection.execute(insert(SystemSample), rows)

    def _process_rows(self, entries: list[ProcessEntry], samples: list[_Sample]) -> list[tuple[Any, ...]]:
        """Return a row of ROW_COLUMNS for each entry, after inserting the processes and filters that it names."""
        of_boot = select(Process.pid, Process.name, Process.id).where(Process.boot_id == self._boot_id)
        process_ids = {(pid, name): process_id for pid, name, process_id in self._connection.execute(of_boot)}
        next_id = self._next_id(Process)
        created: list[dict[str, Any]] = []
        for entry in entries:
            if (entry.pid, entry.name) not in process_ids:
                process_ids[entry.pid, entry.name] = next_id + len(created)
                created.append(
                    {
                        "id": next_id + len(created),
                        "boot_id": self._boot_id,
                        "pid": entry.pid,
                        "name": entry.name,
                    }
                )
        if created:
            self._connection.execute(insert(Process), created)

        filter_ids: dict[tuple[str, int], int] = {}
        rows = []
        last: tuple[_Sample, int] | None = None
        rank = 0
        for sample, (_, text, name, pid, cpu_percent, rss_bytes, vms_bytes) in zip(samples, entries, strict=True):
            process_id = process_ids[pid, name]
            # The original wrote the rows of a process one after the other, one for each filter that matched.
            rank = rank + 1 if last == (sample, process_id) else 0
            last = (sample, process_id)
            filter_id = filter_ids.get((text, rank))
            if filter_id is None:
                filter_id = filter_ids[text, rank] = self._found_or_new(NameFilter, text=text, rank=rank)
            rows.append((sample.id, process_id, filter_id, cpu_percent, rss_bytes, vms_bytes))
        return rows

    def _found_or_new(self, model: type[Host | Boot | NameFilter], **values: Any) -> int:
        key = model.id
        conditions = [getattr(model, name).is_not_distinct_from(value) for name, value in values.items()]
        found = self._connection.execute(select(key).where(*conditions)).scalar()
        if found is None:
            found = self._connection.execute(insert(model).values(values).returning(key)).scalar_one()
        return found

    def _next_id(self, model: type[SystemSample | Process]) -> int:
        return self._connection.execute(select(func.coalesce(func.max(model.id), 0) + 1)).scalar_one()

    def _total_changes(self) -> int:
        return int(self._connection.exec_driver_sql("SELECT total_changes()").scalar_one())
