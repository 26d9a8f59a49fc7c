"""The system's row of a sample."""

from __future__ import annotations

import datetime
import os
import sys
from contextlib import suppress

import psutil

from perftrack.sample import CPU_COUNTERS, unknown
from perftrack.storage.tick_sql import SYSTEM_SAMPLE_COLUMNS

if sys.platform == "linux":
    from perftrack.recording import linux_system as system_reader
else:
    from perftrack.recording import portable_system as system_reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perftrack.rows import SystemRow

# What reading a metric raises that is not to be had here: it stays None, and the others are recorded.
_UNAVAILABLE = (OSError, RuntimeError, ValueError, psutil.Error)


def utc_text(timestamp: float) -> str:
    """Return seconds since 1970 as the database's text of a UTC instant."""
    instant = datetime.datetime.fromtimestamp(timestamp, datetime.UTC)
    return instant.replace(tzinfo=None).isoformat(" ", "microseconds")


def cpu_counters() -> SystemRow:
    """Return the CPU_COUNTERS, each None where they are not to be had, and what comes with them."""
    row: SystemRow = unknown(CPU_COUNTERS)
    with suppress(*_UNAVAILABLE):
        row |= system_reader.cpu_counters()
    return row


def read_row(taken_at: float) -> SystemRow:
    """Return the row of the instant *taken_at* with all metrics; what the sampler knows of it is None yet."""
    row: SystemRow = unknown([*SYSTEM_SAMPLE_COLUMNS, "disk_set", "net_set"])
    local = datetime.datetime.fromtimestamp(taken_at)  # noqa: DTZ006 - what the wall clock shows is wanted
    row |= {"taken_at": utc_text(taken_at), "taken_at_local": local.isoformat(" ", "microseconds")}
    for read in (*system_reader.READERS, _cpus, _load):
        with suppress(*_UNAVAILABLE):
            row |= read()
    return row


def _cpus() -> SystemRow:
    return {"cpu_count": psutil.cpu_count()}


def _load() -> SystemRow:
    if not hasattr(os, "getloadavg"):  # psutil's emulation on Windows starts with zeros, which would not be true
        return {}
    load = os.getloadavg()
    return {"load_1min": round(load[0], 2), "load_5min": round(load[1], 2), "load_15min": round(load[2], 2)}
