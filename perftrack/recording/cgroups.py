"""Linux only: control groups of version 2, what each of them and all below it have used.

https://docs.kernel.org/admin-guide/cgroup-v2.html says what the files hold. cpu.stat is in every group; the others
are where their controller is on.
"""

from __future__ import annotations

import os
from contextlib import suppress

from perftrack.recording import linux_system
from perftrack.recording.proc_files import OpenFiles, number, read_system
from perftrack.sample import unknown
from perftrack.storage.tick_sql import CGROUP_COLUMNS, CGROUP_SAMPLE_COLUMNS
from perftrack.text import storable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perftrack.rows import CgroupRow

_COLUMNS = CGROUP_COLUMNS + CGROUP_SAMPLE_COLUMNS
_LEAF_LINKS = 2  # of a folder without folders in it: kernfs counts them
_mounts: dict[str, OpenFiles] = {}


def read_cgroups(depth: int, patterns: Sequence[str]) -> list[CgroupRow] | None:
    """Return the row of each group, a group before those in it. None: there are none of version 2 to be seen.

    *depth*: how far below the outermost. *patterns*: of paths; one of them has to match, but for the outermost's.
    """
    found = _mount()
    if found is None:
        return None
    root, folder = found
    files = _mounts.setdefault(folder, OpenFiles(folder))
    rows = []
    seen = []
    disks: set[bytes] | None = None
    for below, inode in _walk(folder, depth):
        path = storable(f"{root}{below}") or "/"
        if below and not _matches(path, patterns):
            continue
        row: CgroupRow = unknown(_COLUMNS)
        row |= {"path": path, "inode": inode}
        try:
            _read_cpu(files, below, row)
            on = files.read(below, "cgroup.controllers", 256).split()
            if b"memory" in on:
                _read_memory(files, below, row)
            if b"pids" in on:
                row["tasks"] = _whole(files, below, "pids.current")
            if b"io" in on:
                disks = linux_system.disk_numbers() if disks is None else disks
                _read_io(files, below, row, disks)
        except OSError:  # it has been removed just now
            continue
        seen.append(below)
        rows.append(row)
    files.close_all_but(seen)
    return rows


def _matches(path: str, patterns: Sequence[str]) -> bool:
    if "*" in patterns:
        return True
    from fnmatch import fnmatchcase

    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _mount() -> tuple[str, str] | None:
    """Return which group the outermost is that can be seen, as /proc/PID/cgroup begins with it, and its folder.

    In a container it can be one below the kernel's. Source: proc_pid_mountinfo(5).
    """
    best = None
    with suppress(OSError):
        for line in read_system("/proc/self/mountinfo").splitlines():
            place, _, kind = line.partition(b" - ")
            if kind.startswith(b"cgroup2 "):
                root, folder = (_unescaped(field) for field in place.split()[3:5])
                outside = root.startswith("/..")  # of the namespace: no process of ours has such a path
                if not outside and (best is None or len(root) < len(best[0])):
                    best = root.rstrip("/"), folder
    return best


def _unescaped(field: bytes) -> str:
    """Return a path of mountinfo, where blanks and backslashes are octal."""
    for escaped, character in ((rb"\040", b" "), (rb"\011", b"\t"), (rb"\012", b"\n"), (rb"\134", b"\\")):
        field = field.replace(escaped, character)
    return os.fsdecode(field)


def _walk(folder: str, depth: int, below: str = "") -> Iterator[tuple[str, int]]:
    """Yield each group's path below *folder* (the outermost: nothing) and its inode, a group before those in it."""
    try:
        seen = os.stat(folder + below)
        yield below, seen.st_ino
        if depth > 0 and seen.st_nlink != _LEAF_LINKS:
            names = sorted(entry.name for entry in os.scandir(folder + below) if entry.is_dir())
            for name in names:
                yield from _walk(folder, depth - 1, f"{below}/{name}")
    except OSError:  # it has been removed just now
        return


def _read_cpu(files: OpenFiles, below: str, row: CgroupRow) -> None:
    """Add the CPU counters. The user's time is rounded, and the sum is: so it never grows by too much."""
    stat = files.read(below, "cpu.stat", 1024)
    usage, user = number(stat, b"usage_usec "), number(stat, b"user_usec ")
    if usage is not None and user is not None:
        row["cpu_user_ms"] = user // 1000
        row["cpu_system_ms"] = usage // 1000 - user // 1000


def _read_memory(files: OpenFiles, below: str, row: CgroupRow) -> None:
    row["memory_bytes"] = _whole(files, below, "memory.current")
    row["memory_peak_bytes"] = _whole(files, below, "memory.peak")
    with suppress(FileNotFoundError):  # the kernel's outermost has none of them
        row["oom_kills"] = number(files.read(below, "memory.events", 512), b"\noom_kill ")


def _read_io(files: OpenFiles, below: str, row: CgroupRow, disks: set[bytes]) -> None:
    """Add what was read and written, of the same disks as the system's sum: of stacked ones it counts once."""
    with suppress(FileNotFoundError):
        read = written = 0
        for line in files.read(below, "io.stat", 16384).splitlines():
            if line.partition(b" ")[0] in disks:
                read += number(line, b" rbytes=") or 0
                written += number(line, b" wbytes=") or 0
        row["read_bytes"], row["write_bytes"] = read, written


def _whole(files: OpenFiles, below: str, name: str) -> int | None:
    """Return the number that a file is. None: this kernel does not have the file."""
    try:
        return int(files.read(below, name, 32))
    except FileNotFoundError:
        return None
