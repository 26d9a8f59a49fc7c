"""The original's data.pik, read without executing anything that is in it."""

from __future__ import annotations

import io
import pickle
from datetime import datetime
from mmap import mmap
from typing import Any

from perftrack.errors import PerftrackError
from perftrack.legacy.packing import Unchecked


def read_pickle(content: bytes | mmap, name: str) -> Unchecked:
    """Return the entries of the original's pickle, of any protocol. Raises: PerftrackError."""
    data = unpickle(content, name)
    if isinstance(data, dict):  # Python 2 wrote the keys as bytes
        data = {key.decode("ascii", "replace") if isinstance(key, bytes) else key: data[key] for key in data}
    if (
        not isinstance(data, dict)
        or data.keys() != {"system", "processes"}
        or not all(isinstance(entries, list) for entries in data.values())
    ):
        raise PerftrackError(f"{name}: not the original's data: it should hold the lists 'system' and 'processes'")
    return Unchecked(
        data["system"],
        data["processes"],
        lambda index: f"{name}, system entry {index + 1}",
        lambda index: f"{name}, process entry {index + 1}",
    )


def unpickle(content: bytes | mmap, name: str) -> Any:
    """Return the object in *content*, made of nothing but plain data and naive datetimes.

    Raises: PerftrackError for anything else, a damaged or a truncated file, or data behind the end.
    """
    file = content if isinstance(content, mmap) else io.BytesIO(content)
    try:
        data = _Unpickler(file, encoding="bytes").load()
    except _ForbiddenError as error:
        raise PerftrackError(f"{name}: refused, it refers to {error}, which the original's data never does") from None
    except MemoryError:
        raise PerftrackError(
            f"{name}: refused, it takes more memory than the original's data of its size does"
        ) from None
    except Exception as error:  # noqa: BLE001 - a hostile pickle can raise anything, and has done nothing else
        raise PerftrackError(f"{name}: not a readable pickle ({type(error).__name__}: {error})") from None
    if file.read(1):
        raise PerftrackError(f"{name}: not the original's data: there is something behind the end of the pickle")
    return data


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
