"""The stages depend on each other in one direction: what opens a database stands above what migrates it."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

from conftest import REPOSITORY


def test_no_module_imports_one_that_imports_it() -> None:
    """Directly or through others, at its top or inside a function."""
    modules = {
        ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): file
        for file in (REPOSITORY / "perftrack").rglob("*.py")
    }
    assert "perftrack.storage.opening" in modules
    graph = {name: imported(file, modules) - {name} for name, file in modules.items()}
    assert graph["perftrack.storage.opening"] >= {"perftrack.storage.schema", "perftrack.storage.engine"}
    TopologicalSorter(graph).prepare()  # CycleError names the modules of a circle


def imported(file: Path, modules: dict[str, Path]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inside & modules.keys() or {node.module or ""}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules.keys()


def test_the_command_line_alone_imports_nothing_heavy() -> None:
    """Each command imports what it needs: those that print no table do without rich."""
    program = "import sys; import perftrack.cli.app; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"typer", "perftrack.cli.export"} <= set(loaded)
    heavy = {"alembic", "hashlib", "psutil", "rich.console", "socket", "sqlalchemy"}
    assert heavy & set(loaded) == set()
