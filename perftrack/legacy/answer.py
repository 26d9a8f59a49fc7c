"""What the process that reads a file answers, taken apart and trusted in nothing.

Imports neither SQLAlchemy nor typer, as source.py.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from perftrack.legacy.columns import (
    END,
    LENGTH,
    MOMENTS,
    MOMENTS_ARRAYS,
    NUMBER_ARRAYS,
    PROCESSES,
    REFUSED,
    SYSTEM,
    SYSTEM_ARRAYS,
    Moments,
    ProcessColumns,
    SystemColumns,
    counted,
)
from perftrack.legacy.entries import YEARS

_FIRST, _LAST = (counted(datetime(YEARS[0], 1, 1)), counted(datetime(YEARS[1] + 1, 1, 1)) - 1)  # noqa: DTZ001


class RefusedError(Exception):
    """The file is refused: why, behind its name."""


class Answer:
    """The entries, to be asked for in this order: system, moments, processes.

    Each raises RefusedError, and ValueError or OverflowError for what no perftrack answers.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """*read*: returns so many bytes, or fewer only at the end."""
        self._read = read

    def system(self) -> SystemColumns:
        """Return all system entries."""
        self._letter(SYSTEM)
        columns = SystemColumns(*map(self._array, SYSTEM_ARRAYS))
        _refuse_unequal(*columns)
        _refuse_impossible(columns.times)
        return columns

    def moments(self) -> Moments:
        """Return the times of the process entries."""
        self._letter(MOMENTS)
        columns = Moments(*map(self._array, MOMENTS_ARRAYS))
        _refuse_unequal(*columns)
        _refuse_impossible(columns.times)
        if 0 in columns.counts or sum(columns.counts) > sys.maxsize:
            raise ValueError("no such number of entries")
        return columns

    def processes(self, moments: Moments) -> Iterator[ProcessColumns]:
        """Yield the process entries, some at a time, until there are as many as *moments* tells."""
        left = sum(moments.counts)
        known = 0
        while self._letter(PROCESSES, END) == PROCESSES:
            places, pids = self._array("Q"), self._array("q")
            filters, names = self._texts(len(pids)), self._texts(len(pids))
            numbers = [self._array(kind) for kind in NUMBER_ARRAYS]
            _refuse_unequal(places, *numbers)
            left -= len(places)
            known += len(pids)
            if left < 0 or max(places) >= known:
                raise ValueError("an entry without a time or a process")
            yield ProcessColumns(places, pids, filters, names, *numbers)
        if left or self._read(1):
            raise ValueError("not as many entries as times, or more behind them")

    def _letter(self, *expected: bytes) -> bytes:
        letter = self._read(1)
        if letter == REFUSED:
            raise RefusedError(self._part().decode("utf-8", "replace"))
        if letter not in expected:
            raise ValueError("something else than what comes next")
        return letter

    def _part(self) -> bytes:
        (length,) = LENGTH.unpack(self._exactly(LENGTH.size))
        return self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        content = self._read(count)
        if len(content) < count:
            raise ValueError("it ends too early")
        return content

    def _array(self, kind: str) -> array[Any]:
        return array(kind, self._part())

    def _texts(self, count: int) -> list[str]:
        part = self._part()
        texts = part.decode().split("\0") if count else []
        if len(texts) != count:
            raise ValueError("not as many texts as there should be")
        return texts


def _refuse_unequal(*columns: array[Any]) -> None:
    if len(set(map(len, columns))) > 1:
        raise ValueError("columns of different lengths")


def _refuse_impossible(times: array[int]) -> None:
    if times and not _FIRST <= min(times) <= max(times) <= _LAST:
        raise ValueError("a time that cannot be")
