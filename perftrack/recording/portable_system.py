"""What a sample has of the system through psutil alone, for systems other than Linux. See linux_system.py."""

from __future__ import annotations

import time

import psutil

from perftrack.sample import COMPUTED_BOOT_KEY, device_set

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perftrack.rows import SystemRow

BOOTED_AT = psutil.boot_time()
_MONOTONIC_TO_UPTIME = time.time() - BOOTED_AT - time.monotonic()


def boot_key() -> str:
    """Return the boot time as an ID of this boot; storage knows that it wanders by a second or two."""
    return f"{COMPUTED_BOOT_KEY}{BOOTED_AT:.0f}"


def uptime_seconds() -> float:
    """Return the time since boot: by the wall clock when the program started, then without its steps."""
    return time.monotonic() + _MONOTONIC_TO_UPTIME


def cpu_counters() -> SystemRow:
    """Return the CPU_COUNTERS and context switches; None: not counted here. Raises: OSError, RuntimeError."""
    times = psutil.cpu_times()

    def milliseconds(*names: str) -> int | None:
        present = [getattr(times, name) for name in names if hasattr(times, name)]
        return round(sum(present) * 1000) if present else None

    return {
        "cpu_user_ms": milliseconds("user", "nice"),
        "cpu_system_ms": milliseconds("system", "irq", "softirq"),
        "cpu_idle_ms": milliseconds("idle"),
        "cpu_iowait_ms": milliseconds("iowait"),
        "cpu_steal_ms": milliseconds("steal"),
        "context_switches": psutil.cpu_stats().ctx_switches,
    }


def memory() -> SystemRow:
    """Return memory. Raises: OSError, RuntimeError."""
    memory = psutil.virtual_memory()
    return {
        "mem_total_bytes": memory.total,
        "mem_available_bytes": memory.available,
        "mem_used_bytes": memory.used,
    }


def swap() -> SystemRow:
    """Return swap space. Raises: OSError, RuntimeError."""
    swap = psutil.swap_memory()
    return {"swap_total_bytes": swap.total, "swap_used_bytes": swap.used}


def disks() -> SystemRow:
    """Return what was read from and written to all disks; nothing where there are none. Raises: as memory()."""
    # as the kernel has it, without what psutil adds in a loop when a disk goes and its counters with it
    disks = psutil.disk_io_counters(perdisk=True, nowrap=False)
    if not disks:
        return {}
    return {
        "disk_set": device_set(disks),
        "disk_read_bytes": sum(io.read_bytes for io in disks.values()),
        "disk_write_bytes": sum(io.write_bytes for io in disks.values()),
    }


def network() -> SystemRow:
    """Return what was sent and received over all interfaces; nothing where there are none. Raises: as memory()."""
    interfaces = psutil.net_io_counters(pernic=True, nowrap=False)
    if not interfaces:
        return {}
    return {
        "net_set": device_set(interfaces),
        "net_sent_bytes": sum(io.bytes_sent for io in interfaces.values()),
        "net_received_bytes": sum(io.bytes_recv for io in interfaces.values()),
    }


# What the sampler adds to the system's row; of one that fails, nothing.
READERS = (memory, swap, disks, network)
