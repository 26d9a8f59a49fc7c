"""Creating the database and carrying it from revision to revision, through Alembic. Not imported by the tick."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import perftrack
from perftrack.errors import PerftrackError, UnusableError
from perftrack.private import create, make_folder
from perftrack.storage import backup, unfinished
from perftrack.storage.database import APPLICATION_ID, explained
from perftrack.storage.engine import engine_for


def migrations_folder() -> Path:
    """Return where the migrations are: inside the installed package, or beside it in the repository."""
    package = Path(perftrack.__file__).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def alembic_config() -> Config:
    """Return Alembic's configuration for the migrations of this perftrack."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def head_revision() -> str:
    """Return the newest revision that this perftrack knows."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


def upgrade(path: str) -> None:
    """Bring the database to the newest revision; create it if it does not exist. Raises: PerftrackError."""
    with migrating(path) as connection:
        _migrate(connection)


def _migrate(connection: Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def migrating(path: str) -> Generator[Connection]:
    """Yield a connection for migrations of the database at *path*, which is created if it does not exist.

    Everything is one transaction, which holds the write lock before the revision is read: whoever is killed, or
    comes second, leaves or finds one whole revision. Raises: PerftrackError for a database that is not ours.
    """
    if os.path.lexists(path):
        unfinished.remove_abandoned(path)
        with _migration_transaction(path, path) as connection:
            yield connection
    else:
        with _new_file(path) as new, _migration_transaction(new, path) as connection:
            yield connection


@contextmanager
def _migration_transaction(file: str, path: str) -> Generator[Connection]:
    """*file*: where the database *path* is until it is finished."""
    # Rebuilding a table with its foreign keys on would delete the rows that refer to it.
    engine = engine_for(file, write=True, foreign_keys=False)
    with explained(path), engine.connect() as connection, connection.begin():
        revision = _known_revision(connection, path)
        with backup.nothing_lost(connection, path, revision):
            yield connection


def _known_revision(connection: Connection, path: str) -> str | None:
    """Return the revision that the database is at; None: it is new.

    Raises: PerftrackError for a database that is somebody else's or a newer perftrack's.
    """
    tables = {row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master")}
    ours = connection.exec_driver_sql("PRAGMA application_id").scalar_one() == APPLICATION_ID
    if tables and not (ours and "alembic_version" in tables):
        raise PerftrackError(f"{path} is the database of another program; name another with --database")
    if not tables:
        return None
    revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    known = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()]
    if revision is not None and revision not in known:
        raise UnusableError(
            f"database {path} was written by a newer perftrack (its revision is {revision}, this one knows "
            f"up to {known[0]}): upgrade perftrack"
        )
    return revision


@contextmanager
def _new_file(path: str) -> Generator[str]:
    """Yield the path of an empty database that becomes *path* at the end, unless somebody else's did meanwhile.

    So nobody ever meets half a database, and several first runs at the same moment end up with one. Folders are
    0700 and the file is 0600, whatever the umask.
    """
    if _leftover_log(path):
        raise UnusableError(
            f"database {path} is gone, but {path}-wal is still there and would be mixed into a new one: move it to "
            "where the database is now, under its new name with -wal, or remove it if that is gone for good"
        )
    new = path
    try:
        make_folder(os.path.dirname(path))
        with unfinished.folder_beside(path) as folder:
            new = os.path.join(folder, os.path.basename(path))
            os.close(create(new))
            _execute(new, path, "PRAGMA journal_mode=WAL")
            yield new
            # Closing has tried this, but says nothing where it fails, and the log would stay behind.
            _execute(new, path, "PRAGMA wal_checkpoint(TRUNCATE)")
            _put_in_place(new, path)
    except PerftrackError as error:  # the user knows it by the name that it was to get
        raise type(error)(str(error).replace(new, path)) from error
    except OSError as error:
        raise UnusableError(
            f"database {path} cannot be created: {error.strerror}; --database or PERFTRACK_DATABASE names another"
        ) from None


def _execute(file: str, path: str, pragma: str) -> None:
    """Run *pragma* on *file*, where the database *path* is until it is finished. Raises: PerftrackError."""
    with explained(path), closing(sqlite3.connect(file)) as connection:
        connection.execute(pragma)


def _leftover_log(path: str) -> bool:
    """Return whether a database's write-ahead log is there, with something in it, and the database is not."""
    try:
        size = os.path.getsize(f"{path}-wal")
    except OSError:
        return False
    return size > 0 and not os.path.lexists(path)  # another first run may just have put it in place


def _put_in_place(new: str, path: str) -> None:
    try:
        os.link(new, path)  # unlike a rename, it never replaces a file
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not os.path.lexists(path):
            os.rename(new, path)
    if os.name == "posix":
        descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
