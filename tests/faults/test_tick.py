"""A tick that is killed, whose disk fails or is full, or whose power is cut: what it acknowledged is there, whole."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import query
from faulty import CALLS, RECORD, Place, calls, strace

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="strace, tmpfs and ext4 are Linux's"),
]
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
Spawn = Callable[..., subprocess.Popen[bytes]]
OWN = f"{os.getpid():x}-watched"
WATCHED = 3
KILLS = 200
CUTS = 20
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2  # linux/fs/ext4/ext4.h


@pytest.fixture
def place(tmp_path: Path, spawn: Spawn) -> Place:
    """A database of two samples, of WATCHED processes each."""
    for _ in range(WATCHED):
        spawn(OWN)
    made = Place(tmp_path, WATCHED, PERFTRACK_PROCESS_FILTER=OWN)
    made.tick()
    made.tick()
    return made


def an_ordinary_tick(place: Place) -> int:
    """Arrange that, and return how many samples there are."""
    return place.samples()


def a_tick_that_finds_kept_samples(place: Place) -> int:
    """Three that came while the database was not whole."""
    whole = Path(place.path).read_bytes()
    Path(place.path).write_bytes(b"no database at all" * 100)
    for _ in range(3):
        assert place.run().returncode == 1
    assert place.kept() == 3
    Path(place.path).write_bytes(whole)
    return place.samples() + 3


def the_first_tick(place: Place) -> int:
    os.unlink(place.path)
    return 0


@needs_strace
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC"])
@pytest.mark.parametrize("arranged", [an_ordinary_tick, a_tick_that_finds_kept_samples, the_first_tick])
def test_a_fault_at_every_call_that_changes_a_file(
    place: Place, tmp_path: Path, arranged: Callable[[Place], int], fault: str
) -> None:
    before = arranged(place)
    place.save()
    trace = tmp_path / "trace"
    assert place.run("strace", "-f", "-o", str(trace), "-e", f"trace={CALLS}").returncode == 0
    points = list(calls(trace))
    if arranged is the_first_tick:  # it makes a hundred writes of pages, one like the other
        points = [(name, number) for name, number in points if name != "pwrite64" or number % 8 == 0]
    assert len(points) > 20
    for name, number in points:
        place.restore()
        done = place.run(*strace("-e", f"trace={name}", "-e", f"inject={name}:{fault}:when={number}"))
        try:
            place.judge(done, before)
        except AssertionError as error:
            raise AssertionError(f"{fault} at {name} number {number}: {error}\n{done.stderr}") from error


@needs_strace
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC"])
def test_a_fault_at_every_call_of_a_tick_that_keeps_its_sample(place: Place, tmp_path: Path, fault: str) -> None:
    whole = Path(place.path).read_bytes()
    Path(place.path).write_bytes(b"no database at all" * 100)
    place.save()
    trace = tmp_path / "trace"
    assert place.run("strace", "-f", "-o", str(trace), "-e", f"trace={CALLS}").returncode == 1
    assert place.kept() == 1
    points = list(calls(trace))
    assert {name for name, _ in points} >= {"mkdir", "write", "fsync", "rename"}
    for name, number in points:
        place.restore()
        done = place.run(*strace("-e", f"trace={name}", "-e", f"inject={name}:{fault}:when={number}"))
        said = done.stderr
        Path(place.path).write_bytes(whole)
        if not said and done.returncode == 1:  # the fault met the line itself
            done.stderr = "perftrack: ; the sample is kept in \n"
        try:
            place.judge(done, 2)
        except AssertionError as error:
            raise AssertionError(f"{fault} at {name} number {number}: {error}\n{said}") from error


def test_killed_at_any_moment(place: Place) -> None:
    """As long as a tick takes, and a little more; every tenth meets samples that were kept."""
    seed = int(os.environ.get("PERFTRACK_TEST_SEED", random.randrange(10**6)))
    print(f"PERFTRACK_TEST_SEED={seed}")
    chance = random.Random(seed)
    began = time.monotonic()
    place.tick()
    seconds = time.monotonic() - began
    there = place.samples()
    died = 0
    for number in range(KILLS):
        if number % 10 == 0:
            there = a_tick_that_finds_kept_samples(place)
        with subprocess.Popen(RECORD, env=place.env, stderr=subprocess.PIPE, text=True) as tick:
            time.sleep(chance.uniform(0, 1.3 * seconds))
            tick.kill()
            told = tick.stderr.read()
        died += tick.returncode == -signal.SIGKILL
        assert (tick.returncode, told) in {(0, ""), (-signal.SIGKILL, "")}
        now = place.samples() + place.kept()
        if number % 10:
            assert there + (tick.returncode == 0) <= now <= there + 1
        else:
            place.tick()
            assert there + 1 + (tick.returncode == 0) <= place.samples() <= there + 2
            now = place.samples()
        there = now
    assert died > KILLS / 3
    place.tick()


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, free_bytes: int) -> None:
    """Leave *free_bytes* of the disk of *folder*, in a file called filler."""
    disk = os.statvfs(folder)
    with open(folder / "filler", "wb") as file:
        file.write(b"x" * max(0, disk.f_bavail * disk.f_frsize - free_bytes))


@pytest.mark.parametrize("arranged", [an_ordinary_tick, a_tick_that_finds_kept_samples, the_first_tick])
def test_a_full_disk(tmpfs: Path, spawn: Spawn, arranged: Callable[[Place], int]) -> None:
    """It is full after 0, 4, 8 ... KiB more; the next tick has room again."""
    for _ in range(WATCHED):
        spawn(OWN)
    place = Place(tmpfs, WATCHED, PERFTRACK_PROCESS_FILTER=OWN, PERFTRACK_DISK_FLOOR_MIB="0")
    place.copy = tmpfs.parent / "copy"
    place.tick()
    before = arranged(place)
    place.save()
    succeeded = []
    for kib in range(0, 600, {an_ordinary_tick: 4, a_tick_that_finds_kept_samples: 12, the_first_tick: 24}[arranged]):
        place.restore()
        fill(tmpfs, kib * 1024)
        done = place.run()
        os.unlink(tmpfs / "filler")
        succeeded.append(done.returncode == 0)
        place.judge(done, before)
    assert not succeeded[0]
    assert succeeded[-1]


def test_a_full_disk_is_told_twice_and_remembered(tmpfs: Path) -> None:
    """Ticks fail until nothing more can be kept, and some more; then there is room again."""
    place = Place(tmpfs, 0, PERFTRACK_PROCESS_FILTER="no such name", PERFTRACK_DISK_FLOOR_MIB="0")
    place.tick()
    os.unlink(place.path)
    fill(tmpfs, 48 * 1024)
    printed = []
    while sum("is lost" in line for line in printed) == 0 or printed[-1]:
        assert len(printed) < 50
        done = place.run()
        assert done.returncode == 1
        printed.append(done.stderr)
    kept, told = place.kept(), [line for line in printed if line]
    assert 0 < kept < len(printed)
    assert ["is kept" in line for line in told] == [True, False]
    os.unlink(tmpfs / "filler")
    place.tick()
    status = [sys.executable, "-m", "perftrack", "status", "--format", "json"]
    failures = json.loads(place.run(command=status).stdout)["failures"]
    assert [(failure["samples_kept"], failure["samples_lost"]) for failure in failures] == [
        (0, len(printed) - kept),
        (kept, 0),
    ]
    assert all(failure["recovered_at"] for failure in failures)
    assert place.samples() == kept + 1


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A disk of its own at `disk`; calling it cuts its power and starts it again."""
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    image.write_bytes(b"")
    os.truncate(image, 64 * 1024 * 1024)
    mount = ["mount", "-o", "loop", str(image), str(folder)]
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting a loop device is not allowed here: {mounted.stderr.strip()}")

    def cut() -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        except OSError as error:
            pytest.skip(f"cutting a disk's power is not allowed here: {error}")
        finally:
            os.close(descriptor)

    def start() -> None:
        subprocess.run(["umount", str(folder)], check=True)
        subprocess.run(mount, check=True)

    cut.start = start
    try:
        yield cut
    finally:
        subprocess.run(["umount", str(folder)], check=False)


WITHOUT_SYNC = """
import sqlite3, sys
class Careless(sqlite3.Connection):
    def execute(self, sql, *rest):
        return super().execute(sql.replace("synchronous=FULL", "synchronous=OFF"), *rest)
opened = sqlite3.connect
sqlite3.connect = lambda *a, **k: opened(*a, factory=Careless, **k)
sys.argv = ["perftrack", "record"]
from perftrack.__main__ import main
main()
"""


def lost_in_power_cuts(ext4: Callable[..., None], tmp_path: Path, command: list[str]) -> int:
    """Return how many acknowledged samples are gone after CUTS power cuts, each after two ticks and amid a third."""
    place = Place(tmp_path / "disk", 0, PERFTRACK_PROCESS_FILTER="no such name", PERFTRACK_DISK_FLOOR_MIB="0")
    place.tick()
    subprocess.run(["sync"], check=True)
    chance, lost, there = random.Random(1), 0, 1
    for _ in range(CUTS):
        acknowledged = there
        for _ in range(2):
            done = place.run(command=command)
            assert done.returncode == 0, done.stderr
            acknowledged += 1
        with subprocess.Popen(command, env=place.env, stderr=subprocess.DEVNULL) as tick:
            time.sleep(chance.uniform(0, 0.15))
            acknowledged += tick.poll() == 0
            ext4()
            tick.wait(60)
        ext4.start()
        there = place.samples()
        assert there <= acknowledged + 1
        lost += max(0, acknowledged - there)
    return lost


def test_power_cuts_lose_no_acknowledged_sample(ext4: Callable[..., None], tmp_path: Path) -> None:
    assert lost_in_power_cuts(ext4, tmp_path, RECORD) == 0


def test_power_cuts_would_lose_some_without_syncing(ext4: Callable[..., None], tmp_path: Path) -> None:
    """The control: so the cuts above are real."""
    assert lost_in_power_cuts(ext4, tmp_path, [sys.executable, "-B", "-c", WITHOUT_SYNC]) > 0


def test_power_cuts_lose_no_sample_that_was_kept(ext4: Callable[..., None], tmp_path: Path) -> None:
    place = Place(tmp_path / "disk", 0, PERFTRACK_PROCESS_FILTER="no such name", PERFTRACK_DISK_FLOOR_MIB="0")
    place.tick()
    whole = Path(place.path).read_bytes()
    Path(place.path).write_bytes(b"no database at all" * 100)
    subprocess.run(["sync"], check=True)
    for number in range(1, 6):
        done = place.run()
        assert done.returncode == 1
        assert "; the sample is kept in " in done.stderr, done.stderr
        ext4()
        ext4.start()
        assert place.kept() == number
    Path(place.path).write_bytes(whole)
    place.tick()
    assert place.samples() == 7
    assert query(place.path, "SELECT count(DISTINCT taken_at) FROM system_sample") == [7]
