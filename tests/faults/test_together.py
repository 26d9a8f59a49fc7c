"""Ticks that meet others: of the same moment, of another user, an export, a process that hangs in the kernel."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import process_row, query, sample, until
from faulty import RECORD, Place

from perftrack.storage import insertion, opening

pytestmark = [pytest.mark.faults, pytest.mark.skipif(sys.platform != "linux", reason="forks, strace, /proc")]
ROUNDS, KILLS = 200, 60
NOBODY = 65534

# Each process has imported everything already, so that they begin closer together than a crontab can make them.
FIRST_RUNS = """
import json, os, signal, sys, time
import perftrack.recording.recorder, perftrack.storage.schema
from perftrack.__main__ import main
folder, at_once, rounds, kill = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] == ["kill"]
sys.argv[1:] = ["record"]

def start(count, is_killed=False):
    gate, opener = os.pipe()
    runs = []
    for _ in range(count):
        run = os.fork()
        if run == 0:
            os.close(opener)
            os.read(gate, 1)
            try:
                main()
            finally:
                os._exit(99)
        runs.append(run)
    if is_killed:
        stop(runs)
    os.close(gate)
    os.close(opener)
    return runs

def stop(runs):
    for run in runs:
        os.kill(run, signal.SIGKILL)

def codes(runs):
    return [os.waitstatus_to_exitcode(os.waitpid(run, 0)[1]) for run in runs]

def begin(name):
    os.environ["PERFTRACK_DATABASE"] = f"{folder}/{name}/perftrack.db"
    return os.environ["PERFTRACK_DATABASE"]

begin("measured")
began = time.monotonic()
assert codes(start(at_once)) == [0] * at_once
took = time.monotonic() - began
for number in range(rounds):
    path = begin(number)
    runs = start(at_once, kill and number % 10 == 7)
    if kill:
        if number % 10 == 8:
            while not os.path.exists(path):
                pass
        elif number % 10 == 9:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        else:
            time.sleep(1.2 * took * number / (rounds - 1))
        stop(runs)
    ended = codes(runs)
    left = {name: os.path.getsize(path + name) for name in ("", "-wal", "-journal") if os.path.exists(path + name)}
    then = codes(start(1))
    print(json.dumps([number, ended, left, then]), flush=True)  # else each fork after it prints it too
"""


def first_runs(folder: Path, at_once: int, rounds: int, *kill: str) -> list[tuple[Path, list[int], dict[str, int]]]:
    """Have so many ticks make a database at once, so many times, and then one more tick, which must succeed.

    Return, of each database, its path, how the ticks ended, and the sizes of its files before the last one. It has
    been looked into: it is whole, private, in WAL mode, and holds each sample that was acknowledged.
    """
    settings = {"PERFTRACK_CPU_WINDOW": "0", "PERFTRACK_TOP": "0", "PERFTRACK_PROCESS_FILTER": "no such name"}
    env = {**os.environ, **settings}
    command = [sys.executable, "-B", "-c", FIRST_RUNS, str(folder), str(at_once), str(rounds), *kill]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")
    found = []
    for number, ended, left, then in map(json.loads, done.stdout.splitlines()):
        assert then == [0]
        path = folder / str(number) / "perftrack.db"
        # Two that close at once are in each other's way: then the log stays for the next who opens.
        assert set(os.listdir(path.parent)) - {"perftrack.db-wal", "perftrack.db-shm"} == {"perftrack.db"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
        (samples,) = query(path, "SELECT count(*) FROM system_sample")
        assert ended.count(0) + 1 <= samples <= at_once + 1, (number, ended, left)
        for table in ("host", "boot", "alembic_version"):
            assert query(path, f"SELECT count(*) FROM {table}") == [1], (number, table)
        assert query(path, "PRAGMA journal_mode") == ["wal"]
        assert query(path, "PRAGMA integrity_check") == ["ok"]
        assert os.listdir(path.parent) == ["perftrack.db"]
        found.append((path, ended, left))
    assert len(found) == rounds
    return found


def test_eight_first_runs_at_the_same_moment_keep_all_samples(tmp_path: Path) -> None:
    for _, ended, _ in first_runs(tmp_path, 8, ROUNDS):
        assert ended == [0] * 8


@pytest.mark.parametrize("at_once", [1, 3])
def test_first_runs_that_are_killed_lose_no_sample_and_the_next_tick_goes_on(tmp_path: Path, at_once: int) -> None:
    killed = first_runs(tmp_path, at_once, KILLS, "kill")
    # At every stage: before there is a file, before there is a schema, and when a sample is there. Most are killed
    # after a time, which on a busy machine may be before or after them all; some before they begin, as soon as the
    # file is there, or as soon as one has ended.
    assert any(not left for _, _, left in killed)
    assert any(left.get("", sys.maxsize) <= 4096 for _, _, left in killed)
    assert any(0 in ended for _, ended, _ in killed)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path, 0, PERFTRACK_PROCESS_FILTER="no such name")
    made.tick()
    return made


def test_ticks_that_overlap_all_land(place: Place) -> None:
    place.env["PERFTRACK_CPU_WINDOW"] = "0.3"
    for number in range(10):
        ticks = [subprocess.Popen(RECORD, env=place.env, stderr=subprocess.PIPE) for _ in range(4)]
        assert [(tick.communicate(timeout=60)[1], tick.returncode) for tick in ticks] == [(b"", 0)] * 4
        assert query(place.path, "SELECT count(*) FROM system_sample") == [1 + 4 * (number + 1)]
    assert query(place.path, "PRAGMA integrity_check") == ["ok"]


def test_a_tick_does_not_wait_for_an_export(place: Place) -> None:
    """Whose reader has stopped reading: it holds its snapshot for as long as that takes."""
    connection = opening.open_current(place.path)
    for number in range(3000):
        instant = f"2026-11-20 {number // 60 % 24:02d}:{number % 60:02d}:{number // 1440:02d}.000000"
        insertion.insert_sample(connection, sample(process_row(), host=socket.gethostname(), taken_at=instant))
    connection.close()
    place.watched = 1
    command = [sys.executable, "-m", "perftrack", "export", "--process-csv", "-"]
    with subprocess.Popen(command, env=place.env, stdout=subprocess.PIPE, cwd=place.folder) as export:
        first = export.stdout.read(100)
        place.tick()
        place.tick()
        assert export.poll() is None
        rest = export.stdout.read()
    assert export.returncode == 0
    assert (first + rest).count(b"\n") == 1 + 3000
    assert query(place.path, "SELECT count(*) FROM system_sample") == [3003]


SOON = """
import sys
from perftrack.recording import recorder
from perftrack.storage import sqlite_file
recorder.HUNG_SECONDS, sqlite_file.BUSY_TIMEOUT_SECONDS = 1, 0
sys.argv = ["perftrack", "record"]
from perftrack.__main__ import main
main()
"""
HUNG_READ = ["-P", "/proc/1/stat", "-e", "trace=openat", "-e", "inject=openat:delay_enter=8000000"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
class TestAProcessWhoseFilesBlock:
    """strace stands for the kernel: reading /proc/1/stat takes eight seconds, and the watchdog is set to one."""

    def hung(self, place: Place) -> subprocess.CompletedProcess[str]:
        done = place.run("strace", "-f", "-o", "/dev/null", *HUNG_READ, command=[sys.executable, "-c", SOON])
        told = [line for line in done.stderr.splitlines() if not line.startswith("strace: ")]
        done.stderr = "\n".join(told)
        return done

    def test_ends_the_tick_before_the_next_ones_pile_up(self, place: Place) -> None:
        done = self.hung(place)
        assert done.returncode == 1
        assert re.fullmatch(
            r"perftrack: no sample was taken: it hung while reading /proc/1(/stat)? and was ended after 1 s",
            done.stderr,
        )
        assert place.samples() == 1

    def test_is_told_once_an_hour(self, place: Place) -> None:
        assert [bool(self.hung(place).stderr) for _ in range(2)] == [True, False]
        place.tick()
        assert place.samples() == 2


HANGS_LATER = """
import itertools, sys, time
from perftrack.recording import linux_system, recorder
from perftrack.settings import load
from perftrack.storage import sqlite_file
recorder.HUNG_SECONDS, sqlite_file.BUSY_TIMEOUT_SECONDS = 1, 0
sample, read = itertools.count(1), linux_system.read_system
def hanging(path, *size):
    if path == "/proc/diskstats" and next(sample) == 4:
        time.sleep(20)
    return read(path, *size)
linux_system.read_system = hanging
for _ in recorder.record_every(load(), 0.4, 5):
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc to hang")
def test_the_watchdog_watches_over_every_sample_of_a_loop(place: Place) -> None:
    done = place.run(command=[sys.executable, "-c", HANGS_LATER])
    assert done.returncode == 1
    assert done.stderr == (
        "perftrack: no sample was taken: it hung while reading /proc/diskstats and was ended after 1 s\n"
    )
    assert place.samples() == 4  # the place's own and three


def test_the_watchdog_lets_a_tick_wait_that_was_told_to(place: Place) -> None:
    place.env["PERFTRACK_CPU_WINDOW"] = "2.5"
    done = place.run(command=[sys.executable, "-c", SOON.replace("= 1, 0", "= 0.5, 0")])
    assert (done.returncode, done.stderr) == (0, "")
    assert query(place.path, "SELECT max(window_seconds) >= 2.5 FROM system_sample") == [1]


def test_a_named_pipe_in_the_databases_place_is_refused_at_once(place: Place) -> None:
    os.unlink(place.path)
    os.mkfifo(place.path)
    done = place.run()
    assert done.returncode == 1
    assert done.stderr == f"perftrack: database {place.path}: it is not a file; name another with --database\n"


# The other user need not be able to read the Python that runs the tests.
AS_USER = """
import json, logging.config, os, sys
import perftrack.cli, perftrack.recording.recorder, perftrack.storage.schema
import perftrack.storage.failures, perftrack.storage.pending
from perftrack.__main__ import main
user = int(sys.argv[1])
os.setgroups([])
os.setgid(user)
os.setuid(user)
sys.argv = ["perftrack", "record"]
if "PERFTRACK_TEST_DIE" in os.environ:  # in the middle of writing, with the log and its index open
    import signal
    from perftrack.storage import insertion
    write = insertion.add_sample
    def dying(*arguments, **how):
        write(*arguments, **how)
        os.kill(os.getpid(), signal.SIGKILL)
    insertion.add_sample = dying
main()
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can run as another user")
class TestRootAndAnotherUser:
    @pytest.fixture
    def shared(self) -> Iterator[Place]:
        """A folder that nobody can reach, as below /var; pytest's own are root's alone."""
        folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="perftrack-test-"))
        folder.chmod(0o755)
        yield Place(folder, 0, PERFTRACK_PROCESS_FILTER="no such name", HOME=str(folder))
        shutil.rmtree(folder)

    @staticmethod
    def tick(place: Place, user: int, *, dies: bool = False) -> subprocess.CompletedProcess[str]:
        if dies:
            place.env["PERFTRACK_TEST_DIE"] = "1"
        done = place.run(command=[sys.executable, "-c", AS_USER, str(user)])
        place.env.pop("PERFTRACK_TEST_DIE", None)
        assert done.returncode == (-signal.SIGKILL if dies else done.returncode)
        return done

    def fine(self, place: Place, user: int) -> None:
        done = self.tick(place, user)
        assert (done.returncode, done.stderr) == (0, "")

    def refused(self, place: Place, user: int, says: str) -> None:
        before = {found.name: found.stat() for found in place.folder.iterdir()}
        done = self.tick(place, user)
        assert done.returncode == 1
        assert done.stderr.startswith(f"perftrack: database {place.path}")
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
        after = {found.name: found.stat() for found in place.folder.iterdir()}
        assert {name: (s.st_uid, s.st_size) for name, s in after.items()} == {
            name: (s.st_uid, s.st_size) for name, s in before.items()
        }

    def test_a_users_database_that_root_records_in_too(self, shared: Place) -> None:
        os.chown(shared.folder, NOBODY, NOBODY)
        self.fine(shared, NOBODY)
        for user in (0, NOBODY):
            self.tick(shared, user, dies=True)
            assert {found.stat().st_uid for found in shared.folder.iterdir()} == {NOBODY}
            assert len(list(shared.folder.iterdir())) == 3  # -wal and -shm of the dead
            self.fine(shared, NOBODY - user)
            self.fine(shared, user)
        assert query(shared.path, "SELECT count(*) FROM system_sample") == [5]

    def test_a_sample_of_root_that_had_to_wait_is_the_users(self, shared: Place) -> None:
        os.chown(shared.folder, NOBODY, NOBODY)
        self.fine(shared, NOBODY)
        whole = Path(shared.path).read_bytes()
        Path(shared.path).write_text("no database at all" * 100)
        assert "is kept" in self.tick(shared, 0).stderr
        os.unlink(f"{shared.path}-failures")
        assert "is kept" in self.tick(shared, NOBODY).stderr
        Path(shared.path).write_bytes(whole)
        self.fine(shared, NOBODY)
        assert shared.samples() == 4

    def test_roots_own_database_is_refused_to_a_user(self, shared: Place) -> None:
        shared.folder.chmod(0o755)
        self.fine(shared, 0)
        self.refused(shared, NOBODY, "this user may read and write")
        self.fine(shared, 0)

    def test_roots_database_that_all_may_read_is_refused_too(self, shared: Place) -> None:
        shared.folder.chmod(0o755)
        self.fine(shared, 0)
        os.chmod(shared.path, 0o644)
        self.refused(shared, NOBODY, "this user")
        self.tick(shared, 0, dies=True)
        self.refused(shared, NOBODY, "this user")
        self.fine(shared, 0)
        assert shared.samples() == 2

    def test_a_folder_that_a_user_may_not_reach(self, shared: Place) -> None:
        self.fine(shared, 0)
        shared.folder.chmod(0o700)
        self.refused(shared, NOBODY, "Permission denied")
        self.fine(shared, 0)

    def test_a_database_that_both_may_write(self, shared: Place) -> None:
        os.chown(shared.folder, 0, NOBODY)
        shared.folder.chmod(0o770)
        self.fine(shared, 0)
        os.chmod(shared.path, 0o666)
        for user in (0, NOBODY):
            self.tick(shared, user, dies=True)
            self.fine(shared, NOBODY - user)
            self.fine(shared, user)
        assert shared.samples() == 5

    def test_a_database_that_both_may_write_in_roots_folder(self, shared: Place) -> None:
        """The user cannot make -wal there: it works or is refused, and root goes on either way."""
        shared.folder.chmod(0o755)
        self.fine(shared, 0)
        os.chmod(shared.path, 0o666)
        self.refused(shared, NOBODY, "this user")
        self.tick(shared, 0, dies=True)
        self.tick(shared, NOBODY)
        self.fine(shared, 0)
        assert query(shared.path, "PRAGMA integrity_check") == ["ok"]


class TestCronsEnvironment:
    def run(self, place: Place, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": "/usr/bin:/bin", **variables}
        return subprocess.run(
            RECORD, env=env, cwd=place.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def test_is_enough_where_the_database_is_named(self, place: Place) -> None:
        done = self.run(place, PERFTRACK_DATABASE=place.path, PERFTRACK_CPU_WINDOW="0", LANG="C", LC_ALL="C")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert sorted(os.listdir(place.folder)) == ["perftrack.db"]

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can run as another user")
    @pytest.mark.parametrize("home", [None, "", "relative"])
    def test_of_a_user_without_a_passwd_entry_is_one_line(self, place: Place, home: str | None) -> None:
        env = {"PATH": "/usr/bin:/bin"} | ({} if home is None else {"HOME": home})
        command = [sys.executable, "-c", AS_USER, "54321"]
        place.folder.chmod(0o777)
        done = subprocess.run(command, env=env, cwd=place.folder, capture_output=True, text=True, check=False)
        assert done.stderr.count("\n") == 1
        assert done.returncode in {1, 2}
        assert "HOME" in done.stderr
        assert os.listdir(place.folder) == ["perftrack.db"]


def test_a_tick_that_cannot_be_ended_is_waited_for_by_none(place: Place) -> None:
    """Stopped in its window, it holds no lock; woken up, it lands."""
    place.env["PERFTRACK_CPU_WINDOW"] = "2"
    with subprocess.Popen(RECORD, env=place.env) as tick:
        until(lambda: os.path.exists(f"{place.path}-shm"))
        process = psutil.Process(tick.pid)
        until(lambda: all(process.status() == psutil.STATUS_SLEEPING for _ in range(500)))  # for some time
        os.kill(tick.pid, signal.SIGSTOP)
        place.env["PERFTRACK_CPU_WINDOW"] = "0"
        try:
            for _ in range(3):
                place.tick()
        finally:
            os.kill(tick.pid, signal.SIGCONT)
        assert tick.wait(30) == 0
    assert place.samples() == 5
