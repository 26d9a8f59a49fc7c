"""Making the centre and carrying it from revision to revision, through Alembic, as the owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from perftrack.errors import PerftrackError
from perftrack.fleet import functions
from perftrack.fleet.centre import DISTRIBUTED, SCHEMA
from perftrack.fleet.connecting import OWNERS_LOCK, address, connect, psycopg_module, readable_errors
from perftrack.fleet.partitions import make_partitions
from perftrack.storage.schema import known_revisions, migrate

APPLICATION = "perftrack fleet"
_MIGRATIONS = "fleet"  # the folder of the centre's
# Agents: who may look into the schema, and has no right on any table, as a reader has.
_AGENTS = """
SELECT DISTINCT usage.grantee::regrole::text FROM pg_namespace, aclexplode(nspacl) AS usage
WHERE nspname = 'perftrack' AND usage.grantee <> nspowner AND usage.grantee <> 0
  AND NOT EXISTS (
    SELECT 1 FROM pg_class, aclexplode(relacl) AS rights
    WHERE relnamespace = pg_namespace.oid AND rights.grantee = usage.grantee)
"""


@contextmanager
def owner(url: str) -> Iterator[Connection]:
    """Yield a connection of SQLAlchemy to the centre at *url*, in one transaction that no other owner's is beside.

    Raises: PerftrackError; BusyError where another one takes too long.
    """
    psycopg_module()
    engine = create_engine("postgresql+psycopg://", creator=lambda: _plain(url), poolclass=NullPool)
    with _readable_errors(url), engine.connect() as connection, connection.begin():
        connection.exec_driver_sql(OWNERS_LOCK)
        yield connection


def _plain(url: str) -> object:
    connection = connect(url, APPLICATION)
    connection.autocommit = False
    return connection


@contextmanager
def _readable_errors(url: str) -> Iterator[None]:
    """As `readable_errors`, of what SQLAlchemy wraps too."""
    with readable_errors(url):
        try:
            yield
        except Exception as error:
            cause = getattr(error, "orig", None)
            if isinstance(cause, Exception):
                raise cause from error
            raise


def upgrade(url: str, *, is_new: bool) -> tuple[str | None, str]:
    """Bring the centre to the newest revision and make partitions; return the revision before, and now.

    *is_new*: it may not be there yet. Raises: PerftrackError.
    """
    with owner(url) as connection:
        revision = revision_of(connection)
        if revision is None and not is_new:
            raise PerftrackError(f"{address(url)} holds no samples of a fleet yet: `perftrack fleet init` makes it")
        known = known_revisions(_MIGRATIONS)
        if revision is not None and revision not in known:
            raise PerftrackError(
                f"{address(url)} was made by a newer perftrack (its revision is {revision}, this one knows up to "
                f"{known[0]}): upgrade perftrack"
            )
        if revision is None:
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        migrate(connection, _MIGRATIONS)
        for statement in functions.definitions():
            connection.exec_driver_sql(statement.replace("%", "%%"))
        for (role,) in connection.exec_driver_sql(_AGENTS).fetchall():
            for statement in functions.grants(role):
                connection.exec_driver_sql(statement)
        if revision is None and has_citus(connection):
            _distribute(connection)
        make_partitions(connection, datetime.now(UTC).date())
    return revision, known[0]


def revision_of(connection: Connection) -> str | None:
    """Return the revision that the centre is at; None: there is none."""
    found = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()
    return str(found) if found is not None else None


def has_citus(connection: Connection) -> bool:
    """Return whether the database is one of Citus."""
    return bool(connection.exec_driver_sql("SELECT count(*) FROM pg_extension WHERE extname = 'citus'").scalar())


def _distribute(connection: Connection) -> None:
    """Distribute what belongs to a source over the workers; `source` itself stays here, where its row is locked."""
    connection.exec_driver_sql("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")
    first = f"{SCHEMA}.{DISTRIBUTED[0].name}"
    for table in DISTRIBUTED:
        name = f"{SCHEMA}.{table.name}"
        connection.execute(
            text("SELECT create_distributed_table(:name, 'source_id', colocate_with => :beside)"),
            {"name": name, "beside": "none" if name == first else first},
        )
