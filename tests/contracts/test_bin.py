"""The scripts in bin/ as a new user meets them: in a fresh clone, from any folder, on a machine that lacks things."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY, let_others_in, on_a_terminal, query

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these are shell scripts")
SCRIPTS = ("log_current_state_linux.sh", "generate_extract_linux.sh")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows, and no .venv."""
    copy = tmp_path_factory.mktemp("fresh") / "a clone"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (REPOSITORY / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, copy / name)
    return copy


@pytest.fixture
def run(tmp_path: Path, path: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program in another folder, in an environment as bare as cron's, but for what is given."""

    def run(*command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PERFTRACK_DATABASE": path}
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        return subprocess.run(
            command, env=bare | pip | env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
        )

    return run


Runner = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.slow
class TestAFreshClone:
    """In this order: the first call installs, and all later ones find everything there."""

    def test_records_with_its_first_command(self, clone: Path, run: Runner, path: str) -> None:
        done = run(clone / "bin" / "perftrack", "record")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert query(path, "SELECT count(*) FROM system_log") == [1]
        assert (clone / ".venv" / ".installed").exists()

    def test_says_at_the_first_record_how_to_go_on(self, clone: Path, run: Runner, tmp_path: Path) -> None:
        database = str(tmp_path / "first, 100%.db")
        options = ["--filter", "no such", "--top", "0", "--database", database]
        *said, cron_line = on_a_terminal("record", *options, program=[str(clone / "bin" / "perftrack")]).splitlines()
        assert said[0] == f"created the database {database}"
        assert said[1].endswith(': 0 by "no such"')
        assert cron_line.startswith(f"* * * * * '{clone}/bin/perftrack' record ")
        done = run("sh", "-c", cron_line.removeprefix("* * * * * ").replace("\\%", "%"))  # as cron does
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert query(database, "SELECT count(*) FROM system_sample") == [2]
        assert query(database, "SELECT count(*) FROM process_sample") == [0]

    def test_later_calls_start_nothing_but_the_program(self, clone: Path, run: Runner, tmp_path: Path) -> None:
        if shutil.which("strace") is None:
            pytest.skip("strace is not installed")
        trace = tmp_path / "trace"
        run("strace", "-f", "-e", "trace=execve", "-o", trace, clone / "bin" / "perftrack", "--version")
        started = re.findall(r'execve\("([^"]+)".* = 0$', trace.read_text(), re.MULTILINE)
        assert started[0] == str(clone / "bin" / "perftrack")
        assert {os.path.dirname(program) for program in started[1:]} == {str(clone / ".venv" / "bin")}

    def test_works_through_a_link(self, clone: Path, run: Runner, tmp_path: Path) -> None:
        (tmp_path / "perftrack").symlink_to(clone / "bin" / "perftrack")
        assert run(tmp_path / "perftrack", "--version").stdout.startswith("perftrack ")

    def test_has_the_originals_scripts_working_from_any_folder(
        self, clone: Path, run: Runner, tmp_path: Path
    ) -> None:
        for script in SCRIPTS:
            done = run(clone / "bin" / script)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert len((tmp_path / "system_log.csv").read_text().splitlines()) == 2
        assert (tmp_path / "process_log.csv").exists()

    @staticmethod
    def installs(clone: Path, doing: str) -> bool:
        """Ask for the version on a terminal, and return whether it says that it installs first."""
        *said, version = on_a_terminal("--version", program=[str(clone / "bin" / "perftrack")]).splitlines()
        assert version.startswith("perftrack 0")
        first = f"perftrack: {doing} the virtual environment {clone}/.venv, once; "
        return len(said) == 2 and said[0].startswith(first) and said[1] == "perftrack: it is ready"

    def test_installs_again_when_the_project_changed(self, clone: Path) -> None:
        project, stamp = clone / "pyproject.toml", clone / ".venv" / ".installed"
        os.utime(project, (time.time() + 10, time.time() + 10))
        assert self.installs(clone, "updating")
        assert not self.installs(clone, "updating")
        assert stamp.stat().st_mtime_ns == project.stat().st_mtime_ns

    def test_installs_again_when_the_clone_was_moved(self, clone: Path) -> None:
        moved = clone.with_name("moved")
        clone.rename(moved)
        try:
            assert self.installs(moved, "making")
        finally:
            moved.rename(clone)

    @pytest.mark.slow
    def test_installs_again_when_its_python_is_gone(self, clone: Path, run: Runner) -> None:
        for _ in range(2):
            (clone / ".venv" / "bin" / "python").unlink(missing_ok=True)
            assert run(clone / "bin" / "perftrack", "--version").returncode == 0

    def test_says_so_when_the_package_index_cannot_be_reached(self, clone: Path, run: Runner) -> None:
        shutil.rmtree(clone / ".venv")
        nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
        done = run(clone / "bin" / "perftrack", "record", PIP_NO_CACHE_DIR="1", PIP_CONFIG_FILE=os.devnull, **nowhere)
        assert done.returncode == 1
        assert done.stderr == (
            "perftrack: cannot reach the package index; check the network or pip's index-url, then run this again\n"
        )


class TestAMachineThatLacksSomething:
    @pytest.fixture
    def machine(self, tmp_path: Path) -> Path:
        """A PATH with nothing but a shell's usual helpers."""
        folder = tmp_path / "path"
        folder.mkdir()
        for name in ("sh", "readlink"):
            found = shutil.which(name)
            assert found
            (folder / name).symlink_to(found)
        return folder

    @staticmethod
    def python(machine: Path, script: str) -> None:
        (machine / "python3").write_text(f"#!/bin/sh\n{script}\n")
        (machine / "python3").chmod(0o755)

    @pytest.fixture
    def bare_clone(self, clone: Path, tmp_path: Path) -> Path:
        copy = tmp_path / "clone"
        shutil.copytree(clone / "bin", copy / "bin")
        shutil.copy(clone / "pyproject.toml", copy)
        return copy

    @pytest.mark.parametrize(
        ("python", "says"),
        [
            (None, "python3 is not installed or not in PATH; perftrack needs Python 3.11 or newer"),
            ("echo 3.10", "python3 is Python 3.10; perftrack needs Python 3.11 or newer"),
            ("echo 2.7", "python3 is Python 2.7; perftrack needs Python 3.11 or newer"),
            (
                f'case "$*" in *ensurepip*) exit 1 ;; esac; exec {sys.executable} "$@"',
                "Python's venv module is missing; install it (Debian and Ubuntu: apt install python3-venv)",
            ),
        ],
        ids=["no python", "python 3.10", "python 2.7", "no venv"],
    )
    @pytest.mark.parametrize("script", ["perftrack", "test"])
    def test_gets_one_clear_line(
        self, run: Runner, machine: Path, bare_clone: Path, python: str | None, says: str, script: str
    ) -> None:
        if python is not None:
            self.python(machine, python.replace(sys.executable, os.path.realpath(sys.executable)))
            if "ensurepip" in python:
                self.hide_ensurepip(machine)
        done = run(bare_clone / "bin" / script, PATH=str(machine))
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"perftrack: {says}\n")
        assert not (bare_clone / ".venv").exists()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
    def test_of_a_python_that_another_user_may_not_run_says_so(self, bare_clone: Path, tmp_path: Path) -> None:
        """As where root's Python is in root's home."""
        is_new = "import sys; sys.exit(sys.version_info < (3, 11))"
        if subprocess.run(["/usr/bin/python3", "-c", is_new], check=False).returncode:
            pytest.skip("the system has no such Python")
        hidden, venv = tmp_path / "hidden", bare_clone / ".venv"
        hidden.mkdir(0o700)
        (hidden / "python3").symlink_to(os.path.realpath(sys.executable))
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").symlink_to(hidden / "python3")
        (venv / ".installed").write_text(f"{bare_clone}\n")
        let_others_in(bare_clone)
        command = ["setpriv", "--reuid=65534", "--clear-groups", bare_clone / "bin" / "perftrack", "record"]
        done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
        advice = f"the owner of {venv} can remove it, and make it of another"
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"perftrack: this user may not run {hidden}/python3: {advice}\n"

    @staticmethod
    def hide_ensurepip(machine: Path) -> None:
        """Debian's python3 without python3-venv: `import ensurepip` fails."""
        (machine / "ensurepip.py").write_text("raise ImportError('no ensurepip')\n")
        script = machine / "python3"
        script.write_text(f'#!/bin/sh\nPYTHONPATH={machine} exec {os.path.realpath(sys.executable)} "$@"\n')


def test_the_windows_scripts_end_their_lines_as_windows_does() -> None:
    for script in ("log_current_state_windows.cmd", "generate_extract_windows.cmd"):
        content = (REPOSITORY / "bin" / script).read_bytes()
        assert content.count(b"\r\n") == content.count(b"\n") > 3
