"""Which sample an entry of the original belongs to: by its local time, at the right instant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cache
from itertools import groupby

from sqlalchemy import Connection, select

from perftrack.errors import PerftrackError
from perftrack.legacy.rows import new_ids
from perftrack.storage.models import SystemSample
from perftrack.timerange import to_utc


@dataclass(eq=False, slots=True)
class ImportedSample:
    """A sample of the host's imported data, in the database already (*stored*) or about to be."""

    id: int
    taken_at_local: datetime
    taken_at: datetime  # UTC, but naive as the database keeps it
    stored: bool = False
    has_system: bool = False


class SampleFinder:
    """The imported samples of a boot: those that are there already, and the new ones."""

    def __init__(self, connection: Connection, boot_id: int, zone: tzinfo | None) -> None:
        """*zone*: of the local times; None is this system's."""
        self._utc = cache(lambda local, fold: to_utc(local.replace(fold=fold), zone).replace(tzinfo=None))
        # More than one for a local time only in the hour that the end of daylight saving time doubles.
        self._samples: dict[datetime, list[ImportedSample]] = {}
        self._instants: set[datetime] = set()
        self._new_ids = new_ids(connection, SystemSample)
        columns = (SystemSample.taken_at_local, SystemSample.taken_at, SystemSample.id, SystemSample.mem_total_bytes)
        for local, taken_at, sample_id, mem_total in connection.execute(
            select(*columns).where(SystemSample.boot_id == boot_id).order_by(SystemSample.taken_at)
        ):
            self._add(ImportedSample(sample_id, local, taken_at, stored=True, has_system=mem_total is not None))

    def find(self, times: Iterable[datetime], place: str) -> list[ImportedSample]:
        """Return the sample of each local time, a new one where it is not in the database.

        Which of the two a time is in the hour that the end of daylight saving time doubles is told by the order of
        the times, and by the datetime's fold where Python noted it (3.6 and later, pickle protocol 4 and later).
        *place*: what an error puts before the number of an entry. Raises: PerftrackError.
        """
        runs = [(time, len(list(run))) for time, run in groupby(times)]
        occurrences = Counter(time for time, _ in runs)
        samples: list[ImportedSample] = []
        for time, length in runs:
            taken_at = self._utc(time, time.fold)
            if samples and taken_at <= samples[-1].taken_at:
                taken_at = max(taken_at, self._utc(time, 1))
            sample = self._found(time, taken_at, once=occurrences[time] == 1)
            if sample is None and taken_at in self._instants:
                raise PerftrackError(
                    f"{place} {len(samples) + 1}: {time} is the same instant as another entry's; is --timezone right?"
                )
            sample = sample or self._add(ImportedSample(next(self._new_ids), time, taken_at))
            samples += [sample] * length
        return samples

    def _found(self, local: datetime, taken_at: datetime, *, once: bool) -> ImportedSample | None:
        known = self._samples.get(local, [])
        for sample in known:
            if sample.taken_at == taken_at:
                return sample
        if not (once and len(known) == 1):
            return None
        sample = known[0]  # taken for the other hour, or imported as another zone's
        of_this_zone = sample.taken_at in {self._utc(local, fold) for fold in (0, 1)}
        if of_this_zone and not sample.has_system:  # from process_log.csv, whose gaps can hide which hour it was
            sample.taken_at = taken_at
        return sample

    def _add(self, sample: ImportedSample) -> ImportedSample:
        self._samples.setdefault(sample.taken_at_local, []).append(sample)
        self._instants.add(sample.taken_at)
        return sample
