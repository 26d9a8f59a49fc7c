"""How Alembic runs the migrations of the centre: always inside perftrack's transaction (perftrack/fleet/migrating.py).

The `alembic` command has none: `alembic -n fleet revision --autogenerate -m "why"` compares the models with the centre
that PERFTRACK_SHIP_TO names, which is to be at the newest revision, and `-n fleet upgrade head` upgrades that.
"""

from __future__ import annotations

from collections.abc import Iterable

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from perftrack.fleet.centre import SCHEMA, metadata
from perftrack.fleet.migrating import owner
from perftrack.settings import load


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=_is_of_the_schema,
        include_object=_is_ours,
        process_revision_directives=_number,
    )
    with context.begin_transaction():
        context.run_migrations()


def _is_of_the_schema(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "schema" or name == SCHEMA


def _is_ours(_object: object, name: str | None, kind: str, reflected: bool, _compared: object) -> bool:
    """Tell the tables from their partitions."""
    return not (kind == "table" and reflected and f"{SCHEMA}.{name}" not in metadata.tables)


def _number(
    migration: MigrationContext, _revision: str | Iterable[str | None] | Iterable[str], directives: list[object]
) -> None:
    head = migration.script.get_current_head() if migration.script else None
    directives[0].rev_id = f"{int(head or 0) + 1:04d}"  # type: ignore[attr-defined]


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with owner(load().ship_to) as own:
        _run(own)
