"""`perftrack record`: the cron line, the options, the loop, and a tick that is there whole or not at all."""

from __future__ import annotations

import _thread
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Run, on_a_terminal, query, sample, until

from perftrack.errors import BusyError, PassingError, PerftrackError
from perftrack.recording import linux, portable, recorder, sampler
from perftrack.recording.recorder import record_every, record_one
from perftrack.sample import Sample
from perftrack.settings import Settings, load
from perftrack.storage import database

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")

Spawn = Callable[..., subprocess.Popen[bytes]]
OWN = f"{os.getpid():x}-"  # in the names of processes that are watched here, and nowhere else on this machine
SLEEPER, BURNER = OWN + "sleeper", OWN + "burner"
HEAVY = {"typer", "click", "sqlalchemy", "alembic", "rich", "pydantic"}


@pytest.fixture
def spawn(spawn: Spawn) -> Spawn:
    """The spawn of conftest.py, whose process is asleep by the time it returns."""

    def start(name: str | bytes, *arguments: str | bytes) -> subprocess.Popen[bytes]:
        process = spawn(name, *arguments)
        seen = psutil.Process(process.pid)
        until(lambda: seen.status() == psutil.STATUS_SLEEPING and seen.cmdline())
        return process

    return start


@pytest.fixture
def settings(path: str) -> Callable[..., Settings]:
    """The settings of a tick that watches processes whose names contain OWN."""

    def made(**options: Any) -> Settings:
        return load({"database": path, "cpu_window": 0.05, "process_filter": [OWN], "top": 0, **options})

    return made


def count(path: str, table: str = "system_sample") -> int:
    return query(path, f"SELECT count(*) FROM {table}")[0]


def newest(path: str, column: str, name: str | None = None) -> Any:
    """Return *column* of the newest sample: of the system, or of the process of that name."""
    if name is None:
        return query(path, f"SELECT {column} FROM system_sample ORDER BY id DESC LIMIT 1")[0]
    return query(
        path,
        f"SELECT {column} FROM process_sample JOIN process ON process.id = process_id "
        f"WHERE name = '{name}' AND sample_id = (SELECT max(id) FROM system_sample)",
    )[0]


class TestTheCronLine:
    def test_prints_nothing_and_creates_the_database(self, perftrack: Run, path: str) -> None:
        done = perftrack("record")
        assert (done.stdout, done.stderr) == ("", "")
        assert count(path) == 1

    @pytest.mark.usefixtures("connection")
    def test_says_in_one_line_on_a_terminal_what_it_did(self, path: str) -> None:
        printed = on_a_terminal("record", **environment(path))
        taken_at = newest(path, "substr(taken_at_local, 1, 19)")
        rows, seen, percent = (
            count(path, "process_sample"),
            newest(path, "processes_seen"),
            newest(path, "cpu_percent"),
        )
        assert printed == f"recorded {rows} of {seen} processes at {taken_at}, CPU {percent} %, in {path}\n"

    @pytest.mark.usefixtures("connection")
    def test_says_the_same_with_options(self, path: str) -> None:
        printed = on_a_terminal("record", "--filter", "no such name", "--cpu-window", "0", **environment(path))
        assert printed.startswith("recorded 0 of ")
        assert printed.count("\n") == 1
        assert "CPU" not in printed  # there was no window

    @pytest.mark.usefixtures("connection")
    @pytest.mark.parametrize("options", ["", "--database {path} --top 5 --filter a", "--all --cpu-window=0"])
    def test_imports_what_a_tick_needs_and_nothing_else(self, path: str, options: str) -> None:
        """An exact list: another one is a decision. What psutil and sqlite3 import differs between Pythons."""
        arguments = ["record", *options.format(path=path).split()]
        tick, given = modules_of_a_tick(path, arguments), modules("import psutil, sqlite3")
        assert tick - given == {
            "__future__",
            "gc",
            "perftrack",
            "perftrack.__main__",
            "perftrack.cli",
            "perftrack.cli.cron_line",
            "perftrack.errors",
            "perftrack.recording",
            "perftrack.recording.command",
            "perftrack.recording.linux",
            "perftrack.recording.recorder",
            "perftrack.recording.sampler",
            "perftrack.recording.selection",
            "perftrack.recording.watchdog",
            "perftrack.sample",
            "perftrack.settings",
            "perftrack.storage",
            "perftrack.storage.database",
            "perftrack.storage.inserts",
            "perftrack.text",
        }
        assert HEAVY & {name.partition(".")[0] for name in tick} == set()
        assert count(path) == 1

    @pytest.mark.usefixtures("connection")
    def test_imports_no_more_of_them_to_read_a_config_file(self, path: str, tmp_path: Path) -> None:
        config = tmp_path / "perftrack.toml"
        config.write_text('process_filter = ["python"]\n')
        modules = modules_of_a_tick(path, ["record", "--config", str(config)])
        assert "tomllib" in modules
        assert HEAVY & {name.partition(".")[0] for name in modules} == set()

    @pytest.mark.usefixtures("connection")
    def test_imports_none_of_them_for_a_loop_either(self, path: str) -> None:
        modules = modules_of_a_tick(path, ["record", "--every", "0.1s", "--count", "2"])
        assert HEAVY & {name.partition(".")[0] for name in modules} == set()
        assert count(path) == 2

    def test_can_be_tried_again_where_the_database_is_locked(
        self, path: str, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.05)
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match="locked by another program") as error:
            record_one(load({"database": path, "cpu_window": 0.01}))
        assert error.value.exit_code == 75
        connection.execute("ROLLBACK")
        assert count(path) == 0


def environment(path: str, **variables: str) -> dict[str, str]:
    own = {"PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0.05", "PERFTRACK_TOP": "0"}
    return {**os.environ, **own, **variables}


def modules(program: str, **environment: str) -> set[str]:
    """Return the modules that *program* has imported at its end."""
    command = [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def modules_of_a_tick(path: str, arguments: list[str]) -> set[str]:
    program = f"""
import os, sys
os._exit = sys.exit  # which the program may leave by
sys.argv = ["perftrack", *{arguments!r}]
import perftrack.__main__
try:
    perftrack.__main__.main()
except SystemExit as end:
    assert end.code == 0
"""
    return modules(program, **environment(path))


class TestATick:
    @pytest.mark.parametrize("processes", [1, 30])
    def test_is_one_transaction_after_the_window(
        self, settings: Callable[..., Settings], spawn: Spawn, monkeypatch: pytest.MonkeyPatch, processes: int
    ) -> None:
        for _ in range(processes):
            spawn(SLEEPER)
        trace = traced(monkeypatch)
        record_one(settings())
        words = [event.split()[0] for event in trace if event.split()[0] not in {"PRAGMA", "SELECT"}]
        inserts = words.count("INSERT")
        assert words == ["slept", "BEGIN", *["INSERT"] * inserts, "COMMIT"]
        assert inserts == 4 + 2 * processes  # host, boot, system_sample, name_filter

    def test_holds_no_lock_while_it_sleeps(
        self,
        settings: Callable[..., Settings],
        path: str,
        connection: sqlite3.Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def write(_seconds: float) -> None:
            connection.execute("BEGIN EXCLUSIVE")
            database._insert(connection, "INSERT INTO host (name) VALUES ('written in the window')", {})
            connection.execute("COMMIT")

        monkeypatch.setattr(time, "sleep", write)
        record_one(settings())
        assert "written in the window" in query(path, "SELECT name FROM host")

    @pytest.mark.parametrize("table", ["boot", "system_sample", "name_filter", "process", "process_sample"])
    def test_that_fails_anywhere_leaves_nothing(
        self, settings: Callable[..., Settings], path: str, connection: sqlite3.Connection, spawn: Spawn, table: str
    ) -> None:
        spawn(SLEEPER)
        connection.execute(f"CREATE TRIGGER fault BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'fault'); END")
        with pytest.raises(PerftrackError, match="fault"):
            record_one(settings())
        for each in ("host", "boot", "system_sample", "name_filter", "process", "process_sample"):
            assert count(path, each) == 0

    def test_stores_what_was_sampled(self, settings: Callable[..., Settings], path: str, spawn: Spawn) -> None:
        process = spawn(SLEEPER, "1000", "0")
        assert [row["name"] for row in record_one(settings()).processes] == [SLEEPER]
        assert newest(path, "pid, ppid, num_threads, cpu_percent", SLEEPER) == (process.pid, os.getpid(), 1, 0.0)
        assert newest(path, "mem_total_bytes") == psutil.virtual_memory().total

    def test_stores_memory_in_detail_when_that_is_set(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER)
        record_one(settings())
        assert newest(path, "uss_bytes, pss_bytes, swap_bytes", SLEEPER) == (None, None, None)
        record_one(settings(memory_detail=True))
        assert newest(path, "uss_bytes > 0, pss_bytes > 0, swap_bytes", SLEEPER) == (1, 1, 0)

    def test_stores_a_process_once_however_often_it_is_sampled(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER)
        for _ in range(3):
            record_one(settings())
        counts = [count(path, table) for table in ("host", "boot", "process", "name_filter", "process_sample")]
        assert counts == [1, 1, 1, 1, 3]

    @pytest.mark.usefixtures("connection")
    def test_begins_no_database_beside_what_a_moved_one_left_behind(
        self, settings: Callable[..., Settings], path: str
    ) -> None:
        """SQLite would apply the -wal file to the new one, which is then malformed; and its samples would be lost."""
        record_one(settings())
        os.rename(path, path + ".old")
        with pytest.raises(PerftrackError, match="-wal"):
            record_one(settings())
        assert not os.path.exists(path)
        os.rename(path + "-wal", path + ".old-wal")
        assert count(path + ".old") == 1
        record_one(settings())
        assert count(path) == 2  # the one that was refused too

    @pytest.mark.usefixtures("connection")
    @pytest.mark.parametrize("mishap", ["moved", "moved with its log", "removed", "replaced"])
    def test_writes_into_the_database_that_is_there_at_the_end_of_its_window(
        self,
        settings: Callable[..., Settings],
        path: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        mishap: str,
    ) -> None:
        """SQLite would go on writing into the file that is there no longer."""
        record_one(settings())
        other = tmp_path / "other.db"
        database.open_current(str(other)).close()

        def meanwhile(_seconds: float) -> None:
            for suffix in ("", "-wal", "-shm") if mishap == "moved with its log" else ("",):
                if mishap == "replaced":
                    os.replace(other, path)
                elif mishap == "removed":
                    os.unlink(path)
                elif os.path.exists(path + suffix):
                    os.rename(path + suffix, f"{path}.old{suffix}")

        monkeypatch.setattr(time, "sleep", meanwhile)
        record_one(settings())
        assert count(path) == 1
        if mishap.startswith("moved"):
            assert count(path + ".old") == 1
        monkeypatch.undo()
        record_one(settings(cpu_window=0.01, database=path))
        assert count(path) == 2
        assert query(path, "PRAGMA integrity_check") == ["ok"]

    def test_stores_every_odd_name_so_that_its_bytes_can_be_read_back(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn, sqlite3_shell: Callable[..., str]
    ) -> None:
        names = {
            b"\xff\xfe": "\\xff\\xfe",
            b"new\nline": "new\nline",
            b"a','\"b\"": "a','\"b\"",
            b"\x1b[31m": "\x1b[31m",
            b"\\xff": "\\x5cxff",
        }
        for raw in names:
            spawn(OWN.encode() + raw, "1000", "0" * 100_000)
        record_one(settings())
        stored = {OWN + name for name in names.values()}
        assert set(query(path, "SELECT name FROM process")) == stored
        shown = sqlite3_shell("SELECT name, length(command) AS length FROM process", "-json")
        assert {row["name"] for row in json.loads(shown)} == stored
        assert all(4090 < row["length"] <= 4110 for row in json.loads(shown))

    def test_survives_whatever_runs_on_this_machine(self, settings: Callable[..., Settings], path: str) -> None:
        record_one(settings(all=True, memory_detail=True))
        assert (
            count(path, "process_sample") > newest(path, "processes_seen") - 10
        )  # some may end before they are read


def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that fills with the SQL of all connections opened from now on, and with each sleep."""
    trace: list[str] = []
    open_current, sleep = database.open_current, time.sleep

    def opened(path: str) -> sqlite3.Connection:
        connection = open_current(path)
        connection.set_trace_callback(trace.append)
        return connection

    def sleeping(seconds: float) -> None:
        sleep(seconds)
        trace.append("slept")

    monkeypatch.setattr(database, "open_current", opened)
    monkeypatch.setattr(time, "sleep", sleeping)
    return trace


@pytest.fixture
def since_the_previous(settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a tick that measures since the previous sample; it fails if it sleeps."""
    monkeypatch.setattr(time, "sleep", None)
    return settings(cpu_window=0)


def burner() -> subprocess.Popen[bytes]:
    """Start a process called BURNER, return when it has used some CPU time and will use no more."""
    program = """
import ctypes, sys, time
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
while time.process_time() < 0.2: pass
print(flush=True)
time.sleep(1000)
"""
    child = subprocess.Popen([sys.executable, "-c", program, BURNER], stdout=subprocess.PIPE)
    child.stdout.readline()
    return child


class TestWithoutAWindow:
    def test_the_first_sample_of_all_has_no_percentages(
        self, since_the_previous: Settings, path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER)
        record_one(since_the_previous)
        assert newest(path, "cpu_percent, window_seconds") == (None, None)
        assert newest(path, "cpu_percent", SLEEPER) is None
        assert newest(path, "rss_bytes > 0", SLEEPER) == 1

    def test_percentages_are_over_the_time_since_the_previous_sample(
        self, since_the_previous: Settings, path: str, spawn: Spawn
    ) -> None:
        """The previous sample is made 100 s older, in which CPUs were busy for 30 s and the process for 50 s."""
        spawn(SLEEPER)
        record_one(since_the_previous)
        query(
            path,
            "UPDATE system_sample SET uptime_seconds = uptime_seconds - 100,"
            " cpu_user_ms = cpu_user_ms - 30000, cpu_idle_ms = cpu_idle_ms - 70000",
        )
        query(path, "UPDATE process_sample SET cpu_user_ms = cpu_user_ms - 30000, cpu_system_ms = -20000")
        record_one(since_the_previous)
        percent, seconds = newest(path, "cpu_percent, window_seconds")
        assert percent == pytest.approx(30, abs=2)
        assert seconds == pytest.approx(101, abs=1)
        assert newest(path, "cpu_percent", SLEEPER) == pytest.approx(49.5, abs=0.6)

    def test_the_previous_sample_may_have_had_a_window(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER)
        record_one(settings())
        record_one(settings(cpu_window=0))
        assert newest(path, "cpu_percent", SLEEPER) == 0.0
        assert newest(path, "window_seconds") > 0

    def test_only_the_newest_sample_counts(self, since_the_previous: Settings, path: str, spawn: Spawn) -> None:
        spawn(SLEEPER)
        for _ in range(2):
            record_one(since_the_previous)
        query(path, "UPDATE system_sample SET uptime_seconds = uptime_seconds - 100 WHERE id = 1")
        record_one(since_the_previous)
        assert newest(path, "window_seconds") < 50

    @pytest.mark.parametrize("change", ["boot SET key = 'an earlier one'", "host SET name = 'another host'"])
    def test_the_first_sample_after_a_boot_has_no_percentages(
        self, since_the_previous: Settings, path: str, spawn: Spawn, change: str
    ) -> None:
        spawn(SLEEPER)
        record_one(since_the_previous)
        query(path, f"UPDATE {change}")
        record_one(since_the_previous)
        assert count(path, "boot") == 2
        assert newest(path, "cpu_percent, window_seconds") == (None, None)
        assert newest(path, "cpu_percent", SLEEPER) is None

    @pytest.mark.parametrize(
        ("counter", "other"),
        [
            ("cpu_user_ms", "cpu_idle_ms"),
            ("cpu_system_ms", "cpu_idle_ms"),
            ("cpu_steal_ms", "cpu_user_ms"),
            ("cpu_idle_ms", "cpu_user_ms"),
        ],
    )
    def test_a_counter_of_the_system_that_went_backwards_leaves_no_percentage(
        self, since_the_previous: Settings, path: str, counter: str, other: str
    ) -> None:
        record_one(since_the_previous)
        query(path, f"UPDATE system_sample SET {counter} = {counter} + 10000, {other} = {other} - 100000")
        record_one(since_the_previous)
        assert newest(path, "cpu_percent") is None
        assert newest(path, "window_seconds") is not None

    def test_iowait_may_go_backwards(self, since_the_previous: Settings, path: str) -> None:
        """proc_stat(5): it does, at times."""
        record_one(since_the_previous)
        query(path, "UPDATE system_sample SET cpu_iowait_ms = cpu_iowait_ms + 1000, cpu_user_ms = cpu_user_ms - 1000")
        record_one(since_the_previous)
        assert 0 < newest(path, "cpu_percent") <= 100

    def test_counters_that_were_not_known_leave_no_percentage(self, since_the_previous: Settings, path: str) -> None:
        record_one(since_the_previous)
        query(path, "UPDATE system_sample SET cpu_user_ms = NULL, cpu_system_ms = NULL, cpu_idle_ms = NULL")
        record_one(since_the_previous)
        assert newest(path, "cpu_percent") is None

    @pytest.mark.parametrize("change", ["cpu_user_ms = cpu_user_ms + 10000", "cpu_user_ms = NULL"])
    def test_a_counter_of_a_process_that_went_backwards_or_was_refused_leaves_no_percentage(
        self, since_the_previous: Settings, path: str, spawn: Spawn, change: str
    ) -> None:
        spawn(SLEEPER)
        record_one(since_the_previous)
        query(path, f"UPDATE process_sample SET {change}")
        record_one(since_the_previous)
        assert newest(path, "cpu_percent", SLEEPER) is None

    def test_a_process_that_started_since_then_is_measured_from_its_start(
        self, since_the_previous: Settings, path: str
    ) -> None:
        record_one(since_the_previous)
        query(path, "UPDATE system_sample SET uptime_seconds = uptime_seconds - 100")
        with burner() as child:
            record_one(since_the_previous)
            child.kill()
        percent, cpu_ms = newest(path, "cpu_percent, cpu_user_ms + cpu_system_ms", BURNER)
        started, uptime = newest(path, "started_ticks", BURNER) / 100, newest(path, "uptime_seconds")
        assert cpu_ms >= 190
        assert percent == pytest.approx(cpu_ms / 10 / (uptime - started), rel=0.2)
        assert newest(path, "window_seconds") >= 100

    def test_a_process_that_started_in_the_same_moment_is_measured_from_its_start(
        self, since_the_previous: Settings, path: str, spawn: Spawn
    ) -> None:
        """The kernel tells its start to 10 ms, downwards: it can seem to be before the sample that it came after."""
        record_one(since_the_previous)
        started_ticks = linux.read_process(spawn(SLEEPER).pid)["started_ticks"]
        query(path, f"UPDATE system_sample SET uptime_seconds = {started_ticks / 100 + 0.005}")
        record_one(since_the_previous)
        assert newest(path, "cpu_percent", SLEEPER) is not None

    def test_a_process_that_ran_then_but_was_not_recorded_has_no_percentage(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER)
        record_one(settings(cpu_window=0))
        record_one(settings(cpu_window=0, process_filter=["no such name"]))
        record_one(settings(cpu_window=0))
        assert newest(path, "cpu_percent", SLEEPER) is None
        assert newest(path, "window_seconds") is not None

    def test_a_process_that_had_its_pid_then_was_another(
        self, since_the_previous: Settings, path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER)
        record_one(since_the_previous)
        query(path, "UPDATE process SET started_ticks = started_ticks - 100")
        record_one(since_the_previous)
        assert newest(path, "cpu_percent", SLEEPER) is None
        assert count(path, "process") == 2


def ticks_begin(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, every: float, durations: list[float], early: float = 0
) -> list[float]:
    """Return when the ticks of a loop begin if they take *durations* and waiting ends *early*: a clock of its own."""
    clock, began, work, take_sample = [1000.0], [], iter(durations), recorder.take_sample

    def working(*arguments: Any, **options: Any) -> Any:
        began.append(round(clock[0] - 1000, 6))
        clock[0] += next(work)
        return take_sample(*arguments, **options)

    def wait(_event: threading.Event, seconds: float) -> bool:
        clock[0] += max(0, seconds - early)
        return False

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(threading.Event, "wait", wait)
    monkeypatch.setattr(recorder, "take_sample", working)
    assert len(list(record_every(settings, every, len(durations)))) == len(durations)
    return began


class TestTheBeats:
    @pytest.fixture
    def begin(self, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
        return lambda *arguments, **options: ticks_begin(settings(cpu_window=0), monkeypatch, *arguments, **options)

    def test_are_counted_from_the_first_so_that_they_do_not_drift(self, begin: Callable[..., list[float]]) -> None:
        assert begin(10, [3, 1, 9.5, 3, 3]) == [0, 10, 20, 30, 40]

    def test_do_not_drift_by_fractions_either(self, begin: Callable[..., list[float]]) -> None:
        assert begin(0.1, [0.03] * 30) == [round(beat * 0.1, 6) for beat in range(30)]

    def test_that_were_missed_are_skipped_and_not_doubled(self, begin: Callable[..., list[float]]) -> None:
        assert begin(10, [25, 3, 12, 3]) == [0, 30, 40, 60]

    def test_are_not_doubled_by_a_clock_that_is_coarser_than_a_tick(self, begin: Callable[..., list[float]]) -> None:
        """As on Windows, where waiting ends up to 16 ms before time.monotonic says so."""
        assert begin(10, [0.001] * 3, early=0.016) == pytest.approx([0, 10, 20], abs=0.02)

    def test_each_give_a_sample(self, begin: Callable[..., list[float]], path: str) -> None:
        begin(10, [1, 1, 1])
        assert count(path) == 3


class TestTheLoop:
    def test_ends_after_count_samples(self, perftrack: Run, path: str, spawn: Spawn) -> None:
        spawn(SLEEPER)
        done = perftrack("record", "--every", "0.1s", "--count", "3", "--filter", OWN, "--top", "0")
        assert (done.stdout, done.stderr) == ("", "")
        assert (count(path), count(path, "process"), count(path, "process_sample")) == (3, 1, 3)

    def test_starts_one_thread_to_watch_over_all_its_samples(
        self, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started, start = [], _thread.start_new_thread
        monkeypatch.setattr(_thread, "start_new_thread", lambda *given: (started.append(given), start(*given)))
        running = _thread._count()
        assert len(list(record_every(settings(), 0.05, 3))) == 3
        assert len(started) == 1
        until(lambda: _thread._count() == running)

    def test_charges_each_sample_with_its_own_cost_only(self, perftrack: Run, path: str) -> None:
        perftrack("record", "--every", "0.1s", "--count", "3")
        first, *later = query(path, "SELECT recorder_cpu_ms FROM system_sample ORDER BY id")
        assert max(later) < first  # which has started the program too

    @pytest.mark.usefixtures("connection")
    def test_says_a_line_for_each_on_a_terminal(self, path: str) -> None:
        printed = on_a_terminal("record", "--every", "0.1s", "--count", "2", **environment(path))
        assert [line.split()[0] for line in printed.splitlines()] == ["recorded", "recorded"]

    def test_measures_since_the_previous_sample_without_a_window(self, perftrack: Run, path: str) -> None:
        perftrack("record", "--every", "0.1s", "--count", "3", "--cpu-window", "0", "--top", "0")
        windows = query(path, "SELECT window_seconds FROM system_sample ORDER BY id")
        assert windows[0] is None
        assert windows[1:] == pytest.approx([0.1, 0.1], abs=0.09)

    @pytest.mark.usefixtures("connection")
    def test_never_records_itself(self, path: str) -> None:
        with recording(path, "--every", "0.1s", "--count", "2", "--all") as program:
            assert program.wait(timeout=30) == 0
        assert count(path) == 2
        assert program.pid not in query(path, "SELECT pid FROM process")

    def test_keeps_the_samples_of_the_time_that_the_database_is_locked(
        self,
        settings: Callable[..., Settings],
        path: str,
        connection: sqlite3.Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.05)
        connection.execute("BEGIN IMMEDIATE")
        loop = record_every(settings(), 0.1, 2)
        assert isinstance(next(loop), BusyError)
        connection.execute("ROLLBACK")
        assert isinstance(next(loop), Sample)
        assert list(loop) == []
        assert count(path) == 2

    @pytest.mark.parametrize("mishap", ["moved", "removed"])
    def test_opens_a_database_anew_that_is_no_longer_where_it_was(
        self, settings: Callable[..., Settings], path: str, tmp_path: Path, mishap: str
    ) -> None:
        loop = record_every(settings(), 0.1, 2)
        next(loop)
        for file in Path(path).parent.glob("*"):
            file.rename(tmp_path / file.name) if mishap == "moved" else file.unlink()
        next(loop)
        loop.close()
        assert count(path) == 1

    def test_ends_when_a_newer_perftrack_has_upgraded_the_database(
        self, settings: Callable[..., Settings], path: str
    ) -> None:
        loop = record_every(settings(), 0.1, 2)
        next(loop)
        query(path, "UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(PerftrackError, match="newer perftrack"):
            next(loop)
        assert count(path) == 1

    def test_goes_on_when_there_is_room_again(self, settings: Callable[..., Settings], path: str) -> None:
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        loop = record_every(settings(), 0.1, 3)
        try:
            next(loop)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
            assert isinstance(next(loop), PassingError)
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert isinstance(next(loop), Sample)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
            loop.close()
        assert count(path) == 2

    def test_loses_nothing_when_the_database_is_moved_without_its_wal_file(
        self, settings: Callable[..., Settings], path: str
    ) -> None:
        """Left behind, it would be applied to the database that is begun in the old one's place."""
        loop = record_every(settings(), 0.05, 3)
        next(loop)
        os.rename(path, path + ".old")
        assert len(list(loop)) == 2
        assert (count(path + ".old"), count(path)) == (1, 2)

    def test_describes_a_process_in_every_database_that_it_writes(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn
    ) -> None:
        spawn(SLEEPER, "1000", "0")
        loop = record_every(settings(), 0.05, 2)
        next(loop)
        os.rename(path, path + ".old")
        assert len(list(loop)) == 1
        assert newest(path, f"username IS NOT NULL, command LIKE '%{SLEEPER} 1000 0'", SLEEPER) == (1, 1)

    def test_ends_when_nothing_can_be_recorded_any_more(
        self, settings: Callable[..., Settings], connection: sqlite3.Connection
    ) -> None:
        connection.execute("CREATE TRIGGER fault BEFORE INSERT ON boot BEGIN SELECT RAISE(ABORT, 'fault'); END")
        with pytest.raises(PerftrackError, match="fault"):
            list(record_every(settings(), 0.1, 2))

    def test_gives_signals_back_to_whoever_had_them(self, settings: Callable[..., Settings]) -> None:
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        list(record_every(settings(), 0.1, 1))
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@contextmanager
def recording(path: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run `perftrack record` in the background."""
    command = [sys.executable, "-m", "perftrack", "record", *options]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(path), **output) as program:
        try:
            yield program
        finally:
            program.kill()


def has_begun(program: subprocess.Popen[str], path: str) -> bool:
    """Whether *program* has opened the database, which it does when it is prepared for signals."""
    return path in [file.path for file in psutil.Process(program.pid).open_files()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
class TestASignal:
    @pytest.mark.usefixtures("connection")
    def test_in_the_middle_of_a_tick_lets_it_finish(self, path: str, spawn: Spawn, number: int) -> None:
        spawn(SLEEPER)
        with recording(path, "--every", "60s", "--cpu-window", "0.5", "--filter", OWN) as program:
            until(lambda: has_begun(program, path))
            assert count(path) == 0  # the window is not over
            program.send_signal(number)
            assert program.communicate(timeout=30) == ("", "")
        assert program.returncode == 0
        assert (count(path), count(path, "process_sample")) == (1, 1)
        assert newest(path, "window_seconds") >= 0.5

    @pytest.mark.usefixtures("connection")
    def test_between_two_ticks_ends_at_once(self, path: str, number: int) -> None:
        with recording(path, "--every", "600s") as program:
            until(lambda: count(path) == 1)
            program.send_signal(number)
            assert program.wait(timeout=30) == 0
        assert count(path) == 1

    @pytest.mark.usefixtures("connection")
    def test_at_any_time_leaves_whole_samples(self, path: str, spawn: Spawn, number: int) -> None:
        for _ in range(5):
            spawn(SLEEPER)
        with recording(path, "--every", "0.02s", "--cpu-window", "0.01", "--filter", OWN) as program:
            until(lambda: count(path) >= 5)
            program.send_signal(number)
            assert program.wait(timeout=30) == 0
        assert set(query(path, "SELECT count(*) FROM process_sample GROUP BY sample_id")) == {5}
        assert count(path, "process_sample") == 5 * count(path)
        assert query(path, "PRAGMA integrity_check") == ["ok"]


@pytest.mark.usefixtures("connection")
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(path: str) -> None:
    """As a shell does for Ctrl-C where it starts a program in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with recording(path, "--every", "0.05s", "--cpu-window", "0.01") as program:
            until(lambda: count(path) == 1)
            program.send_signal(signal.SIGINT)
            until(lambda: count(path) >= 4)
            program.terminate()
            assert program.wait(timeout=30) == 0
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--count 3", "--count needs --every"),
        ("--every 0", "'0' is no duration"),
        ("--every 0s", "'0s' is no duration"),
        ("--every -5s", "'-5s' is no duration"),
        ("--every soon", "'soon' is no duration"),
        ("--every 99999999999999w", "'99999999999999w' is no duration"),
        ("--every 1s --cpu-window 2", "--every 1s leaves no time"),
        ("--every 2s --cpu-window 2", "--every 2s leaves no time"),
        ("--every 10s --count 0", "--count"),
        ("--top -1", "--top"),
        ("--top many", "--top"),
        ("--cpu-window nan", "--cpu-window: nan is not a number of seconds"),
        ("--cpu-window inf", "--cpu-window: inf is not a number of seconds"),
        ("--cpu-window -1", "--cpu-window: -1.0 is not a number of seconds"),
        ("--cpu-window 3601", "--cpu-window: 3601.0 is not a number of seconds"),
        ("--frequently", "--frequently"),
        ("something", "something"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_2(perftrack: Run, path: str, options: str, says: str) -> None:
    done = perftrack("record", *options.split(), expect=2)
    assert done.stdout == ""
    assert done.stderr.startswith("perftrack: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert not os.path.exists(path)


class TestASystemWithoutProc:
    """recording.portable in the place of recording.linux: psutil alone, and a boot known by its time only."""

    @pytest.fixture(autouse=True)
    def psutil_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sampler, "platform", portable)

    def test_is_recorded_too(self, settings: Callable[..., Settings], path: str, spawn: Spawn) -> None:
        process = spawn(SLEEPER, "1000", "0")
        record_one(settings())
        row = f"pid, ppid, cpu_percent, num_threads, username, command LIKE '%{SLEEPER} 1000 0'"
        username = psutil.Process().username()
        assert newest(path, row, SLEEPER) == (process.pid, os.getpid(), 0.0, 1, username, 1)
        assert newest(path, "mem_total_bytes, pressure_cpu_ms") == (psutil.virtual_memory().total, None)
        assert query(path, "SELECT key LIKE 'boot time %' FROM boot") == [1]

    def test_knows_its_boot_again_though_its_time_wanders_by_a_second(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spawn(SLEEPER)
        for later in (0, 1, -1):
            boot_time_is(later, monkeypatch)
            record_one(settings(cpu_window=0))
        assert (count(path), count(path, "boot"), count(path, "process")) == (3, 1, 1)
        assert newest(path, "cpu_percent", SLEEPER) is not None

    def test_tells_two_boots_two_minutes_apart(
        self, settings: Callable[..., Settings], path: str, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spawn(SLEEPER)
        for later in (0, 120):
            boot_time_is(later, monkeypatch)
            record_one(settings(cpu_window=0))
        assert (count(path), count(path, "boot")) == (2, 2)
        assert newest(path, "cpu_percent, window_seconds") == (None, None)
        assert newest(path, "cpu_percent", SLEEPER) is None

    @pytest.mark.usefixtures("connection")
    def test_of_another_host_is_another_boot(self, settings: Callable[..., Settings], path: str) -> None:
        record_one(settings())
        query(path, "UPDATE host SET name = 'another host'")
        record_one(settings())
        assert count(path, "boot") == 2


def boot_time_is(seconds_later: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system compute its boot time *seconds_later* than psutil does."""
    booted_at = psutil.boot_time() + seconds_later
    monkeypatch.setattr(portable, "_BOOTED_AT", booted_at)
    monkeypatch.setattr(portable, "_MONOTONIC_TO_UPTIME", time.time() - booted_at - time.monotonic())


def test_a_tick_never_joins_the_boot_of_imported_data(
    settings: Callable[..., Settings], path: str, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose key is NULL, where the kernel gives no key either (gVisor)."""
    host = os.uname().nodename
    database.insert_sample(connection, sample(host=host, boot=None))
    monkeypatch.setattr(linux, "_read", unreadable("/proc/sys/kernel/random/boot_id", linux._read))
    record_one(settings(cpu_window=0))
    assert query(path, "SELECT count(*) FROM system_sample GROUP BY boot_id") == [1, 1]


def unreadable(refused: str, read: Callable[[str, int], bytes]) -> Callable[[str, int], bytes]:
    def reading(path: str, size: int) -> bytes:
        if path == refused:
            raise FileNotFoundError(path)
        return read(path, size)

    return reading
