"""The original's system_log.csv and process_log.csv."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from datetime import datetime
from mmap import mmap

from perftrack.errors import PerftrackError
from perftrack.legacy.entries import PROCESS_KEYS, SYSTEM_KEYS
from perftrack.legacy.packing import Unchecked

LONGEST_LINE = 2**20  # the csv module refuses a field of an eighth of this

_VALUES: dict[str, Callable[[str], object]] = {
    "datetime": datetime.fromisoformat,
    "filter": str,
    "name": str,
    "cpu_usage": float,
    "mem_percent_used": float,
    "mem_available": int,
    "mem_total": int,
    "mem_used": int,
    "pid": int,
    "rss_memory": int,
    "vms_memory": int,
}


def is_csv(content: bytes | mmap) -> bool:
    """Return whether *content* begins like a CSV file with the original's columns, or some of them."""
    return content[:100].removeprefix(codecs.BOM_UTF8).startswith(f"{SYSTEM_KEYS[0]},".encode())


def read_csv(content: bytes | mmap, name: str) -> Unchecked:
    """Return the entries of one of the two files, the other list empty. Raises: PerftrackError."""
    lines = csv.reader(_lines(content, name), strict=True)
    places: list[str] = []
    entries: list[dict[str, object]] = []
    try:
        header = tuple(next(lines))
        if header not in {SYSTEM_KEYS, PROCESS_KEYS}:
            raise PerftrackError(
                f"{name}: its columns are not those of the original's system_log.csv or process_log.csv"
            )
        for fields in lines:
            where = f"{name}, line {lines.line_num}"
            if not fields:
                continue
            if len(fields) != len(header):
                raise PerftrackError(f"{where}: {len(fields)} fields instead of {len(header)}")
            places.append(where)
            entries.append({key: _value(key, text, where) for key, text in zip(header, fields, strict=True)})
    except csv.Error as error:
        raise PerftrackError(f"{name}, line {lines.line_num}: {error}") from None
    of_system, of_processes = (entries, []) if header == SYSTEM_KEYS else ([], entries)
    return Unchecked(of_system, of_processes, places.__getitem__, places.__getitem__)


def _lines(content: bytes | mmap, name: str) -> Iterator[str]:
    with io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", "surrogateescape", newline="") as text:
        for number, line in enumerate(iter(lambda: text.readline(LONGEST_LINE), ""), 1):
            if len(line) == LONGEST_LINE:
                raise PerftrackError(f"{name}, line {number}: longer than any line of the original's")
            yield line


def _value(key: str, text: str, where: str) -> object:
    try:
        return _VALUES[key](text)
    except ValueError:
        raise PerftrackError(f"{where}: {key} cannot be {text[:100]!r}") from None
