"""The plain form in which one sample travels from recording to storage. Imports nothing: the tick pays for it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Row = dict[str, Any]

# The columns of system_sample that together are all the CPU time there was.
CPU_COUNTERS = ("cpu_user_ms", "cpu_system_ms", "cpu_idle_ms", "cpu_iowait_ms", "cpu_steal_ms")
# A boot's key begins with this where the system has no ID for it and the boot time must do.
COMPUTED_BOOT_KEY = "boot time "


class Sample:
    """One reading of the machine. Rows are keyed by column name (models.py says what each means); instants are
    text as SQLAlchemy's SQLite DateTime writes them; None is NULL: not known, not on this system, or refused.
    """

    __slots__ = ("boot", "host", "processes", "recorder", "system")

    def __init__(self, host: Row, boot: Row, recorder: Row | None, system: Row, processes: list[Row]) -> None:
        """*host*: name. *boot*: key, booted_at. *recorder*: username, selection; None: not known (of a sample that an
        earlier perftrack kept). *system*: all of system_sample but its ids. *processes*: a row each with all of
        process and process_sample but their ids, and `filter`, the string that selected it (empty: another reason).
        """
        self.host = host
        self.boot = boot
        self.recorder = recorder
        self.system = system
        self.processes = processes


class Baseline:
    """The earlier counters that percentages are measured from, all of the same boot."""

    __slots__ = ("processes", "system", "uptime_seconds")

    def __init__(
        self, uptime_seconds: float, system: Row, processes: dict[tuple[int, int | None], tuple[int, float]]
    ) -> None:
        """*uptime_seconds*: when they were read, as time since boot. *system*: the cpu counters of system_sample.
        *processes*: by PID and started_ticks, a process's CPU milliseconds and when they were read.
        """
        self.uptime_seconds = uptime_seconds
        self.system = system
        self.processes = processes
