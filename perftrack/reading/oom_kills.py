"""When the kernel killed processes for want of memory, and in which units they were."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select, text

from perftrack.reading.queries import TimeRange, utc
from perftrack.reading.usage.groups import UNIT
from perftrack.storage.intervals import SYSTEM_INTERVAL

# The kills of a group are those of all groups in it too.
_UNITS = f"""
SELECT key FROM (
  SELECT {UNIT.side} AS key, sum(sign * oom_kills) AS kills
  FROM cgroup_interval {UNIT.both_sides} AND sample_id = :sample_id AND oom_kills > 0
  GROUP BY 1)
WHERE kills > 0 ORDER BY kills DESC, key
"""


class OomKill(NamedTuple):
    """So many processes were killed from *since* to *taken_at* (UTC), two samples; *units*: of them, if known."""

    since: datetime
    taken_at: datetime
    killed: int
    units: list[str]


class OomKills(NamedTuple):
    """How many processes were killed in a range, and the *latest* of these times, the earliest first."""

    total: int
    latest: list[OomKill]


def oom_kills(connection: Connection, span: TimeRange, limit: int | None = None) -> OomKills:
    """Return the kills of *span*, of the *limit* latest intervals with any (None: of all) when they were."""
    columns = SYSTEM_INTERVAL.c
    killed = (*span.holds(columns), columns.oom_kills > 0)
    total = connection.execute(select(func.coalesce(func.sum(columns.oom_kills), 0)).where(*killed)).scalar_one()
    latest = connection.execute(
        select(columns.previous_taken_at, columns.taken_at, columns.oom_kills, columns.sample_id)
        .where(*killed)
        .order_by(columns.taken_at.desc())
        .limit(limit)
    ).all()
    return OomKills(
        total,
        [
            OomKill(
                utc(row.previous_taken_at),
                utc(row.taken_at),
                row.oom_kills,
                list(connection.execute(text(_UNITS), {"sample_id": row.sample_id}).scalars()),
            )
            for row in reversed(latest)
        ],
    )
