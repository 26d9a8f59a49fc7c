"""`perftrack record`: the cron line, the options, and a tick that is there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from conftest import OWN, Run, on_a_terminal, query
from taken import BURNER, SLEEPER, Spawn, count, environment, newest

from perftrack.errors import BusyError, PerftrackError
from perftrack.recording.recorder import record_one
from perftrack.settings import Settings, load
from perftrack.storage import insertion, opening, sqlite_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")

HEAVY = {"typer", "click", "sqlalchemy", "alembic", "rich", "pydantic"}


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
        modules_of_a_tick(path, arguments)  # which meets control groups that are new
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
            "perftrack.recording.cgroups",
            "perftrack.recording.linux_processes",
            "perftrack.recording.linux_system",
            "perftrack.recording.percent",
            "perftrack.recording.proc_files",
            "perftrack.recording.recorder",
            "perftrack.recording.redaction",
            "perftrack.recording.sampler",
            "perftrack.recording.selection",
            "perftrack.recording.system",
            "perftrack.recording.watchdog",
            "perftrack.sample",
            "perftrack.settings",
            "perftrack.storage",
            "perftrack.storage.retention",
            "perftrack.storage.cgroups",
            "perftrack.storage.insertion",
            "perftrack.storage.opening",
            "perftrack.storage.sqlite_file",
            "perftrack.storage.store",
            "perftrack.storage.tick_sql",
            "perftrack.text",
        }
        assert HEAVY & {name.partition(".")[0] for name in tick} == set()
        assert count(path) == 2

    @pytest.mark.usefixtures("connection")
    def test_imports_no_more_of_them_to_read_a_config_file(self, path: str, tmp_path: Path) -> None:
        config = tmp_path / "perftrack.toml"
        config.write_text('process_filter = ["python"]\n')
        modules = modules_of_a_tick(path, ["record", "--config", str(config)])
        assert "tomllib" in modules
        assert HEAVY & {name.partition(".")[0] for name in modules} == set()

    def test_can_be_tried_again_where_the_database_is_locked(
        self, path: str, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.05)
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match="locked by another program") as error:
            record_one(load({"database": path, "cpu_window": 0.01}))
        assert error.value.exit_code == 75
        connection.execute("ROLLBACK")
        assert count(path) == 0


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
        record_one(settings(cgroups=False))
        words = [event.split()[0] for event in trace if event.split()[0] not in {"PRAGMA", "SELECT"}]
        inserts = words.count("INSERT")
        assert words == ["slept", "BEGIN", *["INSERT"] * inserts, "COMMIT"]
        # host, boot, recorder, the two sets of devices, system_sample, name_filter
        assert inserts == 7 + 2 * processes

    def test_holds_no_lock_while_it_sleeps(
        self,
        settings: Callable[..., Settings],
        path: str,
        connection: sqlite3.Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def write(_seconds: float) -> None:
            connection.execute("BEGIN EXCLUSIVE")
            insertion._insert(connection, "INSERT INTO host (name) VALUES ('written in the window')", {})
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

    @pytest.mark.slow
    def test_with_a_long_window_loses_no_cpu_of_what_began_in_it(
        self, settings: Callable[..., Settings], path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is in the next sample first, and by then has used all that it will."""
        program = f"""
import ctypes, time
ctypes.CDLL(None).prctl(15, b"{BURNER}", 0, 0, 0)
while time.process_time() < 1: pass
print(flush=True)
time.sleep(1000)
"""
        started = []
        sleep = time.sleep

        def sleep_and_start(seconds: float) -> None:
            if seconds == 2.5:
                sleep(0.3)
                started.append(subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE))
            sleep(seconds)

        monkeypatch.setattr(time, "sleep", sleep_and_start)
        record_one(settings(cpu_window=2.5, process_filter=[BURNER]))
        started[0].stdout.readline()
        record_one(settings(cpu_window=0.01, process_filter=[BURNER]))
        started[0].kill()
        started[0].communicate()
        (cpu_ms,) = query(path, "SELECT cpu_ms FROM process_interval")
        assert cpu_ms == pytest.approx(1000, abs=60)

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
        opening.open_current(str(other)).close()

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
            # a copy, as it is for whoever comes later: what this test has open of it, SQLite mixes with the new one's
            assert count(shutil.copy(path + ".old", tmp_path / "later.db")) == 1
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

    def test_empties_a_log_that_a_reader_let_grow_as_soon_as_it_can(
        self, settings: Callable[..., Settings], path: str, connection: sqlite3.Connection
    ) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM host").fetchall()
            connection.execute("CREATE TABLE padding AS SELECT zeroblob(17000000)")
            record_one(settings())
            assert os.path.getsize(f"{path}-wal") > 17_000_000
            assert count(path) == 1
            reader.execute("COMMIT")  # and it stays open, so that nobody is the last to close
            record_one(settings())
            assert os.path.getsize(f"{path}-wal") == 0
        assert count(path) == 2

    def test_survives_whatever_runs_on_this_machine(self, settings: Callable[..., Settings], path: str) -> None:
        record_one(settings(all=True, memory_detail=True))
        assert (
            count(path, "process_sample") > newest(path, "processes_seen") - 10
        )  # some may end before they are read


def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that fills with the SQL of all connections opened from now on, and with each sleep."""
    trace: list[str] = []
    open_current, sleep = opening.open_current, time.sleep

    def opened(path: str) -> sqlite3.Connection:
        connection = open_current(path)
        connection.set_trace_callback(trace.append)
        return connection

    def sleeping(seconds: float) -> None:
        sleep(seconds)
        trace.append("slept")

    monkeypatch.setattr(opening, "open_current", opened)
    monkeypatch.setattr(time, "sleep", sleeping)
    return trace


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
