"""How recording itself is doing: the database, its newest sample, what is missing, its cost, and who starts it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from perftrack.errors import PerftrackError
from perftrack.reading import queries
from perftrack.reading.coverage import FUTURE, Coverage, coverage, newest_recorded, recent_seconds
from perftrack.reading.forecast import COUNTED_SAMPLES, Forecast, counted_rows, forecast
from perftrack.reading.machines import machines
from perftrack.reading.metrics import RECORDER_CPU
from perftrack.reading.queries import Extent, TimeRange, utc
from perftrack.reading.report import Statistics, statistics
from perftrack.reading.shipping import Shipping, shipping
from perftrack.scheduling.plan import schedules
from perftrack.scheduling.schedule import Schedule
from perftrack.settings import Settings, default_database
from perftrack.storage import pending, tick_sql
from perftrack.storage.failures import Failure, failures
from perftrack.storage.models import Base, ProcessSample
from perftrack.storage.openers import Opener, openers
from perftrack.storage.snapshot import snapshot
from perftrack.storage.sqlite_file import log_bytes

DAY = timedelta(days=1)
# The newest sample is late when it is so many usual intervals old; where nothing is usual yet, so many minutes.
LATE_INTERVALS = 3


class Status(NamedTuple):
    """How recording is doing.

    *size_bytes*: the database with its write-ahead log, *log_bytes* of which are that, where these processes have it
    open: *log_openers*. *rows*: of each table; of process_sample an
    estimate where *rows_estimated*. *age_seconds*: of the newest sample; None: there is none. *usual_seconds* and
    *cost* are of the day before the newest sample, *day* is the last day before now. *is_late*: the newest sample is
    older than it should be, or there is none. *failures*: the newest first. *shipping*: None where nothing is to be
    shipped.

    All but size, rows and *held* is of *hosts*. The newest sample is one that was recorded, and not under a clock
    that is ahead of now: what was imported, or is in the future, tells nothing of how recording is doing.
    """

    database: str
    revision: str
    hosts: tuple[str, ...]
    size_bytes: int
    log_bytes: int
    log_openers: list[Opener]
    forecast: Forecast
    rows: dict[str, int]
    rows_estimated: bool
    held: Extent
    newest_at: datetime | None
    age_seconds: float | None
    usual_seconds: float | None
    is_late: bool
    day: Coverage
    cost: Statistics | None
    pending_samples: int
    failures: list[Failure]
    shipping: Shipping | None
    schedules: list[Schedule]

    @property
    def is_ok(self) -> bool:
        """Whether samples arrive, here and where they are to be shipped to."""
        return not (self.is_late or (self.shipping is not None and self.shipping.is_late))


def status(settings: Settings, host: str | None = None) -> Status:
    """Return how recording is doing with *settings*. *host*: see `machines`. Raises: PerftrackError."""
    now = datetime.now(UTC)
    database = settings.database
    with snapshot(database) as connection:
        hosts = machines(connection, host)
        held = queries.extent(connection, TimeRange())
        newest = newest_recorded(connection, TimeRange(None, now + FUTURE, hosts))
        newest_at = newest and utc(newest.taken_at)
        end = newest_at or now
        before = TimeRange(end - DAY, end + timedelta(microseconds=1), hosts)
        lately = coverage(connection, before, end)
        recently = newest and recent_seconds(connection, newest)
        usual = max((each for each in (lately.usual_seconds, recently) if each is not None), default=None)
        age = None if newest_at is None else (now - newest_at).total_seconds()
        log = log_bytes(database)
        size = os.path.getsize(database) + log
        return Status(
            database=database,
            revision=tick_sql.REVISION,
            hosts=hosts,
            size_bytes=size,
            log_bytes=log,
            log_openers=openers(database) if log else [],
            forecast=forecast(connection, settings, held, size),
            rows=_rows(connection, held),
            rows_estimated=held.rows > COUNTED_SAMPLES,
            held=held,
            newest_at=newest_at,
            age_seconds=age,
            usual_seconds=usual,
            is_late=age is None or age > LATE_INTERVALS * (usual or 60.0),
            day=coverage(connection, TimeRange(now - DAY, now, hosts), now),
            cost=statistics(connection, lately, 1, RECORDER_CPU),
            pending_samples=pending.count(database),
            failures=failures_of(database, newest_at),
            shipping=shipping(connection, settings, now),
            schedules=schedules(),
        )


def failures_of(database: str, recorded_at: datetime | None = None) -> list[Failure]:
    """Return the newest failures of recording into *database*, the newest first, and those before one was known.

    *recorded_at*: when its newest sample was recorded. What failed before that and is noted beside another database,
    where that sample was not told of, is over since then.
    """
    found = [failure for failure in reversed(failures(database)) if failure.database in {None, "", database}]
    with suppress(PerftrackError):  # this user has no home folder
        if (default := default_database()) != database:
            elsewhere = [failure for failure in reversed(failures(default)) if failure.database in {"", database}]
            found += [_over(failure, recorded_at) for failure in elsewhere]
    return sorted(found, key=lambda failure: failure.last_at, reverse=True)


def _over(failure: Failure, recorded_at: datetime | None) -> Failure:
    if recorded_at is None or failure.recovered_at or recorded_at <= datetime.fromisoformat(failure.last_at):
        return failure
    return replace(failure, recovered_at=recorded_at.isoformat(timespec="seconds"))


def _rows(connection: Connection, held: Extent) -> dict[str, int]:
    counted = {
        name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for name, table in Base.metadata.tables.items()
        if table is not ProcessSample.__table__
    }
    if held.first is None:
        return counted | {"process_sample": 0}
    chosen, rows = counted_rows(connection, held, held.first)
    return counted | {"process_sample": round(rows * held.rows / chosen) if chosen else rows}
