"""Which processes are recorded, and under which filter text: by name, the largest, or all; never the recorder."""

from __future__ import annotations

import os
from typing import Any

import psutil
import pytest
from conftest import OWN, Run, query
from taken import Python, Spawn

from perftrack.recording.recorder import record_one
from perftrack.recording.selection import Candidate, Selection
from perftrack.settings import load

RECORDED = """
    SELECT pid, name, text FROM process_sample
    JOIN process ON process.id = process_id JOIN name_filter ON name_filter.id = filter_id
    ORDER BY pid
"""


def process(pid: int, name: str, *, cpu: int = 0, rss: int | None = 0) -> dict[str, Any]:
    return {"pid": pid, "name": name, "cpu_user_ms": cpu, "rss_bytes": rss}


def selection(*filters: str, **settings: Any) -> Selection:
    return Selection(load({"process_filter": [*filters], "top": 0, **settings}))


def chosen(selection: Selection, *rows: dict[str, Any]) -> dict[int, str]:
    """Return the PIDs that *selection* chooses, in its order, with the text that chose them."""
    found = selection.choose([Candidate({**row}, 0) for row in rows], lambda candidate: candidate.row["cpu_user_ms"])
    return {candidate.row["pid"]: candidate.row["filter"] for candidate in found}


class TestByName:
    @pytest.mark.parametrize("name", ["python", "python3.11", "ipython", "my python program"])
    def test_a_filter_text_anywhere_in_the_name_is_enough(self, name: str) -> None:
        assert chosen(selection("java", "python"), process(7, name)) == {7: "python"}

    @pytest.mark.parametrize("name", ["Python", "PYTHON", "pytho", "pyth on", ""])
    def test_another_case_or_spelling_is_not(self, name: str) -> None:
        assert chosen(selection("java", "python"), process(7, name)) == {}

    def test_the_text_is_no_pattern(self) -> None:
        rows = process(1, "g++"), process(2, "gcc"), process(3, "a*"), process(4, "ab")
        assert chosen(selection("g++", "a*", "."), *rows) == {1: "g++", 3: "a*"}

    def test_the_first_text_in_the_configured_order_counts_and_once(self) -> None:
        assert chosen(selection("py", "python", "p"), process(7, "python")) == {7: "py"}
        assert chosen(selection("python", "py", "p"), process(7, "python")) == {7: "python"}

    def test_rows_come_in_ascending_pid_whatever_the_order_of_texts(self) -> None:
        rows = process(30, "java"), process(9, "python"), process(200, "java")
        assert list(chosen(selection("java", "python"), *rows)) == [9, 30, 200]

    def test_no_text_chooses_nothing(self) -> None:
        assert chosen(selection(), process(7, "python")) == {}


class TestTheLargest:
    ROWS = (
        process(1, "python", cpu=90, rss=10),
        process(2, "busy", cpu=80, rss=20),
        process(3, "big", cpu=1, rss=900),
        process(4, "bigger", cpu=2, rss=1000),
        process(5, "small", cpu=3, rss=5),
    )

    def test_by_cpu_and_by_memory_join_those_of_the_filter(self) -> None:
        assert chosen(selection("small", top=2), *self.ROWS) == {1: "", 2: "", 3: "", 4: "", 5: "small"}
        assert chosen(selection(top=1), *self.ROWS) == {1: "", 4: ""}

    def test_count_those_that_a_filter_matches_which_keep_its_text(self) -> None:
        assert chosen(selection("python", top=1), *self.ROWS) == {1: "python", 4: ""}

    def test_by_both_is_one_row(self) -> None:
        assert chosen(selection(top=1), process(1, "all of it", cpu=100, rss=1000), *self.ROWS[1:]) == {1: ""}

    def test_are_not_those_that_use_nothing(self) -> None:
        assert chosen(selection(top=5), process(2, "kthreadd"), process(3, "refused", rss=None)) == {}

    def test_are_none_with_a_top_of_zero(self) -> None:
        assert chosen(selection("python", top=0), *self.ROWS) == {1: "python"}


def test_everything_is_every_process_under_its_filter_or_the_empty_text() -> None:
    rows = process(3, "python"), process(1, "init"), process(2, "kthreadd")
    assert chosen(selection("python", all=True), *rows) == {1: "", 2: "", 3: "python"}


@pytest.fixture
def burner(python: Python) -> int:
    """A process that uses all of a CPU."""
    return python("print(flush=True)\nwhile True: pass").pid


@pytest.fixture
def hog(python: Python) -> int:
    """A process that uses much memory and no CPU."""
    return python("memory = b'x' * 300_000_000; print(flush=True); import time; time.sleep(1000)").pid


@pytest.mark.usefixtures("database")
class TestTheOptions:
    def test_filter_replaces_the_configured_texts_and_may_be_repeated(
        self, perftrack: Run, path: str, spawn: Spawn
    ) -> None:
        one, _, three = spawn(OWN + "one"), spawn(OWN + "two"), spawn(OWN + "three")
        options = "--filter", OWN + "th", "--filter", OWN + "o", "--top", "0"
        perftrack("record", *options, env={"PERFTRACK_PROCESS_FILTER": OWN + "two"})
        assert query(path, RECORDED) == [
            (one.pid, OWN + "one", OWN + "o"),
            (three.pid, OWN + "three", OWN + "th"),
        ]

    def test_all_records_every_process_but_the_recorder(self, perftrack: Run, path: str, spawn: Spawn) -> None:
        sleeping, before = spawn(OWN + "one"), set(psutil.pids())
        perftrack("record", "--all", "--filter", OWN)
        rows = query(path, RECORDED)
        assert before & set(psutil.pids()) <= {pid for pid, *_ in rows}  # all that lived from before to after
        assert [row for row in rows if row[2]] == [(sleeping.pid, OWN + "one", OWN)]
        assert query(path, f"SELECT count(*) FROM process WHERE command LIKE '%record --all --filter {OWN}'") == [0]

    def test_top_records_the_largest_under_the_empty_text(
        self, perftrack: Run, path: str, burner: int, hog: int, spawn: Spawn
    ) -> None:
        for number in range(20):  # a container may hold no more than a handful of its own
            spawn(f"{OWN}{number}")
        perftrack("record", "--top", "10", "--filter", "no such name", "--cpu-window", "0.2")
        rows = query(path, RECORDED)
        assert 10 <= len(rows) <= 20
        assert {burner, hog} <= {pid for pid, *_ in rows}
        assert {text for *_, text in rows} == {""}

    def test_top_is_five_unless_told_otherwise(self, perftrack: Run, path: str, hog: int) -> None:
        perftrack("record", "--filter", "no such name", "--cpu-window", "0.2")
        rows = query(path, RECORDED)
        assert 5 <= len(rows) <= 10
        assert hog in [pid for pid, *_ in rows]
        assert {text for *_, text in rows} == {""}

    def test_settings_say_the_same(self, perftrack: Run, path: str, burner: int) -> None:
        env = {"PERFTRACK_TOP": "10", "PERFTRACK_PROCESS_FILTER": "", "PERFTRACK_CPU_WINDOW": "0.2"}
        perftrack("record", env=env)
        assert burner in [pid for pid, *_ in query(path, RECORDED)]


@pytest.mark.parametrize("options", [{"all": True}, {"top": 1000}])
def test_the_recorders_own_process_is_never_a_row(path: str, options: dict[str, Any]) -> None:
    record_one(load({"database": path, "cpu_window": 0.01, **options}))
    recorded = [pid for pid, *_ in query(path, RECORDED)]
    assert os.getppid() in recorded
    assert os.getpid() not in recorded
