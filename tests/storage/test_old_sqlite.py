"""The SQLite of a Python may be the system's: what is asked of it, and what is said where it is too old."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

# What came after the oldest that is supported, by https://sqlite.org/changes.html. SQLAlchemy looks by itself,
# and DROP COLUMN is in downgrades, which perftrack never runs.
NEWER = re.compile(
    r"\bMATERIALIZED\b|\bRETURNING\b|->>|\bSTRICT\b|\bunixepoch\(|\bIS (NOT )?DISTINCT FROM\b"
    r"|\b(RIGHT|FULL) (OUTER )?JOIN\b|\b(string_agg|concat|concat_ws|octet_length|timediff|jsonb\w*)\("
)
# Written for PostgreSQL.
OTHERS = ("perftrack/fleet/", "migrations/fleet/")


def texts() -> list[tuple[str, str]]:
    """Return all strings of what works on SQLite, each with its file."""
    found = []
    for file in (*REPOSITORY.glob("perftrack/**/*.py"), *REPOSITORY.glob("migrations/**/*.py")):
        name = file.relative_to(REPOSITORY).as_posix()
        if not name.startswith(OTHERS):
            nodes = ast.walk(ast.parse(file.read_text()))
            found += [
                (name, node.value) for node in nodes if isinstance(node, ast.Constant) and type(node.value) is str
            ]
    return found


def test_no_statement_asks_for_a_newer_one() -> None:
    found = texts()
    assert sum("SELECT" in text for _, text in found) > 200
    assert [(name, text) for name, text in found if NEWER.search(text)] == []


OLD = """
import sqlite3, sys
sqlite3.sqlite_version, sqlite3.sqlite_version_info = "3.33.0", (3, 33, 0)
sys.argv[0] = "perftrack"
from perftrack.__main__ import main
main()
"""


@pytest.mark.parametrize("command", ["record", "top", "database check"])
def test_that_is_too_old_is_refused_in_one_line(path: str, command: str) -> None:
    env = {**os.environ, "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"}
    if command != "record":
        subprocess.run([sys.executable, "-m", "perftrack", "record"], env=env, check=True)
    done = subprocess.run(
        [sys.executable, "-c", OLD, *command.split()], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        "perftrack: perftrack needs SQLite 3.34 or newer, and this Python has 3.33.0: use a newer one\n"
    )
    assert Path(path).exists() is (command != "record")
