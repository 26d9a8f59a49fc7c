"""What is shown on a terminal: names that would move the cursor, turn the line around or be markup are escaped."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from conftest import Run, on_a_terminal, process_row, query, sample
from hypothesis import given
from hypothesis import strategies as st
from test_import import DATA_PIK

from perftrack.cli.progress import progress_bar
from perftrack.storage.insertion import insert_sample
from perftrack.text import printable

HOSTILE = "\x1b[2J\x9b31m\u202egpj\u2066[/red][link=x]\r\b\x7f"
ERASE_LINE = "\x1b[2K"  # with which a progress bar ends
SHOWN = r"\x1b[2J\x9b31m\u202egpj\u2066[/red][link=x]\r\x08\x7f"


@given(st.text(st.characters()))
def test_printable_text_is_one_line_without_control_or_format_characters(text: str) -> None:
    shown = printable(text)
    assert {unicodedata.category(char) for char in shown}.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["", "java", "ünï 日本 🐍", r"a\x1b", "[/red]", "<script>", "=1+1"])
def test_ordinary_text_is_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudoterminal")
@pytest.mark.parametrize(("term", "is_plain"), [("dumb", True), ("unknown", True), ("xterm", False)])
def test_a_terminal_that_knows_no_sequences_gets_none(
    connection: sqlite3.Connection, path: str, term: str, is_plain: bool
) -> None:
    insert_sample(connection, sample(process_row()))
    span = ("--since", "2026-11-20", "--until", "2026-11-21")
    for command in ("top", "report"):
        shown = on_a_terminal(command, *span, TERM=term, PERFTRACK_DATABASE=path)
        assert ("\x1b" not in shown) is is_plain
        assert is_plain is not shown.startswith(("\r", "\n", "\x1b"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudoterminal")
class TestAHostilePath:
    """Of the database, of a file to import, of a folder to export to: a user may be talked into any."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        made = tmp_path / HOSTILE
        made.mkdir(parents=True)  # one folder in another, for there is a / in it
        return made

    @pytest.mark.parametrize(
        ("arguments", "expect"),
        [
            (["record", "--cpu-window", "0.01"], 0),
            (["record", "--cpu-window", "0.01", "--every", "0.1s", "--count", "1"], 0),
            (["database", "upgrade"], 0),
            (["database", "path"], 0),
            (["export", "--system-csv", "{folder}/a.csv", "--process-csv", "{folder}/a.csv"], 2),
            (["export", "--config", "{folder}/p.toml"], 2),
        ],
        ids=str,
    )
    def test_is_shown_escaped(self, arguments: list[str], expect: int, folder: Path, tmp_path: Path) -> None:
        arguments = [argument.replace("{folder}", str(folder)) for argument in arguments]
        said = on_a_terminal(*arguments, "--database", str(folder / "p.db"), folder=tmp_path, expect=expect)
        assert SHOWN in said or "both files" in said
        assert all(char.isprintable() for char in said.replace("\n", "")), said

    def test_of_a_setting_is_shown_as_the_config_file_would_have_it(self, folder: Path, tmp_path: Path) -> None:
        said = on_a_terminal("config", "show", "--database", str(folder / "p.db"), folder=tmp_path)
        assert r'\u001b[2J\x9b31m\u202egpj\u2066[/red][link=x]\r\b\x7f/p.db"' in said
        assert all(char.isprintable() for char in said.replace("\n", "")), said

    def test_of_a_config_file_is_shown_escaped(self, folder: Path, tmp_path: Path) -> None:
        for expect in (0, 2):
            said = on_a_terminal("config", "init", "--config", str(folder / "p.toml"), folder=tmp_path, expect=expect)
            assert SHOWN in said
            assert all(char.isprintable() for char in said.replace("\n", "")), said

    def test_of_files_that_come_and_go_is_shown_escaped(self, folder: Path, tmp_path: Path) -> None:
        """With progress bars, which move the cursor themselves and know markup."""
        file = folder / "data.pik"
        file.write_bytes(Path(DATA_PIK).read_bytes())
        database = ("--database", str(tmp_path / "p.db"))
        for arguments, expect in (
            (("import", str(file)), 0),
            (("export", "--directory", str(folder)), 0),
            (("import", str(folder / "missing.pik")), 1),
            (("import", str(folder)), 1),
        ):
            said = on_a_terminal(*arguments, *database, folder=tmp_path, expect=expect)
            assert SHOWN in said.splitlines()[-1]
            assert HOSTILE[:5] not in said
            assert "\u202e" not in said

    def test_is_raw_where_a_program_reads_it(self, folder: Path, perftrack: Run) -> None:
        done = perftrack("database", "path", "--database", str(folder / "p.db"), env={"PYTHONUTF8": "1"})
        assert done.stdout == f"{folder}/p.db\n".replace("\r", "\n")  # universal newlines of this test

    def test_of_an_unknown_command_is_shown_escaped(self, tmp_path: Path) -> None:
        said = on_a_terminal(HOSTILE, folder=tmp_path, expect=2)
        assert all(char.isprintable() for char in said.replace("\n", "")), said


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudoterminal")
@pytest.mark.usefixtures("hostile_process")
class TestAHostileProcess:
    """As CSV and JSON, which mostly go into a file: then they are exact."""

    COMMANDS = (
        ("top", "--since", "2026-11-20", "--until", "2026-11-21", "--format", "csv"),
        ("top", "--since", "2026-11-20", "--until", "2026-11-21", "--format", "json"),
        ("top", "--at", "2026-11-20 12:00", "--format", "csv"),
        ("top", "--at", "2026-11-20 12:00", "--format", "json"),
        ("export", "--process-csv", "-"),
        ("export", "--process-csv", "-", "--wide"),
        ("export", "--system-csv", "-", "--wide"),
        ("export", "--process-csv", "-", "--spreadsheet-safe"),
    )

    @pytest.fixture
    def hostile_process(self, connection: sqlite3.Connection) -> None:
        row = process_row(name=HOSTILE, command=HOSTILE, username=HOSTILE, filter=HOSTILE)
        insert_sample(connection, sample(row, host=HOSTILE))

    @pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
    def test_is_shown_escaped_on_a_terminal(self, arguments: tuple[str, ...], path: str, tmp_path: Path) -> None:
        said = on_a_terminal(*arguments, "--database", path, folder=tmp_path).rpartition("\x1b[2K")[
            2
        ]  # the bar's end
        assert all(char.isprintable() for char in said.replace("\r\n", "").replace("\n", "")), said
        if "json" in arguments:
            assert [row["name"] for row in json.loads(said)["rows"]] == [HOSTILE]
        else:
            assert SHOWN in said

    @pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
    def test_is_exact_where_a_program_reads_it(self, arguments: tuple[str, ...], perftrack: Run) -> None:
        said = perftrack(*arguments, env={"PYTHONUTF8": "1"}).stdout
        read = HOSTILE.replace("\r", "\n")  # universal newlines
        name = json.dumps(HOSTILE)[1:-1] if "json" in arguments else read
        assert name in said


def test_a_progress_bar_shows_no_markup(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar("importing [/red][bold]x") as progress:
        progress(1, 2)
    assert "[/red][bold]x" in capsys.readouterr().err


def test_what_is_stored_stays_as_it_is(perftrack: Run, path: str) -> None:
    perftrack("import", DATA_PIK, "--host", HOSTILE)
    assert query(path, "SELECT name FROM host") == [HOSTILE]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments", [("config", "show"), ("database", "schema"), ("top", "--help"), ("export", "--help")]
)
def test_a_reader_that_has_seen_enough_is_no_failure(arguments: tuple[str, ...], unbuffered: str) -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        [sys.executable, "-m", "perftrack", *arguments], stdout=ours, stderr=subprocess.PIPE, env=env, check=False
    )
    os.close(ours)
    assert (done.returncode, done.stderr) == (0, b"")
