"""The SQLite file and those beside it: names, connections, errors. Standard library only: every tick pays for it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager

from perftrack.errors import PerftrackError, UnusableError, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

OLDEST_SQLITE = (3, 34)  # of Red Hat Enterprise Linux 9; see tests/storage/test_old_sqlite.py
# An import of millions of rows holds the lock for some seconds; the next tick of a crontab is due in a minute.
BUSY_TIMEOUT_SECONDS = 30.0
# Beyond this a write-ahead log is emptied by force. SQLite itself begins it anew at 4 MiB, when nobody reads.
LOG_BYTES_MAX = 16 * 1024 * 1024
# "perf", by which file(1) and perftrack know such a file; PRAGMA application_id.
APPLICATION_ID = 0x70657266
_FILE_TYPE, _REGULAR_FILE = 0o170000, 0o100000  # S_IFMT and S_IFREG, without importing stat
_ANYBODY_WRITES, _ANYBODY_READS, _GROUP_AND_ANYBODY = 0o002, 0o004, 0o077  # S_IWOTH; S_IROTH; S_IRWXG | S_IRWXO
_IMMUTABLE = "ro&immutable=1"  # read without locks, log and files beside it
_MAGIC = b"SQLite format 3\0"  # https://sqlite.org/fileformat.html


def pending_folder(path: str) -> str:
    """Return the folder of what cannot be in the database at *path* (storage/pending.py)."""
    return f"{path}-pending"


def failures_file(path: str) -> str:
    """Return the file of the failures to record into the database at *path* (storage/failures.py)."""
    return f"{path}-failures"


def side_files(path: str) -> tuple[str, ...]:
    """Return what SQLite and perftrack keep beside the database at *path*."""
    return f"{path}-wal", f"{path}-shm", f"{path}-journal", pending_folder(path), failures_file(path)


def log_bytes(path: str) -> int:
    """Return the size of the write-ahead log of the database at *path*."""
    return _size(f"{path}-wal")


def file_id(path: str) -> tuple[int, int] | None:
    """Return device and inode, by which a file that was replaced is noticed; None: there is no file at *path*."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the existing file at *path*, in autocommit mode: transactions are written out.

    It may hold no schema yet. Raises: PerftrackError where there is no such file or it cannot be opened.
    """
    refuse_old_sqlite()
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise UnusableError(f"database {path} is a link to {os.readlink(path)}, which does not exist") from None
        raise PerftrackError(
            f"no database at {path}; `perftrack record` creates it, --database names another"
        ) from None
    except OSError as error:
        raise UnusableError(f"database {path} cannot be opened: {error.strerror}") from None
    if found.st_mode & _FILE_TYPE != _REGULAR_FILE:  # opening a named pipe would wait for ever
        raise PerftrackError(f"database {path}: it is not a file; name another with --database")
    if found.st_size == 0:
        refuse_leftover_log(path)
    if not read_only:
        refuse_others_files(path)
    if found.st_size and log_bytes(path):
        _refuse_log_of_no_database(path)
    uri = address(path, read_only=read_only)
    with readable_errors(path):
        connection = sqlite3.connect(
            uri, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False, uri=True
        )
        try:
            # What the file does not keep, as it does WAL mode: commits survive a power cut, keys are checked.
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
        except BaseException:
            connection.close()
            raise
    return connection


def address(path: str, *, read_only: bool) -> str:
    """Return the database at *path* as an URI, https://sqlite.org/uri.html.

    Raises: PerftrackError as `is_immutable` does.
    """
    return _uri(path, (_IMMUTABLE if is_immutable(path) else "ro") if read_only else "rw")


def _uri(path: str, mode: str) -> str:
    location = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23").replace(os.sep, "/")
    return f"file:{'/' if os.name == 'nt' else ''}{location}?mode={mode}"


def is_immutable(path: str) -> bool:
    """Return whether the database is to be read as one that nobody writes to, without SQLite's files beside it.

    In WAL mode SQLite reads none where it cannot make these: on a read-only disk, or in a folder of somebody else.
    There all is in the database itself if there is no log. Raises: PerftrackError where there is one.
    """
    if os.access(os.path.dirname(path) or ".", os.W_OK) or all(
        os.path.exists(f"{path}{suffix}") for suffix in ("-wal", "-shm")
    ):
        return False
    if log_bytes(path):
        raise PerftrackError(
            f"database {path} cannot be read in a folder that cannot be written to, for its newest samples are in "
            f"{path}-wal: copy both into a folder of your own, and read that one with --database"
        )
    return True


def refuse_leftover_log(path: str) -> None:
    """Raise UnusableError where a write-ahead log holds something and its database is gone or empty.

    SQLite would delete it, or mix it into a new database.
    """
    # In this order: a first run of this moment has something in its database before it has something in its log.
    if log_bytes(path) > 0 and _size(path) == 0:
        raise UnusableError(
            f"database {path} is {'empty' if os.path.lexists(path) else 'gone'}, but {path}-wal is still there and "
            "would be mixed into a new one: move it to where the database is now, under its new name with -wal, or "
            "remove it if that is gone for good"
        )


def _refuse_log_of_no_database(path: str) -> None:
    """Raise UnusableError where a write-ahead log is beside what is no database, so that the log stays.

    SQLite knows that only when it has opened both, and then deletes the log on closing.
    """
    with readable_errors(path), closing(sqlite3.connect(_uri(path, _IMMUTABLE), uri=True)) as connection:
        connection.execute("PRAGMA schema_version")


def refuse_old_sqlite() -> None:
    """Raise PerftrackError where SQLite, which is the system's for many a Python, is older than OLDEST_SQLITE."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise PerftrackError(
            f"perftrack needs SQLite {oldest} or newer, and this Python has {sqlite3.sqlite_version}: use a newer one"
        )


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def refuse_others_files(path: str) -> None:
    """Raise PerftrackError where anybody can write to the folder, as /tmp, and another user has put a file there.

    Who owns SQLite's log can read and change what is recorded, and who owns a link decides where that goes.
    """
    if os.name != "posix" or not os.stat(os.path.dirname(path) or ".").st_mode & _ANYBODY_WRITES:
        return
    from perftrack.private import is_ours

    for file in (path, *side_files(path)):
        if os.path.lexists(file) and not is_ours(file):
            raise PerftrackError(
                f"database {path}: {file} belongs to another user, and anybody can write to its folder; keep the "
                "database in a folder of your own"
            )


def may_be_ours(path: str) -> bool:
    """Return whether a file that cannot be used may be a database of ours, and no file that was named by mistake.

    A damaged one has files beside it, begins as SQLite's do (or with the zeros that a crash leaves), or is private.
    """
    if any(os.path.lexists(file) for file in side_files(path)):
        return True
    try:
        with open(path, "rb") as file:
            beginning = file.read(len(_MAGIC))
    except OSError:  # it is not there, or not readable: nothing speaks against it
        return True
    return (
        beginning == _MAGIC
        or not beginning.strip(b"\0")
        or (os.name == "posix" and not os.stat(path).st_mode & _GROUP_AND_ANYBODY)
    )


def is_private(path: str) -> bool:
    """Return whether the file is not one that anybody may read, as copies are; only POSIX knows.

    That a group may read it, or anybody write it, is no program's default: somebody wants it so.
    """
    return os.name != "posix" or os.stat(path).st_mode & (_ANYBODY_READS | _ANYBODY_WRITES) != _ANYBODY_READS


def is_wal(connection: sqlite3.Connection) -> bool:
    """Return whether the database is in WAL mode, which SQLite keeps in the file, but not in each copy of it."""
    connection.execute("PRAGMA schema_version")  # reads it: another connection may just have switched
    return bool(connection.execute("PRAGMA journal_mode").fetchone() == ("wal",))


def data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes with every commit of another connection, https://sqlite.org/pragma.html."""
    return pragma(connection, "data_version")


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Return a number that SQLite keeps of the database: page_count, page_size, ..."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of the database without its free pages."""
    return pragma(connection, "page_count") * pragma(connection, "page_size") - free_bytes(connection)


def free_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of its free pages, which will be used again."""
    return pragma(connection, "freelist_count") * pragma(connection, "page_size")


def disk_free_bytes(folder: str) -> int:
    """Return how much this user may still write to the disk of *folder*. Raises: OSError where that is not known."""
    if hasattr(os, "statvfs"):
        disk = os.statvfs(folder or ".")
        return disk.f_bavail * disk.f_frsize
    import shutil

    return shutil.disk_usage(folder or ".").free


@contextmanager
def readable_errors(path: str) -> Generator[None]:
    """Turn an error of SQLite, also as SQLAlchemy wraps it, into the one line that a user of *path* sees."""
    try:
        yield
    except Exception as error:
        cause = getattr(error, "orig", error)
        if isinstance(cause, sqlite3.Error):
            raise explain(cause, path) from error
        raise


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Write all or nothing. The lock is taken at once, so that what was read inside cannot be out of date."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
