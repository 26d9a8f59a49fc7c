"""The course of processes' CPU and memory by name, over any number of rows: each sample is read once, and in order.

Doing the same in SQL takes three times as long, for it sorts the rows of each sample by name. As long as the same
processes are in the samples, their columns are subtracted and added up by functions written in C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter, sub
from typing import Any

from sqlalchemy import Connection, String, bindparam, literal_column, select, type_coerce

from perftrack.storage.intervals import TICKS_OF_A_BOOT
from perftrack.storage.models import NameFilter, Process, ProcessSample

LONGEST_WAIT_SECONDS = 2
Point = tuple[float | None, float | None, float | None]  # minimum, mean, maximum; not known
Known = tuple[str, int, int | None, str | None]  # name, pid, started_ticks, started_at
Rows = tuple[tuple[int, ...], tuple[int | None, ...], tuple[int | None, ...]]  # process ids, CPU ms, rss


class ProcessSeries:
    """Adds up samples, which come in the order of time, to points by name."""

    def __init__(self, connection: Connection, names: list[str]) -> None:
        """*names*: of the processes to look at; empty: all."""
        self.cpu: dict[str, dict[int, Point]] = {}
        self.rss: dict[str, dict[int, Point]] = {}
        self._names = set(names)
        self._read = _reader(connection)
        self._describe = _describer(connection)
        self._known: dict[int, Known] = {}
        self._last: tuple[int | None, Rows] = (None, ((), (), ()))
        self._keys: tuple[int, ...] = ()
        self._groups: list[tuple[str, Callable[[Any], tuple[Any, ...]]]] = []

    def add(self, place: int, samples: Iterable[Any]) -> None:
        """Add *samples* as the point *place*. Of each: id, previous_id, seconds (between them), previous_taken_at,
        previous_uptime_seconds and previous_window_seconds; all but id are None for the first sample of a boot.
        """
        cpu: dict[str, list[float]] = {}
        rss: dict[str, list[float]] = {}
        for sample in samples:
            rows = self._read(sample.id)
            if rows[0]:
                if rows[0] != self._keys:
                    self._learn(rows[0])
                self._add_sample(sample, rows, cpu, rss)
            self._last = (sample.id, rows)
        for found, into in ((cpu, self.cpu), (rss, self.rss)):
            for name, values in found.items():
                into.setdefault(name, {})[place] = (min(values), sum(values) / len(values), max(values))

    def _add_sample(self, sample: Any, rows: Rows, cpu: dict[str, list[float]], rss: dict[str, list[float]]) -> None:
        keys, used, held = rows
        grown = self._growth(sample, keys, used) if sample.seconds else None
        if None in held:
            held = tuple(value or 0 for value in held)
        for name, chosen in self._groups:
            rss.setdefault(name, []).append(sum(chosen(held)))
            if grown is not None:
                known = chosen(grown)
                if None in known:
                    known = tuple(value for value in known if value is not None)
                if known:
                    cpu.setdefault(name, []).append(sum(known) / sample.seconds / 10)

    def _growth(self, sample: Any, keys: tuple[int, ...], used: tuple[int | None, ...]) -> Sequence[int | None]:
        """Return what each process used since the sample before, in ms. None: not known."""
        if self._last[0] != sample.previous_id:
            self._last = (sample.previous_id, self._read(sample.previous_id))
        keys_before, used_before, _ = self._last[1]
        if keys == keys_before and None not in used and None not in used_before:
            differences: list[int] = list(map(sub, used, used_before))
            if min(differences) >= 0:
                return differences
        before = dict(zip(keys_before, used_before, strict=True))
        if any(key not in before for key in keys):
            before |= self._renamed(keys, before)
        grown: list[int | None] = []
        for key, value in zip(keys, used, strict=True):
            base = before[key] if key in before else (0 if self._is_new(sample, key) else None)
            grown.append(None if value is None or base is None or value < base else value - base)
        return grown

    def _renamed(self, keys: tuple[int, ...], before: dict[int, int | None]) -> dict[int, int | None]:
        """Return what those of *keys* that are in *before* under another name had used by then."""
        self._look_up(before)
        then = {self._known[key][1:3]: value for key, value in before.items()}
        identities = {key: self._known[key][1:3] for key in keys if key not in before}
        return {
            key: then[identity]
            for key, identity in identities.items()
            if identity in then and identity[1] is not None
        }

    def _is_new(self, sample: Any, key: int) -> bool:
        """Return whether a process began after the sample before; as the view process_interval does."""
        _, _, started_ticks, started_at = self._known[key]
        if started_ticks is None:
            return False
        if started_ticks > TICKS_OF_A_BOOT:
            return bool(started_at and started_at > sample.previous_taken_at)
        waited = min(sample.previous_window_seconds or 0, LONGEST_WAIT_SECONDS)
        return bool(started_ticks > 100 * (sample.previous_uptime_seconds - waited))

    def _learn(self, keys: tuple[int, ...]) -> None:
        """Group processes by name."""
        if len(self._known) > 20_000:
            self._known.clear()
        self._look_up(keys)
        groups: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            name = self._known[key][0]
            if not self._names or name in self._names:
                groups.setdefault(name, []).append(index)
        self._keys = keys
        # itemgetter gives a tuple only of two and more
        self._groups = [
            (name, itemgetter(*indexes) if len(indexes) > 1 else itemgetter(slice(indexes[0], indexes[0] + 1)))
            for name, indexes in groups.items()
        ]

    def _look_up(self, keys: Iterable[int]) -> None:
        for key in keys:
            if key not in self._known:
                self._known[key] = self._describe(key)


def _describer(connection: Connection) -> Callable[[int], Known]:
    """Return a function that tells what is known of a process, by the driver itself."""
    columns = (Process.name, Process.pid, Process.started_ticks, type_coerce(Process.started_at, String))
    statement = select(*columns).where(Process.id == bindparam("key"))
    sql = str(statement.compile(connection.engine))
    driver = connection.connection.driver_connection
    assert driver is not None

    def describe(key: int) -> Known:
        found: Known = driver.execute(sql, (key,)).fetchone()
        return found

    return describe


def _reader(connection: Connection) -> Callable[[int], Rows]:
    """Return a function that reads the rows of a sample, by the driver itself: it is called for every sample."""
    further = list(connection.execute(select(NameFilter.id).where(NameFilter.rank > 0)).scalars())
    statement = select(
        ProcessSample.process_id, ProcessSample.cpu_user_ms + ProcessSample.cpu_system_ms, ProcessSample.rss_bytes
    ).where(ProcessSample.sample_id == bindparam("sample_id"))
    for filter_id in further:  # a second row of the same process in the same sample (imported data)
        statement = statement.where(ProcessSample.filter_id != literal_column(str(filter_id)))
    sql = str(statement.compile(connection.engine))
    driver = connection.connection.driver_connection
    assert driver is not None

    def read(sample_id: int) -> Rows:
        rows = driver.execute(sql, (sample_id,)).fetchall()
        if not rows:
            return (), (), ()
        keys, used, held = zip(*rows, strict=True)
        return keys, used, held

    return read
