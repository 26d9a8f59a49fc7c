"""Keeping a database bounded: a piece of what the settings say in each tick, after its sample is safe."""

from __future__ import annotations

from datetime import datetime, timedelta

from perftrack.settings import bytes_of, days_of
from perftrack.storage import tick_sql
from perftrack.storage.sqlite_file import log_bytes, used_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from perftrack.settings import Settings

_FOREVER = ""
# Ages count from the sample that is this many before the newest: samples that were taken under a wrong clock, up to a
# day of them, make nothing old.
_SAMPLES_BEFORE = 1440
_NOW = f"""
SELECT min(taken_at, (SELECT taken_at FROM system_sample ORDER BY id DESC LIMIT 1)) FROM system_sample
WHERE id <= (SELECT max(id) FROM system_sample) - {_SAMPLES_BEFORE} ORDER BY id DESC LIMIT 1
"""
# Samples that wait to be shipped, as the centre is away, are kept this many days longer than the settings say.
UNSHIPPED_DAYS = 30
_UNSHIPPED = """
SELECT taken_at FROM system_sample WHERE id > (SELECT coalesce(max(shipped_sample_id), 0) FROM source)
ORDER BY id LIMIT 1
"""
_IS_DUE = f"SELECT 1 FROM system_sample WHERE {tick_sql.ORDINARY} AND taken_at < ? LIMIT 1"


def before(now: str, age: str, unshipped: str | None = None) -> str:
    """Return before which instant all is older than *age*, a value of settings; empty: nothing is.

    *now*: as the database has instants, and so is what is returned. *unshipped*: see `oldest_unshipped`; what was
    taken from then on has to be older still.
    """
    days = days_of(age)
    if days is None:
        return _FOREVER
    found = _earlier(now, days)
    return found if unshipped is None else min(found, max(unshipped, _earlier(now, days + UNSHIPPED_DAYS)))


def _earlier(now: str, days: int) -> str:
    try:
        instant = datetime.fromisoformat(now) - timedelta(days=days)
    except OverflowError:  # before the year 1
        return _FOREVER
    return instant.isoformat(" ", "microseconds")


def oldest_unshipped(connection: sqlite3.Connection, settings: Settings) -> str | None:
    """Return when the first sample was taken that waits to be shipped; None: there is none, or nothing is shipped."""
    found = connection.execute(_UNSHIPPED).fetchone() if settings.ship_to else None
    return None if found is None else str(found[0])


def keep_bounded(connection: sqlite3.Connection, path: str, settings: Settings) -> bool:
    """Condense or purge a piece of what is due after a tick; False: nothing was. Raises: sqlite3.Error."""
    found = connection.execute(_NOW).fetchone()
    if found is None:
        return False
    now: str = found[0]
    unshipped = oldest_unshipped(connection, settings)
    largest = bytes_of(settings.max_size)
    oldest = before(now, settings.keep_hourly, unshipped)
    if largest is not None or oldest:
        from perftrack.storage.purging import purge

        is_too_large = largest is not None and used_bytes(connection) + log_bytes(path) > largest
        # also of what was not shipped: a disk that is full would be worse
        if is_too_large and purge(connection, now) is not None:
            return True
        if oldest and purge(connection, oldest) is not None:
            return True
    ordinary = before(now, settings.keep_every_sample, unshipped)
    if not ordinary or connection.execute(_IS_DUE, (f"{ordinary[:13]}:",)).fetchone() is None:
        return False
    from perftrack.storage.condensing import condense

    return condense(connection, ordinary) > 0
