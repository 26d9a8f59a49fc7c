"""The original's data.pik: read without executing anything that is in it, and written as the original's CSV files.

Runs in the process that reads a file (child.py). It looks at types only: ranges are checked where the text is read.
"""

from __future__ import annotations

import csv
import pickle
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from io import BufferedReader, TextIOBase
from operator import itemgetter
from typing import Any

from perftrack.errors import PerftrackError
from perftrack.legacy.entries import FOLD, PROCESS, SYSTEM, Value, shown

# How a pickle of a dictionary begins: protocols 2 and later, 0, and 1.
_BEGINNINGS = (b"\x80", b"(d", b"}q")


def unpickle(file: BufferedReader) -> Any:
    """Return the object in *file*, made of nothing but plain data and naive datetimes.

    Raises: PerftrackError for anything else, a damaged or a truncated file, or data behind the end.
    """
    if not file.peek().startswith(_BEGINNINGS):  # text can ask an unpickler for gigabytes, or for a name
        raise PerftrackError(": neither a pickle nor one of the original's CSV files")
    try:
        data = _Unpickler(file, encoding="bytes").load()
    except _ForbiddenError as error:
        raise PerftrackError(f": refused, it refers to {error}, which the original's data never does") from None
    except (MemoryError, OSError):
        raise
    except Exception:  # noqa: BLE001 - a hostile pickle can raise anything, and has done nothing else
        raise PerftrackError(": a damaged or incomplete pickle") from None
    if file.read(1):
        raise PerftrackError(": not the original's data: there is something behind the end of the pickle")
    return data


def write_as_csv(data: Any, file: TextIOBase) -> None:
    """Write what a pickle of the original holds as the text of its two CSV files, one behind the other.

    Raises: PerftrackError, which names the first entry with something in it that is no value of the original's.
    """
    data = _with_text_keys(data)
    if (
        not isinstance(data, dict)
        or data.keys() != {"system", "processes"}
        or not all(isinstance(entries, list) for entries in data.values())
    ):
        raise PerftrackError(": not the original's data: it should hold the lists 'system' and 'processes'")
    for name, log, raws in (("system", SYSTEM, data["system"]), ("process", PROCESS, data["processes"])):
        _write_log(file, log, raws, f", {name} entry")


def _write_log(file: TextIOBase, log: Mapping[str, Value], raws: list[Any], place: str) -> None:
    writer = csv.writer(file)
    writer.writerow(log)
    values_of = itemgetter(*log)
    kinds = tuple(value.kind for value in log.values())
    for number, raw in enumerate(raws, 1):
        try:
            cpu, time, *others = values = values_of(raw)
            if len(raw) != len(log) or tuple(map(type, values)) != kinds:
                raise TypeError("maybe Python 2's, or a whole number of percent")
            writer.writerow((cpu, _time_text(time, time.fold), *others))
        except (KeyError, TypeError, ValueError):
            writer.writerow(_texts(log, raw, f"{place} {number}"))


def _texts(log: Mapping[str, Value], raw: Any, place: str) -> list[str]:
    """Return the values of an entry as the CSV file has them. Raises: PerftrackError, which names what is wrong."""
    if not isinstance(raw, dict):
        raise PerftrackError(f"{place}: not a dictionary: {shown(raw)}")
    entry = _with_text_keys(raw)
    if entry.keys() != log.keys():
        raise PerftrackError(f"{place}: its keys are {shown(list(entry))} and should be {', '.join(log)}")
    texts = []
    for key, value in log.items():
        try:
            texts.append(_text(value.kind, entry[key]))
        except ValueError:
            raise PerftrackError(f"{place}: {value.refusal(key, entry[key])}") from None
    return texts


def _text(kind: type[Any], value: Any) -> str:
    if kind is str and type(value) is bytes:
        value = value.decode("utf-8", "surrogateescape")
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ValueError
    text = _time_text(value, value.fold) if kind is datetime else str(value)  # no number of thousands of digits
    text.encode("utf-8", "surrogateescape")  # no surrogate but those of os.fsdecode
    return text


@lru_cache(maxsize=16)  # the entries of a sample have the same
def _time_text(time: datetime, fold: int) -> str:
    return str(time.replace()) + FOLD * fold  # replace() finds the 45th of a month, which can be made of bytes


def _with_text_keys(data: Any) -> Any:
    """Return a dictionary of Python 2, whose text is bytes, as Python 3 has it."""
    if not isinstance(data, dict) or not any(isinstance(key, bytes) for key in data):
        return data
    return {key.decode("ascii", "replace") if isinstance(key, bytes) else key: data[key] for key in data}


class _ForbiddenError(Exception):
    """The pickle names something that is not on the list."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        """Return our own constructor for one of the two names that the original's data can hold."""
        made = {("datetime", "datetime"): _NaiveDatetime(), ("_codecs", "encode"): _Latin1Encoder()}
        if (module, name) not in made:
            raise _ForbiddenError(f"{module}.{name}"[:200])
        return made[module, name]


# Instances without a dictionary, so that a pickle cannot set attributes on them.
class _NaiveDatetime:
    __slots__ = ()

    def __call__(self, state: object) -> datetime:
        """Return the datetime of the ten bytes that datetime.__reduce__ writes."""
        if type(state) is not bytes or len(state) != 10:
            raise _ForbiddenError("a datetime that is not a plain local time")
        return datetime(state)  # type: ignore[call-arg, arg-type]  # noqa: DTZ001 - a local time is what it is


class _Latin1Encoder:
    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        """Return the bytes that protocols 0 to 2 write as text, which are a datetime's ten here."""
        if type(text) is not str or encoding != "latin1" or len(text) > 10:
            raise _ForbiddenError("an encoding of something else than a datetime")
        return text.encode("latin-1")
