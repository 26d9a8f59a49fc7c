"""Importing the original's files: each in one transaction, and a second time adds nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from datetime import tzinfo
from itertools import accumulate, chain, islice, repeat
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, update

from perftrack.errors import PerftrackError
from perftrack.legacy.columns import Moments, ProcessColumns, SystemColumns, moment
from perftrack.legacy.processes import Processes
from perftrack.legacy.rows import found_or_new, insert_rows, next_id, update_rows
from perftrack.legacy.samples import Sample, Samples, text_of
from perftrack.legacy.source import Source
from perftrack.storage.database import explained, open_current
from perftrack.storage.engine import engine_for
from perftrack.storage.models import Boot, Host, SystemSample
from perftrack.storage.unfinished import remove_abandoned


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
        stack.enter_context(explained(database))
        file = stack.enter_context(_file(database, dry_run=dry_run))
        system = source.system()
        # SQLite need not look up what each row refers to: its ids were read or written in this very transaction.
        engine = engine_for(file, write=True, foreign_keys=False)
        connection = stack.enter_context(engine.connect())
        transaction = connection.begin()
        importer = _Importer(connection, source.path, host, zone)
        new_system = importer.add_system(system)
        moments = source.moments()
        new_processes = importer.add_processes(moments, source.processes(moments), progress)
        if dry_run:
            transaction.rollback()
        else:
            transaction.commit()
        return Imported(len(system.times), sum(moments.counts), new_system, new_processes)


@contextmanager
def _file(database: str, *, dry_run: bool) -> Generator[str]:
    """Yield the file to write to. A new database gets its name when it has its rows: a refused file leaves none."""
    if os.path.lexists(database):
        remove_abandoned(database)
        open_current(database).close()
        yield database
        return
    from perftrack.storage.schema import filled_first

    with ExitStack() as stack:
        if dry_run:
            database = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), "dry-run.db")
        yield stack.enter_context(filled_first(database))


class _Importer:
    """One transaction's additions to the host's imported data."""

    def __init__(self, connection: Connection, path: str, host: str, zone: tzinfo | None) -> None:
        self._path = path
        self._connection = connection
        host_id = found_or_new(connection, Host, name=host)
        self._boot_id = found_or_new(connection, Boot, host_id=host_id, key=None)
        self._samples = Samples(connection, self._boot_id, zone)

    def add_system(self, entries: SystemColumns) -> int:
        """Insert the entries that are new, and return how many that were."""
        seen: set[Sample] = set()
        created: list[tuple[int, Sample]] = []
        filled: list[tuple[int, Sample]] = []
        for index, sample in enumerate(self._samples.of(entries.times, self._system_place)):
            if sample in seen:
                raise PerftrackError(f"{self._system_place(index)}: there are two of {moment(entries.times[index])}")
            seen.add(sample)
            if not sample.has_system:
                sample.has_system = True
                (filled if sample.id else created).append((index, sample))
        self._insert_samples([sample for _, sample in created], _of_system(entries, created))
        if filled:  # their process rows came first, from process_log.csv
            samples = [sample for _, sample in filled]
            columns = _when(samples) | _of_system(entries, filled)
            statement = update(SystemSample).where(SystemSample.id == bindparam("sample_id"))
            update_rows(
                self._connection,
                statement.values({name: bindparam(name) for name in columns}),
                columns | {"sample_id": [sample.id for sample in samples]},
            )
        return len(created) + len(filled)

    def add_processes(
        self, moments: Moments, parts: Iterable[ProcessColumns], progress: Callable[[int, int], None]
    ) -> int:
        """Insert the entries that are new, with instants for those that have none, and return how many."""
        starts = [0, *accumulate(moments.counts)]
        samples = list(
            self._samples.of(moments.times, lambda index: f"{self._path}, process entry {starts[index] + 1}")
        )
        self._insert_samples([sample for sample in dict.fromkeys(samples) if not sample.id], {})
        sample_ids = chain.from_iterable(map(repeat, [sample.id for sample in samples], moments.counts))
        processes = Processes(self._connection, self._boot_id, self._path)
        new = 0
        for part in parts:
            progress(processes.count, starts[-1])
            new += processes.add(part, list(islice(sample_ids, len(part.places))))
        if new < starts[-1]:
            processes.refuse_repeated()
        return new

    def _system_place(self, index: int) -> str:
        return f"{self._path}, system entry {index + 1}"

    def _insert_samples(self, samples: list[Sample], values: dict[str, Iterable[Any]]) -> None:
        for sample_id, sample in enumerate(samples, next_id(self._connection, SystemSample)):
            sample.id = sample_id
        ids = {"id": [sample.id for sample in samples], "boot_id": repeat(self._boot_id, len(samples))}
        insert_rows(self._connection, SystemSample, {**ids, **_when(samples), **values}, len(samples))


def _when(samples: list[Sample]) -> dict[str, Iterable[str]]:
    return {
        "taken_at": text_of([sample.taken_at for sample in samples]),
        "taken_at_local": text_of([sample.taken_at_local for sample in samples]),
    }


def _of_system(entries: SystemColumns, chosen: list[tuple[int, Sample]]) -> dict[str, Iterable[Any]]:
    """Return the values of the entries of those indices."""
    columns = entries._asdict()
    del columns["times"]
    return {name: map(column.__getitem__, [index for index, _ in chosen]) for name, column in columns.items()}
