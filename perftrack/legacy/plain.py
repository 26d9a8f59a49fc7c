"""Checking entries a column at a time: what is plainly right needs no look at each value.

Runs in the process that reads a file, and imports no SQLAlchemy.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import eq, itemgetter, truediv
from typing import Any

from perftrack.legacy.entries import PID_MAX, are_local_times
from perftrack.text import storable

# The original's keys beside the time, in the order of our entries, and what it writes as their values.
_SYSTEM = {
    "cpu_usage": float,
    "mem_available": int,
    "mem_total": int,
    "mem_used": int,
    "mem_percent_used": float,
}
_PROCESS = {"filter": str, "name": str, "pid": int, "cpu_usage": float, "rss_memory": int, "vms_memory": int}
_ARRAYS = {int: "q", float: "d"}

Columns = list[Sequence[Any]]


def plain_system(raws: Sequence[object]) -> Columns | None:
    """Return the columns of system entries, in the order of SystemEntry, where all is plainly right; else None."""
    times = plain_times(raws)
    columns = None if times is None else _plain(raws, _SYSTEM)
    if times is None or columns is None:
        return None
    *columns, total, used, fraction = columns
    exactly = 0 not in total and all(map(eq, fraction, map(truediv, used, total)))
    return [times, *columns, total, used] if exactly else None


def plain_processes(raws: Sequence[object]) -> Columns | None:
    """Return the columns of process entries, in the order of ProcessEntry but without times, as `plain_system`."""
    columns = _plain(raws, _PROCESS)
    if columns is None or max(columns[2]) > PID_MAX:
        return None
    for position in (0, 1):
        shown = {text: storable(text) for text in set(columns[position])}
        if any(text != of_text for text, of_text in shown.items()):
            columns[position] = list(map(shown.__getitem__, columns[position]))
    return columns


def plain_times(raws: Sequence[Any]) -> list[datetime] | None:
    """Return the times of entries where all of them are plainly right; else None."""
    if set(map(type, raws)) != {dict}:
        return None
    try:
        times = list(map(itemgetter("datetime"), raws))
    except KeyError:
        return None
    if set(map(type, times)) != {datetime} or not are_local_times([time for time, _ in groupby(times)]):
        return None
    return times


def _plain(raws: Sequence[Any], kinds: dict[str, type]) -> Columns | None:
    """Return the columns of *kinds*, by key, of dictionaries that hold these, a time and nothing else."""
    if set(map(len, raws)) != {len(kinds) + 1}:
        return None
    columns: Columns = []
    for key, kind in kinds.items():
        column = _plain_column(raws, key, kind)
        if column is None:
            return None
        columns.append(column)
    return columns


def _plain_column(raws: Sequence[Any], key: str, kind: type) -> Sequence[Any] | None:
    try:
        column = list(map(itemgetter(key), raws))
        if set(map(type, column)) != {kind}:
            return None
        if kind not in _ARRAYS:
            return column
        numbers = array(_ARRAYS[kind], column)
    except (KeyError, OverflowError):
        return None
    return numbers if min(column) >= 0 and (kind is int or all(map(math.isfinite, column))) else None
