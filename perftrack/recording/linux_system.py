"""Linux only: what a sample has of the system. portable_system.py does the same through psutil alone."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import psutil

from perftrack.recording.proc_files import number, read_system
from perftrack.sample import COMPUTED_BOOT_KEY, device_set

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perftrack.rows import SystemRow

_MS_PER_TICK = 1000 // os.sysconf("SC_CLK_TCK")
BLOCK_DEVICES, INTERFACES = "/sys/block", "/sys/class/net"
_STAT_MAX_BYTES = 1 << 18  # the kernel makes all of it at each read: a line of it tells every interrupt
_SECTOR_BYTES = 512  # in /proc/diskstats, whatever the disk's own
# The inodes of the namespaces of the first process, include/linux/proc_ns.h and include/uapi/linux/nsfs.h.
_INITIAL_NAMESPACES = (("pid", 0xEFFFFFFC), ("time", 0xEFFFFFFA))


def boot_key() -> str:
    """Return the kernel's ID of this boot, or one made from the boot time where it has none (gVisor).

    Containers have that ID too, but processes or a time since boot of their own: theirs has their namespaces with it.
    """
    try:
        key = read_system("/proc/sys/kernel/random/boot_id").decode("ascii").strip()
    except OSError:
        return f"{COMPUTED_BOOT_KEY}{time.time() - uptime_seconds():.0f}"
    for name, initial in _INITIAL_NAMESPACES:
        with suppress(OSError):  # not in this kernel
            namespace = os.stat(f"/proc/self/ns/{name}").st_ino
            if namespace != initial:
                key += f" {name}:{namespace}"
    return key


def uptime_seconds() -> float:
    """Return the time since boot, suspend included (CLOCK_BOOTTIME, the clock of process start times too)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def cpu_counters() -> SystemRow:
    """Return the CPU_COUNTERS, and what else proc_stat(5) tells. Raises: OSError, ValueError."""
    stat = read_system("/proc/stat", _STAT_MAX_BYTES)
    ticks = stat.split(None, 9)[1:9]
    user, nice, system, idle, iowait, irq, softirq, steal = [int(count) * _MS_PER_TICK for count in ticks]
    return {
        "cpu_user_ms": user + nice,
        "cpu_system_ms": system + irq + softirq,
        "cpu_idle_ms": idle,
        "cpu_iowait_ms": iowait,
        "cpu_steal_ms": steal,
        "forks": number(stat, b"\nprocesses "),
        "context_switches": number(stat, b"\nctxt "),
        "tasks_running": number(stat, b"\nprocs_running "),
        "tasks_blocked": number(stat, b"\nprocs_blocked "),
    }


def memory() -> SystemRow:
    """Return memory as psutil has it, and swap space, proc_meminfo(5). Raises: OSError, ValueError, RuntimeError."""
    meminfo = read_system("/proc/meminfo")
    total, available = number(meminfo, b"MemTotal:"), number(meminfo, b"\nMemAvailable:")
    swap_total, swap_free = number(meminfo, b"\nSwapTotal:"), number(meminfo, b"\nSwapFree:")
    row: SystemRow = {}
    if total is None or not available or available > total:  # an old kernel or a container: psutil estimates
        estimate = psutil.virtual_memory()
        row["mem_total_bytes"] = estimate.total
        row["mem_available_bytes"] = estimate.available
        row["mem_used_bytes"] = estimate.used
    else:
        row["mem_total_bytes"] = total * 1024
        row["mem_available_bytes"] = available * 1024
        row["mem_used_bytes"] = (total - available) * 1024
    if swap_total is not None and swap_free is not None:
        row["swap_total_bytes"] = swap_total * 1024
        row["swap_used_bytes"] = (swap_total - swap_free) * 1024
    return row


def disks() -> SystemRow:
    """Return what was read from and written to all disks, see system_sample.disk_read_bytes; nothing: there are none.

    Fields: https://docs.kernel.org/admin-guide/iostats.html. Raises: OSError.
    """
    counted = _disks()
    if not counted:
        return {}
    return {
        "disk_set": _device_set([folder for folder, _ in counted]),
        "disk_read_bytes": sum(int(fields[5]) for _, fields in counted) * _SECTOR_BYTES,
        "disk_write_bytes": sum(int(fields[9]) for _, fields in counted) * _SECTOR_BYTES,
    }


def disk_numbers() -> set[bytes]:
    """Return the numbers of the disks that are added up, as MAJOR:MINOR. Raises: OSError."""
    return {b"%b:%b" % (fields[0], fields[1]) for _, fields in _disks()}


def _disks() -> list[tuple[str, list[bytes]]]:
    """Return the folder and the fields of each disk that is added up. Raises: OSError."""
    blocks = os.listdir(BLOCK_DEVICES)
    hardware = [name for name in blocks if os.path.exists(f"{BLOCK_DEVICES}/{name}/device")]
    names = {
        name.replace("!", "/").encode(): f"{BLOCK_DEVICES}/{name}"
        for name in hardware or blocks
        if not name.startswith("loop")
    }
    lines = (line.split(None, 10) for line in read_system("/proc/diskstats").splitlines())
    return [(names[fields[2]], fields) for fields in lines if fields[2] in names]


def network() -> SystemRow:
    """Return what was sent and received over all interfaces, proc_net(5); nothing where there are none.

    Raises: OSError.
    """
    received = sent = 0
    folders = []
    for line in read_system("/proc/net/dev").splitlines()[2:]:
        name, _, values = line.rpartition(b":")
        fields = values.split(None, 9)
        folders.append(f"{INTERFACES}/{os.fsdecode(name.strip())}")
        received += int(fields[0])
        sent += int(fields[8])
    if not folders:
        return {}
    return {"net_set": _device_set(folders), "net_sent_bytes": sent, "net_received_bytes": received}


def _device_set(folders: list[str]) -> str:
    """Return device_set.names of the devices with these folders in /sys, of which some may not be there."""
    names = []
    for folder in folders:
        name = os.path.basename(folder)
        try:
            names.append(f"{name}:{os.stat(folder).st_ino}")
        except OSError:  # no /sys, as in some containers
            names.append(name)
    return device_set(names)


def pressure() -> SystemRow:
    """Return how long some task has waited for each resource since boot (PSI). Raises: OSError where it is off."""
    return {
        "pressure_cpu_ms": _pressure_ms("cpu"),
        "pressure_memory_ms": _pressure_ms("memory"),
        "pressure_io_ms": _pressure_ms("io"),
    }


def _pressure_ms(resource: str) -> int | None:
    some = read_system(f"/proc/pressure/{resource}").partition(b"\n")[0]
    return int(some.rpartition(b"total=")[2]) // 1000 if some.startswith(b"some") else None


def oom_kills() -> SystemRow:
    """Return how many processes were killed for want of memory. Raises: OSError."""
    return {"oom_kills": number(read_system("/proc/vmstat", _STAT_MAX_BYTES), b"\noom_kill ")}


# What the sampler adds to the system's row; of one that fails, nothing.
READERS = (memory, disks, network, pressure, oom_kills)
