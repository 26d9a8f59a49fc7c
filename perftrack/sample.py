"""The plain form in which one sample travels from recording to storage. Imports nothing: the tick pays for it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from perftrack.rows import BootRow, CgroupRow, HostRow, ProcessRow, RecorderRow, SystemRow

# The columns of system_sample that together are all the CPU time there was.
CPU_COUNTERS = ("cpu_user_ms", "cpu_system_ms", "cpu_idle_ms", "cpu_iowait_ms", "cpu_steal_ms")
# A boot's key begins with this where the system has no ID for it and the boot time must do.
COMPUTED_BOOT_KEY = "boot time "
# CPU counters move in steps of 10 ms: over less than this, they give no percentage.
SHORTEST_SECONDS = 0.05


class Sample:
    """The machine, its chosen processes and its control groups at one instant, as rows: all that is recorded.

    Rows are keyed by column name and have every column of rows.py (models.py says what each means). Instants are
    text as SQLAlchemy's SQLite DateTime writes them. None is NULL: not known, not on this system, or refused.
    """

    __slots__ = ("boot", "cgroups", "host", "processes", "recorder", "system")

    def __init__(
        self,
        host: HostRow,
        boot: BootRow,
        recorder: RecorderRow | None,
        system: SystemRow,
        processes: list[ProcessRow],
        cgroups: list[CgroupRow] | None = None,
    ) -> None:
        """*recorder*: None where it is not known, as in a sample that an earlier perftrack kept.

        *cgroups*: a group before those in it; None: they were not looked at, or there are none.
        """
        self.host = host
        self.boot = boot
        self.recorder = recorder
        self.system = system
        self.processes = processes
        self.cgroups = cgroups


class Baseline:
    """The earlier counters that percentages are measured from, all of the same boot."""

    __slots__ = ("cpu", "processes", "uptime_seconds")

    def __init__(
        self, uptime_seconds: float, cpu: SystemRow, processes: dict[tuple[int, int | None], tuple[int, float]]
    ) -> None:
        """*uptime_seconds*: when they were read, as time since boot. *cpu*: the CPU_COUNTERS of the system.

        *processes*: by PID and started_ticks, a process's CPU milliseconds and when they were read.
        """
        self.uptime_seconds = uptime_seconds
        self.cpu = cpu
        self.processes = processes


def device_set(names: Iterable[str]) -> str:
    """Return device_set.names. What the views could not tell apart from what is between names becomes ?."""
    words = ("".join(each if each.isprintable() and each not in ' "\\' else "?" for each in name) for name in names)
    return " ".join(sorted(words))


def unknown(columns: Iterable[str]) -> Any:
    """Return a row with None for each of *columns*, to be filled with what is known."""
    return dict.fromkeys(columns)
