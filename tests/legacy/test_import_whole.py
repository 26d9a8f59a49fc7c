"""A file is imported whole or not at all, however long it is and whatever becomes of it and of the database."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from conftest import query
from originals import (
    NOON,
    WriteOriginal,
    before,
    dump,
    exported,
    extracted,
    import_file,
    original,
    process,
    system,
    untouched,
)

from perftrack.errors import BusyError, PerftrackError
from perftrack.legacy import importer
from perftrack.legacy.importer import Imported
from perftrack.legacy.source import Source
from perftrack.storage import sqlite_file
from perftrack.storage.opening import open_current

__all__ = ["before", "original", "untouched"]  # the fixtures
ROWS_AT_ONCE = 5000
TIMES = [NOON + timedelta(minutes=minute) for minute in range(3 * ROWS_AT_ONCE // 10)]


def long_file() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Entries for several times as many rows as are inserted at once, and a few more."""
    processes = [process(datetime=when, pid=pid) for when in TIMES for pid in range(100, 110)]
    return [system(datetime=when) for when in TIMES], [*processes, process(datetime=TIMES[-1], pid=200)]


class TestAFileThatIsRefusedAtItsEnd:
    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"rss_memory": -1}, "rss_memory is no number of bytes: '-1'"),
            ({"name": None}, "name is no text: None"),
            ({"datetime": None}, "datetime is no local time"),
            ({"more": 1}, "its keys are "),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_leaves_nothing_of_its_beginning(
        self, wrong: dict[str, Any], said: str, untouched: Callable[[], bool], original: WriteOriginal, path: str
    ) -> None:
        systems, processes = long_file()
        processes.append(process(datetime=TIMES[-1]) | wrong)
        file = original(systems=systems, processes=processes)
        with pytest.raises(PerftrackError, match=rf"^{file}, process entry {len(processes)}: {said}"):
            import_file(file, path, "here")
        assert untouched()

    def test_for_two_entries_of_one_process_leaves_a_new_database_empty(
        self, original: WriteOriginal, before: list[str], path: str
    ) -> None:
        systems, processes = long_file()
        # not one after the other, which would be two filters
        processes += [process(datetime=TIMES[-1], pid=300), process(datetime=TIMES[-1], pid=109)]
        file = original(systems=systems, processes=processes)
        said = rf"^{file}, process entry {len(processes)}: there are two of process 109, 'java'"
        with pytest.raises(PerftrackError, match=said):
            import_file(file, path, "here")
        open_current(f"{path}.empty").close()
        ((name, made_at),) = query(path, "SELECT uuid, made_at FROM source")  # which no two databases share
        query(f"{path}.empty", f"UPDATE source SET uuid = '{name}', made_at = '{made_at}'")
        assert dump(path) == (before or dump(f"{path}.empty"))
        assert len(os.listdir(os.path.dirname(path))) == 2

    def test_names_the_first_wrong_entry_of_several(self, original: WriteOriginal, path: str) -> None:
        processes = long_file()[1]
        processes[-1] |= {"datetime": None}
        processes[7] |= {"pid": -1}
        with pytest.raises(PerftrackError, match="process entry 8: pid"):
            import_file(original(processes=processes), path, "here")


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
        for index in (0, ROWS_AT_ONCE - 1, 2 * ROWS_AT_ONCE):
            processes[index] |= {"cpu_usage": 2, "name": b"java"}
        import_file(original(systems=systems, processes=processes), path, "here")
        written = [entry | {"cpu_usage": float(entry["cpu_usage"]), "name": "java"} for entry in processes]
        assert exported(path)[1] == extracted(written)

    @pytest.mark.parametrize("filters", [("java", "av"), ("av", "java", "a")], ids=len)
    def test_keeps_the_filters_of_a_process_together_where_its_parts_meet(
        self, filters: tuple[str, ...], original: WriteOriginal, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importer, "_ROWS_AT_ONCE", ROWS_AT_ONCE)
        processes = [process(datetime=when, pid=pid) for when in TIMES[: ROWS_AT_ONCE // 10] for pid in range(10)]
        processes[-1:] = [process(datetime=processes[-1]["datetime"], pid=9, filter=text) for text in filters]
        assert processes[ROWS_AT_ONCE - 1]["pid"] == processes[ROWS_AT_ONCE]["pid"]
        import_file(original(processes=processes), path, "here")
        assert exported(path)[1] == extracted(processes)
        assert query(path, "SELECT count(DISTINCT rank) FROM name_filter") == [len(filters)]

    def test_tells_how_far_it_is(self, original: WriteOriginal, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importer, "_ROWS_AT_ONCE", ROWS_AT_ONCE)
        told: list[tuple[int, int]] = []
        processes = long_file()[1]
        import_file(original(processes=processes), path, "here", progress=lambda *done: told.append(done))
        assert [done for done, _ in told] == list(range(0, len(processes), ROWS_AT_ONCE))
        assert {total for _, total in told} == {len(processes)}


class TestTheDatabase:
    @pytest.fixture
    def meanwhile(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """Do something when the file is read, and before its rows are written."""
        entries = Source.entries

        def do(something: Callable[[], object]) -> None:
            def and_then(source: Source) -> Any:
                found = entries(source)
                something()
                return found

            monkeypatch.setattr(Source, "entries", and_then)

        return do

    def test_is_not_created_before_the_file_is_read(
        self, meanwhile: Callable[..., None], original: WriteOriginal, path: str
    ) -> None:
        seen: list[bool] = []
        meanwhile(lambda: seen.append(os.path.exists(path)))
        import_file(original(systems=[system()], processes=[process()]), path, "here")
        assert seen == [False]
        assert oct(os.stat(path).st_mode)[-3:] == "600"
        assert query(path, "PRAGMA journal_mode") == ["wal"]

    def test_may_come_from_somebody_else_meanwhile(
        self, meanwhile: Callable[..., None], original: WriteOriginal, path: str
    ) -> None:
        meanwhile(lambda: open_current(path).close())
        file = original(systems=[system()], processes=[process()])
        assert import_file(file, path, "here") == Imported(1, 1, 1, 1)
        assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]

    def test_is_not_locked_while_the_file_is_read(
        self, meanwhile: Callable[..., None], original: WriteOriginal, path: str
    ) -> None:
        open_current(path).close()

        def write() -> None:
            with closing(sqlite3.connect(path, timeout=0)) as other, other:
                other.execute("INSERT INTO host (name) VALUES ('other')")

        meanwhile(write)
        import_file(original(systems=[system()]), path, "here")
        assert query(path, "SELECT name FROM host ORDER BY name") == ["here", "other"]

    def test_that_somebody_else_locks_is_named(
        self, original: WriteOriginal, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.1)
        open_current(path).close()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(BusyError, match=f"^database {path} is locked by another program"):
                import_file(original(systems=[system()]), path, "here")
        assert query(path, "SELECT count(*) FROM host") == [0]
