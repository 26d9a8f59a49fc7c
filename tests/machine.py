"""A made-up machine, whose clock, uptime and counters a test moves."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

from conftest import process_row, sample

from perftrack.storage import insertion, intervals

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).replace(tzinfo=None)


class Machine:
    """A made-up machine, whose clock, uptime and counters a test moves; `tick` records a sample of it."""

    def __init__(self, connection: sqlite3.Connection, boot: str = "boot-1", host: str = "here") -> None:
        connection.execute("PRAGMA synchronous=OFF")  # only the making is in a hurry
        self.connection = connection
        self.names = {"boot": boot, "host": host}
        self.clock = NOON
        self.uptime_seconds = 1000.0
        self.counters = dict.fromkeys(intervals.SYSTEM_COUNTERS, 0)

    def tick(
        self,
        *processes: dict[str, Any],
        after: float = 60,
        step: float = 0,
        window: float = 1,
        recorder: str = "--filter python",
        cgroups: list[dict[str, Any]] | None = None,
        extra: dict[str, Any] | None = None,
        **changed: int,
    ) -> None:
        """Let *after* seconds pass, step the clock by *step* seconds, add *changed* to the counters, and record.

        *window*: how long the sample waited after it had listed the processes. *extra*: further values of
        system_sample. *cgroups*: rows of control groups, see `cgroup_row`.
        """
        self.clock += timedelta(seconds=after + step)
        self.uptime_seconds += after
        for name, change in changed.items():
            self.counters[name] += change
        instant = self.clock.isoformat(" ", "microseconds")
        values = {
            "taken_at": instant,
            "uptime_seconds": self.uptime_seconds,
            "window_seconds": window,
            "cpu_count": 2,
        }
        values |= {
            "listed_uptime_seconds": self.uptime_seconds - window,
            "read_uptime_seconds": self.uptime_seconds,
        }
        row = values | self.counters | (extra or {})
        insertion.insert_sample(
            self.connection, sample(*processes, recorder=recorder, cgroups=cgroups, **self.names, **row)
        )


def process(cpu_ms: int | None, **values: Any) -> dict[str, Any]:
    return process_row(cpu_user_ms=cpu_ms, cpu_system_ms=None if cpu_ms is None else 0, **values)
