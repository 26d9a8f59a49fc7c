"""How large a database is going to be, under the settings in effect."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, func, select, text

from perftrack.reading.queries import Extent, stored_text, utc
from perftrack.settings import Settings, bytes_of, days_of
from perftrack.storage.models import ORDINARY, SystemSample
from perftrack.storage.sqlite_file import free_bytes

# Growth is that of so many days, or of as many as there are.
GROWTH_DAYS = 7
LEAST_FOR_GROWTH = timedelta(hours=1)
# Of more samples than this, process rows are counted in some and not in all.
COUNTED_SAMPLES = 2000
_DAY_SECONDS = 86_400

_ROWS = """
SELECT count(*), coalesce(sum((SELECT count(*) FROM process_sample WHERE sample_id = system_sample.id)), 0)
FROM system_sample WHERE id % :every = 0 AND taken_at >= :since
"""
# Of the last day that is as it was recorded: its rows, and what would be left of them.
_LEFT = """
SELECT count(*) AS rows, count(DISTINCT hour || ' ' || process_id) + count(DISTINCT hour) AS left_rows
FROM (
  SELECT substr(taken_at, 1, 13) AS hour, process_id FROM system_sample JOIN process_sample ON sample_id = id
  WHERE taken_at > datetime(:last, '-1 day') AND system_sample.samples IS NULL
  UNION ALL
  SELECT substr(taken_at, 1, 13), NULL FROM system_sample
  WHERE taken_at > datetime(:last, '-1 day') AND samples IS NULL)
"""


class Forecast(NamedTuple):
    """How a database grows. *free_bytes*: of the file, that will be used again. *day_bytes*: of a day as it is
    recorded, and *condensed_day_bytes*: when it is condensed; None: not known yet. *ordinary_since*: all is as it was
    recorded from then on (UTC); None: nothing is. *condensing_at*: when the oldest of it will be condensed; None:
    never.
    """

    used_bytes: int
    free_bytes: int
    day_bytes: float | None
    condensed_day_bytes: float | None
    ordinary_since: datetime | None
    condensing_at: datetime | None

    def in_days(self, days: int, settings: Settings) -> float | None:
        """Return the bytes that will be used in *days*; None: not known yet."""
        if self.day_bytes is None or self.condensed_day_bytes is None or self.ordinary_since is None:
            return None
        keep, hourly, largest = (
            days_of(settings.keep_every_sample),
            days_of(settings.keep_hourly),
            bytes_of(settings.max_size),
        )
        now_days = (datetime.now(UTC) - self.ordinary_since).total_seconds() / _DAY_SECONDS
        whole_days = now_days + days if keep is None else min(now_days + days, keep)
        condensed = max(0.0, self.used_bytes - now_days * self.day_bytes)
        condensed += (now_days + days - whole_days) * self.condensed_day_bytes
        if hourly is not None:
            whole_days = min(whole_days, hourly)
            condensed = min(condensed, max(0.0, hourly - whole_days) * self.condensed_day_bytes)
        size = whole_days * self.day_bytes + condensed
        return size if largest is None else min(size, largest)


def forecast(connection: Connection, settings: Settings, held: Extent, size_bytes: int) -> Forecast:
    """Return how the database grows that holds *held* in *size_bytes*, its log included."""
    opened = connection.connection.driver_connection
    assert opened is not None
    free = free_bytes(opened)
    since = connection.execute(select(func.min(SystemSample.taken_at)).where(text(ORDINARY))).scalar()
    ordinary_since = utc(since)
    keep = days_of(settings.keep_every_sample)
    condensing_at = None if ordinary_since is None or keep is None else ordinary_since + timedelta(days=keep)
    if held.first is None or held.last is None or held.last - held.first < LEAST_FOR_GROWTH:
        return Forecast(size_bytes - free, free, None, None, ordinary_since, condensing_at)
    begin = max(held.first, held.last - timedelta(days=GROWTH_DAYS))
    rows, lately = (sum(counted_rows(connection, held, each)) for each in (held.first, begin))
    day = (size_bytes - free) * lately / max(1, rows) / ((held.last - begin).total_seconds() / _DAY_SECONDS)
    of_day = connection.execute(text(_LEFT), {"last": stored_text(held.last)}).one()
    share = of_day.left_rows / of_day.rows if of_day.rows else 1.0
    return Forecast(size_bytes - free, free, day, day * share, ordinary_since, condensing_at)


def counted_rows(connection: Connection, held: Extent, since: datetime) -> tuple[int, int]:
    """Return how many of the samples from *since* on are counted, and how many rows of processes those have.

    Counting all of a year would read the whole database, and a monitor may ask every minute.
    """
    every = max(1, held.rows // COUNTED_SAMPLES)
    samples, rows = connection.execute(text(_ROWS), {"every": every, "since": stored_text(since)}).one()
    return samples, rows
