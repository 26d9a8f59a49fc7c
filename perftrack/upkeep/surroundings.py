"""What is around the database: whose files they are, its log, what waits, what failed, and room on the disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from perftrack import figures
from perftrack.reading.status import failures_of
from perftrack.storage import pending
from perftrack.storage.openers import openers
from perftrack.storage.sqlite_file import (
    LOG_BYTES_MAX,
    disk_free_bytes,
    failures_file,
    log_bytes,
    pending_folder,
    side_files,
)

if os.name == "posix":
    import grp
    import pwd

    from perftrack.storage.unit_names import name_of_user

_OTHERS = 0o007
_MIB = 1 << 20


class Finding(NamedTuple):
    """One thing that was looked at. *ok*: None where it could not be looked at, as the *text* says, or needs not be.

    *text*: where it is not as it should be, what is wrong and what to do.
    """

    name: str
    ok: bool | None
    text: str


def findings(database: str, disk_floor_mib: int, recorded_at: datetime | None) -> Iterator[Finding]:
    """Yield what is found around *database*. *recorded_at*: when its newest sample was recorded."""
    yield _log(database)
    yield _pending(database)
    yield _failures(database, recorded_at)
    yield _disk(database, disk_floor_mib)


def recorder(database: str, username: str) -> Finding:
    """Return whether the user who took the newest sample owns the database; root need not."""
    owner = name_of_user(os.stat(database).st_uid)
    if username in {"root", owner} or not _is_user(username):
        return Finding("recorder", True, username)
    wrong = f"{database} belongs to {owner}, but {username} records into it: `chown {username}` it"
    return Finding("recorder", False, wrong)


def ownership(database: str) -> Iterator[Finding]:
    """Yield whose the database and the files beside it are, and who else can use them."""
    files = [file for file in (database, *side_files(database)) if os.path.lexists(file)]
    owner = os.stat(database).st_uid
    whose = name_of_user(owner)
    wrong = [
        f"{file} belongs to {name_of_user(found)}, and not to {whose} as the database: `chown {whose}` it"
        for file in files[1:]
        if (found := os.lstat(file).st_uid) != owner
    ]
    yield Finding("owner", not wrong, "; ".join(wrong) or whose)
    folder = os.path.dirname(database) or "."
    above = os.stat(folder)
    wrong = [
        f"{file} can be used by any user: `chmod {'700' if os.path.isdir(file) else '600'}` it"
        for file in files
        if os.stat(file).st_mode & _OTHERS
    ]
    if above.st_mode & stat.S_IWOTH:
        wrong.append(f"anybody can write to {folder}: keep the database in a folder of your own")
    if not _may_write(owner, folder, above):
        wrong.append(f"{whose} cannot write to {folder}, where SQLite keeps its log: `chown` or `chmod` it")
    yield Finding("modes", not wrong, "; ".join(wrong) or "private, in a folder that can be written to")


def _is_user(name: str) -> bool:
    """Return whether this system knows the user: a database can come from another machine."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return name.isdigit()
    return True


def _may_write(uid: int, folder: str, found: os.stat_result) -> bool:
    """Return whether user *uid* can write to *folder*; of others than this one by its mode alone."""
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return False
    if uid == os.geteuid():
        return os.access(folder, os.W_OK | os.X_OK)
    if found.st_uid == uid:
        return found.st_mode & 0o300 == 0o300
    of_group = found.st_mode & 0o030 == 0o030
    return uid == 0 or (of_group and found.st_gid in _groups(uid)) or found.st_mode & 0o003 == 0o003


def _groups(uid: int) -> set[int]:
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        return set()
    return {found.pw_gid, *(group.gr_gid for group in grp.getgrall() if found.pw_name in group.gr_mem)}


def _log(database: str) -> Finding:
    size = log_bytes(database)
    if size <= LOG_BYTES_MAX:
        return Finding("log", True, f"{figures.size(size)}, of {figures.size(LOG_BYTES_MAX)} at most")
    who = ", ".join(f"{opener.name} ({opener.pid})" for opener in openers(database))
    why = f"a program goes on reading, of {who}: end that" if who else "none has it open, so the next tick empties it"
    return Finding(
        "log", False, f"{database}-wal has {figures.size(size)}, above {figures.size(LOG_BYTES_MAX)}: {why}"
    )


def _pending(database: str) -> Finding:
    folder = pending_folder(database)
    if not os.path.lexists(folder):
        return Finding("pending", True, "no sample waits")
    try:
        refused = [name for name in os.listdir(folder) if name.endswith(".refused")]
    except OSError as error:
        return Finding("pending", None, f"{folder} cannot be looked into: {error.strerror}")
    waiting = pending.count(database)
    wrong = []
    if waiting:
        kept = figures.count(waiting, "sample")
        wrong.append(f"{folder} holds {kept} for a tick that can write: `perftrack record` is one, or says why not")
    if refused:
        files = figures.count(len(refused), "file")
        wrong.append(f"{folder} holds {files} without a sample: look at *.refused, and remove what is of no use")
    return Finding("pending", not wrong, "; ".join(wrong) or "no sample waits")


def _failures(database: str, recorded_at: datetime | None) -> Finding:
    file = failures_file(database)
    if os.path.exists(file) and not os.access(file, os.R_OK):
        return Finding("failures", None, f"{file} cannot be read")
    lasting = [failure for failure in failures_of(database, recorded_at) if failure.recovered_at is None]
    if not lasting:
        return Finding("failures", True, "none that is not over")
    newest = lasting[0]
    lost = f", {figures.count(newest.lost, 'sample')} lost" if newest.lost else ""
    more = f"; and {len(lasting) - 1} more: `perftrack status`" if len(lasting) > 1 else ""
    since, times = figures.local(datetime.fromisoformat(newest.first_at)), figures.count(newest.count, "time")
    text = f"since {since}, {times}{lost}: {newest.message}{more}"
    return Finding("failures", False, text)


def _disk(database: str, floor_mib: int) -> Finding:
    try:
        free = disk_free_bytes(os.path.dirname(database))
    except OSError as error:
        return Finding("disk", None, f"free space is not known: {error.strerror}")
    text = f"{figures.size(free)} free, and below {floor_mib:,} MiB (disk_floor_mib) nothing is recorded"
    if free < floor_mib * _MIB:
        return Finding("disk", False, f"{text}: make room, or set disk_floor_mib lower")
    return Finding("disk", True, text)
