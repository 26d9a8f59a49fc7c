"""Files and folders that are the user's own: nobody else reads them, and no link that lies around is followed."""

from __future__ import annotations

import os
import stat

# No link that another user may have put there is followed, and no named pipe is waited for.
CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def make_folder(folder: str) -> None:
    """Make *folder* and those above it that are missing, with mode 0700 whatever the umask. Raises: OSError."""
    if folder and not os.path.isdir(folder):
        make_folder(os.path.dirname(folder))
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:  # another first run was quicker
            return
        os.chmod(folder, 0o700)


def give_to_owner_of(owned: str, new: str) -> None:
    """Let root leave nothing beside *owned* that its owner cannot read, as SQLite does. Raises: OSError."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and os.path.exists(owned):
        owner = os.stat(owned)
        os.chown(new, owner.st_uid, owner.st_gid, follow_symlinks=False)


def create(path: str) -> int:
    """Return a descriptor of a new file with mode 0600 whatever the umask. Raises: OSError, also where it exists."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)
    return descriptor


def read(path: str, size: int) -> bytes:
    """Return the first *size* bytes of the file at *path*, CAREFULLY. Raises: OSError, also where it is no file."""
    descriptor = os.open(path, os.O_RDONLY | CAREFULLY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(22, "it is not a file", path)
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def is_ours(path: str) -> bool:
    """Return whether what is at *path* (of a link, the link itself) is this user's or root's. Raises: OSError."""
    return os.name != "posix" or os.lstat(path).st_uid in {0, os.geteuid()}


def sync_folder(folder: str) -> None:
    """Put on the disk what is new in *folder*, where the system can. Raises: OSError."""
    if os.name == "posix":
        descriptor = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
