"""Checked entries as columns of bytes: what the process that reads a file tells the one that imports it.

Nothing but numbers and text, in arrays: reading them executes nothing, whoever wrote them. An answer is SYSTEM,
MOMENTS, any number of PROCESSES, END; where it is refused, REFUSED and why comes next instead. Behind each of these
letters are its parts, every one behind its length.
"""

from __future__ import annotations

import struct
from array import array
from datetime import datetime, timedelta
from typing import NamedTuple

SYSTEM, MOMENTS, PROCESSES, END, REFUSED = b"S", b"M", b"P", b"E", b"R"
LENGTH = struct.Struct("=Q")

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as naive as the times that are counted from it
_MICROSECOND = timedelta(microseconds=1)


class SystemColumns(NamedTuple):
    """System entries. A time is `counted`; the other columns are those of SystemEntry."""

    times: array[int]
    cpu_percent: array[float]
    mem_available_bytes: array[int]
    mem_total_bytes: array[int]
    mem_used_bytes: array[int]


class Moments(NamedTuple):
    """The times (`counted`) of all process entries, and how many entries in a row have each."""

    times: array[int]
    counts: array[int]


class ProcessColumns(NamedTuple):
    """Some process entries, in the order of the file.

    *places*: of each entry, where its process and filter are in what *pids*, *filters* and *names* of these and all
    earlier ones make together. The other columns are those of ProcessEntry.
    """

    places: array[int]
    pids: array[int]
    filters: list[str]
    names: list[str]
    cpu_percent: array[float]
    rss_bytes: array[int]
    vms_bytes: array[int]


# The types of what arrives as arrays.
SYSTEM_ARRAYS, MOMENTS_ARRAYS, NUMBER_ARRAYS = "qdqqq", "qQ", "dqq"
PROCESS_BYTES = 8 * (1 + len(NUMBER_ARRAYS))  # of an entry, at least


def counted(time: datetime) -> int:
    """Return a naive time as microseconds, and in the last bit which of an hour that the clock shows twice."""
    return (time - EPOCH) // _MICROSECOND * 2 + time.fold


def moment(number: int) -> datetime:
    """Return the time that was counted."""
    time = EPOCH + timedelta(0, 0, number >> 1)
    return time.replace(fold=1) if number & 1 else time
