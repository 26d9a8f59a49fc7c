"""What a tick asks and changes: the SQL that is generated from the models, and what stands beside its use."""

from __future__ import annotations

import ast
import inspect
import re
import sqlite3
from collections import defaultdict
from types import ModuleType
from typing import Any

from perftrack.storage import cgroups, insertion, tick_sql

MODULES = (tick_sql, insertion, cgroups)


def statements_of(module: ModuleType) -> list[str]:
    """Return each SELECT, INSERT and UPDATE that *module* has as a text."""
    nodes = ast.walk(ast.parse(inspect.getsource(module)))
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text for text in texts if re.match(r"\s*(SELECT|INSERT|UPDATE) ", text)]


def explained(connection: sqlite3.Connection, statement: str, how: str) -> list[Any]:
    """Return what EXPLAIN, or EXPLAIN QUERY PLAN, says. Raises: sqlite3.Error where SQLite cannot compile it."""
    values: Any = (None,) * statement.count("?") or defaultdict(lambda: None)
    return connection.execute(f"{how} {statement}", values).fetchall()
