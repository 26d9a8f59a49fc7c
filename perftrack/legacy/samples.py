"""Which sample an entry of the original belongs to: by its local time, at the right instant.

Times are microseconds since 1970, local or UTC: numbers are compared and looked up faster than datetimes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta, tzinfo
from itertools import groupby

from sqlalchemy import Connection, select

from perftrack.errors import PerftrackError
from perftrack.legacy.columns import EPOCH, counted, moment
from perftrack.storage.models import SystemSample
from perftrack.timerange import to_utc

_HOUR = 3_600_000_000


class Sample:
    """A sample of the host's imported data, in the database already or (its id is 0) about to be."""

    __slots__ = ("has_system", "id", "taken_at", "taken_at_local")

    def __init__(self, taken_at_local: int, taken_at: int) -> None:
        self.taken_at_local = taken_at_local
        self.taken_at = taken_at
        self.id = 0
        self.has_system = False


class Samples:
    """The imported samples of a boot: those that are there already, and the new ones."""

    def __init__(self, connection: Connection, boot_id: int, zone: tzinfo | None) -> None:
        self._zone = _Zone(zone)
        # More than one for a local time only in the hour that the end of daylight saving time doubles.
        self._samples: dict[int, list[Sample]] = {}
        self._instants: set[int] = set()
        columns = (SystemSample.taken_at_local, SystemSample.taken_at, SystemSample.id, SystemSample.mem_total_bytes)
        for local, taken_at, sample_id, mem_total in connection.execute(
            select(*columns).where(SystemSample.boot_id == boot_id).order_by(SystemSample.taken_at)
        ):
            sample = self._new(counted(local) >> 1, counted(taken_at) >> 1)
            sample.id, sample.has_system = sample_id, mem_total is not None

    def of(self, times: Sequence[int], where: Callable[[int], str]) -> Iterator[Sample]:
        """Yield the sample of each time (as columns.py counts them), a new one where it is not in the database.

        Which of the two a time is in the hour that the end of daylight saving time doubles is told by the order of
        the times, and by the datetime's fold where Python noted it (3.6 and later, pickle protocol 4 and later).
        Raises: PerftrackError, with *where* the time of an index is.
        """
        runs = Counter(local for local, _ in groupby(time >> 1 for time in times))
        last: Sample | None = None
        for index, time in enumerate(times):
            local = time >> 1
            if last is None or local != last.taken_at_local:
                taken_at = self._zone.utc(local, time & 1)
                if last is not None and taken_at <= last.taken_at:
                    taken_at = max(taken_at, self._zone.utc(local, 1))
                found = self._found(local, taken_at, once=runs[local] == 1) if local in self._samples else None
                if found is None and taken_at in self._instants:
                    raise PerftrackError(
                        f"{where(index)}: {moment(local << 1)} is the same instant as another entry's; "
                        "is --timezone right?"
                    )
                last = found or self._new(local, taken_at)
            yield last

    def _found(self, local: int, taken_at: int, *, once: bool) -> Sample | None:
        known = self._samples[local]
        for sample in known:
            if sample.taken_at == taken_at:
                return sample
        if not (once and len(known) == 1):
            return None
        sample = known[0]  # taken for the other hour, or imported as another zone's
        of_this_zone = sample.taken_at in {self._zone.utc(local, fold) for fold in (0, 1)}
        if of_this_zone and not sample.has_system:  # from process_log.csv, whose gaps can hide which hour it was
            sample.taken_at = taken_at
        return sample

    def _new(self, local: int, taken_at: int) -> Sample:
        sample = Sample(local, taken_at)
        self._samples.setdefault(local, []).append(sample)
        self._instants.add(taken_at)
        return sample


class _Zone:
    """A zone's local times in UTC, which are asked for once an hour where that is enough."""

    def __init__(self, zone: tzinfo | None) -> None:
        """*zone*: None is this system's."""
        self._zone = zone
        self._offsets: dict[int, int | None] = {}

    def utc(self, local: int, fold: int) -> int:
        hour = local // _HOUR
        if hour not in self._offsets:
            self._offsets[hour] = self._offset(hour)
        offset = self._offsets[hour]
        return self._converted(local, fold) if offset is None else local - offset

    def _offset(self, hour: int) -> int | None:
        """Return by how much local time is ahead in that hour, or None where the clock is changed in it."""
        ends = (hour * _HOUR, hour * _HOUR + _HOUR - 1)
        offsets = {local - self._converted(local, fold) for local in ends for fold in (0, 1)}
        return offsets.pop() if len(offsets) == 1 else None

    def _converted(self, local: int, fold: int) -> int:
        return counted(to_utc(moment(local << 1 | fold), self._zone).replace(tzinfo=None)) >> 1


def text_of(times: Iterable[int]) -> Iterator[str]:
    """Yield each time as the database keeps it."""
    return ((EPOCH + timedelta(0, 0, time)).isoformat(" ", "microseconds") for time in times)
