"""One entry of the original PerformanceTrack's data, checked value by value."""

from __future__ import annotations

import math
import reprlib
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, NoReturn, TypeVar

from perftrack.errors import PerftrackError
from perftrack.text import storable

# The original's CSV headers: the keys of its entries, sorted.
SYSTEM_KEYS = ("cpu_usage", "datetime", "mem_available", "mem_percent_used", "mem_total", "mem_used")
PROCESS_KEYS = ("cpu_usage", "datetime", "filter", "name", "pid", "rss_memory", "vms_memory")

# A pickle can hold lists of lists of lists whose repr() would never end.
_BRIEFLY = reprlib.Repr()
_BRIEFLY.maxlist = 20
_BRIEFLY.maxstring = _BRIEFLY.maxother = 100
YEARS = (1971, 9998)  # the original is younger, and every zone can convert these to UTC
PID_MAX = 2**31 - 1
_BYTES_MAX = 2**63 - 1
_FLOAT_MAX = sys.float_info.max

_Entry = TypeVar("_Entry")


class SystemEntry(NamedTuple):
    """The system at one moment. Memory in bytes, CPU in percent of all CPUs."""

    taken_at_local: datetime
    cpu_percent: float
    mem_available_bytes: int
    mem_total_bytes: int
    mem_used_bytes: int


class ProcessEntry(NamedTuple):
    """A process at one moment, under one filter string. Memory in bytes, CPU in percent of one CPU."""

    taken_at_local: datetime
    filter: str
    name: str
    pid: int
    cpu_percent: float
    rss_bytes: int
    vms_bytes: int


def system_entries(raws: Iterable[object], where: Callable[[int], str]) -> list[SystemEntry]:
    """Return the system entries of a file; *where* tells the place of the entry of an index.

    Raises: PerftrackError, which names the first entry that the original cannot have written.
    """
    return _checked(_system_entry, raws, where)


def process_entries(raws: Iterable[object], where: Callable[[int], str]) -> list[ProcessEntry]:
    """Return the process entries of a file, as `system_entries` does."""
    return _checked(_process_entry, raws, where)


def are_local_times(values: Collection[datetime]) -> bool:
    """Return whether these are naive times that a calendar has, of the years that the original can have seen."""
    try:
        deque(map(datetime.replace, values), maxlen=0)  # one that a pickle made of bytes may be a 32nd
    except ValueError:
        return False
    return all(value.tzinfo is None and YEARS[0] <= value.year <= YEARS[1] for value in values)


def _checked(check: Callable[[object], _Entry], raws: Iterable[object], where: Callable[[int], str]) -> list[_Entry]:
    entries: list[_Entry] = []
    try:
        for raw in raws:
            entries.append(check(raw))  # noqa: PERF401 - how many there are tells which one is refused
    except PerftrackError as error:
        raise PerftrackError(f"{where(len(entries))}: {error}") from None
    return entries


def _system_entry(raw: object) -> SystemEntry:
    entry = _mapping(raw, SYSTEM_KEYS)
    available, total, used = (_bytes(entry, key) for key in ("mem_available", "mem_total", "mem_used"))
    # used/total in the original, and so derived here; another value could not be given back
    if total == 0 or not math.isclose(_float(entry, "mem_percent_used"), used / total, rel_tol=1e-9):
        _refuse("mem_percent_used is not mem_used/mem_total", entry["mem_percent_used"])
    return SystemEntry(_datetime(entry), _float(entry, "cpu_usage"), available, total, used)


def _process_entry(raw: object) -> ProcessEntry:
    entry = _mapping(raw, PROCESS_KEYS)
    pid = entry["pid"]
    if type(pid) is not int or not 0 <= pid <= PID_MAX:
        _refuse("pid is no process ID", pid)
    return ProcessEntry(
        _datetime(entry),
        _text(entry, "filter"),
        _text(entry, "name"),
        pid,
        _float(entry, "cpu_usage"),
        _bytes(entry, "rss_memory"),
        _bytes(entry, "vms_memory"),
    )


def _mapping(raw: object, keys: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        _refuse("not a dictionary", raw)
    entry = raw
    if any(isinstance(key, bytes) for key in raw):  # Python 2 wrote them
        entry = {key.decode("ascii", "replace") if isinstance(key, bytes) else key: raw[key] for key in raw}
    if entry.keys() != set(keys):
        raise PerftrackError(f"its keys are {_shown(list(entry))} and should be {', '.join(keys)}")
    return entry


def _datetime(entry: Mapping[str, Any]) -> datetime:
    value = entry["datetime"]
    if type(value) is not datetime or not are_local_times([value]):
        _refuse(f"datetime is no local time of the years {YEARS[0]} to {YEARS[1]}", value)
    return value


def _float(entry: Mapping[str, Any], key: str) -> float:
    value = entry[key]
    if type(value) not in {float, int} or not 0 <= value <= _FLOAT_MAX:
        _refuse(f"{key} is no finite number of 0 or more", value)
    return float(value)


def _bytes(entry: Mapping[str, Any], key: str) -> int:
    value = entry[key]
    if type(value) is not int or not 0 <= value <= _BYTES_MAX:
        _refuse(f"{key} is no number of bytes", value)
    return value


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry[key]
    if type(value) not in {str, bytes}:
        _refuse(f"{key} is no text", value)
    return storable(value)


def _refuse(what: str, value: object) -> NoReturn:
    raise PerftrackError(f"{what}: {_shown(value)}")


def _shown(value: object) -> str:
    try:
        return _BRIEFLY.repr(value)
    except ValueError:  # a number of thousands of digits
        return f"a {type(value).__name__}"
