"""The process that reads a file for `perftrack import`: what it must not survive, and what of it never gets out."""

from __future__ import annotations

import io
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
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Run, query, until
from hypothesis import given
from hypothesis import strategies as st
from test_import import CSV_FILES, DATA_PIK, NOON, PYTHON_2_PICKLES, base64, process, system
from test_import_hostile import ENCODE, Refused, called, executing, imported, refused, text, whole

from perftrack.errors import PerftrackError
from perftrack.legacy import source
from perftrack.legacy.answer import Answer, RefusedError
from perftrack.legacy.columns import SYSTEM, moment
from perftrack.legacy.entries import ProcessEntry, SystemEntry, process_entries, system_entries
from perftrack.legacy.packing import Unchecked, packed
from perftrack.legacy.source import Source, reading

__all__ = ["imported", "refused"]  # the fixtures
linux = pytest.mark.skipif(sys.platform != "linux", reason="uses Linux's limits and signals")


def entries_of(path: Path | str) -> tuple[list[SystemEntry], list[ProcessEntry]]:
    with reading(str(path)) as opened:
        return told_by(opened)


def told_by(answer: Source | Answer) -> tuple[list[SystemEntry], list[ProcessEntry]]:
    """The entries, one by one."""
    when, *numbers = answer.system()
    system = list(map(SystemEntry, map(moment, when), *numbers))
    moments = answer.moments()
    times = chain.from_iterable(map(repeat, map(moment, moments.times), moments.counts))
    pids, filters, names, processes = array("q"), [], [], []
    for part in answer.processes(moments):
        pids += part.pids
        filters += part.filters
        names += part.names
        for place, *values in zip(part.places, *part[4:], strict=True):
            processes.append(ProcessEntry(next(times), filters[place], names[place], pids[place], *values))
    return system, processes


def answered(content: bytes) -> Answer:
    return Answer(io.BytesIO(content).read)


def answer_of(system: list[Any], processes: list[Any]) -> bytes:
    return b"".join(chain.from_iterable(packed(Unchecked(system, processes, str, str))))


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
    "more text than there is": (whole(pickle.BINUNICODE + b"\xff\xff\xff\x7f" + b"x"), "truncated"),
    "a frame that is longer than the file": (
        b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f" + b"N.",
        "not a readable pickle",
    ),
    "a number of a million digits": (b"L" + b"9" * 1_000_000 + b"L\n.", "not a readable pickle"),
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
        assert refused(header + b"1.5," + b"x" * 5_000_000, "b.csv").startswith(", line 2: longer than any line ")
        assert refused(header + b'"' + b"\n" * 200_000, "c.csv").startswith(", line ")

    @pytest.mark.faults
    def test_of_a_gigabyte_is_refused(self, tmp_path: Path) -> None:
        for beginning, said in ((Path(CSV_FILES[1]).read_bytes(), "longer than any line"), (b"", "not a readable")):
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
        with reading(str(tmp_path / "pipe")) as opened:
            (child,) = psutil.Process().children()
            yield opened, child
        os.close(writer)
        assert not child.is_running()

    @pytest.mark.parametrize(
        ("number", "said"),
        [
            (signal.SIGKILL, "was killed"),
            (signal.SIGABRT, "SIGABRT"),
            (40, "signal 40"),
            (signal.SIGBUS, "cannot be read: it became shorter"),  # what is mapped into memory and then cut off
        ],
    )
    def test_that_is_killed_is_named(self, number: int, said: str, waiting: Any, tmp_path: Path) -> None:
        waiting[1].send_signal(number)
        with pytest.raises(PerftrackError, match=rf"^{tmp_path}/pipe: .*{said}"):
            waiting[0].system()

    def test_that_hangs_is_stopped(self, waiting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(source, "wall_seconds", lambda size: 0.2)
        waiting[1].suspend()
        with pytest.raises(PerftrackError, match=r"refused, reading it took more than 0\.2 seconds"):
            waiting[0].system()

    def test_has_imported_neither_sqlalchemy_nor_site_packages(self, waiting: Any) -> None:
        # it has imported what it needs, and waits; which of that are shared libraries differs from Python to Python
        until(lambda: "pipe_read" in Path(f"/proc/{waiting[1].pid}/wchan").read_text())
        assert not waiting[1].open_files()
        assert "site-packages" not in Path(f"/proc/{waiting[1].pid}/maps").read_text()

    def test_has_limits(self) -> None:
        """Asked from inside: the command that reads a file here answers with its limits."""
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); from perftrack.legacy import child, limits;"
            "child._content(); import resource as r;"
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
        assert done.stdout.startswith(SYSTEM)


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

    def test_an_import_leaves_nothing(self, killed_at: Any, path: str, large: Path, perftrack: Run) -> None:
        self.kill(4, killed_at, path, large, perftrack)

    @pytest.mark.faults
    def test_an_import_leaves_nothing_at_100_moments(
        self, killed_at: Any, path: str, large: Path, perftrack: Run
    ) -> None:
        self.kill(100, killed_at, path, large, perftrack)


def seeds(marker: Path) -> list[bytes]:
    """Real files: the original's, of every protocol and of Python 2, its CSV files, and some that mean ill."""
    content = Path(DATA_PIK).read_bytes()
    data = pickle.loads(content)
    small = {"system": data["system"][:2], "processes": data["processes"][:6]}
    return [
        content,
        *(pickle.dumps(small, protocol) for protocol in range(6)),
        *map(base64.b64decode, PYTHON_2_PICKLES.values()),
        *(Path(file).read_bytes()[:1500] for file in CSV_FILES),
        *map(whole, executing(marker).values()),
    ]


def mutated(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """Return *content* with a few changes: other bytes, other opcodes, pieces lost, doubled, or of another file."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        start = chance.randrange(len(changed) + 1)
        end = min(len(changed), start + chance.choice((1, 1, 2, 8, 64)))
        piece = chance.randrange(len(other))
        changed[start:end] = chance.choice(
            (
                chance.randbytes(end - start),
                bytes(
                    [
                        chance.choice(
                            b"(.0123FGIJKLMNPQRSTUVX]abcdeghijlopqrstu}\x80\x81\x82\x85\x8a\x8c\x8e\x93\x94\x95"
                        )
                    ]
                ),
                b"",
                bytes(changed[start:end]) * chance.choice((2, 2, 300)),
                other[piece : piece + chance.choice((4, 40, 400))],
                chance.choice((b"\xff\xff\xff\x7f", b"\xff" * 8, b"\0" * 4)),
            )
        )
    return bytes(changed)


def fuzz(count: int, tmp_path: Path) -> int:
    """Import mutated files until *count*; return how many were still the original's data."""
    marker = tmp_path / "executed"
    files = seeds(marker)
    chance = random.Random(count)
    taken = 0
    for number in range(count):
        file = tmp_path / "data.pik"
        file.write_bytes(mutated(chance.choice(files), chance.choice(files), chance))
        said = ""
        try:
            system, processes = entries_of(file)
        except PerftrackError as error:
            said = str(error)
        if said:
            assert said.startswith(str(file)), number
            assert "nonsense" not in said, number
            assert "exit code" not in said, number
        else:
            taken += 1
            again = answer_of(as_raw(system), as_raw(processes))
            assert told_by(answered(again)) == (system, processes), number
        assert not marker.exists(), number
    return taken


def as_raw(entries: list[Any]) -> list[dict[str, Any]]:
    """Return checked entries as the original would have written them."""
    if entries and isinstance(entries[0], SystemEntry):
        keys = ("datetime", "cpu_usage", "mem_available", "mem_total", "mem_used")
        return [dict(zip(keys, entry, strict=True)) | {"mem_percent_used": entry[4] / entry[3]} for entry in entries]
    keys = ("datetime", "filter", "name", "pid", "cpu_usage", "rss_memory", "vms_memory")
    return [dict(zip(keys, entry, strict=True)) for entry in entries]


class TestAMutatedFile:
    def test_is_refused_or_whole(self, tmp_path: Path) -> None:
        assert fuzz(60, tmp_path) > 0

    @pytest.mark.faults
    def test_of_thousands_is_refused_or_whole(self, tmp_path: Path) -> None:
        assert fuzz(3000, tmp_path) > 0


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\\"))
sizes = st.integers(0, 2**63 - 1)
times = st.datetimes(datetime(1971, 1, 1), datetime(9998, 12, 31)) | st.just(NOON.replace(fold=1)) | st.just(NOON)
floats = st.floats(0, allow_infinity=False, allow_nan=False)
process_list = st.lists(st.builds(ProcessEntry, times, texts, texts, st.integers(0, 2**31 - 1), floats, sizes, sizes))
system_list = st.lists(
    st.builds(SystemEntry, times, floats, sizes, sizes.filter(bool), sizes), unique_by=lambda entry: entry[0]
)


class TestColumns:
    @given(system_list, process_list)
    def test_give_the_entries_back(self, system: list[SystemEntry], processes: list[ProcessEntry]) -> None:
        content = answer_of(as_raw(system), as_raw(processes))
        assert told_by(answered(content)) == (system, processes)

    @given(system_list, process_list)
    def test_are_what_checking_one_by_one_gives(
        self, system: list[SystemEntry], processes: list[ProcessEntry]
    ) -> None:
        assert system_entries(as_raw(system), str) == system
        assert process_entries(as_raw(processes), str) == processes

    @given(process_list.filter(len), st.data())
    def test_are_refused_where_one_value_is_wrong(self, processes: list[ProcessEntry], data: st.DataObject) -> None:
        raws = as_raw(processes)
        index = data.draw(st.integers(0, len(raws) - 1))
        wrong = data.draw(
            st.sampled_from(
                [
                    ("pid", -1), ("pid", 2**31), ("pid", True), ("pid", 1.0), ("cpu_usage", float("nan")),
                    ("cpu_usage", float("inf")), ("cpu_usage", -0.5), ("rss_memory", -1), ("vms_memory", 2**63),
                    ("name", 5), ("filter", None), ("datetime", datetime(1970, 1, 1)), ("datetime", NOON.date()),
                    ("more", 1),
                ]
            )
        )  # fmt: skip
        raws[index] |= dict([wrong])
        with pytest.raises(PerftrackError, match=f"^{index}: .*{'keys' if wrong[0] == 'more' else wrong[0]}"):
            answer_of([], raws)

    @given(st.binary() | st.binary().map(lambda raw: answer_of([], []) + raw))
    def test_of_nonsense_raise_what_the_reader_expects(self, content: bytes) -> None:
        with suppress(ValueError, OverflowError, RefusedError):
            told_by(answered(content))

    @given(system_list, process_list, st.randoms(use_true_random=False))
    def test_that_were_changed_on_the_way_do_too(
        self, system: list[SystemEntry], processes: list[ProcessEntry], chance: random.Random
    ) -> None:
        content = answer_of(as_raw(system), as_raw(processes))
        with suppress(ValueError, OverflowError, RefusedError):
            told_by(answered(mutated(content, content, chance)))
