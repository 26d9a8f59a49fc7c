"""Linux only: control groups of version 2, what each of them and all below it have used.

https://docs.kernel.org/admin-guide/cgroup-v2.html says what the files hold. cpu.stat is in every group; the others
are where their controller is on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import lru_cache

from perftrack.recording import linux_system
from perftrack.recording.proc_files import OpenFiles, number, read_system
from perftrack.sample import unknown
from perftrack.storage.tick_sql import CGROUP_COLUMNS, CGROUP_SAMPLE_COLUMNS
from perftrack.text import storable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from perftrack.rows import CgroupRow

_COLUMNS = CGROUP_COLUMNS + CGROUP_SAMPLE_COLUMNS
_STAT_BYTES = 1024
_LEAF_LINKS = 2  # of a folder without folders in it: kernfs counts them


class _Groups:
    """The groups in one folder, and what a loop of samples remembers of them."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.files = OpenFiles(folder)
        # By path below the folder (of the outermost: nothing) a group's inode, its cpu.stat and its row of last time.
        self._known: dict[str, tuple[int, bytes, CgroupRow]] = {}

    def found(self, depth: int) -> Iterator[tuple[str, int, bytes]]:
        """Yield path, inode and cpu.stat of each group, one before those in it."""
        try:
            # as many as last time, and each of those still there: then they are the same
            below_outermost = number(self.files.read("", "cgroup.stat", 512), b"nr_descendants ")
            if below_outermost != len(self._known) - 1:
                raise LookupError
            yield from [
                (below, inode, self.files.read_again(below, "cpu.stat", _STAT_BYTES))
                for below, (inode, _, _) in self._known.items()
            ]
        except (LookupError, OSError):
            for below, inode in _walk(self._folder, depth):
                with suppress(OSError):  # it has been removed just now
                    yield below, inode, self.files.read(below, "cpu.stat", _STAT_BYTES)

    def idle(self, below: str, inode: int, stat: bytes) -> CgroupRow | None:
        """Return the row of last time, where no task has run since."""
        known = self._known.get(below)
        return known[2] if known is not None and known[:2] == (inode, stat) else None

    def controllers(self, parent: str | None) -> list[bytes]:
        """Return what is on in all groups in *parent*, or in the outermost (None). Raises: OSError, it is removed."""
        folder, name = ("", "cgroup.controllers") if parent is None else (parent, "cgroup.subtree_control")
        return self.files.read(folder, name, 256).split()

    def remember(self, groups: dict[str, tuple[int, bytes, CgroupRow]]) -> None:
        """Know these from now on, and no others."""
        self._known = groups
        self.files.close_all_but(groups)


_groups: dict[str, _Groups] = {}


def read_cgroups(depth: int, patterns: Sequence[str]) -> list[CgroupRow] | None:
    """Return the row of each group, a group before those in it. None: there are none of version 2 to be seen.

    *depth*: how far below the outermost. *patterns*: of paths; one of them has to match, but for the outermost's.
    In a loop, one in which no task has run since the last sample has the row that it had then.
    """
    found = mount()
    if found is None:
        return None
    root, folder = found
    groups = _groups.setdefault(folder, _Groups(folder))
    # both once a sample, and only where they are needed
    disks = lru_cache(1)(linux_system.disk_numbers)
    controllers = lru_cache(None)(groups.controllers)
    rows = []
    remembered = {}
    for below, inode, stat in groups.found(depth):
        row = groups.idle(below, inode, stat)
        if row is None:
            try:
                on = controllers(below.rpartition("/")[0] if below else None)
                row = _row(groups.files, below, stat, on, disks)
            except OSError:  # it has been removed just now
                continue
            row |= {"path": storable(f"{root}{below}") or "/", "inode": inode}
        remembered[below] = inode, stat, row
        if not below or _matches(row["path"], patterns):
            rows.append(row)
    groups.remember(remembered)
    return rows


def _row(files: OpenFiles, below: str, stat: bytes, on: list[bytes], disks: Callable[[], set[bytes]]) -> CgroupRow:
    """Return what the files of a group say, of which these controllers are *on*. Raises: OSError, it is removed."""
    row: CgroupRow = unknown(_COLUMNS)
    usage, user = number(stat, b"usage_usec "), number(stat, b"user_usec ")
    if usage is not None and user is not None:
        row["cpu_user_ms"] = user // 1000
        # both are rounded so that their sum is the usage, rounded down
        row["cpu_system_ms"] = usage // 1000 - user // 1000
    if b"memory" in on:
        _read_memory(files, below, row)
    if b"pids" in on:
        row["tasks"] = _whole(files, below, "pids.current")
    if b"io" in on:
        _read_io(files, below, row, disks())
    return row


def _matches(path: str, patterns: Sequence[str]) -> bool:
    if "*" in patterns:
        return True
    from fnmatch import fnmatchcase

    return any(fnmatchcase(path, pattern) for pattern in patterns)


def mount() -> tuple[str, str] | None:
    """Return which group the outermost is that can be seen, as /proc/PID/cgroup begins with it, and its folder.

    In a container it can be one below the kernel's. None: no groups of version 2 are mounted.
    """
    try:
        return _mount(read_system("/proc/self/mountinfo"))
    except OSError:
        return None


@lru_cache(1)
def _mount(mountinfo: bytes) -> tuple[str, str] | None:
    """Return the same, by what proc_pid_mountinfo(5) describes."""
    best = None
    for line in mountinfo.splitlines():
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
