"""Files of /proc. What is read again and again stays open: reading takes a third of opening, reading and closing."""

from __future__ import annotations

import os

# Of processes, by PID and name. Where a PID is another process's by now, the open file says that its own has ended.
_of_processes: dict[int, dict[str, int]] = {}
_descriptors: set[int] = set()
_OPEN_MAX = min(2000, os.sysconf("SC_OPEN_MAX") - 256)
# Of the whole system, by path.
_of_system: dict[str, int] = {}


def read_system(path: str, size: int | None = None) -> bytes:
    """Return the first *size* bytes of a file of the whole system, or all of it. Raises: OSError."""
    descriptor = _of_system.get(path)
    if descriptor is None:
        descriptor = _of_system[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if size is not None:
        return os.pread(descriptor, size, 0)
    text = b""
    while more := os.pread(descriptor, 16384, len(text)):  # the kernel gives no more than a page of some at once
        text += more
    return text


def read(pid: int, name: str, size: int) -> bytes:
    """Return the first *size* bytes of /proc/PID/*name*; it stays open if not too many are. Raises: OSError."""
    files = _of_processes.get(pid)
    if files is not None and name in files:
        try:
            return os.pread(files[name], size, 0)
        except ProcessLookupError:  # this PID may be another process's
            close(pid)
    if len(_descriptors) >= _OPEN_MAX:
        return read_once(pid, name, size)
    descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    _of_processes.setdefault(pid, {})[name] = descriptor
    _descriptors.add(descriptor)
    return os.read(descriptor, size)


def read_once(pid: int, name: str, size: int) -> bytes:
    """Return the first *size* bytes of /proc/PID/*name*, which is not needed again. Raises: OSError."""
    descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def close(pid: int) -> None:
    """Close what is open of a process."""
    for descriptor in _of_processes.pop(pid, {}).values():
        os.close(descriptor)
        _descriptors.remove(descriptor)


def close_all_but(pids: list[int]) -> None:
    """Close what is open of processes that are gone."""
    for pid in _of_processes.keys() - pids:
        close(pid)


def number(text: bytes, label: bytes) -> int | None:
    """Return the first number behind *label*, or None where there is no such line."""
    found = text.find(label)
    return None if found < 0 else int(text[found + len(label) :].split(None, 1)[0])
