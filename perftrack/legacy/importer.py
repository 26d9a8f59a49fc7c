"""Importing the original's files: each in one transaction, and a second time adds nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Hashable, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from datetime import tzinfo
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.dialects.sqlite import insert

from perftrack.errors import PerftrackError
from perftrack.legacy.entries import ProcessEntry, SystemEntry
from perftrack.legacy.rows import Ids, insert_rows
from perftrack.legacy.samples import ImportedSample, SampleFinder
from perftrack.legacy.source import Source
from perftrack.progress import Progress, no_progress
from perftrack.storage.engine import engine_for
from perftrack.storage.models import Boot, Host, NameFilter, Process, ProcessSample, SystemSample
from perftrack.storage.opening import open_current
from perftrack.storage.sqlite_file import readable_errors

_ROWS_AT_ONCE = 20_000  # between two steps of the progress bar
_SYSTEM_COLUMNS = ("cpu_percent", "mem_total_bytes", "mem_available_bytes", "mem_used_bytes")
_PROCESS_COLUMNS = ("sample_id", "process_id", "filter_id", "cpu_percent", "rss_bytes", "vms_bytes")


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
    progress: Progress = no_progress,
) -> Imported:
    """Import one file of the original as *host*'s, and return what was new.

    *zone*: of the file's local times; None is this system's. *dry_run*: leave the database as it is.
    Raises: PerftrackError, and then nothing is imported.
    """
    system, processes = source.entries()  # all of them, before the database is created or locked
    with (
        readable_errors(database),
        _target(database, dry_run=dry_run) as file,
        # SQLite need not look up what each row refers to: its ids were read or written in this very transaction.
        engine_for(file, write=True, foreign_keys=False).connect() as connection,
        connection.begin() as transaction,
    ):
        importer = _Importer(connection, source.path, host, zone)
        new_system = importer.add_system(system)
        new_processes = importer.add_processes(processes, progress)
        if dry_run:
            transaction.rollback()
    return Imported(len(system), len(processes), new_system, new_processes)


@contextmanager
def _target(database: str, *, dry_run: bool) -> Generator[str]:
    """Yield the file to write to, with the schema of this perftrack: a dry run does not create the database."""
    with ExitStack() as stack:
        if dry_run and not os.path.lexists(database):
            database = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), "dry-run.db")
        open_current(database).close()
        yield database


class _Importer:
    """One transaction's additions to the host's imported data."""

    def __init__(self, connection: Connection, path: str, host: str, zone: tzinfo | None) -> None:
        self._connection = connection
        self._path = path
        hosts = Ids(connection, Host, ("name",))
        boots = Ids(connection, Boot, ("host_id", "key"))
        self._boot_id = boots[hosts[host,], None]
        hosts.insert_new()
        boots.insert_new()
        self._finder = SampleFinder(connection, self._boot_id, zone)

    def add_system(self, entries: list[SystemEntry]) -> int:
        """Insert the entries that are new, and return how many that were."""
        place = f"{self._path}, system entry"
        samples = self._finder.find((entry.taken_at_local for entry in entries), place)
        repeated = _repeated(samples)
        if repeated is not None:
            raise PerftrackError(f"{place} {repeated + 1}: there are two of {samples[repeated].taken_at_local}")
        new = {sample: entry for sample, entry in zip(samples, entries, strict=True) if not sample.has_system}
        self._insert_samples(new)
        return len(new)

    def add_processes(self, entries: list[ProcessEntry], progress: Progress) -> int:
        """Insert the entries that are new, with samples for those that have none, and return how many."""
        place = f"{self._path}, process entry"
        samples = self._finder.find((entry.taken_at_local for entry in entries), place)
        self._insert_samples({sample: None for sample in samples if not sample.stored})
        rows = self._process_rows(entries, samples)
        statement = insert(ProcessSample).on_conflict_do_nothing()
        new = 0
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            progress(start, len(rows))
            new += insert_rows(self._connection, statement, _PROCESS_COLUMNS, rows[start : start + _ROWS_AT_ONCE])
        repeated = _repeated(row[:3] for row in rows) if new < len(rows) else None  # or the database had some
        if repeated is not None:
            who = entries[repeated]
            raise PerftrackError(
                f"{place} {repeated + 1}: there are two of process {who.pid}, {who.name!r}, at that moment"
            )
        return new

    def _process_rows(self, entries: list[ProcessEntry], samples: list[ImportedSample]) -> list[tuple[Any, ...]]:
        """Return the rows of process_sample, after inserting what they refer to."""
        processes = Ids(self._connection, Process, ("boot_id", "pid", "name"), Process.boot_id == self._boot_id)
        filters = Ids(self._connection, NameFilter, ("text", "rank"))
        rows = []
        last, rank = None, 0
        for entry, sample in zip(entries, samples, strict=True):
            key = sample.id, processes[self._boot_id, entry.pid, entry.name]
            # The original wrote a row for each filter that matched a process, one behind the other.
            rank = rank + 1 if key == last else 0
            last = key
            rows.append((*key, filters[entry.filter, rank], entry.cpu_percent, entry.rss_bytes, entry.vms_bytes))
        processes.insert_new()
        filters.insert_new()
        return rows

    def _insert_samples(self, entries: Mapping[ImportedSample, SystemEntry | None]) -> None:
        """Insert the samples with what the system's entries tell; one that process_log.csv made is completed."""
        rows = []
        for sample, entry in entries.items():
            sample.stored, sample.has_system = True, entry is not None
            instants = [time.isoformat(" ", "microseconds") for time in (sample.taken_at, sample.taken_at_local)]
            values = [getattr(entry, name, None) for name in _SYSTEM_COLUMNS]
            rows.append((sample.id, self._boot_id, *instants, *values))
        statement = insert(SystemSample)
        written = statement.on_conflict_do_update(
            index_elements=["id"],
            set_={name: statement.excluded[name] for name in ("taken_at", *_SYSTEM_COLUMNS)},
        )
        insert_rows(
            self._connection, written, ("id", "boot_id", "taken_at", "taken_at_local", *_SYSTEM_COLUMNS), rows
        )


def _repeated(keys: Iterable[Hashable]) -> int | None:
    """Return the index of the first of *keys* that was there before."""
    seen: set[Hashable] = set()
    for index, key in enumerate(keys):
        if key in seen:
            return index
        seen.add(key)
    return None
