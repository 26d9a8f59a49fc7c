"""A file's entries, checked and packed into columns: what the process that reads the file does in the end.

They are sent as they are checked, so that the others import the first while the last are still being looked at.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import count, groupby, islice
from typing import Any, NamedTuple

from perftrack.legacy.columns import (
    END,
    LENGTH,
    MOMENTS,
    NUMBER_ARRAYS,
    PROCESSES,
    SYSTEM,
    SYSTEM_ARRAYS,
    counted,
)
from perftrack.legacy.entries import process_entries, system_entries
from perftrack.legacy.plain import Columns, plain_processes, plain_system, plain_times

_ENTRIES_AT_ONCE = 5000  # a CPU keeps about as many near while it goes through their columns


class Unchecked(NamedTuple):
    """A file's entries as they are in it, and what to call the place of the entry of an index."""

    system: Sequence[object]
    processes: Sequence[object]
    system_place: Callable[[int], str]
    process_place: Callable[[int], str]


def packed(entries: Unchecked) -> Iterator[list[bytes]]:
    """Check *entries* and yield, piece by piece, what `answer.Answer` reads.

    Raises: PerftrackError, which names the first entry that the original cannot have written.
    """
    # Where something is not plain, it may still be right: text of Python 2, a whole number of percent.
    times, *numbers = plain_system(entries.system) or _columns(
        system_entries(entries.system, entries.system_place), len(SYSTEM_ARRAYS)
    )
    yield piece(SYSTEM, array("q", map(counted, times)), *map(array, SYSTEM_ARRAYS[1:], numbers))
    times, parts = _processes(entries.processes, entries.process_place)
    runs = [(counted(time), len(list(run))) for time, run in groupby(times)]
    yield piece(MOMENTS, array("q", [time for time, _ in runs]), array("Q", [length for _, length in runs]))
    place_of: dict[tuple[str, str, int], int] = defaultdict(count().__next__)
    for filters, names, pids, *numbers in parts:
        known = len(place_of)
        places = array("Q", map(place_of.__getitem__, zip(filters, names, pids, strict=True)))
        new = list(islice(place_of, known, None))
        yield piece(
            PROCESSES,
            places,
            array("q", [pid for _, _, pid in new]),
            "\0".join(text for text, _, _ in new).encode(),  # there is no NUL in checked text
            "\0".join(name for _, name, _ in new).encode(),
            *map(array, NUMBER_ARRAYS, numbers),
        )
    yield piece(END)


def _processes(raws: Sequence[object], place: Callable[[int], str]) -> tuple[Sequence[datetime], Iterator[Columns]]:
    """Return the times of all process entries, and the other columns some entries at a time."""
    starts = range(0, len(raws), _ENTRIES_AT_ONCE)
    times = plain_times(raws)
    if times is not None:
        return times, (
            _checked(raws[start : start + _ENTRIES_AT_ONCE], partial(_later, place, start)) for start in starts
        )
    entries = process_entries(raws, place)
    parts = (_columns(entries[start : start + _ENTRIES_AT_ONCE])[1:] for start in starts)
    return [entry.taken_at_local for entry in entries], parts


def _later(place: Callable[[int], str], start: int, index: int) -> str:
    return place(start + index)


def _checked(raws: Sequence[object], place: Callable[[int], str]) -> Columns:
    return plain_processes(raws) or _columns(process_entries(raws, place))[1:]


def _columns(rows: Iterable[Sequence[Any]], width: int = 0) -> Columns:
    return list(zip(*rows, strict=True)) or [()] * width


def piece(letter: bytes, *parts: array[Any] | bytes) -> list[bytes]:
    pieces = [letter]
    for part in parts:
        raw = part if isinstance(part, bytes) else part.tobytes()
        pieces += [LENGTH.pack(len(raw)), raw]
    return pieces
