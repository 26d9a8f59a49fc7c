"""A failure to record is told once an hour while it lasts, and known to `perftrack status` when it is long over."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, make_database, on_a_terminal

from perftrack.recording.recorder import record_one
from perftrack.settings import load
from perftrack.storage import failures, pending

Empty = Callable[[bool], None]


@pytest.fixture
def empty(perftrack: Run, path: str) -> Empty:
    """Leave a log beside an empty database, which fails every tick, or make the database what it was."""
    make_database(path)
    perftrack("record")
    whole = Path(path).read_bytes()

    def made(broken: bool) -> None:
        Path(path).write_bytes(b"" if broken else whole)
        Path(f"{path}-wal").write_text("what a crash left" if broken else "")

    made(True)
    return made


def state(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(f"{path}-failures").read_text().splitlines() if line]


def earlier(path: str, hours: float) -> None:
    """Let all that is remembered have happened that much earlier."""
    aged = []
    for failure in state(path):
        for name, value in failure.items():
            if name.endswith("_at") and value is not None:
                failure[name] = (datetime.fromisoformat(value) - timedelta(hours=hours)).isoformat()
        aged.append(json.dumps(failure))
    Path(f"{path}-failures").write_text("\n".join(aged))


def told(perftrack: Run) -> list[dict[str, Any]]:
    """Return the failures that status tells of; the newest sample may be late or not."""
    document = json.loads(perftrack("status", "--format", "json", expect=None).stdout)
    return list(document["failures"])


@pytest.mark.usefixtures("empty")
class TestTheSameFailureEveryMinute:
    """What cron mails is what is printed."""

    def test_is_one_line_an_hour(self, perftrack: Run, path: str) -> None:
        first, second, third = (perftrack("record", expect=1).stderr for _ in range(3))
        assert first.count("\n") == 1
        assert (second, third) == ("", "")
        earlier(path, hours=1)
        assert perftrack("record", expect=1).stderr == first
        assert perftrack("record", expect=1).stderr == ""
        assert pending.count(path) == 5

    def test_is_told_at_once_when_it_changes(self, perftrack: Run, path: str) -> None:
        perftrack("record", expect=1)
        Path(path).write_bytes(b"no database at all" * 100)
        assert "not a SQLite database" in perftrack("record", expect=1).stderr
        assert perftrack("record", "--all", expect=1).stderr == ""

    def test_is_told_in_a_loop_likewise(self, perftrack: Run, path: str, empty: Empty) -> None:
        empty(False)
        done = perftrack("record", "--every", "0.1s", "--count", "3", env={"PERFTRACK_DISK_FLOOR_MIB": str(10**9)})
        assert done.stderr.count("\n") == 1
        assert pending.count(path) == 3

    def test_that_comes_and_goes_is_one_line_and_one_failure_too(
        self, perftrack: Run, empty: Empty, path: str
    ) -> None:
        printed = []
        for _ in range(3):
            empty(True)
            printed.append(perftrack("record", expect=1).stderr)
            empty(False)
            perftrack("record")
        assert [line.count("\n") for line in printed] == [1, 0, 0]
        (failure,) = failures.failures(path)
        assert (failure.count, failure.kept) == (3, 3)

    def test_by_turns_with_another_is_one_line_of_each(self, perftrack: Run, path: str) -> None:
        printed = []
        for text in (b"", b"no database at all" * 100) * 2:
            Path(path).write_bytes(text)
            printed.append(perftrack("record", expect=1).stderr)
        assert [line.count("\n") for line in printed] == [1, 1, 0, 0]
        assert [failure.count for failure in failures.failures(path)] == [2, 2]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            "[" * 4096,
            '{"message": 1}',
            '{"message": "x", "reported_at": 5}',
            '{"message": "x", "first_at": "x", "last_at": "x", "reported_at": "x", "count": 1, "kept": 1, "lost": 1}',
        ],
    )
    def test_is_told_where_the_memory_of_it_is_torn(self, perftrack: Run, path: str, text: str) -> None:
        first = perftrack("record", expect=1).stderr
        Path(f"{path}-failures").write_text(text)
        assert perftrack("record", expect=1).stderr == first
        assert perftrack("record", expect=1).stderr == ""

    def test_after_the_clock_was_set_back_is_told(self, perftrack: Run, path: str) -> None:
        first = perftrack("record", expect=1).stderr
        earlier(path, hours=-1)
        assert perftrack("record", expect=1).stderr == first


IMPATIENT = """
import sys
from perftrack.__main__ import main
from perftrack.storage import sqlite_file
sqlite_file.BUSY_TIMEOUT_SECONDS = 0.05
sys.argv = ["perftrack", "record"]
main()
"""


@pytest.mark.usefixtures("empty")
def test_on_a_terminal_it_is_told_every_time_and_remembered(path: str) -> None:
    for number in (1, 2):
        printed = on_a_terminal("record", expect=1, PERFTRACK_DATABASE=path, PERFTRACK_CPU_WINDOW="0")
        assert "the sample is kept" in printed
        assert failures.failures(path)[0].count == number


class TestAFailureThatIsOver:
    def test_is_known_the_next_morning(self, path: str, connection: sqlite3.Connection, perftrack: Run) -> None:
        """The database was locked for three ticks."""
        connection.execute("BEGIN IMMEDIATE")
        env = {**os.environ, "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"}
        for _ in range(3):
            done = subprocess.run([sys.executable, "-c", IMPATIENT], env=env, check=False, stderr=subprocess.DEVNULL)
            assert done.returncode == 75
        connection.execute("ROLLBACK")
        assert told(perftrack)[0]["recovered_at"] is None
        perftrack("record")
        earlier(path, hours=10)
        perftrack("record")
        (failure,) = told(perftrack)
        assert failure["message"].startswith(f"database {path} is locked by another program")
        assert (failure["count"], failure["samples_kept"], failure["samples_lost"]) == (3, 3, 0)
        assert failure["first_at"] <= failure["last_at"] <= failure["recovered_at"]
        text = perftrack("status", expect=None).stdout
        assert ", 3 times\n            3 samples kept, recording again since " in text
        assert f"\n            database {path} is locked" in text

    def test_costs_later_ticks_nothing(
        self, perftrack: Run, path: str, empty: Empty, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        perftrack("record", expect=1)
        assert pending.count(path) == 1
        empty(False)
        perftrack("record")
        assert not os.path.exists(f"{path}-pending")
        (over,) = failures.failures(path)
        noted = []
        monkeypatch.setattr(failures, "note_success", noted.append)
        record_one(load({"database": path, "cpu_window": 0}))
        assert noted == []
        assert failures.failures(path) == [over]

    def test_is_another_one_an_hour_later(self, perftrack: Run, path: str, empty: Empty) -> None:
        perftrack("record", expect=1)
        empty(False)
        perftrack("record")
        earlier(path, hours=1)
        empty(True)
        assert perftrack("record", expect=1).stderr != ""
        first, second = failures.failures(path)
        assert (first.count, first.recovered_at is None, second.count, second.recovered_at) == (1, False, 1, None)

    def test_without_a_sample_has_none_that_was_kept_or_lost(self, path: str, perftrack: Run) -> None:
        os.makedirs(os.path.dirname(path))
        assert failures.note(path, "no sample was taken: it hung")
        perftrack("record")
        (failure,) = told(perftrack)
        assert (failure["samples_kept"], failure["samples_lost"], bool(failure["recovered_at"])) == (0, 0, True)

    def test_that_lost_samples_says_so(self, perftrack: Run, path: str, empty: Empty) -> None:
        Path(f"{path}-pending").write_text("in the way")
        for _ in range(2):
            perftrack("record", expect=1)
        empty(False)
        (failure,) = told(perftrack)
        assert (failure["count"], failure["samples_kept"], failure["samples_lost"]) == (2, 0, 2)
        assert "2 samples LOST\n" in perftrack("status", expect=None).stdout


@pytest.mark.usefixtures("empty")
def test_what_keeps_status_from_reading_the_database_is_told_with_its_history(perftrack: Run, path: str) -> None:
    for _ in range(2):
        perftrack("record", expect=1)
    done = perftrack("status", expect=1)
    assert "is empty, but" in done.stderr
    assert done.stdout.startswith("errors    ")
    assert "2 times" in done.stdout
    document = json.loads(perftrack("status", "--format", "json", expect=1).stdout)
    assert (document["ok"], document["failures"][0]["count"]) == (False, 2)
    assert document["problem"] in done.stderr


class TestTheFile:
    def test_is_one_private_block_with_the_newest(self, path: str, perftrack: Run) -> None:
        os.makedirs(os.path.dirname(path))
        for letter in "abcdefghijklmnopqrstuvwxyz":
            failures.note(path, f"{letter}\x1b\udcff" + "😀" * 100)
        file = Path(f"{path}-failures")
        assert (file.stat().st_size, stat.S_IMODE(file.stat().st_mode)) == (4096, 0o600)
        held = [failure.message[0] for failure in failures.failures(path)]
        assert held == list("abcdefghijklmnopqrstuvwxyz")[-len(held) :]
        assert 4 < len(held) < 26
        assert failures.failures(path)[-1].message == "z\x1b\udcff" + "😀" * 100
        assert r"z\x1b" in perftrack("status", expect=None).stdout

    def test_holds_the_longest_message(self, path: str) -> None:
        os.makedirs(os.path.dirname(path))
        for _ in range(2):
            failures.note(path, "\x01" * 100_000)
        (failure,) = failures.failures(path)
        assert (len(failure.message), failure.count) == (500, 2)

    @pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
    def test_that_somebody_has_put_something_else_in_the_place_of_is_left_alone(
        self, path: str, tmp_path: Path, kind: str
    ) -> None:
        os.makedirs(os.path.dirname(path))
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_text("precious")
        if kind == "link":
            os.symlink(elsewhere, f"{path}-failures")
        elif kind == "pipe":  # which somebody would like to see read
            failures.note(path, "x")
            noted = Path(f"{path}-failures").read_bytes()
            os.unlink(f"{path}-failures")
            os.mkfifo(f"{path}-failures")
            os.write(os.open(f"{path}-failures", os.O_RDWR | os.O_NONBLOCK), noted)
        else:
            os.mkdir(f"{path}-failures")
        for _ in range(2):
            assert failures.note(path, "x")
        assert failures.failures(path) == []
        assert elsewhere.read_text() == "precious"


@pytest.mark.slow
class TestWhatFailsBeforeTheDatabaseIsKnown:
    """It is remembered in the user's data folder."""

    @pytest.fixture
    def default(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
        return str(tmp_path / "share" / "perftrack" / "perftrack.db")

    def test_is_one_line_an_hour_too(self, perftrack: Run, default: str, path: str) -> None:
        printed = [perftrack("record", expect=2, env={"PERFTRACK_TOP": "many"}).stderr for _ in range(3)]
        assert [line.count("\n") for line in printed] == [1, 0, 0]
        assert perftrack("record", "--all", expect=2, env={"PERFTRACK_TOP": "many"}).stderr == ""
        assert perftrack("record", expect=2, env={"PERFTRACK_ALL": "many"}).stderr != ""
        earlier(default, hours=1)
        assert perftrack("record", expect=2, env={"PERFTRACK_TOP": "many"}).stderr == printed[0]
        perftrack("record")
        counts = [failure["count"] for failure in told(perftrack)]
        assert counts == [5, 1]
        assert not os.path.exists(f"{path}-failures")
        assert sorted(os.listdir(os.path.dirname(default))) == ["perftrack.db-failures"]

    def test_is_over_when_a_sample_is_recorded_into_that_database(self, perftrack: Run, default: str) -> None:
        perftrack("record", expect=2, env={"PERFTRACK_TOP": "many"})
        assert failures.failures(default)[0].recovered_at is None
        perftrack("record", env={"PERFTRACK_DATABASE": default})
        assert failures.failures(default)[0].recovered_at is not None

    def test_is_over_when_a_sample_is_recorded_into_the_database_that_is_asked_about(
        self, perftrack: Run, default: str
    ) -> None:
        perftrack("record", expect=2, env={"PERFTRACK_TOP": "many"})
        perftrack("record")
        earlier(default, hours=1)
        (found,) = json.loads(perftrack("status", "--format", "json").stdout)["failures"]
        assert found["recovered_at"] is not None
        assert "failures  ok" in perftrack("database", "check").stdout
        perftrack("record", expect=2, env={"PERFTRACK_ALL": "many"})
        (newest, _) = json.loads(perftrack("status", "--format", "json").stdout)["failures"]
        assert newest["recovered_at"] is None
        assert "failures  WRONG" in perftrack("database", "check", expect=1).stdout

    def test_on_a_terminal_is_told_always_and_not_remembered(self, default: str) -> None:
        """Whoever mistypes an option sees it at once."""
        for _ in range(2):
            assert "PERFTRACK_TOP" in on_a_terminal("record", expect=2, PERFTRACK_TOP="many")
        assert failures.failures(default) == []

    def test_of_a_config_file(self, perftrack: Run, default: str, tmp_path: Path) -> None:
        config = tmp_path / "perftrack.toml"
        config.write_text("top = ")
        env = {"PERFTRACK_CONFIG": str(config)}
        assert [bool(perftrack("record", expect=2, env=env).stderr) for _ in range(2)] == [True, False]
        assert f"config file {config}" in failures.failures(default)[0].message

    def test_another_command_is_always_told(self, perftrack: Run, default: str) -> None:
        for _ in range(2):
            assert perftrack("export", expect=2, env={"PERFTRACK_TOP": "many"}).stderr != ""
        assert not os.path.exists(os.path.dirname(default))

    def test_a_database_of_another_program_is_told_likewise(self, perftrack: Run, default: str, path: str) -> None:
        os.makedirs(os.path.dirname(path))
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE bookmarks (url TEXT)")
        assert [bool(perftrack("record", expect=1).stderr) for _ in range(2)] == [True, False]
        assert os.listdir(os.path.dirname(path)) == ["perftrack.db"]
        assert failures.failures(default)[0].count == 2

    def test_of_one_database_is_not_told_of_another(self, perftrack: Run, default: str, path: str) -> None:
        """The default one's own failures are noted where those are that are of none of ours."""
        os.makedirs(os.path.dirname(path))
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE bookmarks (url TEXT)")
        perftrack("record", expect=1)
        os.mkdir(f"{default}-pending")
        Path(default).write_bytes(b"no database at all" * 100)
        perftrack("record", expect=1, env={"PERFTRACK_DATABASE": default})
        third = {"PERFTRACK_DATABASE": f"{path}.third"}
        perftrack("record", "--every", "soon", expect=2, env=third)
        perftrack("record", env=third)

        def told(**env: str) -> list[str]:
            document = json.loads(perftrack("status", "--format", "json", expect=None, env=env).stdout)
            return [failure["message"] for failure in document["failures"]]

        assert ["another program" in line for line in told()] == [True]
        assert ["not a SQLite database" in line for line in told(PERFTRACK_DATABASE=default)] == [True]
        assert ["'soon' is no duration" in line for line in told(**third)] == [True]

    def test_of_another_database_is_forgotten_after_an_hour(self, perftrack: Run, default: str) -> None:
        """It would never be over, and each tick would look it up."""
        perftrack("record", "--every", "soon", expect=2)
        perftrack("record", "--every", "later", expect=2, env={"PERFTRACK_DATABASE": default})
        for left in (["'soon' is", "'later' is"], ["'later' is"]):
            perftrack("record", env={"PERFTRACK_DATABASE": default})
            assert [failure.message.partition(" no ")[0] for failure in failures.failures(default)] == left
            earlier(default, hours=1)

    def test_where_there_is_no_such_folder_it_is_told_always(self, perftrack: Run) -> None:
        for _ in range(2):
            done = perftrack("record", expect=2, env={"PERFTRACK_TOP": "many", "XDG_DATA_HOME": "/dev/null"})
            assert "PERFTRACK_TOP" in done.stderr
