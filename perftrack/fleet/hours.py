"""Sums by hour, which stay when the samples of a day go: filled when an hour is over, and anew when more of it comes.

`take` notes the hours that samples came of. An hour is added up from all samples that are there, so that it does not
matter how often; where these have gone already, what comes late is added to what is there.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import Any

from perftrack.fleet import summing
from perftrack.fleet.centre import HOURS, PEAKS, SAMPLES, TOTALS

# Samples of an hour come until so long after it has ended, where all is well.
GRACE = timedelta(minutes=20)
# So many machines are added up in a transaction: theirs wait so long with a ship.
SOURCES_AT_ONCE = 500

_CLOSED = "SELECT hour, source_id FROM perftrack.open_hour WHERE hour <= %(limit)s ORDER BY hour, source_id"
_TAKEN = "DELETE FROM perftrack.open_hour WHERE hour = %(since)s AND source_id = ANY(%(sources)s) RETURNING source_id"
_KEYS = {"system": ("boot_id",), "process": ("name", "unit"), "unit": ("unit",)}
_NAMED = f"""
SELECT used.source_id, process.name, coalesce(process.unit, '') AS unit, {summing.sum_of("process")}
FROM {summing.PROCESSES}
GROUP BY used.source_id, process.name, coalesce(process.unit, '')
"""
_FOUND = {"system": summing.SYSTEMS, "process": _NAMED, "unit": summing.UNITS}


def _fill(kind: str, *, is_added: bool) -> str:
    """Return the statement that adds up an hour of some sources. *is_added*: to what is there."""
    table = HOURS[kind].name
    columns = ", ".join(["source_id", *_KEYS[kind], *TOTALS[kind], *PEAKS[kind]])
    found = _FOUND[kind].replace("{share}", summing.ALL).replace("{when}", summing.IN_HOUR)
    found = found.replace("{whose}", "source_id = ANY(%(sources)s)")
    statement = f"""
INSERT INTO perftrack.{table} (hour, {columns})
SELECT %(since)s, {columns} FROM ({found}) AS found"""
    if is_added:
        merged = [
            f"{name} = coalesce({table}.{name} + excluded.{name}, {table}.{name}, excluded.{name})"
            for name in TOTALS[kind]
        ] + [f"{name} = greatest({table}.{name}, excluded.{name})" for name in PEAKS[kind]]
        statement += f"\nON CONFLICT (source_id, hour, {', '.join(_KEYS[kind])}) DO UPDATE SET {', '.join(merged)}"
    return statement


def close_hours(centre: Any, now: datetime) -> int:
    """Add up the hours that ended before *now* and of which samples came; return how many, of all sources.

    *centre*: a connection of the owner, who holds the lock of upkeep. Raises: psycopg.Error.
    """
    limit = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    if now - limit < timedelta(hours=1) + GRACE:
        limit -= timedelta(hours=1)
    return close_hours_until(centre, limit)


def close_hours_until(centre: Any, limit: datetime) -> int:
    """Add up the hours that began at *limit* or before it, of which samples came; return how many."""
    ((kept_since,),) = centre.execute("SELECT max(since) FROM perftrack.kept").fetchall()
    closed = centre.execute(_CLOSED, {"limit": limit}).fetchall()
    for hour, of_hour in groupby(closed, lambda row: row[0]):
        remaining = (source_id for _, source_id in of_hour)
        while some := list(islice(remaining, SOURCES_AT_ONCE)):
            _close(centre, hour, some, is_gone=kept_since is not None and hour < kept_since)
    return len(closed)


def _close(centre: Any, hour: datetime, sources: list[int], *, is_gone: bool) -> None:
    """Add up *hour* of *sources*. *is_gone*: its samples are not kept any more, and those that came late are not."""
    given = {"since": hour, "until": hour + timedelta(hours=1), "sources": sources, "others": summing.NOBODY}
    with centre.transaction():
        # first: what comes from now on waits, and notes the hour again
        given["sources"] = [source_id for (source_id,) in centre.execute(_TAKEN, given).fetchall()]
        for kind, table in HOURS.items():
            if not is_gone:
                centre.execute(
                    f"DELETE FROM perftrack.{table.name} WHERE hour = %(since)s AND source_id = ANY(%(sources)s)",
                    given,
                )
            centre.execute(_fill(kind, is_added=is_gone), given)
        if is_gone:
            for each in SAMPLES:
                centre.execute(
                    f"DELETE FROM perftrack.{each.name} WHERE taken_at >= %(since)s AND taken_at < %(until)s"
                    " AND source_id = ANY(%(sources)s)",
                    given,
                )
