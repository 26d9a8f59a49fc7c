"""Shell completion: what `perftrack --install-completion` writes, in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMPLETE = """
. ~/.bashrc
COMP_WORDS=({words}) COMP_CWORD={place}
_perftrack_completion perftrack
echo "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "place", "offered"),
    [
        ("perftrack rep", 1, "report"),
        ("perftrack database dash", 2, "dashboard"),
        ("perftrack database dashboard ''", 3, "grafana datasette"),
        ("perftrack top --spread", 2, "--spreadsheet-safe"),
    ],
)
def test_bash_completes(tmp_path: Path, words: str, place: int, offered: str) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    program = tmp_path / "bin" / "perftrack"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m perftrack "$@"\n')
    program.chmod(0o755)
    Path(os.environ["HOME"]).mkdir()

    def in_bash(commands: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [bash, "--norc", "-c", commands],
            env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )

    in_bash("perftrack --install-completion; true")  # it completes in the shell that it is started from
    done = in_bash(COMPLETE.format(words=words, place=place))
    assert (done.stdout, done.stderr) == (f"{offered}\n", "")
