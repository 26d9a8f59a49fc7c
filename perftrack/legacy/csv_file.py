"""The original's system_log.csv and process_log.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import datetime

from perftrack.errors import PerftrackError
from perftrack.legacy.entries import (
    PROCESS_KEYS,
    SYSTEM_KEYS,
    ProcessEntry,
    SystemEntry,
    process_entries,
    system_entries,
)

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


def is_csv(content: bytes) -> bool:
    """Return whether *content* begins like a CSV file with the original's columns, or some of them."""
    return _text(content[:200]).startswith(f"{SYSTEM_KEYS[0]},")


def read_csv(content: bytes, name: str) -> tuple[list[SystemEntry], list[ProcessEntry]]:
    """Return the entries of one of the two files, the other list empty. Raises: PerftrackError."""
    lines = csv.reader(io.StringIO(_text(content), newline=""), strict=True)
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
    if header == SYSTEM_KEYS:
        return system_entries(entries, places.__getitem__), []
    return [], process_entries(entries, places.__getitem__)


def _value(key: str, text: str, where: str) -> object:
    try:
        return _VALUES[key](text)
    except ValueError:
        raise PerftrackError(f"{where}: {key} cannot be {text[:100]!r}") from None


def _text(content: bytes) -> str:
    return content.decode("utf-8-sig", "surrogateescape")
