"""Processes through psutil alone, for systems other than Linux; what it cannot tell is None. See linux.py."""

from __future__ import annotations

import time

import psutil

from perftrack.recording import command
from perftrack.sample import COMPUTED_BOOT_KEY
from perftrack.text import readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from perftrack.sample import Row

TICKS_PER_SECOND = 100
_BOOTED_AT = psutil.boot_time()
_MONOTONIC_TO_UPTIME = time.time() - _BOOTED_AT - time.monotonic()


def boot_key() -> str:
    """Return the boot time as an ID of this boot; storage knows that it wanders by a second or two."""
    return f"{COMPUTED_BOOT_KEY}{_BOOTED_AT:.0f}"


def uptime_seconds() -> float:
    """Return the time since boot: by the wall clock when the program started, then without its steps."""
    return time.monotonic() + _MONOTONIC_TO_UPTIME


def own_username() -> str:
    """Return the name of the user that this program runs as."""
    return readable(psutil.Process().username())


def pressure_ms(_resource: str) -> int | None:
    """Return None: pressure-stall information is Linux's."""
    return None


def cpu_counters() -> Row:
    """Return the cpu counters of system_sample; None: not counted here. Raises: OSError, RuntimeError."""
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
    }


def memory_bytes() -> tuple[int, int, int]:
    """Return memory in all, available and used. Raises: OSError, RuntimeError where that is not told."""
    memory = psutil.virtual_memory()
    return memory.total, memory.available, memory.used


def swap_bytes() -> tuple[int, int]:
    """Return swap space, and how much of it is in use. Raises: OSError, RuntimeError where that is not told."""
    swap = psutil.swap_memory()
    return swap.total, swap.used


def disk_bytes() -> tuple[int, int] | None:
    """Return what was read from and written to all disks; None: there are none. Raises: OSError, RuntimeError."""
    # as the kernel has it, without what psutil adds in a loop when a disk goes and its counters with it
    disks = psutil.disk_io_counters(nowrap=False)
    return disks and (disks.read_bytes, disks.write_bytes)


def network_bytes() -> tuple[int, int] | None:
    """Return what was sent and received over all interfaces; None: there are none. Raises: OSError, RuntimeError."""
    interfaces = psutil.net_io_counters(nowrap=False)
    return interfaces and (interfaces.bytes_sent, interfaces.bytes_recv)


def forget_all_but(_pids: list[int]) -> None:
    """Nothing is kept of processes from one sample to the next."""


def read_process(pid: int, wanted: Callable[[str], bool] | None = None) -> Row | None:
    """Return identity, CPU counters, threads and memory of a process; see linux.read_process."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            row: Row = {"pid": pid, "denied": False}
            row["name"] = readable(_allowed(row, process.name) or "")
            if wanted is not None and not wanted(row["name"]):
                return None
            started = _allowed(row, process.create_time)
            cpu = _allowed(row, process.cpu_times)
            memory = _allowed(row, process.memory_info)
            row |= {
                "started_ticks": None if started is None else round(started * TICKS_PER_SECOND),
                "ppid": _allowed(row, process.ppid),
                "cpu_user_ms": None if cpu is None else round(cpu.user * 1000),
                "cpu_system_ms": None if cpu is None else round(cpu.system * 1000),
                "rss_bytes": None if memory is None else memory.rss,
                "vms_bytes": None if memory is None else memory.vms,
                "num_threads": _allowed(row, process.num_threads),
                "read_at": uptime_seconds(),
            }
            return row
    except psutil.NoSuchProcess:
        return None


def read_memory_and_io(row: Row) -> None:
    """Add disk counters; keep what is known if the process has ended."""
    row["read_bytes"] = row["write_bytes"] = None
    try:
        process = psutil.Process(row["pid"])
        if hasattr(process, "io_counters"):  # not on macOS
            io = _allowed(row, process.io_counters)
            if io is not None:
                row["read_bytes"], row["write_bytes"] = io.read_bytes, io.write_bytes
    except psutil.NoSuchProcess:
        pass


def read_owner_and_command(row: Row, record_command: str = command.FULL) -> None:
    """Add the user's name and of the command line what is to be recorded; None for what is refused or gone."""
    row["username"] = row["command"] = None
    try:
        process = psutil.Process(row["pid"])
        username = _allowed(row, process.username)
        row["username"] = None if username is None else readable(username)
        arguments = _allowed(row, process.cmdline)
    except psutil.NoSuchProcess:
        return
    if arguments is not None:
        joined = "\0".join(arguments).rstrip("\0 ")
        try:
            raw = joined.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a character, which Windows allows
            raw = joined.encode("utf-8", "surrogatepass")
        row["command"] = command.recorded(raw, record_command)


def seconds_since_start(row: Row) -> float | None:
    """Return the age of a process when it was read; None where its start was refused."""
    started = row["started_ticks"]
    return None if started is None else float(row["read_at"]) + _BOOTED_AT - started / TICKS_PER_SECOND


def _allowed(row: Row, read: Callable[[], Any]) -> Any:
    """Return what *read* gives, or None and a mark on *row* where access is denied (or it is a zombie's)."""
    try:
        return read()
    except psutil.ZombieProcess:
        return None
    except (psutil.AccessDenied, OSError):
        row["denied"] = True
        return None
