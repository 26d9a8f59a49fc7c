"""The original PerformanceTrack's entries: what each value is in its pickle and in its CSV files, and can be.

The process that reads a file imports this, so it imports neither SQLAlchemy nor typer.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple

from perftrack.text import storable

# Not the original's: behind the time of an entry whose datetime.fold is 1, which str() of a datetime leaves out.
FOLD = " fold=1"
_YEARS = (1971, 9998)  # the original is younger, and every zone can convert these to UTC

# A pickle can hold lists of lists of lists whose repr() would never end.
_BRIEFLY = reprlib.Repr()
_BRIEFLY.maxlist = 20
_BRIEFLY.maxstring = _BRIEFLY.maxother = 100


class SystemEntry(NamedTuple):
    """The system at one moment, in the order of SYSTEM. CPU in percent of all CPUs."""

    cpu_percent: float
    taken_at_local: datetime
    mem_available_bytes: int
    mem_used_fraction: float
    mem_total_bytes: int
    mem_used_bytes: int


class ProcessEntry(NamedTuple):
    """A process at one moment, under one filter, in the order of PROCESS. CPU in percent of one CPU."""

    cpu_percent: float
    taken_at_local: datetime
    filter: str
    name: str
    pid: int
    rss_bytes: int
    vms_bytes: int


class Value(NamedTuple):
    """What the original writes under a key."""

    kind: type  # in the pickle
    parse: Callable[[str], Any]  # of the text in the CSV file; raises ValueError where it cannot be one
    described: str

    def refusal(self, key: str, value: object) -> ValueError:
        """Return the error that says that *value* is none for *key*."""
        return ValueError(f"{key} is {self.described}: {shown(value)}")


def _number(parse: Callable[[str], Any], below: float, text: str) -> Any:
    value = parse(text)
    if not 0 <= value < below:
        raise ValueError
    return value


@lru_cache(maxsize=16)  # the entries of a sample have the same
def _time(text: str) -> datetime:
    unmarked = text.removesuffix(FOLD)
    value = datetime.fromisoformat(unmarked)
    if value.tzinfo is not None or not _YEARS[0] <= value.year <= _YEARS[1]:
        raise ValueError
    return value.replace(fold=int(unmarked != text))


_text = lru_cache(maxsize=1024)(storable)
_float = partial(_number, float, math.inf)
_bytes, _pid = partial(_number, int, 2**63), partial(_number, int, 2**31)
_FLOAT = Value(float, _float, "no finite number of 0 or more")
_BYTES = Value(int, _bytes, "no number of bytes")
_TEXT = Value(str, _text, "no text")
_TIME = Value(datetime, _time, f"no local time of the years {_YEARS[0]} to {_YEARS[1]}")
# The values by their keys, in the order of the original's CSV columns.
SYSTEM = {
    "cpu_usage": _FLOAT,
    "datetime": _TIME,
    "mem_available": _BYTES,
    "mem_percent_used": _FLOAT,
    "mem_total": _BYTES,
    "mem_used": _BYTES,
}
PROCESS = {
    "cpu_usage": _FLOAT,
    "datetime": _TIME,
    "filter": _TEXT,
    "name": _TEXT,
    "pid": Value(int, _pid, "no process ID"),
    "rss_memory": _BYTES,
    "vms_memory": _BYTES,
}


def system_entry(fields: Sequence[str]) -> SystemEntry:
    """Return the entry that a line of system_log.csv holds. Raises: ValueError, which says what is wrong with it."""
    try:
        cpu, time, available, fraction, total, used = fields
        entry = SystemEntry(
            _float(cpu), _time(time), _bytes(available), _float(fraction), _bytes(total), _bytes(used)
        )
    except ValueError:
        raise _wrong(SYSTEM, fields) from None
    used_bytes, total_bytes = entry.mem_used_bytes, entry.mem_total_bytes
    # used/total in the original, and derived when it is exported: another value could not be given back
    if total_bytes == 0 or not math.isclose(entry.mem_used_fraction, used_bytes / total_bytes, rel_tol=1e-9):
        raise ValueError(f"mem_percent_used is not mem_used/mem_total: {fraction}")
    return entry


def process_entry(fields: Sequence[str]) -> ProcessEntry:
    """Return the entry that a line of process_log.csv holds. Raises: ValueError, which says what is wrong with it."""
    try:
        cpu, time, selected_by, name, pid, rss, vms = fields
        return ProcessEntry(
            _float(cpu), _time(time), _text(selected_by), _text(name), _pid(pid), _bytes(rss), _bytes(vms)
        )
    except ValueError:
        raise _wrong(PROCESS, fields) from None


def shown(value: object) -> str:
    """Return *value* as an error shows it: briefly, whatever it is."""
    try:
        return _BRIEFLY.repr(value)
    except ValueError:  # a number of thousands of digits
        return f"a {type(value).__name__}"


def _wrong(log: Mapping[str, Value], fields: Sequence[str]) -> ValueError:
    if len(fields) != len(log):
        return ValueError(f"{len(fields)} fields instead of {len(log)}")
    for (key, value), text in zip(log.items(), fields, strict=True):
        try:
            value.parse(text)
        except ValueError:
            return value.refusal(key, text)
    raise AssertionError("none of them is wrong")
