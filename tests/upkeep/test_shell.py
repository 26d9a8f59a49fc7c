"""`perftrack database shell`: the real sqlite3 shell on the right file, which it can only read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run, query
from upkept import as_another, fill

SHELL = shutil.which("sqlite3")
pytestmark = pytest.mark.skipif(SHELL is None or sys.platform == "win32", reason="the sqlite3 shell is not installed")
COUNT = "SELECT count(*) AS samples FROM system_sample"


class TestSql:
    def test_is_answered_in_a_box(self, perftrack: Run, path: str) -> None:
        fill(path)
        out = perftrack("database", "shell", COUNT).stdout
        assert out.splitlines()[1:4:2] == ["│ samples │", "│ 3       │"]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (("--csv", COUNT), "samples\n3\n"),
            ((COUNT, "-json"), '[{"samples":3}]\n'),
            (("-list", "-separator", "|", "-noheader", "SELECT 1, 2", "SELECT 3"), "1|2\n3\n"),
            (("-html", COUNT), "<TR><TH>samples</TH>\n</TR>\n<TR><TD>3</TD>\n</TR>\n"),
        ],
        ids=str,
    )
    def test_is_answered_as_its_own_options_say(
        self, perftrack: Run, path: str, arguments: tuple[str, ...], expected: str
    ) -> None:
        fill(path)
        assert perftrack("database", "shell", *arguments).stdout.replace("\r", "") == expected

    def test_is_read_from_a_pipe(self, perftrack: Run, path: str) -> None:
        fill(path)
        assert "│ 3 " in perftrack("database", "shell", input=f"{COUNT};").stdout

    def test_cannot_change_anything(self, perftrack: Run, path: str) -> None:
        fill(path)
        done = perftrack("database", "shell", "DELETE FROM process_sample", expect=None)
        assert done.returncode != 0
        assert "readonly" in done.stderr
        assert query(path, "SELECT count(*) FROM process_sample") == [15]

    def test_that_is_wrong_exits_as_sqlite3_does(self, perftrack: Run, path: str) -> None:
        fill(path)
        done = perftrack("database", "shell", "SELECT nothing", expect=None)
        ours = subprocess.run([SHELL, path, "SELECT nothing"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (ours.returncode, ours.stderr)

    def test_ends_when_its_reader_has_seen_enough(self, path: str) -> None:
        fill(path)
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        line = f'{sys.executable} -m perftrack database shell --list "{endless}" | head -n 2'
        env = {**os.environ, "PERFTRACK_DATABASE": path}
        done = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, check=True, timeout=60)
        assert (done.stdout, done.stderr) == ("i\n1\n", "")


def test_help_is_ours(perftrack: Run) -> None:
    assert "sqlite3's own" in perftrack("database", "shell", "--help").stdout


def test_without_sql_it_is_a_prompt_on_the_terminal(path: str, tmp_path: Path) -> None:
    fill(path)
    talk = tmp_path / "talk.py"
    talk.write_text(
        "import os, pty, sys\n"
        "said = b''\n"
        "process, terminal = pty.fork()\n"
        "if process == 0:\n"
        "    os.execv(sys.executable, [sys.executable, '-m', 'perftrack', 'database', 'shell'])\n"
        "while not said.rstrip().endswith(b'sqlite>'):\n"
        "    said += os.read(terminal, 1000)\n"
        f"os.write(terminal, b'{COUNT};\\n.quit\\n')\n"
        "try:\n"
        "    while more := os.read(terminal, 1000):\n"
        "        said += more\n"
        "except OSError:\n"
        "    pass\n"
        "sys.stdout.buffer.write(said)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))\n"
    )
    env = {**os.environ, "PERFTRACK_DATABASE": path, "TERM": "dumb"}
    done = subprocess.run([sys.executable, talk], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert "│ 3       │" in done.stdout


class TestTheProgram:
    """As another system has it."""

    @staticmethod
    def run(path: str, folder: Path) -> subprocess.CompletedProcess[str]:
        program = (
            f"from perftrack import programs\nprograms.FOLDERS = ({str(folder)!r},)\n"
            "import sys\nfrom perftrack.__main__ import main\n"
            f"sys.argv = ['perftrack', 'database', 'shell', {COUNT!r}]\nmain()\n"
        )
        env = {**os.environ, "PERFTRACK_DATABASE": path}
        return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)

    def test_of_long_ago_knows_no_boxes(self, path: str, tmp_path: Path) -> None:
        fill(path)
        old = tmp_path / "sqlite3"
        old.write_text(
            '#!/bin/sh\n[ "$1" != -version ] || { echo "3.31.1 2020-01-27 19:55:54 3bfa9cc"; exit; }\n'
            'for each; do [ "$each" != -box ] || { echo "unknown option: -box" >&2; exit 1; }; done\n'
            f'exec {SHELL} "$@"\n'
        )
        old.chmod(0o755)
        done = self.run(path, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.split() == ["samples", "-------", "3"]

    def test_that_is_missing_is_a_line_that_says_what_to_install(self, path: str, tmp_path: Path) -> None:
        fill(path)
        done = self.run(path, tmp_path)
        assert done.returncode == 1
        assert done.stderr == (
            f"perftrack: there is no program sqlite3 in {tmp_path}: install the package sqlite3 (Debian, Ubuntu) or "
            "sqlite (Fedora, Alpine, Arch)\n"
        )


def test_a_database_that_is_not_there_is_a_line(perftrack: Run, path: str) -> None:
    assert "no database at" in perftrack("database", "shell", expect=1).stderr
    assert not os.path.exists(path)


@pytest.fixture
def shared() -> Iterator[str]:
    """A database in a folder that others can look into; pytest's own are root's alone."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="perftrack-test-"))
    folder.chmod(0o755)
    path = str(folder / "perftrack.db")
    fill(path)
    os.chmod(path, 0o644)
    yield path
    shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="only root can be another user")
def test_in_a_folder_that_cannot_be_written_to_it_is_read(shared: str) -> None:
    before = os.listdir(os.path.dirname(shared))
    done = as_another(shared, "database", "shell", COUNT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "│ 3       │" in done.stdout
    assert os.listdir(os.path.dirname(shared)) == before
