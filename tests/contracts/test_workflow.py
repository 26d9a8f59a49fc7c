"""The workflow of the hosted CI, as zizmor reads it: its form, pinned actions, permissions, credentials."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import REPOSITORY

WORKFLOW = REPOSITORY / ".github" / "workflows" / "test.yml"
TEXT = WORKFLOW.read_text(encoding="utf-8")


def audited(workflow: Path) -> tuple[int, str]:
    """Return zizmor's exit code and what it found; it asks no network."""
    zizmor = Path(sys.executable).with_name("zizmor")
    command = [str(zizmor), "--offline", "--no-progress", "--persona", "auditor", str(workflow)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_nothing_is_wrong_with_it() -> None:
    code, said = audited(WORKFLOW)
    assert code == 0, said


@pytest.mark.parametrize(
    ("written", "instead", "finding"),
    [
        ("runs-on:", "runs-onn:", "does not match expected validation schema"),
        (re.search(r"checkout@\w{40}", TEXT)[0], "checkout@v6", "unpinned-uses"),  # type: ignore[index]
        ("contents: read", "contents: write", "excessive-permissions"),
        ("persist-credentials: false", "persist-credentials: true", "artipacked"),
        ("concurrency:", "env:", "concurrency-limits"),
        ("run: bin/test", "run: echo ${{ github.head_ref }}", "template-injection"),
    ],
)
def test_what_would_be_wrong_is_found(tmp_path: Path, written: str, instead: str, finding: str) -> None:
    assert TEXT.count(written) == 1
    other = tmp_path / ".github" / "workflows" / "test.yml"
    other.parent.mkdir(parents=True)
    other.write_text(TEXT.replace(written, instead), encoding="utf-8")
    code, said = audited(other)
    assert (code != 0, finding in said) == (True, True), said


def test_has_every_python_from_the_oldest_on() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=")
    listed = re.findall(r'"(3\.\d+)"', TEXT)
    assert listed[0] == oldest
    minors = [int(version.partition(".")[2]) for version in listed]
    assert minors == list(range(minors[0], minors[-1] + 1))
