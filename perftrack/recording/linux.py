"""Linux only: processes straight from /proc, and what psutil does not give of the system.

psutil reads /proc/PID/stat two or three times a process; one read serves here, which is most of what a tick costs.
`portable.py` does the same through psutil alone; a test compares the two. Fields: proc_pid_stat(5), proc_pid_io(5).
"""

from __future__ import annotations

import os
import pwd
import time

import psutil

from perftrack.recording import command
from perftrack.sample import COMPUTED_BOOT_KEY
from perftrack.text import readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from perftrack.sample import Row

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_MS_PER_TICK = 1000 // TICKS_PER_SECOND
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SECTOR_BYTES = 512  # in /proc/diskstats, whatever the disk's own
_NAME_MAX_BYTES = 15  # the kernel keeps no more of a program's name (TASK_COMM_LEN); its own threads' are whole
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD in the flags field
_usernames: dict[int, str] = {}
# What is read of a process again and again stays open, by PID and name: reading takes a third of opening, reading and
# closing, and where a PID is another process's by now, the open file says that its own has ended.
_open_files: dict[int, dict[str, int]] = {}
_descriptors: set[int] = set()
_OPEN_FILES_MAX = min(2000, os.sysconf("SC_OPEN_MAX") - 256)
# The same for files of the whole system, by path.
_system_files: dict[str, int] = {}
# Processes that were not wanted the last time: their names are read first, and mostly nothing else.
_unwanted: set[int] = set()


def boot_key() -> str:
    """Return the kernel's ID of this boot, or one made from the boot time where it has none (gVisor)."""
    try:
        return _read_system("/proc/sys/kernel/random/boot_id").decode("ascii").strip()
    except OSError:
        return f"{COMPUTED_BOOT_KEY}{time.time() - uptime_seconds():.0f}"


def uptime_seconds() -> float:
    """Return the time since boot, suspend included (CLOCK_BOOTTIME, the clock of process start times too)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def own_username() -> str:
    """Return the name of the user that this program runs as."""
    return _username(os.geteuid()) or ""


def pressure_ms(resource: str) -> int | None:
    """Return how long some task has waited for *resource* (cpu, memory, io) since boot; None: no PSI here."""
    try:
        some = _read_system(f"/proc/pressure/{resource}").partition(b"\n")[0]
    except OSError:
        return None
    return int(some.rpartition(b"total=")[2]) // 1000 if some.startswith(b"some") else None


def cpu_counters() -> Row:
    """Return the cpu counters of system_sample, proc_stat(5). Raises: OSError, ValueError where they are not told."""
    ticks = _read_system("/proc/stat", 512).split(None, 9)[1:9]
    user, nice, system, idle, iowait, irq, softirq, steal = [int(number) * _MS_PER_TICK for number in ticks]
    return {
        "cpu_user_ms": user + nice,
        "cpu_system_ms": system + irq + softirq,
        "cpu_idle_ms": idle,
        "cpu_iowait_ms": iowait,
        "cpu_steal_ms": steal,
    }


def memory_bytes() -> tuple[int, int, int]:
    """Return memory in all, available and used as psutil has them. Raises: OSError, ValueError."""
    meminfo = _read_system("/proc/meminfo")
    total, available = _field(meminfo, b"MemTotal:"), _field(meminfo, b"\nMemAvailable:")
    if total is None or not available or available > total:  # an old kernel or a container: psutil estimates
        memory = psutil.virtual_memory()
        return memory.total, memory.available, memory.used
    return total * 1024, available * 1024, (total - available) * 1024


def swap_bytes() -> tuple[int, int]:
    """Return swap space, and how much of it is in use. Raises: OSError, ValueError where that is not told."""
    meminfo = _read_system("/proc/meminfo")
    total, free = _field(meminfo, b"\nSwapTotal:"), _field(meminfo, b"\nSwapFree:")
    if total is None or free is None:
        raise ValueError("no swap in /proc/meminfo")
    return total * 1024, (total - free) * 1024


def disk_bytes() -> tuple[int, int] | None:
    """Return what was read from and written to all disks, partitions not counted again. None: there are none.

    Fields: https://docs.kernel.org/admin-guide/iostats.html. Raises: OSError where that is not told.
    """
    disks = {name.replace(b"!", b"/") for name in os.listdir(b"/sys/block")}
    found = False
    sectors_read = sectors_written = 0
    for line in _read_system("/proc/diskstats").splitlines():
        fields = line.split(None, 10)
        if fields[2] in disks:
            found = True
            sectors_read += int(fields[5])
            sectors_written += int(fields[9])
    return (sectors_read * _SECTOR_BYTES, sectors_written * _SECTOR_BYTES) if found else None


def network_bytes() -> tuple[int, int] | None:
    """Return what was sent and received over all interfaces, proc_net(5). None: there are none. Raises: OSError."""
    received = sent = 0
    lines = _read_system("/proc/net/dev").splitlines()[2:]
    for line in lines:
        fields = line.rpartition(b":")[2].split(None, 9)
        received += int(fields[0])
        sent += int(fields[8])
    return (sent, received) if lines else None


def forget_all_but(pids: list[int]) -> None:
    """Close what is open of processes that are gone."""
    for pid in (_open_files.keys() | _unwanted).difference(pids):
        _forget(pid)


def read_process(pid: int, wanted: Callable[[str], bool] | None = None) -> Row | None:
    """Return what /proc/PID/stat says: identity, CPU counters, threads and memory.

    None: it has ended, or its name is not *wanted*. `read_at` is the instant of the reading (uptime_seconds),
    `denied` whether some field was refused. Raises: PermissionError where all of it is.
    """
    try:
        if wanted is not None and pid in _unwanted:
            comm = _read_again(pid, "comm", 128).removesuffix(b"\n")
            if len(comm) != _NAME_MAX_BYTES and not wanted(readable(comm)):
                return None
        stat = _read_again(pid, "stat", 1024)
    except PermissionError:
        raise
    except OSError:
        return None
    end_of_name = stat.rfind(b")")
    comm = stat[stat.find(b"(") + 1 : end_of_name]
    fields = stat[end_of_name + 2 :].split(None, 22)
    name = readable(comm) if len(comm) != _NAME_MAX_BYTES else _full_name(pid, comm, int(fields[6]))
    if wanted is not None and not wanted(name):
        if pid not in _unwanted:
            _forget(pid)
            _unwanted.add(pid)
        return None
    _unwanted.discard(pid)
    return {
        "pid": pid,
        "started_ticks": int(fields[19]),
        "name": name,
        "ppid": int(fields[1]),
        "cpu_user_ms": int(fields[11]) * _MS_PER_TICK,
        "cpu_system_ms": int(fields[12]) * _MS_PER_TICK,
        "rss_bytes": int(fields[21]) * _PAGE_BYTES,
        "vms_bytes": int(fields[20]),
        "num_threads": int(fields[17]),
        "read_at": uptime_seconds(),
        "zombie": fields[0] == b"Z",
        "denied": False,
    }


def read_memory_and_io(row: Row) -> None:
    """Add exact memory (stat's is a cached estimate) and disk counters; keep what is known if it has ended."""
    pid = row["pid"]
    row["read_bytes"] = row["write_bytes"] = None
    try:
        size, resident = _read_again(pid, "statm", 128).split()[:2]
        row["vms_bytes"], row["rss_bytes"] = int(size) * _PAGE_BYTES, int(resident) * _PAGE_BYTES
        io = _read_again(pid, "io", 512)
        row["read_bytes"], row["write_bytes"] = _field(io, b"\nread_bytes:"), _field(io, b"\nwrite_bytes:")
    except PermissionError:
        row["denied"] = True
    except OSError:
        pass


def read_owner_and_command(row: Row, record_command: str = command.FULL) -> None:
    """Add the real user's name and of the command line what is to be recorded; None for what is refused or gone."""
    pid = row["pid"]
    row["username"] = row["command"] = None
    try:
        row["username"] = _username(_field(_read(f"/proc/{pid}/status", 4096), b"\nUid:"))
        arguments = _read(f"/proc/{pid}/cmdline", command.MAX_BYTES + 64).rstrip(b"\0 ")
    except PermissionError:
        row["denied"] = True
    except OSError:
        pass
    else:
        if not row["zombie"]:  # a zombie has given its command line back
            row["command"] = command.recorded(arguments, record_command)


def seconds_since_start(row: Row) -> float | None:
    """Return the age of a process when it was read."""
    return float(row["read_at"]) - float(row["started_ticks"]) / TICKS_PER_SECOND


def _full_name(pid: int, comm: bytes, flags: int) -> str:
    """Return the name of a process whose name the kernel may have cut: its program's, if that begins the same.

    As psutil does, which counts characters, and takes a command line that does not end with NUL for one whose
    arguments spaces separate.
    """
    cut = len(comm.decode("utf-8", "surrogateescape")) == _NAME_MAX_BYTES
    if cut and not flags & _KERNEL_THREAD:
        try:
            arguments = _read_again(pid, "cmdline", command.MAX_BYTES)
        except OSError:
            return readable(comm)
        whole = len(arguments) < command.MAX_BYTES
        separator = b"\0" if arguments.endswith(b"\0") or not whole else b" "
        program, _, others = arguments.partition(separator)
        if not others:
            program = program.partition(b" ")[0]
        program = program.rpartition(b"/")[2]
        if program.startswith(comm):
            return readable(program)
    return readable(comm)


def _field(text: bytes, label: bytes) -> int | None:
    """Return the first number behind *label*, or None where there is no such line."""
    found = text.find(label)
    return None if found < 0 else int(text[found + len(label) :].split(None, 1)[0])


def _username(uid: int | None) -> str | None:
    if uid is None:
        return None
    if uid not in _usernames:
        try:
            _usernames[uid] = pwd.getpwuid(uid).pw_name
        except KeyError:
            _usernames[uid] = str(uid)
    return _usernames[uid]


def _read(path: str, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def _read_system(path: str, size: int | None = None) -> bytes:
    """Return the first *size* bytes of a file, or all of it; keep it open."""
    descriptor = _system_files.get(path)
    if descriptor is None:
        descriptor = _system_files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if size is not None:
        return os.pread(descriptor, size, 0)
    text = b""
    while part := os.pread(descriptor, 16384, len(text)):  # the kernel gives no more than a page of some at once
        text += part
    return text


def _read_again(pid: int, name: str, size: int) -> bytes:
    """Return the beginning of /proc/PID/*name*, and keep the file open if there are not too many."""
    files = _open_files.get(pid)
    if files is not None and name in files:
        try:
            return os.pread(files[name], size, 0)
        except ProcessLookupError:  # this PID may be another process's
            _forget(pid)
    if len(_descriptors) >= _OPEN_FILES_MAX:
        return _read(f"/proc/{pid}/{name}", size)
    descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    _open_files.setdefault(pid, {})[name] = descriptor
    _descriptors.add(descriptor)
    return os.read(descriptor, size)


def _forget(pid: int) -> None:
    _unwanted.discard(pid)
    for descriptor in _open_files.pop(pid, {}).values():
        os.close(descriptor)
        _descriptors.remove(descriptor)
