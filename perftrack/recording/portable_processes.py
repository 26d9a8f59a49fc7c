"""Processes through psutil alone, for systems other than Linux; what it does not give is None.

linux_processes.py is the same for Linux.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import psutil

from perftrack.recording import portable_system, redaction
from perftrack.recording.selection import Candidate, Description
from perftrack.text import storable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

_TICKS_PER_SECOND = 100


def _children_ms(cpu: Any, name: str) -> int | None:
    """Return CPU time of children that have ended; psutil has 0 where the system does not count it."""
    return None if cpu is None or sys.platform in {"darwin", "win32"} else round(getattr(cpu, name) * 1000)


def own_username() -> str:
    """Return the name of the user that this program runs as."""
    return storable(psutil.Process().username())


def forget_all_but(_pids: list[int]) -> None:
    """Nothing is kept of processes from one sample to the next."""


def read_process(pid: int, wanted: Callable[[str], bool] | None = None) -> Candidate | None:
    """Return identity, CPU counters, threads and memory of a process; see linux_processes.read_process."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            candidate = Candidate({"pid": pid}, portable_system.uptime_seconds())
            name = _name(_allowed(candidate, process.name) or "", process)
            if wanted is not None and not wanted(name):
                return None
            started_at = _allowed(candidate, process.create_time)
            if started_at is not None:
                candidate.started_uptime_seconds = started_at - portable_system.BOOTED_AT
            cpu = _allowed(candidate, process.cpu_times)
            memory = _allowed(candidate, process.memory_info)
            candidate.row |= {
                "started_ticks": None if started_at is None else round(started_at * _TICKS_PER_SECOND),
                "name": name,
                "ppid": _allowed(candidate, process.ppid),
                "cpu_user_ms": None if cpu is None else round(cpu.user * 1000),
                "cpu_system_ms": None if cpu is None else round(cpu.system * 1000),
                "children_user_ms": _children_ms(cpu, "children_user"),
                "children_system_ms": _children_ms(cpu, "children_system"),
                "rss_bytes": None if memory is None else memory.rss,
                "vms_bytes": None if memory is None else memory.vms,
                "num_threads": _allowed(candidate, process.num_threads),
            }
            candidate.read_uptime_seconds = portable_system.uptime_seconds()
            return candidate
    except psutil.NoSuchProcess:
        return None


def read_memory_and_io(candidate: Candidate) -> None:
    """Add disk counters; keep what is known if the process has ended."""
    try:
        process = psutil.Process(candidate.row["pid"])
        if hasattr(process, "io_counters"):  # not on macOS
            io = _allowed(candidate, process.io_counters)
            if io is not None:
                candidate.row |= {"read_bytes": io.read_bytes, "write_bytes": io.write_bytes}
    except psutil.NoSuchProcess:
        pass


def read_owner_and_command(candidate: Candidate, record_command: str = redaction.FULL) -> Description:
    """Return the user's name and of the command line what is to be recorded, unless it is refused or gone."""
    found = Description({})
    try:
        process = psutil.Process(candidate.row["pid"])
        username = _allowed(found, process.username)
        found.row["username"] = None if username is None else storable(username)
        arguments = _allowed(found, process.cmdline)
    except psutil.NoSuchProcess:
        return found
    if arguments is not None:
        joined = "\0".join(arguments).rstrip("\0 ")
        try:
            raw = joined.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a character, which Windows allows
            raw = joined.encode("utf-8", "surrogatepass")
        found.row["command"] = redaction.recorded(raw, record_command)
    return found


def read_cgroup(_pid: int) -> None:
    """There are control groups on Linux only."""


def read_cgroups(_depth: int, _patterns: Sequence[str]) -> None:
    """There are control groups on Linux only."""


def _name(name: str, process: psutil.Process) -> str:
    """Return the recorded *name* of a process.

    See linux_processes._full_name for one that psutil took from its arguments.
    """
    if os.name == "posix" and len(name) >= redaction.NAME_MAX_BYTES:
        programs = [os.path.basename(path) for path in _programs(process)]
        kernels = name[: redaction.NAME_MAX_BYTES]
        name = next((program for program in programs if program.startswith(kernels)), kernels)
    raw = name.encode("utf-8", "surrogatepass")
    return storable(redaction.masked_name(raw).decode("utf-8", "surrogatepass"))


def _programs(process: psutil.Process) -> Iterator[str]:
    """Yield the file that a process runs, and by which other path it was called, as far as that is allowed."""
    with suppress(psutil.Error, OSError):
        yield process.exe().removesuffix(" (deleted)")
    with suppress(psutil.Error, OSError):
        path = (process.cmdline() or [""])[0].removeprefix("-")
        if redaction.is_program(os.fsencode(path)):
            yield path


def _allowed(found: Candidate | Description, read: Callable[[], Any]) -> Any:
    """Return what *read* gives; None where it is refused, which *found* then says, or a zombie's."""
    try:
        return read()
    except psutil.ZombieProcess:
        return None
    except (psutil.AccessDenied, OSError):
        found.denied = True
        return None
