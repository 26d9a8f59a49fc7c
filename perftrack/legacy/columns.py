"""Checked entries as bytes, column by column: from the process that reads a file to the one that imports it.

Nothing but numbers and text, in arrays: reading them executes nothing, whoever wrote them.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, groupby, repeat
from operator import eq, itemgetter, truediv
from typing import Any, NamedTuple

from perftrack.legacy.entries import (
    PID_MAX,
    ProcessEntry,
    SystemEntry,
    is_local_time,
    process_entries,
    system_entries,
)
from perftrack.text import readable

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as naive as the times that are counted from it
_MICROSECOND = timedelta(microseconds=1)
_LENGTH = struct.Struct("=Q")
_ARRAYS = {int: "q", float: "d"}
# The original's keys in the order of our entries, and what it writes as their values.
_SYSTEM = {"datetime": datetime, "cpu_usage": float, "mem_available": int, "mem_total": int, "mem_used": int}
_PROCESS = dict(
    zip(
        ("datetime", "filter", "name", "pid", "cpu_usage", "rss_memory", "vms_memory"),
        (datetime, str, str, int, float, int, int),
        strict=True,
    )
)
_SYSTEM_ARRAYS, _PROCESS_ARRAYS = "dqqq", "dqq"

Columns = list[Sequence[Any]]


class Unchecked(NamedTuple):
    """A file's entries as they are in it, and what to call the place of the entry of an index."""

    system: Sequence[object]
    processes: Sequence[object]
    system_place: Callable[[int], str]
    process_place: Callable[[int], str]


def packed(entries: Unchecked) -> Iterator[bytes]:
    """Check *entries* and yield the parts of what `unpacked` reads.

    Raises: PerftrackError, which names the first entry that the original cannot have written.
    """
    # Where something is not plain, it may still be right: text of Python 2, a whole number of percent.
    system = _plain_system(entries.system) or _columns(
        system_entries(entries.system, entries.system_place), len(_SYSTEM)
    )
    processes = _plain_processes(entries.processes) or _columns(
        process_entries(entries.processes, entries.process_place), len(_PROCESS)
    )
    yield from _packed_system(system)
    yield from _packed_processes(processes)


def _plain_system(raws: Sequence[object]) -> Columns | None:
    """Return system entries' columns where all is plainly right; else None."""
    columns = _plain(raws, {**_SYSTEM, "mem_percent_used": float})
    if columns is None:
        return None
    *columns, total, used, fraction = columns
    exactly = 0 not in total and all(map(eq, fraction, map(truediv, used, total)))
    return [*columns, total, used] if exactly else None


def _plain_processes(raws: Sequence[object]) -> Columns | None:
    """Return process entries' columns where all is plainly right; else None."""
    columns = _plain(raws, _PROCESS)
    if columns is None or max(columns[3]) > PID_MAX:
        return None
    for position in (1, 2):
        shown = {text: readable(text) for text in set(columns[position])}
        columns[position] = list(map(shown.__getitem__, columns[position]))
    return columns


def _plain(raws: Sequence[Any], kinds: dict[str, type]) -> Columns | None:
    """Return the values of *kinds*, by key, or None where it takes a closer look: a column at a time is fast."""
    if set(map(type, raws)) != {dict} or set(map(len, raws)) != {len(kinds)}:
        return None
    try:
        columns: Columns = [list(map(itemgetter(key), raws)) for key in kinds]
        if any(set(map(type, column)) != {kind} for column, kind in zip(columns, kinds.values(), strict=True)):
            return None
        for position, kind in enumerate(kinds.values()):
            if kind in _ARRAYS:
                columns[position] = array(_ARRAYS[kind], columns[position])
                if not (min(columns[position]) >= 0 and (kind is int or all(map(math.isfinite, columns[position])))):
                    return None
    except (KeyError, OverflowError):
        return None
    return columns if all(is_local_time(time) for time, _ in groupby(columns[0])) else None


def _columns(rows: Iterable[Sequence[Any]], count: int) -> Columns:
    return list(zip(*rows, strict=True)) or [()] * count


def _packed_system(columns: Columns) -> Iterator[bytes]:
    times, *numbers = columns
    yield from _part(array("q", map(_counted, times)))
    for kind, column in zip(_SYSTEM_ARRAYS, numbers, strict=True):
        yield from _part(array(kind, column))


def _packed_processes(columns: Columns) -> Iterator[bytes]:
    """Yield the parts of the processes: the entries of a moment share its time, those of a process its name."""
    times, filters, names, pids, *numbers = columns
    moments = [(_counted(moment), len(list(entries))) for moment, entries in groupby(times)]
    yield from _part(array("q", [moment for moment, _ in moments]))
    yield from _part(array("Q", [count for _, count in moments]))
    places: dict[tuple[str, str, int], int] = {}
    whose = zip(filters, names, pids, strict=True)
    yield from _part(array("Q", [places.setdefault(key, len(places)) for key in whose]))
    yield from _part(array("q", [pid for _, _, pid in places]))
    for texts in ([text for text, _, _ in places], [name for _, name, _ in places]):
        yield from _part("\0".join(texts).encode())  # there is no NUL in checked text
    for kind, column in zip(_PROCESS_ARRAYS, numbers, strict=True):
        yield from _part(array(kind, column))


def unpacked(content: bytes) -> tuple[list[SystemEntry], list[ProcessEntry]]:
    """Return the entries that were packed. Raises: ValueError, IndexError, OverflowError, struct.error otherwise."""
    parts = _parts(content)
    when, *numbers = [_array(kind, next(parts)) for kind in ("q", *_SYSTEM_ARRAYS)]
    system = [SystemEntry(*values) for values in zip(map(_moment, when), *numbers, strict=True)]

    moments, counts = list(map(_moment, _array("q", next(parts)))), _array("Q", next(parts))
    places = _array("Q", next(parts))
    if sum(counts) != len(places):
        raise ValueError("not as many times as entries")
    pids = _array("q", next(parts))
    columns: list[Iterable[Any]] = [chain.from_iterable(map(repeat, moments, counts))]
    filters, names = _texts(next(parts), len(pids)), _texts(next(parts), len(pids))
    columns += [map(of_place.__getitem__, places) for of_place in (filters, names, pids)]
    columns += [_array(kind, next(parts)) for kind in _PROCESS_ARRAYS]
    make: Callable[[tuple[Any, ...]], ProcessEntry] = partial(tuple.__new__, ProcessEntry)  # twice as fast as its own
    return system, list(map(make, zip(*columns, strict=True)))


def _counted(moment: datetime) -> int:
    """Return a naive time as microseconds, and in the last bit which of an hour that the clock shows twice."""
    return (moment - _EPOCH) // _MICROSECOND * 2 + moment.fold


def _moment(counted: int) -> datetime:
    moment = _EPOCH + timedelta(0, 0, counted >> 1)
    return moment.replace(fold=1) if counted & 1 else moment


def _part(content: array[Any] | bytes) -> Iterator[bytes]:
    raw = content if isinstance(content, bytes) else content.tobytes()
    yield _LENGTH.pack(len(raw))
    yield raw


def _parts(content: bytes) -> Iterator[bytes]:
    start = 0
    while True:
        (length,) = _LENGTH.unpack_from(content, start)
        start += _LENGTH.size
        if length > len(content) - start:
            raise ValueError("it ends too early")
        yield content[start : start + length]
        start += length


def _array(kind: str, raw: bytes) -> array[Any]:
    column = array(kind)
    column.frombytes(raw)
    return column


def _texts(raw: bytes, count: int) -> list[str]:
    texts = raw.decode().split("\0") if count else []
    if len(texts) != count:
        raise ValueError("not as many texts as there should be")
    return texts
