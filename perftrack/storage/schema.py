"""Creating the database and carrying it from revision to revision, through Alembic. Not imported by the tick."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import perftrack
from perftrack.errors import PerftrackError, UnusableError
from perftrack.private import create, make_folder
from perftrack.storage import losses, sqlite_file
from perftrack.storage.engine import engine_for
from perftrack.storage.sqlite_file import (
    APPLICATION_ID,
    connect,
    readable_errors,
    refuse_leftover_log,
    refuse_others_files,
)

# What each revision has.
_TABLES = {"host", "boot", "system_sample", "process", "name_filter", "process_sample"}


def migrations_folder() -> Path:
    """Return where the migrations are: inside the installed package, or beside it in the repository."""
    package = Path(perftrack.__file__).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def alembic_config(below: str = "") -> Config:
    """Return Alembic's configuration for the migrations of this perftrack, or for those in a folder *below* them."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder() / below).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def known_revisions(below: str = "") -> list[str]:
    """Return the revisions that this perftrack knows, the newest first. *below*: see `alembic_config`."""
    scripts = ScriptDirectory.from_config(alembic_config(below))
    return [script.revision for script in scripts.walk_revisions()]


def head_revision() -> str:
    """Return the newest revision that this perftrack knows."""
    return known_revisions()[0]


def upgrade(path: str) -> None:
    """Bring the database to the newest revision; create it if it does not exist. Raises: PerftrackError."""
    with migrating(path) as connection:
        migrate(connection)


def migrate(connection: Connection, below: str = "") -> None:
    """Run what migrations there are to the newest revision. *below*: see `alembic_config`."""
    config = alembic_config(below)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def revision_of(path: str) -> str | None:
    """Return the revision that the database is at; None: it is empty.

    Raises: PerftrackError for a database that is somebody else's, a newer perftrack's or cannot be read.
    """
    with readable_errors(path), engine_for(path).connect() as connection:
        return _known_revision(connection, path)


def refuse_outdated(path: str) -> None:
    """Raise PerftrackError where the database has not the schema of this perftrack, and say what to do."""
    revision = revision_of(path)
    if revision is None:
        raise PerftrackError(
            f"database {path} is empty: `perftrack record` fills it; if it held samples, restore it from a copy first"
        )
    if revision != head_revision():  # else somebody has just upgraded it
        raise PerftrackError(
            f"database {path} is of an older perftrack: `perftrack database upgrade` brings it up to date, "
            "and so does `perftrack record`"
        )


@contextmanager
def migrating(path: str) -> Generator[Connection]:
    """Yield a connection for migrations of the database at *path*, which is created if it does not exist.

    Everything is one transaction, which holds the write lock before the revision is read: whoever is killed, or
    comes second, leaves or finds one whole revision, or an empty database. Raises: PerftrackError for a database that
    is not ours.
    """
    make_ready(path)
    # Rebuilding a table with its foreign keys on would delete the rows that refer to it.
    engine = engine_for(path, write=True, foreign_keys=False)
    with readable_errors(path), engine.connect() as connection, connection.begin():
        revision = _known_revision(connection, path)
        if revision is not None:  # a copy by `.dump` has lost it
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        with losses.nothing_lost(connection, path, revision):
            yield connection


def make_ready(path: str) -> None:
    """Make sure that there is a database; one without tables is private and in WAL mode, which stays in the file."""
    sqlite_file.refuse_old_sqlite()
    if not os.path.lexists(path):
        _create(path)
    with readable_errors(path), closing(connect(path)) as connection:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            with suppress(OSError):  # ours is private from the beginning, but somebody else may have made it
                os.chmod(path, 0o600)
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # what purging frees can be given back
            switch_to_wal(connection)


def _create(path: str) -> None:
    """Make an empty file, with mode 0600, and its folder, with 0700, unless another first run is quicker."""
    refuse_leftover_log(path)
    try:
        make_folder(os.path.dirname(path))
        refuse_others_files(path)
        with suppress(FileExistsError):
            os.close(create(path))
    except OSError as error:
        raise UnusableError(
            f"database {path} cannot be created: {error.strerror}; --database or PERFTRACK_DATABASE names another"
        ) from None


def switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode. Of two that do so at once, SQLite refuses one, for waiting could be for ever."""
    deadline = time.monotonic() + sqlite_file.BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _known_revision(connection: Connection, path: str) -> str | None:
    """Return the revision that the database is at; None: it is new.

    Raises: PerftrackError for a database that is somebody else's or a newer perftrack's.
    """
    tables = {row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master")}
    application_id = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    is_ours = application_id == APPLICATION_ID or (application_id == 0 and tables >= _TABLES)
    if tables and not (is_ours and "alembic_version" in tables):
        raise PerftrackError(f"{path} is the database of another program; name another with --database")
    if not tables:
        return None
    revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    known = known_revisions()
    if revision is not None and revision not in known:
        raise UnusableError(
            f"database {path} was written by a newer perftrack (its revision is {revision}, this one knows "
            f"up to {known[0]}): upgrade perftrack"
        )
    return revision
