"""The generated parts of README.md: `python tests/readme.py` writes them anew, test_readme.py checks them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from perftrack.settings import SETTINGS
from perftrack.storage.models import Base

README = Path(__file__).resolve().parent.parent / "README.md"
COMMANDS = (
    "record",
    "top",
    "report",
    "plot",
    "status",
    "export",
    "import",
    "config show",
    "config init",
    "database path",
    "database upgrade",
)


def columns() -> str:
    """Return a table for each table, in the order of the file, with the unit and the meaning of each column."""
    parts = []
    for mapper in sorted(
        Base.registry.mappers, key=lambda mapper: list(Base.metadata.tables).index(mapper.local_table.name)
    ):
        table = mapper.local_table
        parts += [f"**{table.name}**: {' '.join((mapper.class_.__doc__ or '').split())}", ""]
        parts += ["| column | unit | meaning |", "| --- | --- | --- |"]
        parts += [f"| `{column.name}` | {column.info['unit']} | {column.doc} |" for column in table.columns]
        parts.append("")
    return "\n".join(parts).strip()


def settings() -> str:
    rows = ["| setting | default | environment | meaning |", "| --- | --- | --- | --- |"]
    for name, (_, default, meaning) in SETTINGS.items():
        shown = "`perftrack.db` in your data folder" if default is None else f"`{json.dumps(default)}`"
        rows.append(f"| `{name}` | {shown} | `PERFTRACK_{name.upper()}` | {meaning} |")
    return "\n".join(rows)


def commands() -> str:
    parts = []
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "perftrack", *command.split(), "--help"],
            env={"COLUMNS": "100", "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        parts += [f"```text\n{done.stdout.strip()}\n```", ""]
    return "\n".join(parts).strip()


def text() -> str:
    """Return README.md as it should be."""
    written = README.read_text(encoding="utf-8")
    for name, generated in (("columns", columns()), ("settings", settings()), ("commands", commands())):
        pattern = rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)"
        written, count = re.subn(
            pattern, lambda match, body=generated: f"{match[1]}\n{body}\n\n{match[2]}", written, flags=re.DOTALL
        )
        assert count == 1, name
    return written


if __name__ == "__main__":
    README.write_text(text(), encoding="utf-8")
