"""The original's system_log.csv and process_log.csv: read, each line checked, and written.

What the process that reads a file answers is such text as well, so nothing that comes from a file is believed before
it has been through `read_csv`.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterable, Sequence
from io import BufferedReader
from typing import Any

from perftrack.errors import PerftrackError
from perftrack.legacy.entries import PROCESS, SYSTEM, ProcessEntry, SystemEntry, process_entry, system_entry

_FIRST_KEY = next(iter(SYSTEM))  # and of PROCESS


def is_csv(file: BufferedReader) -> bool:
    """Return whether *file* begins like one of the two, and go on to behind its byte order mark if it has one."""
    beginning = file.peek()
    mark = codecs.BOM_UTF8 if beginning.startswith(codecs.BOM_UTF8) else b""
    found = beginning.startswith(mark + _FIRST_KEY.encode() + b",")
    if found:
        file.read(len(mark))
    return found


def read_csv(lines: Iterable[str], path: str, *, numbered: bool) -> tuple[list[SystemEntry], list[ProcessEntry]]:
    """Return the entries of the system and of processes in *lines*: one of the two files, or one behind the other.

    *numbered*: an error names the number of the line, else that of the entry. Raises: PerftrackError, which names the
    first line or entry that the original cannot have written.
    """
    system: list[SystemEntry] = []
    processes: list[ProcessEntry] = []
    logs: dict[tuple[str, ...], tuple[str, Callable[[Sequence[str]], Any], list[Any]]] = {
        tuple(SYSTEM): ("system", system_entry, system),
        tuple(PROCESS): ("process", process_entry, processes),
    }
    name, checked, of_log = logs[tuple(SYSTEM)]
    rows = csv.reader(lines, strict=True)
    try:
        for fields in rows:
            if not fields:
                continue
            if fields[0] != _FIRST_KEY:
                of_log.append(checked(fields))
            elif tuple(fields) in logs:
                name, checked, of_log = logs[tuple(fields)]
            else:
                raise ValueError("its columns are not those of the original's system_log.csv or process_log.csv")
    except (csv.Error, ValueError) as error:
        place = f"line {rows.line_num}" if numbered else f"{name} entry {len(of_log) + 1}"
        raise PerftrackError(f"{path}, {place}: {error}") from None
    return system, processes
