"""What a program that was killed leaves of a new database is removed by the next one, and nothing else is."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import LEGACY, Run, until

from perftrack.storage import unfinished

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is removed where there are no such locks")
# Stands still before the new database gets its name, when it is filled but for what its log holds.
STANDING = """
import sys, time
from perftrack.storage import schema
def stand(new, path):
    print(flush=True)
    time.sleep(1000)
schema._put_in_place = stand
from perftrack.__main__ import main
main()
"""
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def standing(path: str) -> Iterator[Start]:
    """Start a program that makes the database, and return it when it stands still before the end of that."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"}
        process = subprocess.Popen([sys.executable, "-c", STANDING, *arguments], env=env, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def left(path: str) -> list[str]:
    """Return the names of all but the database itself."""
    return sorted(name for name in os.listdir(os.path.dirname(path)) if name != os.path.basename(path))


PROGRAMS = [("record",), ("import", str(LEGACY / "data.pik"))]


@pytest.mark.parametrize("killed", PROGRAMS, ids=["first run", "import"])
@pytest.mark.parametrize("then", PROGRAMS, ids=["then a first run", "then an import"])
def test_what_a_killed_one_left_is_removed(
    standing: Start, perftrack: Run, path: str, killed: tuple[str, ...], then: tuple[str, ...]
) -> None:
    program = standing(*killed)
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert len(left(path)) == 1
    perftrack(*then)
    assert left(path) == []


@pytest.mark.parametrize("filling", PROGRAMS, ids=["a first run", "an import"])
def test_what_a_living_one_fills_is_left_alone(
    standing: Start, perftrack: Run, path: str, filling: tuple[str, ...]
) -> None:
    """Also when it has stood still for days, and then others make the database, or import into it."""
    program = standing(*filling)
    program.send_signal(signal.SIGSTOP)
    (folder,) = left(path)
    long_ago = os.stat(path.removesuffix("perftrack.db") + folder).st_mtime - 7 * 86400
    os.utime(path.removesuffix("perftrack.db") + folder, (long_ago, long_ago))
    for others in (("record",), ("import", str(LEGACY / "data.pik")), ("database", "upgrade")):
        perftrack(*others)
        assert left(path) == [folder]
    program.kill()
    program.wait()
    perftrack("database", "upgrade")
    assert left(path) == []


def test_at_any_moment_of_a_first_run_a_kill_leaves_nothing_for_long(path: str, perftrack: Run) -> None:
    env = {**os.environ, "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"}
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-m", "perftrack", "record"], env=env) as program:
            until(lambda: os.path.isdir(os.path.dirname(path)) and left(path))
            program.kill()
    perftrack("record")
    assert left(path) == []


class TestBesideIt:
    @pytest.mark.parametrize("name", ["perftrack.db.new", ".perftrack.db.x", ".db.x.new", ".perftrack.db.x.new"])
    def test_a_file_or_another_folder_is_not_touched(self, tmp_path: Path, name: str) -> None:
        found = tmp_path / name
        found.write_text("x") if name == ".perftrack.db.x.new" else found.mkdir()
        unfinished.remove_abandoned(str(tmp_path / "perftrack.db"))
        assert found.exists()

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "precious").write_text("x")
        (tmp_path / ".perftrack.db.x.new").symlink_to(elsewhere)
        unfinished.remove_abandoned(str(tmp_path / "perftrack.db"))
        assert (elsewhere / "precious").exists()

    @pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can be two users")
    def test_what_is_another_users_is_not_touched(self, tmp_path: Path) -> None:
        folder = tmp_path / ".perftrack.db.x.new"
        folder.mkdir()
        os.chown(folder, 65534, 65534)
        unfinished.remove_abandoned(str(tmp_path / "perftrack.db"))
        assert folder.exists()


@pytest.mark.parametrize("before", ["tempfile.mkdtemp", "fcntl.flock"])
def test_who_is_overtaken_before_it_holds_its_folder_makes_another(
    path: str, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """By one that took it for abandoned, and removed it before it was opened, or before it was locked."""
    os.makedirs(os.path.dirname(path))
    module = importlib.import_module(before.split(".", maxsplit=1)[0])
    name = before.split(".")[1]
    real, calls = getattr(module, name), []

    def overtaken(*arguments: Any, **how: Any) -> Any:
        calls.append(real(*arguments, **how))
        if len(calls) == 1:
            shutil.rmtree(os.path.join(os.path.dirname(path), left(path)[0]))
        return calls[-1]

    monkeypatch.setattr(module, name, overtaken)
    with unfinished.folder_beside(path) as folder:
        assert left(path) == [os.path.basename(folder)]
    assert len(calls) == 2
