"""What messages tell a user to type: the command that runs this copy, and the one that adds a package to it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from perftrack.installation import how_to_install, program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="quotes as a POSIX shell does")


def test_a_clone_is_run_by_its_own_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / ".venv/bin/perftrack"), "record"])
    assert program() == [str(tmp_path / ".venv/bin/perftrack")]  # somebody's environment, no clone
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/perftrack").touch()
    assert program() == [str(tmp_path / "bin/perftrack")]


def test_an_installed_copy_is_run_by_its_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["venv/bin/perftrack"])
    assert program() == [str(Path.cwd() / "venv/bin/perftrack")]


def test_a_module_is_run_by_its_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/perftrack/__main__.py", "record"])
    assert program() == [sys.executable, "-m", "perftrack"]


def test_packages_go_into_the_environment_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/a b/bin/python")
    command = how_to_install("plotly", "matplotlib")
    assert shlex.split(command) == ["/a b/bin/python", "-m", "pip", "install", "plotly", "matplotlib"]


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ("/home/me/.local/share/pipx/venvs/performancetrack", "performancetrack"),
        ("/opt/pipx/venvs/performancetrack-next", "performancetrack-next"),
    ],
)
def test_packages_are_injected_where_pipx_installed(
    environment: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", environment)
    assert how_to_install("plotly", "matplotlib") == f"pipx inject {name} plotly matplotlib"
