"""Many rows into the database at once, out of columns: SQLAlchemy writes the statement, sqlite3 executes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Insert, Update, bindparam, func, insert, select
from sqlalchemy.sql.compiler import SQLCompiler

from perftrack.storage.models import Base, Boot, Host, NameFilter, Process, SystemSample

_ROWS_OF_A_STATEMENT = 100  # a row takes SQLite half as long as in a statement of its own


def insert_rows(
    connection: Connection,
    model: type[Base],
    columns: Mapping[str, Iterable[Any]],
    count: int,
    *,
    ignore_known: bool = False,
) -> int:
    """Insert *count* rows, of which *columns* are the values as SQLite keeps them; return how many were inserted.

    *ignore_known*: leave out a row that the table has already.
    """
    statement: Insert = insert(model).values({name: bindparam(name) for name in columns})
    if ignore_known:
        statement = statement.prefix_with("OR IGNORE")
    one, names = _compiled(connection, statement)
    head, values, row = one.partition(" VALUES ")
    many = head + values + ", ".join([row] * _ROWS_OF_A_STATEMENT)
    driver = connection.connection.driver_connection
    assert driver is not None
    before = driver.total_changes
    iterators = [iter(columns[name]) for name in names]
    parameters = zip(*(iterators * _ROWS_OF_A_STATEMENT), strict=False)
    driver.executemany(many, islice(parameters, count // _ROWS_OF_A_STATEMENT))
    driver.executemany(one, islice(zip(*iterators, strict=True), count % _ROWS_OF_A_STATEMENT))
    return int(driver.total_changes - before)


def update_rows(connection: Connection, statement: Update, columns: dict[str, Iterable[Any]]) -> None:
    """Execute *statement* for each row of *columns*, which are its parameters as SQLite keeps them."""
    sql, names = _compiled(connection, statement)
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.executemany(sql, zip(*(columns[name] for name in names), strict=True))


def found_or_new(connection: Connection, model: type[Host | Boot | NameFilter], **values: Any) -> int:
    """Return the id of the row of these values, after inserting it where there is none."""
    conditions = [getattr(model, name).is_not_distinct_from(value) for name, value in values.items()]
    found = connection.execute(select(model.id).where(*conditions)).scalar()
    if found is None:
        found = connection.execute(insert(model).values(values).returning(model.id)).scalar_one()
    return found


def next_id(connection: Connection, model: type[SystemSample | Process]) -> int:
    """Return an id that is free, as are all above it."""
    return connection.execute(select(func.coalesce(func.max(model.id), 0) + 1)).scalar_one()


def _compiled(connection: Connection, statement: Insert | Update) -> tuple[str, list[str]]:
    """Return the statement with question marks, and whose they are."""
    compiled = statement.compile(connection.engine)
    assert isinstance(compiled, SQLCompiler)
    return str(compiled), list(compiled.positiontup or ())
