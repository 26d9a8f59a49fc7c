"""The process that reads a file for `perftrack import`: what it must not survive, and its end is never ours."""

from __future__ import annotations

import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Run, query, until
from opcodes import ENCODE, called, text, whole
from originals import CSV_FILES, DATA_PIK, NOON, Refused, entries_of, imported, process, refused, system

from perftrack.errors import PerftrackError
from perftrack.legacy import source
from perftrack.legacy.child import PICKLE
from perftrack.legacy.source import reading
from perftrack.storage.opening import open_current

__all__ = ["imported", "refused"]  # the fixtures
linux = pytest.mark.skipif(sys.platform != "linux", reason="uses Linux's limits and signals")


def nested(depth: int) -> bytes:
    """A dictionary whose key is a tuple of a tuple of a tuple ...: to hash it is to recurse, in C."""
    return pickle.EMPTY_DICT + pickle.EMPTY_TUPLE + pickle.TUPLE1 * depth + pickle.NONE + pickle.SETITEM


def colliding(count: int) -> bytes:
    """A dictionary of numbers that all have the same hash, so that each takes as long as all before it."""
    numbers = [number * sys.hash_info.modulus for number in range(1, count)]
    keys = b"".join(pickle.LONG1 + bytes([20]) + number.to_bytes(20, "little") + pickle.NONE for number in numbers)
    return pickle.EMPTY_DICT + pickle.MARK + keys + pickle.SETITEMS


def encoded_again(times: int) -> bytes:
    """_codecs.encode of what _codecs.encode made, which doubles where each byte takes two."""
    parts = text("\xff" * 10)
    for _ in range(times):
        parts = called(ENCODE, parts, text("utf-8"))
    return parts


BOMBS = {
    "a memo of gigabytes in nine bytes": (b"\x80\x04Nr\xff\xff\xff\x7f.", "takes more memory"),
    "three megabytes of a key in a key": (whole(nested(3_000_000)), "crashed (SIGSEGV)"),
    "a thousand encodings in a row": (whole(encoded_again(1000)), "an encoding of something else"),
    "sets of 200 bytes for a byte each": (whole(pickle.EMPTY_SET * 5_000_000), "takes more memory"),
    "a list in a list in a list": (
        whole(pickle.EMPTY_LIST * 3_000_000 + pickle.APPEND * 2_999_999),
        "not the original's",
    ),
    "a list in itself": (whole(b"]\x94" + (b"h\x00a" * 100)), "not the original's data"),
    "more text than there is": (
        whole(pickle.BINUNICODE + b"\xff\xff\xff\x7f" + b"x"),
        "takes more memory",
    ),
    "a frame that is longer than the file": (
        b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f" + b"N.",
        "a damaged or incomplete pickle",
    ),
    "a number of a million digits": (b"L" + b"9" * 1_000_000 + b"L\n.", "neither a pickle nor"),
    "one entry a million times": (
        pickle.dumps({"system": [], "processes": [process()] * 1_000_000}),
        "more entries than a file of its size can",
    ),
}


@linux
class TestABomb:
    @pytest.mark.parametrize("what", BOMBS)
    def test_is_refused_in_one_line(self, what: str, refused: Refused) -> None:
        content, said = BOMBS[what]
        assert said in refused(content)

    @pytest.mark.slow
    def test_that_burns_time_is_stopped(self, perftrack: Run, tmp_path: Path, path: str) -> None:
        (tmp_path / "data.pik").write_bytes(whole(colliding(100_000)))
        limit = (3, resource.RLIM_INFINITY)  # the user's own, which is stricter than ours
        done = perftrack(
            "import",
            str(tmp_path / "data.pik"),
            expect=1,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, limit),
        )
        assert done.stderr.startswith(f"perftrack: {tmp_path}/data.pik: refused, reading it takes more CPU time ")
        assert not os.path.exists(path)

    @pytest.mark.faults
    def test_that_burns_time_is_stopped_by_our_own_limit(self, refused: Refused) -> None:
        assert "takes more CPU time" in refused(whole(colliding(200_000)))

    def test_of_one_endless_csv_field_is_named(self, refused: Refused) -> None:
        header = Path(CSV_FILES[1]).read_bytes().splitlines(keepends=True)[0]
        assert refused(header + b'1.5,"' + b"x" * 200_000, "a.csv").startswith(", line 2: field larger than ")
        assert refused(header + b"1.5," + b"x" * 5_000_000, "b.csv").startswith(": refused, a line of it is longer ")
        assert refused(header + b'"' + b"\n" * 200_000, "c.csv").startswith(", line ")

    @pytest.mark.faults
    def test_of_a_gigabyte_is_refused(self, tmp_path: Path) -> None:
        for beginning, said in (
            (Path(CSV_FILES[1]).read_bytes(), "a line of it is longer"),
            (b"", "neither a pickle"),
        ):
            with open(tmp_path / "big", "wb") as file:
                file.write(beginning)
                file.truncate(2**30)
            with pytest.raises(PerftrackError, match=said):
                entries_of(tmp_path / "big")


@linux
class TestTheProcess:
    """That it is one, what it may not do, and that its end is never ours."""

    @pytest.fixture
    def waiting(self, tmp_path: Path) -> Iterator[tuple[source.Source, psutil.Process]]:
        """A reader that waits for the rest of its file, out of a pipe."""
        os.mkfifo(tmp_path / "pipe")
        writer = os.open(tmp_path / "pipe", os.O_RDWR)
        others = set(psutil.Process().children())
        with reading(str(tmp_path / "pipe")) as opened:
            (child,) = set(psutil.Process().children()) - others
            yield opened, child
        os.close(writer)
        assert not child.is_running()

    @pytest.mark.parametrize(
        ("number", "said"),
        [
            (signal.SIGKILL, "was killed"),
            (signal.SIGABRT, "SIGABRT"),
            (40, "signal 40"),
            (signal.SIGBUS, "crashed .SIGBUS"),
        ],
    )
    def test_that_is_killed_is_named(self, number: int, said: str, waiting: Any, tmp_path: Path) -> None:
        waiting[1].send_signal(number)
        with pytest.raises(PerftrackError, match=rf"^{tmp_path}/pipe: .*{said}"):
            waiting[0].entries()

    def test_that_hangs_is_stopped(self, waiting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """It waits for what never comes out of the pipe."""
        monkeypatch.setattr(source, "wall_seconds", lambda size: 0.2)
        with pytest.raises(PerftrackError, match=r"/pipe: not read, for that took more than 0\.2 seconds"):
            waiting[0].entries()

    @pytest.mark.slow
    @pytest.mark.parametrize("who", ["the one that reads", "both"])
    def test_that_is_stopped_for_long_goes_on(self, tmp_path: Path, path: str, who: str) -> None:
        """Ctrl-Z stops the program and the process that reads its file, and `fg` lets them go on."""
        os.mkfifo(tmp_path / "pipe")
        program = (
            "from perftrack.legacy import source; source.wall_seconds = lambda size: 2\n"
            "from perftrack.__main__ import main; main()"
        )
        command = [sys.executable, "-c", program, "import", str(tmp_path / "pipe"), "--database", path]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as importing,
            open(tmp_path / "pipe", "wb") as pipe,
        ):
            parent = psutil.Process(importing.pid)
            until(lambda: parent.children() and parent.num_threads() > 1)
            stopped = [*parent.children(), parent][: 1 if who == "the one that reads" else 2]
            for process in stopped:
                process.suspend()
            time.sleep(3)
            for process in stopped:
                process.resume()
            pipe.write(Path(DATA_PIK).read_bytes())
            pipe.close()
            assert ": imported " in importing.communicate(timeout=60)[0]
        assert importing.returncode == 0

    def test_has_imported_neither_sqlalchemy_nor_site_packages(self, waiting: Any) -> None:
        # it has imported what it needs, and waits; which of that are shared libraries differs from Python to Python
        until(lambda: "pipe_read" in Path(f"/proc/{waiting[1].pid}/wchan").read_text())
        assert not waiting[1].open_files()
        assert "site-packages" not in Path(f"/proc/{waiting[1].pid}/maps").read_text()

    def test_has_limits(self) -> None:
        """Asked from inside: the command that reads a file here answers with its limits."""
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); from perftrack.legacy import child, limits;"
            "child._file(); import resource as r;"
            "print([r.getrlimit(k)[0] for k in (r.RLIMIT_AS, r.RLIMIT_CPU, r.RLIMIT_FSIZE, r.RLIMIT_CORE)])"
        )
        with open(DATA_PIK, "rb") as file:
            done = subprocess.run(
                [sys.executable, "-c", program, source._COMMAND[-1]], stdin=file, capture_output=True, check=True
            )
        memory, seconds, *nothing = eval(done.stdout)
        assert 2**29 <= memory < 2**30
        assert (10 <= seconds < 60, nothing) == (True, [0, 0])

    def test_reads_a_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        content = Path(DATA_PIK).read_bytes()
        threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,)).start()
        assert entries_of(tmp_path / "pipe") == entries_of(DATA_PIK)

    def test_ignores_modules_that_lie_around(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir(exist_ok=True)
        for name in ("pickle", "datetime", "perftrack"):
            (tmp_path / "work" / f"{name}.py").write_text("raise SystemExit('not this one')")
        env = {**os.environ, "PYTHONPATH": str(tmp_path / "work"), "PERFTRACK_DATABASE": str(tmp_path / "db")}
        with open(DATA_PIK, "rb") as file:
            done = subprocess.run(
                [sys.executable, *source._COMMAND],
                stdin=file,
                cwd=tmp_path / "work",
                env=env,
                capture_output=True,
                check=True,
            )
        assert done.stdout.startswith(PICKLE.encode())


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    times = [NOON + timedelta(minutes=minute) for minute in range(3000)]
    file = tmp_path_factory.mktemp("large") / "data.pik"
    processes = [process(datetime=when, pid=pid) for when in times for pid in range(100, 110)]
    file.write_bytes(pickle.dumps({"system": [system(datetime=when) for when in times], "processes": processes}))
    return file


@linux
class TestKilledInTheMiddle:
    @pytest.fixture
    def killed_at(self, large: Path, path: str) -> Callable[[float], int]:
        """Kill an import after so many seconds; return how many of its rows are there."""
        Path(path).parent.mkdir()

        def run(seconds: float) -> int:
            command = [sys.executable, "-m", "perftrack", "import", "--database", path, str(large)]
            importing = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            time.sleep(seconds)
            children = psutil.Process(importing.pid).children() if importing.poll() is None else []
            importing.kill()
            importing.wait()
            until(lambda: not any(child.is_running() for child in children))  # who reads for nobody ends
            if not os.path.exists(path):
                return 0
            open_current(path).close()  # it may have been about to be created
            assert query(path, "PRAGMA integrity_check") == ["ok"]
            assert query(path, "PRAGMA foreign_key_check") == []
            (rows,) = query(path, "SELECT count(*) FROM process_sample")
            assert query(path, "SELECT count(*) FROM system_sample") == [rows // 10]
            assert query(path, "SELECT (SELECT count(*) FROM host) + (SELECT count(*) FROM process)") == [
                11 if rows else 0
            ]
            return int(rows)

        return run

    def kill(self, times: int, killed_at: Callable[[float], int], path: str, large: Path, perftrack: Run) -> None:
        started = time.monotonic()
        perftrack("import", str(large))
        whole_seconds = time.monotonic() - started
        chance = random.Random(times)
        empty = Path(path).parent.with_name("empty.db")
        perftrack("database", "upgrade", "--database", str(empty))
        for number in range(times):
            for file in Path(path).parent.iterdir():
                shutil.rmtree(file) if file.is_dir() else file.unlink()
            if number % 2:  # else it makes the database too
                shutil.copy(empty, path)
            assert killed_at(chance.uniform(0.3, 1.0) * whole_seconds) in {0, 30_000}
        done = perftrack("import", str(large))
        assert query(path, "SELECT count(*) FROM process_sample") == [30_000], done.stdout

    @pytest.mark.slow
    def test_an_import_leaves_none_of_its_rows(self, killed_at: Any, path: str, large: Path, perftrack: Run) -> None:
        self.kill(4, killed_at, path, large, perftrack)

    @pytest.mark.faults
    def test_an_import_leaves_none_of_its_rows_at_100_moments(
        self, killed_at: Any, path: str, large: Path, perftrack: Run
    ) -> None:
        self.kill(100, killed_at, path, large, perftrack)
