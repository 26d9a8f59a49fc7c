"""How shipping is doing, as far as the database itself knows: what waits, since when, what failed. It asks nobody."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from perftrack.errors import PerftrackError
from perftrack.fleet.connecting import address
from perftrack.reading.queries import utc
from perftrack.settings import Settings
from perftrack.storage.models import Source, SystemSample

# Shipping is late where samples wait and none was acknowledged for so long: twelve beats of its schedule.
LATE_AFTER = timedelta(hours=2)


class Shipping(NamedTuple):
    """How shipping is doing. Instants are UTC.

    *to*: the centre, without all else of its address; None: it cannot be told, and *failure* says why.
    *acknowledged_at*: when the centre last said what it has, by the hint of `perftrack ship`; None: never.
    *waiting_samples*: so many, as they are here now, it has not; the first was taken at *waiting_since*; None: none.
    *condensed_samples*: so many were condensed before they were shipped; *removed_samples*: so many were removed.
    *failure*: why the last ship failed, at *failed_at*; None: it did not.
    """

    to: str | None
    acknowledged_at: datetime | None
    waiting_samples: int
    waiting_since: datetime | None
    condensed_samples: int
    removed_samples: int
    failure: str | None
    failed_at: datetime | None
    is_late: bool


def shipping(connection: Connection, settings: Settings, now: datetime) -> Shipping | None:
    """Return how shipping is doing at *now*; None: nothing is to be shipped from here."""
    if not settings.ship_to:
        return None
    hint = connection.execute(
        select(Source.shipped_sample_id, Source.shipped_at, Source.ship_failed_at, Source.ship_failure)
    ).one()
    stood_for = func.coalesce(func.sum(func.coalesce(SystemSample.samples, 1)), 0).label("stood_for")
    of_condensed = func.coalesce(func.sum(SystemSample.samples), 0).label("condensed")
    found = connection.execute(
        select(
            func.count().label("rows"),
            func.min(SystemSample.taken_at).label("first"),
            func.max(SystemSample.id).label("newest_id"),
            stood_for,
            of_condensed,
        ).where(SystemSample.id > (hint.shipped_sample_id or 0))
    ).one()
    acknowledged_at, since, failed_at = map(utc, (hint.shipped_at, found.first, hint.ship_failed_at))
    # ids are given without a gap; how many were removed before anything was shipped is nothing that it missed
    is_known = hint.shipped_sample_id is not None and found.rows
    removed = found.newest_id - hint.shipped_sample_id - found.stood_for if is_known else 0
    to, failure = None, hint.ship_failure
    try:
        to = address(settings.ship_to)
    except PerftrackError as error:
        failure = str(error)
    silent_since = acknowledged_at or since
    return Shipping(
        to=to,
        acknowledged_at=acknowledged_at,
        waiting_samples=found.rows,
        waiting_since=since,
        condensed_samples=found.condensed,
        removed_samples=max(0, removed),
        failure=failure,
        failed_at=failed_at,
        is_late=bool(found.rows and silent_since and now - silent_since > LATE_AFTER),
    )
