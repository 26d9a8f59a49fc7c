"""What the centre knows of its machines: their names, who shipped, when, and whose clock is wrong. psycopg alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from perftrack.errors import PerftrackError
from perftrack.fleet.connecting import address, connected
from perftrack.text import is_called

# Of the sources of one database, which it has where it was restored, the one that shipped last.
NEWEST = """
SELECT host, role, version, taken_at, clock_timestamp() - seen_at AS silence,
  clock_timestamp() - taken_at - make_interval(secs => skew_seconds) AS lag, skew_seconds, uuid
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY role, coalesce(machine, uuid::text), host ORDER BY seen_at DESC NULLS LAST) AS place
  FROM perftrack.source) AS ranked
WHERE place = 1
"""
_MACHINES = f"""
SELECT host, role, version, taken_at, silence, lag, skew_seconds, silence > %s AS is_silent
FROM ({NEWEST}) AS newest ORDER BY is_silent DESC, host, uuid
"""


class MachineSeen(NamedTuple):
    """A machine of a fleet, by the database that shipped last."""

    host: str | None
    role: str
    version: str | None
    taken_at: datetime | None  # of its newest sample, by its own clock
    silence: timedelta  # since it shipped last, also where nothing was new
    lag: timedelta | None  # how old that sample is, by the same
    skew_seconds: float | None  # how far the centre's clock is before its own, and the way
    is_silent: bool


def machines(url: str, silent_after: timedelta) -> list[MachineSeen]:
    """Return the machines of the centre at *url*, first those that have not shipped for longer than *silent_after*.

    Raises: PerftrackError.
    """
    with connected(url, "perftrack fleet status") as connection:
        return [MachineSeen(*row) for row in connection.execute(_MACHINES, (silent_after,))]


_LISTED = 10
_HOSTS = """
SELECT DISTINCT boot.source_id, boot.host, source.role
FROM perftrack.boot JOIN perftrack.source ON source.id = boot.source_id
"""


class Named(NamedTuple):
    """Machines by their names. *shown*: the name of each source and host; what two roles call so has its role in it.

    *chosen*: those that were asked for.
    """

    shown: dict[tuple[int, str], str]
    chosen: set[tuple[int, str]]

    @property
    def names(self) -> list[str]:
        return sorted({self.shown[each] for each in self.chosen})

    @property
    def sources(self) -> list[int]:
        return sorted({source_id for source_id, _ in self.chosen})


def named(centre: Any, url: str, pattern: str | None) -> Named:
    """Return the machines that *pattern* matches, with or without the role, * and ? standing for any characters.

    None: all. Raises: PerftrackError where there is none.
    """
    found = centre.execute(_HOSTS).fetchall()
    roles: dict[str, set[str]] = {}
    for _, host, role in found:
        roles.setdefault(host, set()).add(role)
    shown = {
        (source_id, host): f"{host} ({role})" if len(roles[host]) > 1 else host for source_id, host, role in found
    }
    if not shown:
        raise PerftrackError("no machine has shipped yet")
    chosen = {
        each
        for each, name in shown.items()
        if pattern is None or is_called(name, pattern) or is_called(each[1], pattern)
    }
    if not chosen:
        names = sorted(set(shown.values()))
        listed = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
        raise PerftrackError(f"no machine of {address(url)} is called {pattern}; it has {listed}")
    return Named(shown, chosen)
