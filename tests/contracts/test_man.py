"""The man page: it is that of this command line, and man shows it without a complaint."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import man
import pytest
import readme
import typer

from perftrack.cli.app import app
from perftrack.settings import SETTINGS


def test_is_up_to_date() -> None:
    assert man.PAGE.read_text(encoding="ascii") == man.page(), "run: python tests/man.py"


@pytest.fixture(scope="module")
def shown() -> str:
    """What man shows on a screen of 100 columns."""
    if sys.platform != "linux" or shutil.which("man") is None:
        pytest.skip("man-db is not installed")
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", str(man.PAGE)],
        env={**os.environ, "MANWIDTH": "100", "MANROFFOPT": "", "LC_ALL": "C.UTF-8", "GROFF_NO_SGR": "1"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stderr == ""
    return re.sub(r".\x08", "", done.stdout)  # bold is struck twice


def test_has_its_sections_in_the_usual_order(shown: str) -> None:
    assert re.findall(r"^[A-Z][A-Z ]+$", shown, re.MULTILINE) == [
        *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "SETTINGS"),
        *("ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES", "SEE ALSO"),
    ]
    assert "NAME\n       perftrack - record what this machine and its processes are doing," in shown
    assert shown.count("crontab(5), proc(5),") == 1


def test_has_every_command_option_and_setting(shown: str) -> None:
    def commands(group: typer.core.TyperGroup, *words: str) -> list[tuple[str, ...]]:
        return [
            each
            for name, command in group.commands.items()
            for each in (
                commands(command, *words, name)
                if isinstance(command, typer.core.TyperGroup)
                else [(*words, name, *(option for parameter in command.params for option in parameter.opts))]
            )
        ]

    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    parts = re.split(r"^   perftrack ", shown, flags=re.MULTILINE)
    assert len(parts) == len(commands(group)) + 1 > 20
    for part, found in zip(parts[1:], commands(group), strict=True):
        words = [word for word in found if not word.startswith("-")]
        assert part.split()[0] == words[0]
        for option in set(found) - set(words):
            assert re.search(rf"^       .*{option}\b", part, re.MULTILINE), (found, option)
    for name, (_, _, meaning) in SETTINGS.items():
        assert re.search(rf"^       {name}\b", shown, re.MULTILINE)
        assert " ".join(meaning.replace("`", "").split()) in " ".join(shown.split())


def test_shows_examples_that_the_readme_runs() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in readme.PAGES)
    for command in (command for commands in man.EXAMPLES.values() for command in commands):
        assert f"\n{command}\n" in text
