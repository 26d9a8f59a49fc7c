"""What datasette is told of a database: its `--metadata`, with the meaning of every column and the cookbook.

In the form of datasette 0.65 (https://docs.datasette.io/en/stable/metadata.html). 1.0 takes the meanings by `-m` and
the queries by `-c`, each from the same file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Table

from perftrack.reading.dashboard.cookbook import COOKBOOK
from perftrack.storage.documentation import meaning, models
from perftrack.storage.intervals import VIEWS
from perftrack.storage.models import Base, columns_of

# Units that a meaning says already, or that say nothing to a person.
_UNSAID = {"id", "text", "UTC", "local time"}
_SUFFIXES = {"_bytes_per_second": "bytes/s", "_bytes": "bytes", "_ms": "ms", "_seconds": "s", "_percent": "%"}
_SHOWS = re.compile(r"\w+\.(\w+)")


def metadata(database: str) -> dict[str, Any]:
    """Return the metadata for the database at the path *database*: datasette knows it by its file's name."""
    tables = {view.name: _table(view.comment or "", list(view.columns)) for view in VIEWS.values()}
    tables |= {name: _table(meaning(model), columns_of(model)) for name, model in models().items()}
    queries = {
        recipe.name: {"title": recipe.question, "sql": recipe.sql.strip(), "hide_sql": True} for recipe in COOKBOOK
    }
    return {
        "title": "perftrack",
        "description": "What machines and their processes were doing.",
        "databases": {
            Path(database).stem: {
                "description": "taken_at is UTC, datetime the wall clock of the recorded machine. NULL: not known.",
                "tables": tables,
                "queries": queries,
            }
        },
    }


def _table(description: str, columns: list[Column[Any]]) -> dict[str, Any]:
    meanings = {column.name: _meaning(column) for column in columns}
    return {"description": description, "columns": {name: meaning for name, meaning in meanings.items() if meaning}}


def _meaning(column: Column[Any]) -> str:
    """Return what a column is, behind its unit."""
    unit, doc = _unit(column), column.doc or ""
    return f"{unit}: {doc}" if unit and unit not in _UNSAID else doc


def _unit(column: Column[Any]) -> str:
    """Return the unit of a column: as its model says, or of a view's, as the name of what it shows does."""
    if isinstance(column.table, Table) and column.table.metadata is Base.metadata:
        return str(column.info["unit"])
    shows = _SHOWS.fullmatch(column.info["sql"])
    for name in (column.name, shows[1] if shows else ""):
        unit = next((unit for suffix, unit in _SUFFIXES.items() if name.endswith(suffix)), "")
        if unit:
            return unit
    return ""
