"""The process entries of a file as rows: which process and which filter each is of."""

from __future__ import annotations

from functools import cache
from itertools import chain, repeat
from operator import eq

from sqlalchemy import Connection, select

from perftrack.errors import PerftrackError
from perftrack.legacy.columns import ProcessColumns
from perftrack.legacy.rows import found_or_new, insert_rows, next_id
from perftrack.storage.models import NameFilter, Process, ProcessSample


class Processes:
    """The process entries of one file, added part by part inside a transaction."""

    def __init__(self, connection: Connection, boot_id: int, path: str) -> None:
        self._connection = connection
        self._boot_id = boot_id
        self._path = path
        of_boot = select(Process.pid, Process.name, Process.id).where(Process.boot_id == boot_id)
        self._known = {(pid, name): process_id for pid, name, process_id in connection.execute(of_boot)}
        self._filter_id = cache(lambda text, rank: found_or_new(connection, NameFilter, text=text, rank=rank))
        # By place, as columns.py has it.
        self._process_of: list[int] = []
        self._text_of: list[str] = []
        # Of all entries so far: what makes a row one of its own.
        self._keys: tuple[list[int], list[int], list[int]] = ([], [], [])
        self._rank = 0

    @property
    def count(self) -> int:
        """How many entries were added, new or not."""
        return len(self._keys[0])

    def add(self, part: ProcessColumns, sample_ids: list[int]) -> int:
        """Insert the entries of *part*, each of which belongs to one of *sample_ids*; return how many were new."""
        self._add_processes(part)
        process_ids = list(map(self._process_of.__getitem__, part.places))
        keys = (sample_ids, process_ids, self._filter_ids(part, sample_ids, process_ids))
        for whole, column in zip(self._keys, keys, strict=True):
            whole.extend(column)
        columns = dict(zip(("sample_id", "process_id", "filter_id"), keys, strict=True))
        columns |= {name: getattr(part, name) for name in ("cpu_percent", "rss_bytes", "vms_bytes")}
        return insert_rows(self._connection, ProcessSample, columns, len(sample_ids), ignore_known=True)

    def refuse_repeated(self) -> None:
        """Raise PerftrackError where two entries are one to the database; else it had some before."""
        seen: set[tuple[int, ...]] = set()
        for index, key in enumerate(zip(*self._keys, strict=True), 1):
            seen.add(key)
            if len(seen) < index:
                pid, name = next(whose for whose, process_id in self._known.items() if process_id == key[1])
                raise PerftrackError(
                    f"{self._path}, process entry {index}: there are two of process {pid}, {name!r}, at that moment"
                )

    def _add_processes(self, part: ProcessColumns) -> None:
        whose = list(zip(part.pids, part.names, strict=True))
        created = [key for key in dict.fromkeys(whose) if key not in self._known]
        if created:
            first = next_id(self._connection, Process)
            ids = range(first, first + len(created))
            self._known.update(zip(created, ids, strict=True))
            pids, names = zip(*created, strict=True)
            columns = {"id": ids, "boot_id": repeat(self._boot_id, len(ids)), "pid": pids, "name": names}
            insert_rows(self._connection, Process, columns, len(ids))
        self._process_of += map(self._known.__getitem__, whose)
        self._text_of += part.filters

    def _filter_ids(self, part: ProcessColumns, sample_ids: list[int], process_ids: list[int]) -> list[int]:
        """Return the filter of each entry. The original wrote a row for each that matched, one after the other."""
        last = (self._keys[0][-1], self._keys[1][-1]) if self.count else (0, 0)
        if not any(map(eq, chain([last[1]], process_ids), process_ids)):
            self._rank = 0
            first = [self._filter_id(text, 0) for text in self._text_of]
            return list(map(first.__getitem__, part.places))
        filter_ids = []
        for place, key in zip(part.places, zip(sample_ids, process_ids, strict=True), strict=True):
            self._rank = self._rank + 1 if key == last else 0
            last = key
            filter_ids.append(self._filter_id(self._text_of[place], self._rank))
        return filter_ids
