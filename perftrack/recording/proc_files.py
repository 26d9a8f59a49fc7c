"""Files of /proc and of control groups. What is read again and again stays open: that takes a third of the time."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# What reading an open file raises when its process or its control group is gone.
_GONE = (errno.ESRCH, errno.ENODEV)
_OPEN_MAX = min(2000, os.sysconf("SC_OPEN_MAX") - 256)
_descriptors: set[int] = set()
# Of the whole system, by path.
_of_system: dict[str, int] = {}


class OpenFiles:
    """Files of the folders in one folder, such as /proc/PID, that stay open if not too many are."""

    def __init__(self, parent: str) -> None:
        self._parent = parent
        # By folder and name. Where a folder is another one by now, the open file says that its own is gone.
        self._open: dict[int | str, dict[str, int]] = {}

    def path(self, folder: int | str, name: str) -> str:
        """Return where a file is."""
        return f"{self._parent}/{folder}/{name}"

    def read(self, folder: int | str, name: str, size: int) -> bytes:
        """Return the first *size* bytes of a file; it stays open if not too many are. Raises: OSError."""
        files = self._open.get(folder)
        if files is not None and name in files:
            try:
                return os.pread(files[name], size, 0)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self.close(folder)
        if len(_descriptors) >= _OPEN_MAX:
            return self.read_once(folder, name, size)
        descriptor = os.open(self.path(folder, name), os.O_RDONLY | os.O_CLOEXEC)
        self._open.setdefault(folder, {})[name] = descriptor
        _descriptors.add(descriptor)
        return os.read(descriptor, size)

    def read_again(self, folder: int | str, name: str, size: int) -> bytes:
        """Return the first *size* bytes of a file that is open. Raises: KeyError, it is not; OSError, it is gone."""
        return os.pread(self._open[folder][name], size, 0)

    def read_once(self, folder: int | str, name: str, size: int) -> bytes:
        """Return the first *size* bytes of a file that is not needed again. Raises: OSError."""
        descriptor = os.open(self.path(folder, name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, size)
        finally:
            os.close(descriptor)

    def close(self, folder: int | str) -> None:
        """Close what is open of a folder."""
        for descriptor in self._open.pop(folder, {}).values():
            os.close(descriptor)
            _descriptors.remove(descriptor)

    def close_all_but(self, folders: Iterable[int | str]) -> None:
        """Close what is open of folders that are gone."""
        for folder in self._open.keys() - folders:
            self.close(folder)


# Of processes, by PID.
processes = OpenFiles("/proc")


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


def number(text: bytes, label: bytes) -> int | None:
    """Return the first number behind *label*, or None where there is no such line."""
    found = text.find(label)
    return None if found < 0 else int(text[found + len(label) :].split(None, 1)[0])
