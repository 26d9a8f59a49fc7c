"""A machine full of processes, of processes that come and go, and of processes that nobody may see."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conftest import let_others_in, query
from faulty import RECORD, Place
from test_together import AS_USER, NOBODY

pytestmark = [pytest.mark.faults, pytest.mark.skipif(sys.platform != "linux", reason="/proc")]
root = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may")
MANY = 2000
# Starts so many children that sleep, says so, and ends them all when it is told to.
CROWD = f"""
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
children = []
try:
    for _ in range({MANY}):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        children.append(child)
except OSError:  # so many are not allowed
    pass
print(len(children), flush=True)
sys.stdin.read()
for child in children:
    os.kill(child, signal.SIGKILL)
"""
# Starts children that end at once and are zombies until they are waited for; one in fifteen lives long enough for a
# tick to have met it, however busy the machine is.
STORM = """
import os, time
while True:
    for number in range(30):
        if os.fork() == 0:
            time.sleep(0.3 * (number % 15 == 0))
            os._exit(0)
    if os.getppid() == 1:
        break
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path, 0, PERFTRACK_ALL="true", PERFTRACK_CPU_WINDOW="0.2")
    made.tick()
    return made


def sane(place: Place) -> None:
    """Make sure that no value is absurd."""
    assert query(place.path, "PRAGMA integrity_check") == ["ok"]
    assert query(place.path, "SELECT count(*) FROM system_sample WHERE cpu_percent NOT BETWEEN 0 AND 100") == [0]
    most = 110 * (os.cpu_count() or 1)  # a thread's time is counted in hundredths of a second
    wrong = query(
        place.path,
        f"SELECT name, cpu_percent FROM process_sample JOIN process ON process.id = process_id "
        f"WHERE cpu_percent NOT BETWEEN 0 AND {most} OR rss_bytes < 0 OR cpu_user_ms < 0 OR num_threads < 0",
    )
    assert wrong == []


def test_two_thousand_at_once(place: Place) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", CROWD], **pipes) as crowd:
        started = int(crowd.stdout.readline())
        if started < MANY:
            crowd.stdin.close()
            pytest.skip(f"no more than {started} processes are allowed here")
        place.tick()
        place.tick()
        few_files = place.run("sh", "-c", 'ulimit -n 1024; exec "$@"', "sh")  # fewer than there are processes
        assert (few_files.returncode, few_files.stderr) == (0, "")
        crowd.stdin.close()
        crowd.wait(60)
    counts = query(place.path, "SELECT count(*) FROM process_sample GROUP BY sample_id ORDER BY sample_id")
    assert [count > MANY for count in counts] == [False, True, True, True]
    assert query(place.path, f"SELECT count(*) FROM process WHERE ppid = {crowd.pid}") == [MANY]  # each is there once
    sane(place)


def test_a_fork_storm(place: Place) -> None:
    ticks = 10
    with subprocess.Popen([sys.executable, "-c", STORM]) as storm:
        try:
            for _ in range(ticks):
                place.tick()
            assert storm.poll() is None
        finally:
            storm.kill()
    assert query(place.path, f"SELECT count(*) FROM process WHERE ppid = {storm.pid}") != [0]
    assert query(place.path, "SELECT count(*) FROM system_sample") == [1 + ticks]
    sane(place)


def test_kernel_threads(place: Place) -> None:
    threads = [p.pid for p in psutil.process_iter() if p.ppid() == 2]
    if not threads:
        pytest.skip("no kernel threads are to be seen here")
    place.tick()
    rows = query(
        place.path,
        "SELECT pid, command, rss_bytes, vms_bytes FROM process JOIN process_sample ON process_id = process.id "
        "WHERE ppid = 2 AND sample_id = 2",
    )
    assert {row[0] for row in rows} >= set(threads[:5])
    assert {row[1:] for row in rows} == {("", 0, 0)}


@root
def test_proc_that_hides_the_processes_of_others(tmp_path: Path) -> None:
    """mount -o hidepid=2 /proc: what cannot be seen is not counted, and everything else is recorded."""
    place = Place(tmp_path, 0, PERFTRACK_ALL="true", PERFTRACK_CPU_WINDOW="0.05")
    let_others_in(place.folder)
    os.chown(place.folder, NOBODY, NOBODY)
    seen = []
    for options in ("", "mount -t proc -o hidepid=2 proc /proc && "):
        script = f'{options}exec "$@"'
        done = place.run(
            "unshare", "-m", "sh", "-c", script, "sh", command=[sys.executable, "-c", AS_USER, str(NOBODY)]
        )
        if "not permitted" in done.stderr or "permission denied" in done.stderr:
            pytest.skip(f"mounting /proc is not allowed here: {done.stderr}")
        assert (done.returncode, done.stderr) == (0, "")
        row = "processes_seen, processes_denied, mem_total_bytes > 0, cpu_percent IS NOT NULL"
        seen.append(query(place.path, f"SELECT {row} FROM system_sample ORDER BY id DESC LIMIT 1")[0])
    assert seen[0][0] > seen[1][0]
    assert seen[0][1] > seen[1][1]  # other users' are counted where they are seen, as denied
    assert seen[0][2:] == seen[1][2:] == (1, 1)
    sane(place)


# Run as PID 1 of a namespace of its own: gives a PID to one process, then to another of the same name, and again.
REUSED = """
import os, signal, subprocess, sys, time

def program(pid, *arguments):
    for _ in range(50):
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(pid - 1))
        made = subprocess.Popen(arguments)
        if made.pid == pid:
            return made
        made.kill()
        made.wait()
    sys.exit("not given")

record = sys.argv[2:]
sleeper = sys.argv[1]
first = program(300, sleeper, "1000")
subprocess.run(record, check=True)
first.kill()
first.wait()
second = program(300, sleeper, "1000")
subprocess.run(record, check=True)
tick = subprocess.Popen(record, env={**os.environ, "PERFTRACK_CPU_WINDOW": "2"})
time.sleep(1)
second.kill()
second.wait()
third = program(300, sleeper, "1000")
assert tick.wait() == 0
subprocess.run(record, check=True)
third.kill()
"""


@root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
@pytest.mark.parametrize("window", ["0", "0.1"])
def test_a_pid_that_is_given_again(tmp_path: Path, window: str) -> None:
    """Really, in a namespace of its own: three processes of one name have had the same PID."""
    place = Place(tmp_path, 0, PERFTRACK_PROCESS_FILTER="reused", PERFTRACK_CPU_WINDOW=window)
    sleeper = tmp_path / "reused"
    shutil.copy("/bin/sleep", sleeper)
    command = [sys.executable, "-c", REUSED, str(sleeper), *RECORD]
    done = place.run("unshare", "--pid", "--fork", "--mount-proc", command=command)
    if "not permitted" in done.stderr:
        pytest.skip(f"a PID namespace is not allowed here: {done.stderr}")
    assert (done.returncode, done.stderr) == (0, "")
    rows = query(
        place.path,
        "SELECT sample_id, process_id, pid, name, cpu_percent FROM process_sample JOIN process ON id = process_id "
        "ORDER BY sample_id",
    )
    assert [row[:4] for row in rows] == [
        (1, 1, 300, "reused"),
        (2, 2, 300, "reused"),
        (3, 2, 300, "reused"),  # it ended in the window
        (4, 3, 300, "reused"),
    ]
    assert rows[2][4] is None
    sane(place)


HOSTILE = [
    b"",
    b" ",
    b"\n\n",
    b"\x1b[2J\x1b[31m",
    "\u202egnp.exe".encode(),
    "\u2066\u200b".encode(),
    b"[/red]",
    b"<script>",
    b"=1+1",
    b"@SUM(A1)",
    b"\xff\xfe\xfd",
    b"') DROP TABLE",
    b"%s%n{0}",
    b") Z 1 1 1",
    b"\x7f\x01",
]
CALL_ITSELF = """
import ctypes, signal, sys
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0)
print(flush=True)
signal.pause()
"""


def test_hostile_names_and_arguments(place: Place) -> None:
    started = []
    try:
        for name in HOSTILE:
            command = [sys.executable, "-c", CALL_ITSELF, name.hex(), name.replace(b"\0", b""), b"y" * 100_000]
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
            started[-1].stdout.readline()
        place.tick()
    finally:
        for process in started:
            process.kill()
            process.stdout.close()
            process.wait()
    for process, name in zip(started, HOSTILE, strict=True):
        row = "name, length(CAST(command AS BLOB))"
        where = f"pid = {process.pid} AND ppid = {os.getpid()}"
        ((stored, size),) = query(place.path, f"SELECT {row} FROM process WHERE {where}")
        back = stored.encode()
        for byte in range(256):
            back = back.replace(b"\\x%02x" % byte, bytes([byte]))
        assert back == name
        assert 4000 < size < 6000
    with subprocess.Popen(
        [sys.executable, "-m", "perftrack", "export", "--wide", "--directory", str(place.folder)], env=place.env
    ) as export:
        assert export.wait(60) == 0


def test_a_process_that_becomes_another_program_in_every_window(place: Place) -> None:
    """A row for each of its two names, and never a refused sample."""
    for name, other in (("one", "two"), ("two", "one")):
        program = place.folder.parent / name
        program.write_text(f'#!/bin/sh\nsleep 0.05\nexec "{place.folder.parent}/{other}"\n')
        program.chmod(0o755)
    names, ticks = set(), 0
    with subprocess.Popen([place.folder.parent / "one"], start_new_session=True) as shell:
        try:
            while ticks < 8 or (len(names) < 2 and ticks < 60):
                place.tick()
                ticks += 1
                names = set(query(place.path, f"SELECT name FROM process WHERE pid = {shell.pid}"))
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
    assert names == {"one", "two"}
    assert query(place.path, "SELECT count(*) FROM system_sample") == [1 + ticks]
    sane(place)
