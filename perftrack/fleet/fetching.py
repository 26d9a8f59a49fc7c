"""A range of some machines, brought from the centre into a temporary database, to be asked as on the machine."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from perftrack.errors import PerftrackError
from perftrack.fleet.bringing import Boot, Fetch, instant
from perftrack.fleet.connecting import address, connected
from perftrack.fleet.machines import named
from perftrack.fleet.summing import BEGINNING, END
from perftrack.progress import Progress, no_progress
from perftrack.reading.queries import TimeRange
from perftrack.storage import schema

_BOOTS = """
SELECT source_id, boot_id, host, key, {booted_at} FROM perftrack.boot WHERE source_id = ANY(%(sources)s)
ORDER BY source_id, boot_id
"""
_IS_HELD = """
SELECT EXISTS (SELECT 1 FROM perftrack.system_sample
  WHERE source_id = ANY(%(sources)s) AND taken_at >= %(since)s AND taken_at < %(until)s)
"""
_HELD = "SELECT min(taken_at), max(taken_at) FROM perftrack.system_sample WHERE source_id = ANY(%(sources)s)"


@contextmanager
def fetched(url: str, span: TimeRange, pattern: str | None, progress: Progress = no_progress) -> Generator[str]:
    """Yield the path of a database that has what the centre at *url* has of *span*, of the machines that *pattern*
    matches, * and ? standing for any characters; None: of all. It is removed at the end.

    Raises: PerftrackError, also where the centre has no sample of that.
    """
    with TemporaryDirectory(prefix="perftrack-") as folder:
        path = os.path.join(folder, "perftrack.db")
        with (
            _readable_errors(folder),
            connected(url, "perftrack fleet") as centre,
            centre.transaction(),
        ):
            centre.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            boots = _boots(centre, url, pattern)
            since, until = span.since or BEGINNING, span.until or END
            times = {"since": since, "until": until, "sources": sorted({boot.source_id for boot in boots})}
            if not centre.execute(_IS_HELD, times).fetchall()[0][0]:
                ((first, last),) = centre.execute(_HELD, times).fetchall()
                held = f"from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC" if first else "of no time"
                raise PerftrackError(
                    f"{address(url)} has no sample of that range and of these machines; it has some {held}"
                )
            schema.upgrade(path)
            with closing(sqlite3.connect(path, isolation_level=None)) as database:
                database.executescript("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; BEGIN")
                Fetch(centre, database, boots, since, until).all(progress)
                database.execute("COMMIT")
        yield path


@contextmanager
def _readable_errors(folder: str) -> Generator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise PerftrackError(
            f"the range cannot be brought to {folder}: {error}; it takes some 400 bytes a row, TMPDIR says where"
        ) from None


def _boots(centre: Any, url: str, pattern: str | None) -> list[Boot]:
    """Return the boots of the machines that *pattern* matches, by the names that `named` tells."""
    machines = named(centre, url, pattern)
    rows = centre.execute(_BOOTS.format(booted_at=instant("booted_at")), {"sources": machines.sources}).fetchall()
    boots = [Boot(*row) for row in rows]
    return [
        boot._replace(host=machines.shown[boot.source_id, boot.host])
        for boot in boots
        if (boot.source_id, boot.host) in machines.chosen
    ]
