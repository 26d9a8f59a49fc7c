"""The database's own documentation, from the models and views: what `perftrack database schema` prints."""

from __future__ import annotations

from collections.abc import Sequence

from perftrack.storage.intervals import VIEWS
from perftrack.storage.models import Base, columns_of

_INTRODUCTION = """\
# The database

One SQLite file. Instants are text, `2026-11-20 14:30:05.123456`, which sorts by time: `taken_at` is UTC, and the
recorded machine's wall clock is `datetime` in the views, `taken_at_local` in the table. A condition on either uses an
index. Counters are cumulative, as the kernel gives them; what they grew by is in the views `system_interval` and
`process_interval`. NULL is what is not known, never 0.

`perftrack database schema` prints this page."""


def schema() -> str:
    """Return what each table and view is, and each of their columns, in Markdown."""
    parts = [_INTRODUCTION, "## Views: what to ask"]
    for view in VIEWS.values():
        rows = [(f"`{column.name}`", column.doc or "") for column in view.columns]
        parts += [f"### {view.name}", view.comment or "", _table(("column", "meaning"), rows)]
    parts.append("## Tables: what is stored")
    for name, model in models().items():
        units = [(f"`{column.name}`", str(column.info["unit"]), column.doc or "") for column in columns_of(model)]
        parts += [f"### {name}", meaning(model)]
        parts.append(_table(("column", "unit", "meaning"), units))
    return "\n\n".join(parts) + "\n"


def models() -> dict[str, type[Base]]:
    """Return the model of each table, in the order in which they are written."""
    found = {mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers}
    return {name: found[name] for name in Base.metadata.tables}


def meaning(model: type[Base]) -> str:
    """Return what a row of *model* is, on one line."""
    return " ".join((model.__doc__ or "").split())


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
