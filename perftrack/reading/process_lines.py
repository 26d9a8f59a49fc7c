"""The lines of the processes' CSV file, assembled a sample at a time. Standard library only.

The csv module over one joined query takes three times as long. Here SQLite joins nothing, and what is constant of a
process (filter, name, pid) is quoted by the csv module once, not once a row.
"""

from __future__ import annotations

import csv
import io
import sqlite3
from itertools import chain
from typing import Any, NamedTuple

from perftrack.reading.spreadsheet import neutralised

_PROCESSES_REMEMBERED = 10_000

# The samples of a part of the file: the id of each, and its time as the file shows it.
Samples = list[tuple[int, str]]


class Instructions(NamedTuple):
    """What to ask of SQLite, `process_values` and `process_of` of queries.py, and how to show text."""

    values: str
    process: str
    spreadsheet_safe: bool


class ProcessLines:
    """Assembles a sample's lines by a template, which holds as long as the same processes are in the samples."""

    def __init__(self, connection: sqlite3.Connection, instructions: Instructions) -> None:
        self._connection = connection
        self._instructions = instructions
        self._shown = neutralised if instructions.spreadsheet_safe else str
        self._processes: dict[int, tuple[int, int, str, str]] = {}
        self._keys: tuple[int, ...] = ()
        self._order: list[int] | None = None
        self._template = ""

    def of_samples(self, samples: Samples) -> tuple[str, int]:
        """Return the lines of *samples*, and how many there are."""
        texts = []
        rows = 0
        for sample_id, taken_at in samples:
            values = self._connection.execute(self._instructions.values, {"sample_id": sample_id}).fetchall()
            if values:
                texts.append(self._of_sample(taken_at, *zip(*values, strict=True)))
                rows += len(values)
        return "".join(texts), rows

    def _of_sample(
        self,
        taken_at: str,
        keys: tuple[int, ...],
        cpu_percent: tuple[float | None, ...],
        rss_bytes: tuple[int | None, ...],
        vms_bytes: tuple[int | None, ...],
    ) -> str:
        """Return the lines of a sample, a process each, in ascending pid and filter order."""
        if keys != self._keys:
            self._learn(keys)
        columns: list[tuple[Any, ...]] = [cpu_percent, rss_bytes, vms_bytes]
        if self._order is not None:
            columns = [tuple(map(column.__getitem__, self._order)) for column in columns]
        if None in cpu_percent or None in rss_bytes or None in vms_bytes:
            columns = [tuple("" if value is None else value for value in column) for column in columns]
        # str() of a float is its repr(), and what the csv module writes
        return self._template.replace("\0", taken_at) % tuple(chain.from_iterable(zip(*columns, strict=True)))

    def _learn(self, keys: tuple[int, ...]) -> None:
        if len(self._processes) > _PROCESSES_REMEMBERED:
            self._processes.clear()
        for key in keys:
            if key not in self._processes:
                pid, rank, text, name = self._connection.execute(self._instructions.process, {"key": key}).fetchone()
                self._processes[key] = (pid, rank, text, _quoted(self._shown(text), self._shown(name), pid))
        processes = [self._processes[key] for key in keys]
        order = sorted(range(len(keys)), key=lambda index: processes[index][:3])
        self._keys = keys
        self._order = None if order == list(range(len(keys))) else order
        # NUL, which no stored text holds, stands where each sample's time goes
        self._template = "".join(f"%s,\0,{processes[index][3]},%s,%s\r\n" for index in order)


def _quoted(*fields: object) -> str:
    """Return *fields* as the csv module writes them, as a part of a template."""
    line = io.StringIO()
    csv.writer(line).writerow(fields)
    return line.getvalue().removesuffix("\r\n").replace("%", "%%")
