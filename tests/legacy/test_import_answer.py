"""What the process that reads a file answers: it is checked like a file, so valid entries are the worst of it."""

from __future__ import annotations

import base64
import io
import pickle
import random
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import query
from hypothesis import given
from hypothesis import strategies as st
from opcodes import executing, whole
from originals import (
    CSV_FILES,
    DATA_PIK,
    NOON,
    Entry,
    WriteOriginal,
    before,
    entries_of,
    extracted,
    import_file,
    original,
    process,
    system,
    untouched,
)
from python_2 import PYTHON_2_PICKLES

from perftrack.errors import PerftrackError
from perftrack.legacy import source
from perftrack.legacy.csv_file import read_csv
from perftrack.legacy.entries import PROCESS, SYSTEM, ProcessEntry, SystemEntry
from perftrack.legacy.importer import Imported
from perftrack.legacy.pickle_file import write_as_csv

__all__ = ["before", "original", "untouched"]  # the fixtures
Entries = tuple[list[SystemEntry], list[ProcessEntry]]


def answer_of(system: list[Any], processes: list[Any]) -> str:
    """What is answered to a pickle of these, without its first line."""
    content = io.BytesIO()
    with io.TextIOWrapper(content, "utf-8", "surrogateescape", newline="") as text:
        write_as_csv({"system": system, "processes": processes}, text)
        text.flush()
        return content.getvalue().decode("utf-8", "surrogateescape")


def told_by(answer: str) -> Entries:
    return read_csv(io.StringIO(answer, newline=""), "data.pik", numbered=False)


def as_raw(entries: Entries) -> tuple[list[Entry], list[Entry]]:
    """Return checked entries as the original would have written them."""
    system, processes = (
        [dict(zip(log, entry, strict=True)) for entry in of_log]
        for log, of_log in zip((SYSTEM, PROCESS), entries, strict=True)
    )
    return system, processes


def folds(entries: Entries) -> list[int]:
    return [entry.taken_at_local.fold for of_log in entries for entry in of_log]


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
    """Read mutated files until *count*; return how many were still the original's data."""
    marker = tmp_path / "executed"
    files = seeds(marker)
    chance = random.Random(count)
    taken = 0
    for number in range(count):
        file = tmp_path / "data.pik"
        file.write_bytes(mutated(chance.choice(files), chance.choice(files), chance))
        said = ""
        try:
            entries = entries_of(file)
        except PerftrackError as error:
            said = str(error)
        if said:
            assert said.startswith(str(file)), number
            assert "nonsense" not in said, number
            assert "exit code" not in said, number
        else:
            taken += 1
            again = told_by(answer_of(*as_raw(entries)))
            assert re.sub(r"\\\\x5c", r"\\\\", repr(again)) == re.sub(r"\\\\x5c", r"\\\\", repr(entries)), number
        assert not marker.exists(), number
    return taken


class TestAMutatedFile:
    def test_is_refused_or_whole(self, tmp_path: Path) -> None:
        assert fuzz(60, tmp_path) > 0

    @pytest.mark.faults
    def test_of_thousands_is_refused_or_whole(self, tmp_path: Path) -> None:
        assert fuzz(3000, tmp_path) > 0


# A name is made storable when it is read, and is what it was when nothing had to be done.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\\"))
sizes = st.integers(0, 2**63 - 1)
times = st.datetimes(datetime(1971, 1, 1), datetime(9998, 12, 31)) | st.just(NOON.replace(fold=1)) | st.just(NOON)
floats = st.floats(0, allow_infinity=False, allow_nan=False)
process_list = st.lists(st.builds(ProcessEntry, floats, times, texts, texts, st.integers(0, 2**31 - 1), sizes, sizes))
system_list = st.lists(
    st.builds(
        lambda cpu, time, available, total, used: SystemEntry(cpu, time, available, used / total, total, used),
        *(floats, times, sizes, sizes.filter(bool), sizes),
    )
)


class TestAnAnswer:
    @given(system_list, process_list)
    def test_gives_the_entries_back(self, system: list[SystemEntry], processes: list[ProcessEntry]) -> None:
        told = told_by(answer_of(*as_raw((system, processes))))
        assert told == (system, processes)
        assert folds(told) == folds((system, processes))

    def test_is_the_text_of_the_originals_two_files(self) -> None:
        data = pickle.loads(Path(DATA_PIK).read_bytes())
        answer = answer_of(data["system"], data["processes"]).encode()
        assert answer == b"".join(Path(file).read_bytes() for file in CSV_FILES)

    @given(process_list.filter(len), st.data())
    def test_is_refused_where_one_value_is_wrong(self, processes: list[ProcessEntry], data: st.DataObject) -> None:
        raws = as_raw(([], processes))[1]
        index = data.draw(st.integers(0, len(raws) - 1))
        wrong = data.draw(
            st.sampled_from(
                [
                    ("pid", -1), ("pid", 2**31), ("pid", True), ("pid", 1.0), ("cpu_usage", float("nan")),
                    ("cpu_usage", float("inf")), ("cpu_usage", -0.5), ("rss_memory", -1), ("vms_memory", 2**63),
                    ("name", 5), ("filter", None), ("datetime", datetime(1970, 1, 1)), ("datetime", NOON.date()),
                    ("more", 1), ("name", "\ud800"), ("pid", 10**5000),
                ]
            )
        )  # fmt: skip
        raws[index] |= dict([wrong])
        named = "keys" if wrong[0] == "more" else wrong[0]
        with pytest.raises(PerftrackError, match=f", process entry {index + 1}: .*{named}"):
            told_by(answer_of([], raws))

    @given(st.text() | st.text().map(lambda more: answer_of([system()], [process()]) + more))
    def test_of_nonsense_is_refused_or_read(self, answer: str) -> None:
        with suppress(PerftrackError):
            told_by(answer)

    @given(system_list, process_list, st.randoms(use_true_random=False))
    def test_that_was_changed_on_the_way_is_refused_or_read(
        self, system: list[SystemEntry], processes: list[ProcessEntry], chance: random.Random
    ) -> None:
        answer = answer_of(*as_raw((system, processes))).encode()
        with suppress(PerftrackError):
            told_by(mutated(answer, answer, chance).decode("utf-8", "surrogateescape"))


PROCESS_LOG = extracted([process()])
HEADER, ROW = PROCESS_LOG.splitlines(keepends=True)


class TestAReader:
    """Somebody else answers: what has taken over the process that reads a file."""

    @pytest.fixture
    def answering(
        self, original: WriteOriginal, path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> Callable[..., Imported]:
        def run(answer: bytes, then: str = "") -> Imported:
            (tmp_path / "answer").write_bytes(answer)
            program = f"import os, sys, time; os.write(1, open(sys.argv[1], 'rb').read()); {then}"
            monkeypatch.setattr(source, "_COMMAND", ("-c", program, str(tmp_path / "answer")))
            return import_file(original(), path, "here")

        return run

    @pytest.mark.parametrize("kind", [b"pickle\n", b"csv\n"])
    def test_that_answers_as_ours_is_believed(
        self, kind: bytes, answering: Callable[..., Imported], path: str
    ) -> None:
        assert answering(kind + extracted([system()]) + HEADER + ROW + ROW.replace(b"java", b"perl")) == Imported(
            1, 2, 1, 2
        )
        assert query(path, "SELECT name FROM process_log ORDER BY name") == ["java", "perl"]

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (b"", "answers with nonsense"),
            (PROCESS_LOG, "answers with nonsense"),
            (b"zip\n" + PROCESS_LOG, "answers with nonsense"),
            (b"pickle\n" + ROW, "system entry 1: 7 fields instead of 6"),
            (b"pickle\ncpu_usage,pid\n1,2\n", "its columns are not "),
            (b"pickle\n" + PROCESS_LOG + ROW[:-10], "process entry 2: 6 fields instead of 7"),
            (b"pickle\n" + PROCESS_LOG + b'1.5,"java', "process entry 2: unexpected end of data"),
            (b"pickle\n" + PROCESS_LOG + ROW.replace(b"8192", b"-1"), "process entry 2: vms_memory is no "),
            (b"pickle\n" + PROCESS_LOG + ROW.replace(b"8192", b"81\0"), "process entry 2: vms_memory is no "),
            (b"pickle\n" + PROCESS_LOG + ROW.replace(b"8192", b"8\xff"), "process entry 2: vms_memory is no "),
            (b"pickle\n" + PROCESS_LOG + ROW.replace(b"2026", b"9999"), "process entry 2: datetime is no "),
            (b"pickle\n" + PROCESS_LOG + ROW.replace(b"7,", b"9" * 5000 + b","), "process entry 2: pid is no "),
            (b"pickle\n" + PROCESS_LOG + ROW.replace(b"java", b"x" * 200_000), "process entry 2: field larger "),
            (b"csv\n" + PROCESS_LOG + ROW.replace(b"8192", b""), "line 3: vms_memory is no "),
        ],
        ids=range(14),
    )
    def test_that_answers_with_nonsense_leaves_nothing(
        self, answer: bytes, said: str, untouched: Callable[[], bool], answering: Callable[..., Imported]
    ) -> None:
        with pytest.raises(PerftrackError, match=said):
            answering(answer)
        assert untouched()

    @pytest.mark.parametrize(
        ("beginning", "piece", "said"),
        [
            (b"", ROW, "more entries than a file of its size can"),
            (b"", b"x" * 1000, "a line of it is longer than any of the original's"),
            (b"", b"\n" * 1000, "more entries than a file of its size can"),
            (b'1.5,"', b"x\n", "process entry 1: field larger than"),
        ],
        ids=["entries", "a line", "empty lines", "a field"],
    )
    def test_that_never_ends_is_cut_off(
        self,
        beginning: bytes,
        piece: bytes,
        said: str,
        untouched: Callable[[], bool],
        answering: Callable[..., Imported],
    ) -> None:
        with pytest.raises(PerftrackError, match=said):
            answering(b"pickle\n" + HEADER + beginning, then=f"\nwhile True: os.write(1, {piece!r} * 50)")
        assert untouched()

    @pytest.mark.parametrize(
        ("then", "said"),
        [
            ("time.sleep(60)", r"not read, for that took more than 0\.3 seconds"),
            ("os.close(1); time.sleep(60)", r"not read, for that took more than 0\.3 seconds"),
            ("os.write(2, b'x' * 10**6)", r"not read, for that took more than 0\.3 seconds"),
            ("os._exit(3)", "ended with exit code 3"),
            ("os.write(2, b'no reason'); os._exit(1)", "ended with exit code 1"),
            ("os.kill(os.getpid(), 9)", "was killed"),
        ],
        ids=["hangs", "hangs silently", "says too much", "gives up", "crashes", "is killed"],
    )
    @pytest.mark.parametrize("end", [b"", ROW[:-10], ROW], ids=["after a line", "in a line", "at the end"])
    def test_that_ends_badly_leaves_nothing(
        self,
        then: str,
        said: str,
        end: bytes,
        untouched: Callable[[], bool],
        answering: Callable[..., Imported],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(source, "wall_seconds", lambda size: 0.3)
        with pytest.raises(PerftrackError, match=said):
            answering(b"pickle\n" + PROCESS_LOG + end, then=then)
        assert untouched()

    def test_that_refuses_is_quoted_briefly(
        self, untouched: Callable[[], bool], answering: Callable[..., Imported], tmp_path: Path
    ) -> None:
        with pytest.raises(PerftrackError) as refused:
            answering(b"pickle\n" + PROCESS_LOG, then="os.write(2, b': x\\xff' * 200); os._exit(65)")
        assert str(refused.value).startswith(f"{tmp_path}/data.pik: x\ufffd: x\ufffd")
        assert len(str(refused.value)) <= len(f"{tmp_path}/data.pik") + 500
        assert untouched()
