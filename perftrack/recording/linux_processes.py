"""Linux only: processes straight from /proc.

psutil reads /proc/PID/stat two or three times a process; one read serves here, which is most of what a tick costs.
`portable_processes.py` does the same through psutil alone; a test compares the two. Fields: proc_pid_stat(5),
proc_pid_io(5).
"""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from functools import lru_cache

from perftrack.recording import linux_system, redaction
from perftrack.recording.proc_files import number, processes
from perftrack.recording.redaction import NAME_MAX_BYTES
from perftrack.recording.selection import Candidate, Description
from perftrack.text import storable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from perftrack.rows import ProcessRow

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_MS_PER_TICK = 1000 // _TICKS_PER_SECOND
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD in the flags field
# Processes that were not wanted the last time: their names are read first, and mostly nothing else.
_unwanted: set[int] = set()


def own_username() -> str:
    """Return the name of the user that this program runs as."""
    return _username(os.geteuid())


def forget_all_but(pids: list[int]) -> None:
    """Forget the processes that are gone."""
    processes.close_all_but(pids)
    _unwanted.intersection_update(pids)


def read_process(pid: int, wanted: Callable[[str], bool] | None = None) -> Candidate | None:
    """Return what /proc/PID/stat says: identity, CPU counters, threads and memory.

    None: it has ended, or its name is not *wanted*. Raises: PermissionError where all of it is refused.
    """
    try:
        if wanted is not None and pid in _unwanted:
            comm = processes.read(pid, "comm", 128).removesuffix(b"\n")
            if len(comm) != NAME_MAX_BYTES and not wanted(_name(comm)):
                return None
        stat = processes.read(pid, "stat", 1024)
    except PermissionError:
        raise
    except OSError:
        return None
    end_of_name = stat.rfind(b")")
    comm = stat[stat.find(b"(") + 1 : end_of_name]
    fields = stat[end_of_name + 2 :].split(None, 22)
    is_kernels = bool(int(fields[6]) & _KERNEL_THREAD)
    name = _name(comm) if is_kernels or len(comm) != NAME_MAX_BYTES else _full_name(pid, fields[19], comm)
    if wanted is not None and not wanted(name):
        if pid not in _unwanted:
            processes.close(pid)
            _unwanted.add(pid)
        return None
    _unwanted.discard(pid)
    started_ticks = int(fields[19])
    candidate = Candidate(
        {
            "pid": pid,
            "started_ticks": started_ticks,
            "name": name,
            "ppid": int(fields[1]),
            "cpu_user_ms": int(fields[11]) * _MS_PER_TICK,
            "cpu_system_ms": int(fields[12]) * _MS_PER_TICK,
            "children_user_ms": int(fields[13]) * _MS_PER_TICK,
            "children_system_ms": int(fields[14]) * _MS_PER_TICK,
            "rss_bytes": int(fields[21]) * _PAGE_BYTES,
            "vms_bytes": int(fields[20]),
            "num_threads": int(fields[17]),
            "major_faults": int(fields[9]),
        },
        linux_system.uptime_seconds(),
        started_ticks / _TICKS_PER_SECOND,
        zombie=fields[0] == b"Z",
    )
    if is_kernels:  # it has no program: kworkers call themselves after what they do
        candidate.row["named_itself"] = True
    return candidate


def read_memory_and_io(candidate: Candidate) -> None:
    """Add exact memory (stat's is a cached estimate) and disk counters; keep what is known if it has ended."""
    row = candidate.row
    try:
        size, resident = processes.read(row["pid"], "statm", 128).split()[:2]
        row["vms_bytes"], row["rss_bytes"] = int(size) * _PAGE_BYTES, int(resident) * _PAGE_BYTES
        io = processes.read(row["pid"], "io", 512)
        row["read_bytes"], row["write_bytes"] = number(io, b"\nread_bytes:"), number(io, b"\nwrite_bytes:")
        if row["children_user_ms"] or row["children_system_ms"]:  # which have read and written too
            _read_own_io(row)
    except PermissionError:
        candidate.denied = True
    except OSError:
        pass


def _read_own_io(row: ProcessRow) -> None:
    """Add what a process has read and written by itself, where its only thread tells. Raises: OSError."""
    if row["num_threads"] == 1:
        io = processes.read_once(row["pid"], f"task/{row['pid']}/io", 512)
        row["own_read_bytes"], row["own_write_bytes"] = number(io, b"\nread_bytes:"), number(io, b"\nwrite_bytes:")


def read_owner_and_command(candidate: Candidate, record_command: str = redaction.FULL) -> Description:
    """Return the real user's name and of the command line what is to be recorded, unless it is refused or gone.

    And where it is certain, that the process wrote its name itself.
    """
    pid, name = candidate.row["pid"], candidate.row["name"]
    found = Description({})
    try:
        uid = number(processes.read_once(pid, "status", 4096), b"\nUid:")
        found.row["username"] = None if uid is None else _username(uid)
        arguments = processes.read_once(pid, "cmdline", redaction.MAX_BYTES + 64).rstrip(b"\0 ")
    except PermissionError:
        found.denied = True
    except OSError:
        pass
    else:
        if not candidate.zombie:  # a zombie has given its command line back
            found.row["command"] = redaction.recorded(arguments, record_command)
            # mostly a look at the arguments says that the name is that of its program, or of its script
            if f"/{name}".encode() not in arguments and _has_named_itself(pid, name):
                found.row["named_itself"] = True
    return found


def read_cgroup(pid: int) -> str | None:
    """Return the path of its control group of version 2, proc_pid_cgroup(5). None: it is refused, gone or in none."""
    with suppress(OSError):
        for line in processes.read_once(pid, "cgroup", 4096).splitlines():
            if line.startswith(b"0::/"):
                return storable(os.fsdecode(line[3:].removesuffix(b" (deleted)")))
    return None


@lru_cache(1000)
def _name(comm: bytes) -> str:
    return storable(redaction.masked_name(comm))


@lru_cache(4000)
def _full_name(pid: int, _started_ticks: bytes, comm: bytes) -> str:
    """Return the name of a process whose name the kernel may have cut: its program's, if that begins the same.

    Not what the process says of itself, as in psutil: that may be a title with a password in it. As psutil does, it
    counts characters.
    """
    program = b""
    if len(comm.decode("utf-8", "surrogateescape")) == NAME_MAX_BYTES:
        program = _executable(pid)
        if not program.startswith(comm):
            program = _called(pid)
    return _name(program if program.startswith(comm) else comm)


def _has_named_itself(pid: int, name: str) -> bool:
    """Return whether *name* is certainly not what its program gave a process: it called prctl(2), PR_SET_NAME."""
    executable = storable(_executable(pid))
    return bool(executable) and not executable.startswith(name) and not storable(_called(pid)).startswith(name)


def _executable(pid: int) -> bytes:
    """Return the name of the file that a process runs, empty where it is refused."""
    try:
        return os.readlink(b"/proc/%d/exe" % pid).removesuffix(b" (deleted)").rpartition(b"/")[2]
    except OSError:
        return b""


def _called(pid: int) -> bytes:
    """Return by which name a process's program was called, maybe a link's; empty where that is no program's."""
    try:
        path = processes.read_once(pid, "cmdline", redaction.MAX_BYTES).partition(b"\0")[0].removeprefix(b"-")
    except OSError:
        return b""
    return path.rpartition(b"/")[2] if redaction.is_program(path) else b""


@lru_cache(1000)
def _username(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
