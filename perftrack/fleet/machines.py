"""What the centre knows of its machines: who shipped, when, and whose clock is wrong. psycopg alone."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from typing import NamedTuple

from perftrack.fleet.connecting import connect, explained

# Of the sources of one database, which it has where it was restored, the one that shipped last.
NEWEST = """
SELECT host, role, machine, version, position, taken_at, seen_at,
  clock_timestamp() - seen_at AS silence, clock_timestamp() - taken_at - make_interval(secs => skew_seconds) AS lag,
  skew_seconds, uuid::text
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY coalesce(machine, uuid::text), host ORDER BY seen_at DESC NULLS LAST) AS place
  FROM perftrack.source) AS ranked
WHERE place = 1
"""
_MACHINES = f"""
SELECT *, silence > %s AS is_silent FROM ({NEWEST}) AS newest ORDER BY is_silent DESC NULLS FIRST, host, uuid
"""


class MachineSeen(NamedTuple):
    """A machine of a fleet, by the database that shipped last. Instants are the centre's, but taken_at its own."""

    host: str | None
    role: str
    machine: str | None
    version: str | None
    position: int
    taken_at: datetime | None  # of its newest sample
    seen_at: datetime | None  # when it shipped last, also where nothing was new
    silence: timedelta | None
    lag: timedelta | None  # how old that sample is, by its own clock
    skew_seconds: float | None  # how far the centre's clock is before its own, and the way
    uuid: str
    is_silent: bool | None


def machines(url: str, silent_after: timedelta) -> list[MachineSeen]:
    """Return the machines of the centre at *url*, first those that have not shipped for longer than *silent_after*.

    Raises: PerftrackError.
    """
    with explained(url), closing(connect(url, "perftrack fleet status")) as connection:
        return [MachineSeen(*row) for row in connection.execute(_MACHINES, (silent_after,))]
