"""Where a new database is made before it gets its name, and what is left of one whose maker was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress

from perftrack.private import is_ours

_SUFFIX = ".new"
_NO_LOCKS = -1


@contextmanager
def folder_beside(path: str) -> Generator[str]:
    """Yield a new private folder beside *path*, which is gone at the end with all that is in it. Raises: OSError."""
    remove_abandoned(path)
    held = None
    while held is None:
        folder = tempfile.mkdtemp(prefix=_prefix(path), suffix=_SUFFIX, dir=os.path.dirname(path))
        with suppress(FileNotFoundError):  # see _hold
            os.chmod(folder, 0o700)  # whatever the umask
        held = _hold(folder)
    try:
        yield folder
    finally:
        _remove(folder, held)


def remove_abandoned(path: str) -> None:
    """Remove such folders beside *path* of programs that were killed; who is alive holds a lock on its own."""
    for name in os.listdir(os.path.dirname(path)):
        folder = os.path.join(os.path.dirname(path), name)
        if name.startswith(_prefix(path)) and name.endswith(_SUFFIX):
            with suppress(OSError):  # it is no folder, or this user may not
                held = _hold(folder) if is_ours(folder) else None
                if held is not None and held != _NO_LOCKS:
                    _remove(folder, held)


def _prefix(path: str) -> str:
    return f".{os.path.basename(path)}."


def _hold(folder: str) -> int | None:
    """Return a descriptor that holds *folder* as long as it is open; None: another holds it, or has removed it.

    The kernel lets go of it when the program ends, however it does. It is of the folder and not of the database in
    it, because closing a descriptor of that would drop SQLite's own locks.
    _NO_LOCKS: there are none to be had here. Raises: OSError.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return _NO_LOCKS
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a file system without
        os.close(descriptor)
        return _NO_LOCKS
    if not os.path.lexists(folder):  # whoever held it before has removed it
        os.close(descriptor)
        return None
    return descriptor


def _remove(folder: str, held: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if held != _NO_LOCKS:
        os.close(held)
