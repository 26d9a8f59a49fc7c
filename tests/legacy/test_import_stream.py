"""An import begins while its file is still being checked: what stays of it when the file or its reader ends badly."""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import query
from hypothesis import given
from hypothesis import strategies as st
from test_import import NOON, WriteOriginal, dump, exported, extracted, import_file, original, process, system

from perftrack.errors import BusyError, PerftrackError
from perftrack.legacy import source
from perftrack.legacy.columns import END, MOMENTS, PROCESSES, SYSTEM, counted
from perftrack.legacy.importer import Imported
from perftrack.legacy.packing import _ENTRIES_AT_ONCE, piece
from perftrack.legacy.samples import _Zone, text_of
from perftrack.storage.database import open_current
from perftrack.timerange import to_utc

__all__ = ["original"]  # the fixture
MOMENT_COUNT = 3 * _ENTRIES_AT_ONCE // 10
TIMES = [NOON + timedelta(minutes=minute) for minute in range(MOMENT_COUNT)]


def long_file() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Entries for several parts, and a few more."""
    processes = [process(datetime=when, pid=pid) for when in TIMES for pid in range(100, 110)]
    return [system(datetime=when) for when in TIMES], [*processes, process(datetime=TIMES[-1], pid=200)]


@pytest.fixture(params=["a new database", "an existing database"])
def before(request: pytest.FixtureRequest, path: str, original: WriteOriginal) -> list[str]:
    """What the database holds; nothing where there is none."""
    if request.param == "a new database":
        Path(path).parent.mkdir()
        return []
    import_file(original(systems=[system()], name="first.pik"), path, "here")
    return dump(path)


@pytest.fixture
def untouched(before: list[str], path: str) -> Callable[[], bool]:
    def is_untouched() -> bool:
        left = os.listdir(os.path.dirname(path))
        if before:
            return dump(path) == before and len(left) == 1
        return not left

    return is_untouched


class TestAFileThatIsRefusedAtItsEnd:
    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"rss_memory": -1}, "rss_memory is no number of bytes: -1"),
            ({"name": None}, "name is no text: None"),
            ({"datetime": None}, "datetime is no local time"),
            ({"more": 1}, "its keys are "),
            ({"pid": 109}, "there are two of process 109, 'java'"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_leaves_nothing_of_its_beginning(
        self, wrong: dict[str, Any], said: str, untouched: Callable[[], bool], original: WriteOriginal, path: str
    ) -> None:
        systems, processes = long_file()
        if "pid" in wrong:  # not one after the other, which would be two filters
            processes.append(process(datetime=TIMES[-1], pid=300))
            processes.append(process(datetime=TIMES[-1], **wrong))
        else:
            processes.append(process(datetime=TIMES[-1]) | wrong)
        file = original(systems=systems, processes=processes)
        with pytest.raises(PerftrackError, match=rf"^{file}, process entry {len(processes)}: {said}"):
            import_file(file, path, "here")
        assert untouched()

    def test_names_the_first_wrong_entry_of_several(self, original: WriteOriginal, path: str) -> None:
        processes = long_file()[1]
        processes[-1] |= {"datetime": None}
        processes[7] |= {"pid": -1}
        with pytest.raises(PerftrackError, match="process entry 8: pid"):
            import_file(original(processes=processes), path, "here")


class TestAReader:
    """Somebody else answers: what has taken over the process that reads a file."""

    SYSTEM_PIECE = piece(SYSTEM, array("q", [counted(NOON)]), *(array(kind, [1]) for kind in "dqqq"))
    MOMENTS_PIECE = piece(MOMENTS, array("q", [counted(NOON)]), array("Q", [2]))

    @staticmethod
    def part(places: list[int], names: bytes = b"java") -> list[bytes]:
        numbers = [array(kind, [1] * len(places)) for kind in "dqq"]
        return piece(PROCESSES, array("Q", places), array("q", [7]), b"java", names, *numbers)

    @pytest.fixture
    def answering(
        self, original: WriteOriginal, path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> Callable[..., Imported]:
        def run(*pieces: list[bytes], then: str = "") -> Imported:
            (tmp_path / "answer").write_bytes(b"".join(chain.from_iterable(pieces)))
            program = (
                "import os, sys, time; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read()); sys.stdout.flush()"
            )
            monkeypatch.setattr(source, "_COMMAND", ("-c", f"{program}; {then}", str(tmp_path / "answer")))
            return import_file(original(), path, "here")

        return run

    def test_that_answers_as_ours_is_believed(self, answering: Callable[..., Imported], path: str) -> None:
        pieces = (self.SYSTEM_PIECE, self.MOMENTS_PIECE, self.part([0]), self.part([1], b"perl"), piece(END))
        assert answering(*pieces) == Imported(1, 2, 1, 2)
        assert query(path, "SELECT name FROM process_log ORDER BY name") == ["java", "perl"]

    @pytest.mark.parametrize(
        "pieces",
        {
            "no end": [part([0, 0])],
            "fewer entries than moments": [part([0]), piece(END)],
            "more entries than moments": [part([0, 0, 0]), piece(END)],
            "an entry of no process": [part([0, 1]), piece(END)],
            "an empty part": [part([]), part([0, 0]), piece(END)],
            "more names than processes": [part([0, 0], b"java\0perl"), piece(END)],
            "names that are no text": [part([0, 0], b"\xff"), piece(END)],
            "something behind the end": [part([0, 0]), piece(END), [b"x"]],
            "fewer numbers than entries": [[*part([0, 0])[:-2], *piece(b"", b"\0" * 8)[1:]], piece(END)],
            "another letter": [[b"?"]],
            "a part that is cut": [part([0, 0])[:-1]],
            "the moments again": [MOMENTS_PIECE],
        }.items(),
        ids=lambda item: item[0],
    )
    def test_that_answers_with_nonsense_leaves_nothing(
        self,
        pieces: tuple[str, list[list[bytes]]],
        untouched: Callable[[], bool],
        answering: Callable[..., Imported],
    ) -> None:
        with pytest.raises(PerftrackError, match="answers with nonsense"):
            answering(self.SYSTEM_PIECE, self.MOMENTS_PIECE, *pieces[1])
        assert untouched()

    @pytest.mark.parametrize(
        ("count", "said"), [(2**40, "more entries than a file of its size can"), (2**63, "answers with nonsense")]
    )
    def test_that_promises_too_much_is_not_waited_for(
        self, count: int, said: str, untouched: Callable[[], bool], answering: Callable[..., Imported]
    ) -> None:
        moments = piece(MOMENTS, array("q", [counted(NOON)]), array("Q", [count]))
        with pytest.raises(PerftrackError, match=said):
            answering(self.SYSTEM_PIECE, moments, then="time.sleep(60)")
        assert untouched()

    def test_that_never_ends_is_cut_off(
        self, untouched: Callable[[], bool], answering: Callable[..., Imported]
    ) -> None:
        head = piece(SYSTEM, b"")[:1]
        with pytest.raises(PerftrackError, match="more entries than a file of its size can"):
            answering(head, [(2**62).to_bytes(8, sys.byteorder)], then="time.sleep(60)")
        assert untouched()

    @pytest.mark.parametrize(
        ("then", "said"),
        [
            ("time.sleep(60)", r"reading it took more than 0\.3 seconds"),
            ("os._exit(3)", "ended with exit code 3"),
            ("os.kill(os.getpid(), 9)", "was killed"),
        ],
        ids=["hangs", "gives up", "is killed"],
    )
    @pytest.mark.parametrize("at_the_end", [False, True])
    def test_that_ends_badly_in_the_middle_leaves_nothing(
        self,
        then: str,
        said: str,
        at_the_end: bool,
        untouched: Callable[[], bool],
        answering: Callable[..., Imported],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(source, "cpu_seconds", lambda size: 0.3)
        pieces = [self.SYSTEM_PIECE, self.MOMENTS_PIECE, self.part([0])]
        if at_the_end:
            pieces += [self.part([0]), piece(END)]
        with pytest.raises(PerftrackError, match=said):
            answering(*pieces, then=then)
        assert untouched()


class TestALongFile:
    def test_comes_back_as_it_was(self, original: WriteOriginal, path: str) -> None:
        systems, processes = long_file()
        file = original(systems=systems, processes=processes)
        assert import_file(file, path, "here") == Imported(*[len(systems), len(processes)] * 2)
        assert exported(path) == (extracted(systems), extracted(processes))
        assert query(path, "PRAGMA foreign_key_check") == []
        assert import_file(file, path, "here") == Imported(len(systems), len(processes), 0, 0)

    def test_may_hold_what_is_not_plain_anywhere(self, original: WriteOriginal, path: str) -> None:
        systems, processes = long_file()
        for index in (0, _ENTRIES_AT_ONCE - 1, 2 * _ENTRIES_AT_ONCE):
            processes[index] |= {"cpu_usage": 2, "name": b"java"}
        import_file(original(systems=systems, processes=processes), path, "here")
        written = [entry | {"cpu_usage": float(entry["cpu_usage"]), "name": "java"} for entry in processes]
        assert exported(path)[1] == extracted(written)

    @pytest.mark.parametrize("filters", [("java", "av"), ("av", "java", "a")], ids=len)
    def test_keeps_the_filters_of_a_process_together_where_its_parts_meet(
        self, filters: tuple[str, ...], original: WriteOriginal, path: str
    ) -> None:
        processes = [process(datetime=when, pid=pid) for when in TIMES[: _ENTRIES_AT_ONCE // 10] for pid in range(10)]
        processes[-1:] = [process(datetime=processes[-1]["datetime"], pid=9, filter=text) for text in filters]
        assert processes[_ENTRIES_AT_ONCE - 1]["pid"] == processes[_ENTRIES_AT_ONCE]["pid"]
        import_file(original(processes=processes), path, "here")
        assert exported(path)[1] == extracted(processes)
        assert query(path, "SELECT count(DISTINCT rank) FROM name_filter") == [len(filters)]

    def test_tells_how_far_it_is(self, original: WriteOriginal, path: str) -> None:
        told: list[tuple[int, int]] = []
        processes = long_file()[1]
        import_file(original(processes=processes), path, "here", progress=lambda *done: told.append(done))
        assert [done for done, _ in told] == list(range(0, len(processes), _ENTRIES_AT_ONCE))
        assert {total for _, total in told} == {len(processes)}

    def test_is_whole_in_a_new_database_before_anybody_sees_it(
        self, original: WriteOriginal, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        monkeypatch.setattr(
            source.Source, "moments", lambda self: seen.append(os.path.exists(path)) or self._answer.moments()
        )
        import_file(original(systems=[system()], processes=[process()]), path, "here")
        assert seen == [False]
        assert oct(os.stat(path).st_mode)[-3:] == "600"
        assert query(path, "PRAGMA journal_mode") == ["wal"]

    def test_gives_way_to_a_database_that_came_meanwhile(
        self, original: WriteOriginal, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def slow(self: source.Source) -> Any:
            open_current(path).close()
            return self._answer.moments()

        file = original(systems=[system()], processes=[process()])
        with monkeypatch.context() as patched:
            patched.setattr(source.Source, "moments", slow)
            with pytest.raises(BusyError, match="created by another perftrack at the same moment"):
                import_file(file, path, "here")
        assert query(path, "SELECT count(*) FROM system_sample") == [0]
        assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
        assert import_file(file, path, "here") == Imported(1, 1, 1, 1)


class TestTheOffsetOfAnHour:
    ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Monrovia", "Asia/Kathmandu", "UTC")
    EPOCH = datetime(1970, 1, 1)
    CHANGES = (datetime(2026, 10, 25, 2), datetime(2026, 3, 29, 2), datetime(2026, 4, 5, 1, 30), datetime(1972, 1, 7))

    @given(
        st.sampled_from(ZONES),
        st.datetimes(datetime(1971, 1, 1), datetime(9998, 12, 31))
        | st.builds(
            lambda change, minutes, microsecond: change + timedelta(minutes=minutes, microseconds=microsecond),
            st.sampled_from(CHANGES),
            st.integers(-150, 150),
            st.integers(-2, 2),
        ),
        st.integers(0, 1),
    )
    def test_gives_what_the_zone_itself_gives(self, name: str, local: datetime, fold: int) -> None:
        zone = _Zone(ZoneInfo(name))
        number = counted(local.replace(fold=0)) >> 1
        expected = to_utc(local.replace(fold=fold), ZoneInfo(name)).replace(tzinfo=None)
        assert self.EPOCH + timedelta(microseconds=zone.utc(number, fold)) == expected
        assert list(text_of([number])) == [local.isoformat(" ", "microseconds")]
