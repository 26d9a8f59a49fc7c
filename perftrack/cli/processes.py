"""Processes in tables and CSV, for the commands that show some."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, datetime
from typing import Any

from perftrack import figures
from perftrack.cli import show
from perftrack.reading.export.spreadsheet import text_of

# By screen width: what makes room where there is little, unless it is what the ranking is by.
_ROOMY = 160
_GIVES_WAY = {
    "max %": "",
    "children s": "cpu",
    "RSS mean": "rss",
    "read": "io",
    "written": "io",
    "threads": "threads",
    "started": "",
    "user": "",
    "unit": "",
}
_TITLES = {
    "pid": "PID",
    "started_at": "started",
    "username": "user",
    "unit": "unit",
    "name": "name",
    "command": "command",
}
LEFT = ("host", "started", "user", "unit", "name", "command")


def identity(process: Any) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "name": process.name,
        "username": process.username,
        "unit": process.unit,
        "command": process.command,
        "started_at": process.started_at and show.iso(process.started_at.replace(tzinfo=UTC)),
    }


def write_csv(fields: tuple[str, ...], rows: list[dict[str, Any]], *, spreadsheet_safe: bool) -> None:
    shown = text_of(sys.stdout, spreadsheet_safe)
    writer = csv.DictWriter(sys.stdout, fields, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(
        {name: shown(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows
    )


def texts(row: dict[str, Any]) -> dict[str, str]:
    """Return the columns that tell who it is."""
    found = {
        title: figures.UNKNOWN if row[field] is None else str(row[field])
        for field, title in _TITLES.items()
        if field in row
    }
    if row.get("started_at"):
        found["started"] = figures.local(datetime.fromisoformat(row["started_at"]))
    return found


def columns(lines: list[dict[str, str]], by: str, *, wide: bool) -> list[str]:
    """Return the columns of *lines* that are shown on this screen in a ranking by *by*."""
    # groups by name or user have room, for they have no command lines
    has_room = show.width(wide=wide) >= _ROOMY or "command" not in lines[0]
    names = [name for name in lines[0] if has_room or _GIVES_WAY.get(name, by) == by]
    has_units = any(line.get("unit", figures.UNKNOWN) != figures.UNKNOWN for line in lines)
    return [name for name in names if name != "unit" or has_units]


def print_lines(lines: list[dict[str, str]], by: str, *, wide: bool) -> None:
    header = columns(lines, by, wide=wide)
    show.table(header, ([shown[name] for name in header] for shown in lines), left=LEFT, wide=wide)
