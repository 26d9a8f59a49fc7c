"""Many rows into the database at once: SQLAlchemy writes the statement, sqlite3 executes it.

SQLAlchemy would look at each value of each row; there are millions, and they are numbers and text already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select
from sqlalchemy.dialects.sqlite import Insert, insert

from perftrack.storage.models import Boot, Host, NameFilter, Process, SystemSample

Row = tuple[Any, ...]


class Ids(dict[Row, int]):
    """The ids of a table's rows by the values of *names*, and new ones for what is asked for but is not there yet."""

    def __init__(
        self,
        connection: Connection,
        model: type[Host | Boot | NameFilter | Process],
        names: Sequence[str],
        *among: ColumnElement[bool],
    ) -> None:
        """*among*: the rows that are looked at."""
        columns = [getattr(model, name) for name in names]
        known = connection.execute(select(*columns, model.id).where(*among))
        super().__init__((tuple(values), row_id) for *values, row_id in known)
        self._connection = connection
        self._model = model
        self._names = names
        self._new_ids = new_ids(connection, model)
        self._new: list[Row] = []

    def __missing__(self, values: Row) -> int:
        row_id = self[values] = next(self._new_ids)
        self._new.append((row_id, *values))
        return row_id

    def insert_new(self) -> None:
        """Insert the rows that got new ids."""
        insert_rows(self._connection, insert(self._model), ("id", *self._names), self._new)


def new_ids(connection: Connection, model: type[Host | Boot | NameFilter | Process | SystemSample]) -> Iterator[int]:
    """Return ids that no row of the table has yet, as long as this transaction writes to it alone."""
    return count(connection.execute(select(func.coalesce(func.max(model.id), 0) + 1)).scalar_one())


def insert_rows(connection: Connection, statement: Insert, names: Sequence[str], rows: list[Row]) -> int:
    """Insert *rows*, the values of *names* as SQLite keeps them, in the model's order; return how many it wrote."""
    if not rows:
        return 0
    compiled = statement.compile(connection.engine, column_keys=list(names))
    assert compiled.positiontup == list(names)
    return connection.exec_driver_sql(str(compiled), rows).rowcount
