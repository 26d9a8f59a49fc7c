"""One entry of the original PerformanceTrack's data, checked value by value."""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn

from perftrack.errors import PerftrackError
from perftrack.text import readable

# The original's CSV headers: the keys of its entries, sorted.
SYSTEM_KEYS = ("cpu_usage", "datetime", "mem_available", "mem_percent_used", "mem_total", "mem_used")
PROCESS_KEYS = ("cpu_usage", "datetime", "filter", "name", "pid", "rss_memory", "vms_memory")

# A pickle can hold lists of lists of lists whose repr() would never end.
_BRIEFLY = reprlib.Repr()
_BRIEFLY.maxlist = 20
_BRIEFLY.maxstring = _BRIEFLY.maxother = 100
_YEARS = (1971, 9998)  # the original is younger, and every zone can convert these to UTC
_PROCESS_VALUES = itemgetter("datetime", "filter", "name", "pid", "cpu_usage", "rss_memory", "vms_memory")
_PROCESS_TYPES = (datetime, str, str, int, float, int, int)
_readable = lru_cache(10_000)(readable)
_PID_MAX = 2**31 - 1
_BYTES_MAX = 2**63 - 1
_FLOAT_MAX = sys.float_info.max


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
    return [_system_entry(raw, where(index)) for index, raw in enumerate(raws)]


def process_entries(raws: Iterable[object], where: Callable[[int], str]) -> list[ProcessEntry]:
    """Return the process entries of a file, as `system_entries` does.

    There are many times as many, so that what is plainly right is told at a glance.
    """
    entries = []
    checked: datetime | None = None
    for index, raw in enumerate(raws):
        values = _values(raw)
        if tuple(map(type, values)) == _PROCESS_TYPES and values[0] is checked:
            when, text, name, pid, cpu, rss, vms = values
            if 0 <= pid <= _PID_MAX and 0 <= cpu <= _FLOAT_MAX and 0 <= rss <= _BYTES_MAX and 0 <= vms <= _BYTES_MAX:
                entries.append(ProcessEntry(when, _readable(text), _readable(name), pid, cpu, rss, vms))
                continue
        entry = _process_entry(raw, where(index))
        checked = entry.taken_at_local  # the entries of a moment share it
        entries.append(entry)
    return entries


def _values(raw: object) -> tuple[Any, ...]:
    """Return the values of a process entry, or nothing where it has not just the keys that it should have."""
    if type(raw) is not dict or len(raw) != len(PROCESS_KEYS):
        return ()
    try:
        values: tuple[Any, ...] = _PROCESS_VALUES(raw)
    except KeyError:
        return ()
    return values


def _system_entry(raw: object, where: str) -> SystemEntry:
    entry = _mapping(raw, SYSTEM_KEYS, where)
    available, total, used = (_bytes(entry, key, where) for key in ("mem_available", "mem_total", "mem_used"))
    # used/total in the original, and so derived here; another value could not be given back
    if total == 0 or not math.isclose(_float(entry, "mem_percent_used", where), used / total, rel_tol=1e-9):
        _refuse(where, "mem_percent_used is not mem_used/mem_total", entry["mem_percent_used"])
    return SystemEntry(_datetime(entry, where), _float(entry, "cpu_usage", where), available, total, used)


def _process_entry(raw: object, where: str) -> ProcessEntry:
    entry = _mapping(raw, PROCESS_KEYS, where)
    pid = entry["pid"]
    if type(pid) is not int or not 0 <= pid <= _PID_MAX:
        _refuse(where, "pid is no process ID", pid)
    return ProcessEntry(
        _datetime(entry, where),
        _text(entry, "filter", where),
        _text(entry, "name", where),
        pid,
        _float(entry, "cpu_usage", where),
        _bytes(entry, "rss_memory", where),
        _bytes(entry, "vms_memory", where),
    )


def _mapping(raw: object, keys: tuple[str, ...], where: str) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        _refuse(where, "not a dictionary", raw)
    entry = raw
    if any(isinstance(key, bytes) for key in raw):  # Python 2 wrote them
        entry = {key.decode("ascii", "replace") if isinstance(key, bytes) else key: raw[key] for key in raw}
    if entry.keys() != set(keys):
        raise PerftrackError(f"{where}: its keys are {_shown(list(entry))} and should be {', '.join(keys)}")
    return entry


def _datetime(entry: Mapping[str, Any], where: str) -> datetime:
    value = entry["datetime"]
    if type(value) is not datetime or value.tzinfo is not None:
        _refuse(where, "datetime is no local time", value)
    try:
        value.replace(day=value.day)  # one that a pickle made of bytes may be a 32nd
    except ValueError as error:
        _refuse(where, f"datetime is no local time ({error})", value)
    if not _YEARS[0] <= value.year <= _YEARS[1]:
        _refuse(where, "datetime is out of range", value)
    return value


def _float(entry: Mapping[str, Any], key: str, where: str) -> float:
    value = entry[key]
    if type(value) not in {float, int} or not 0 <= value <= _FLOAT_MAX:
        _refuse(where, f"{key} is no finite number of 0 or more", value)
    return float(value)


def _bytes(entry: Mapping[str, Any], key: str, where: str) -> int:
    value = entry[key]
    if type(value) is not int or not 0 <= value <= _BYTES_MAX:
        _refuse(where, f"{key} is no number of bytes", value)
    return value


def _text(entry: Mapping[str, Any], key: str, where: str) -> str:
    value = entry[key]
    if type(value) not in {str, bytes}:
        _refuse(where, f"{key} is no text", value)
    return readable(value)


def _refuse(where: str, what: str, value: object) -> NoReturn:
    raise PerftrackError(f"{where}: {what}: {_shown(value)}")


def _shown(value: object) -> str:
    try:
        return _BRIEFLY.repr(value)
    except ValueError:  # a number of thousands of digits
        return f"a {type(value).__name__}"
