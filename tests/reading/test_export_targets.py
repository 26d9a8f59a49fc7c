"""Where an export goes: stdout, devices and links; files are whole or not there."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Run, process_row, sample, until
from exported import PROCESS_HEADER, minute, record_minutes

from perftrack.errors import PerftrackError
from perftrack.reading.export import files as exporting
from perftrack.reading.queries import TimeRange
from perftrack.storage import opening
from perftrack.storage.insertion import insert_sample


@pytest.fixture
def three_samples(connection: sqlite3.Connection) -> None:
    record_minutes(connection, 3)


class TestStdout:
    @pytest.mark.usefixtures("three_samples")
    def test_takes_one_file_alone(self, perftrack: Run, tmp_path: Path) -> None:
        done = perftrack("export", "--process-csv", "-")
        assert done.stdout.splitlines()[0] == PROCESS_HEADER
        assert len(done.stdout.splitlines()) == 4
        assert os.listdir(tmp_path / "work") == []

    @pytest.mark.usefixtures("three_samples")
    def test_leaves_the_other_file_where_it_is_named(self, perftrack: Run, tmp_path: Path) -> None:
        perftrack("export", "--process-csv", "-", "--system-csv", "s.csv")
        perftrack("export", "--system-csv", "-", "--directory", ".")
        assert sorted(os.listdir(tmp_path / "work")) == ["process_log.csv", "s.csv"]

    def test_does_not_take_both(self, perftrack: Run) -> None:
        done = perftrack("export", "--process-csv", "-", "--system-csv", "-", expect=2)
        assert done.stderr.startswith("perftrack: both files would go to the same place")

    @pytest.fixture
    def more_than_a_pipe_holds(self, connection: sqlite3.Connection) -> None:
        for number in range(100):
            rows = [process_row(pid=pid, name="python" * 10) for pid in range(50)]
            insert_sample(connection, sample(*rows, taken_at=minute(number)))

    @pytest.mark.usefixtures("more_than_a_pipe_holds")
    def test_that_is_closed_ends_quietly(self, path: str, tmp_path: Path) -> None:
        done, status = self.closed_early(path, tmp_path)
        assert (done, status) == ("", 0)

    @staticmethod
    def closed_early(path: str, folder: Path, *options: str) -> tuple[str, int]:
        """Read one line of the processes' file, as head does; return what was said on stderr and the exit code."""
        command = [sys.executable, "-m", "perftrack", "export", "--process-csv", "-", "--database", path, *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, cwd=folder, text=True, **pipes) as export:
            assert export.stdout is not None
            assert export.stderr is not None
            assert export.stdout.readline() == PROCESS_HEADER + "\n"
            export.stdout.close()
            return export.stderr.read(), export.wait(timeout=60)

    @pytest.mark.usefixtures("more_than_a_pipe_holds")
    def test_that_is_closed_leaves_the_other_file_and_says_so(self, path: str, tmp_path: Path) -> None:
        said, status = self.closed_early(path, tmp_path, "--system-csv", "s.csv")
        assert (said, status) == ("perftrack: stdout was closed before its end; s.csv is as it was\n", 1)
        assert not (tmp_path / "s.csv").exists()

    @pytest.mark.usefixtures("three_samples")
    def test_that_was_never_open_is_no_traceback(self, path: str, tmp_path: Path) -> None:
        for arguments in ("record", "export --process-csv -", "config show"):
            done = subprocess.run(
                ["sh", "-c", f"exec {sys.executable} -m perftrack {arguments} >&-"],
                cwd=tmp_path,
                env={**os.environ, "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"},
                stderr=subprocess.PIPE,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, b"")


class TestFailure:
    """Whatever goes wrong, the files of the export before are still there, whole, and nothing else is."""

    @pytest.fixture
    def earlier(self, tmp_path: Path) -> dict[str, str]:
        (tmp_path / "work").mkdir(exist_ok=True)
        earlier = {"system_log.csv": "earlier\n", "process_log.csv": "earlier\n"}
        for name, text in earlier.items():
            (tmp_path / "work" / name).write_text(text)
        return earlier

    @staticmethod
    def found(folder: Path) -> dict[str, str]:
        return {path.name: path.read_text() for path in folder.iterdir()}

    @pytest.mark.usefixtures("three_samples")
    @pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
    def test_a_full_disk(self, path: str, tmp_path: Path, earlier: dict[str, str]) -> None:
        done = subprocess.run(
            ["sh", "-c", f"trap '' XFSZ; ulimit -f 0; exec {sys.executable} -m perftrack export --database {path}"],
            cwd=tmp_path / "work",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("perftrack: cannot write ")
        assert len(done.stderr.splitlines()) == 1
        assert self.found(tmp_path / "work") == earlier

    @pytest.mark.usefixtures("three_samples")
    def test_an_error_half_way(
        self, path: str, tmp_path: Path, earlier: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path / "work")

        def fails_at_the_second_file(done: int, total: int) -> None:
            if done > total / 2:
                raise OSError(28, "No space left on device")

        with pytest.raises(PerftrackError, match="No space left"):
            exporting.export(
                path, "system_log.csv", "process_log.csv", TimeRange(), progress=fails_at_the_second_file
            )
        assert self.found(tmp_path / "work") == earlier

    @pytest.mark.usefixtures("three_samples")
    def test_one_target_under_two_names(self, perftrack: Run, tmp_path: Path, earlier: dict[str, str]) -> None:
        done = perftrack("export", "--system-csv", "./process_log.csv", expect=2)
        assert done.stderr.startswith("perftrack: both files would go to the same place")
        assert self.found(tmp_path / "work") == earlier

    def test_being_ended_by_a_signal(self, path: str, tmp_path: Path, earlier: dict[str, str]) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)  # nobody reads it, so that the export waits
        opening.open_current(path).close()
        command = [sys.executable, "-m", "perftrack", "export", "--process-csv", str(fifo), "--database", path]
        with subprocess.Popen(command, cwd=tmp_path / "work", stderr=subprocess.PIPE, text=True) as export:
            while len(os.listdir(tmp_path / "work")) == len(earlier):
                assert export.poll() is None
                time.sleep(0.01)
            export.terminate()
            assert export.wait(timeout=60) == 128 + signal.SIGTERM
        assert self.found(tmp_path / "work") == earlier

    @pytest.mark.usefixtures("three_samples", "earlier")
    @pytest.mark.parametrize("is_first", [True, False], ids=["none were there", "earlier ones were there"])
    def test_a_target_that_does_not_let_itself_be_replaced(
        self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_first: bool
    ) -> None:
        """When the other one has been already."""
        monkeypatch.chdir(tmp_path / "work")
        if is_first:
            os.unlink("system_log.csv")

        def becomes_a_folder(done: int, total: int) -> None:
            if os.path.isfile("process_log.csv"):
                os.unlink("process_log.csv")
                os.mkdir("process_log.csv")

        with pytest.raises(PerftrackError, match=r"^cannot write process_log.csv: Is a directory$"):
            exporting.export(path, "system_log.csv", "process_log.csv", TimeRange(), progress=becomes_a_folder)
        os.rmdir("process_log.csv")
        assert self.found(tmp_path / "work") == ({} if is_first else {"system_log.csv": "earlier\n"})

    def test_being_killed_leaves_something_until_the_next_export(
        self, perftrack: Run, path: str, tmp_path: Path, earlier: dict[str, str]
    ) -> None:
        work, fifo = tmp_path / "work", tmp_path / "fifo"
        os.mkfifo(fifo)  # nobody reads it, so that the export waits
        opening.open_current(path).close()
        command = [sys.executable, "-m", "perftrack", "export", "--process-csv", str(fifo), "--database", path]
        for is_killed in (True, False):
            before = set(os.listdir(work))
            with subprocess.Popen(command, cwd=work, stderr=subprocess.DEVNULL) as export:
                until(lambda: set(os.listdir(work)) - before)  # noqa: B023
                (leftover,) = set(os.listdir(work)) - before
                if is_killed:
                    export.kill()
                    continue
                stranger = work / leftover.replace(".tmp", ".tmp.mine")
                stranger.write_text("mine")
                perftrack("export")  # while that one is still being written
                found = set(os.listdir(work))
                export.terminate()
        assert found == {*earlier, leftover, stranger.name}
        assert set(os.listdir(work)) == {*earlier, stranger.name}

    @pytest.mark.usefixtures("three_samples", "earlier")
    def test_a_folder_that_is_not_there(self, perftrack: Run, tmp_path: Path) -> None:
        target = str(tmp_path / "nowhere" / "p.csv")
        done = perftrack("export", "--process-csv", target, expect=1)
        assert done.stderr == f"perftrack: cannot write {target}: No such file or directory\n"
        assert self.found(tmp_path / "work")["system_log.csv"] == "earlier\n"

    def test_no_database(self, perftrack: Run, path: str, tmp_path: Path, earlier: dict[str, str]) -> None:
        done = perftrack("export", expect=1, cwd=tmp_path / "work")
        assert done.stderr.startswith(f"perftrack: no database at {path}; `perftrack record` creates it")
        assert not os.path.exists(path)
        assert self.found(tmp_path / "work") == earlier


@pytest.mark.usefixtures("three_samples")
class TestSpecialTargets:
    def test_a_symbolic_link_is_replaced_not_followed(self, perftrack: Run, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (tmp_path / "work" / "system_log.csv").symlink_to(victim)
        perftrack("export")
        assert victim.read_text() == "precious"
        assert not (tmp_path / "work" / "system_log.csv").is_symlink()

    def test_a_device_stays_one(self, perftrack: Run) -> None:
        perftrack("export", "--system-csv", os.devnull)
        assert not os.path.isfile(os.devnull)

    def test_dev_stdout_is_stdout(self, perftrack: Run) -> None:
        assert perftrack("export", "--process-csv", "/dev/stdout").stdout.startswith(PROCESS_HEADER)
