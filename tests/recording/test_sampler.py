"""One sample: the sleep in the middle, true numbers, and NULL for whatever is gone, refused or unknown here."""

from __future__ import annotations

import builtins
import datetime
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import psutil
import pytest
from conftest import until

from perftrack.recording import linux, portable, sampler
from perftrack.recording.selection import Selection
from perftrack.sample import COMPUTED_BOOT_KEY, Sample
from perftrack.storage.models import Process, ProcessSample, SystemSample

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")

Row = dict[str, Any]
Spawn = Callable[..., subprocess.Popen[bytes]]
Python = Callable[..., subprocess.Popen[bytes]]
PR_SET_NAME = 15
OWN = f"{os.getpid():x}-"  # in the names of processes of this run of the tests alone


def no_baseline(_host: Row, _boot: Row) -> None:
    return None


def take(*filters: str, window: float = 0.05, **options: Any) -> Sample:
    further = {name: options.pop(name) for name in ("memory_detail", "described") if name in options}
    return sampler.take_sample(Selection(filters, **options), window, no_baseline, **further)


def row_of(process: subprocess.Popen[bytes], sample: Sample) -> Row:
    return next(row for row in sample.processes if row["pid"] == process.pid)


def asleep(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has started up and does nothing any more, so that two readings agree."""
    seen = psutil.Process(process.pid)
    status = seen.status
    # in the middle of exec, which is where Popen returns, it has neither its name nor its arguments yet
    until(lambda: status() == psutil.STATUS_ZOMBIE or (status() == psutil.STATUS_SLEEPING and seen.cmdline()))


@pytest.fixture
def spawn(spawn: Spawn) -> Spawn:
    """The spawn of conftest.py, whose process is asleep by the time it returns."""

    def start(name: str | bytes, *arguments: str | bytes) -> subprocess.Popen[bytes]:
        process = spawn(name, *arguments)
        asleep(process)
        return process

    return start


@pytest.fixture
def python() -> Iterator[Python]:
    """Start a Python program, wait until it prints a line, and go on while it runs."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str, *arguments: str | bytes) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE)
        started.append(child)
        child.stdout.readline()
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


SLEEP = "import time; print(flush=True); time.sleep(1000)"
CALL_ITSELF = f"""
import ctypes, sys
ctypes.CDLL(None).prctl({PR_SET_NAME}, bytes.fromhex(sys.argv[1]), 0, 0, 0)
{SLEEP}
"""


@pytest.fixture
def in_the_window(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Let something happen while the sampler sleeps between first and second counters."""

    def happen(event: Callable[[], Any]) -> None:
        sleep = time.sleep

        def eventful_sleep(seconds: float) -> None:
            monkeypatch.setattr(time, "sleep", sleep)
            event()
            sleep(seconds)

        monkeypatch.setattr(time, "sleep", eventful_sleep)

    return happen


Change = Callable[[Callable[[Row, Row], Row | None]], None]


@pytest.fixture
def second_reading(monkeypatch: pytest.MonkeyPatch) -> Change:
    """Let a function of both readings of a process decide what the second one, after the window, gives."""

    def change(altered: Callable[[Row, Row], Row | None]) -> None:
        read, first = linux.read_process, {}

        def reading(pid: int, *wanted: Any) -> Row | None:
            row = read(pid, *wanted)
            if row is None or pid not in first:
                return first.setdefault(pid, row)
            return altered(first[pid], row)

        monkeypatch.setattr(linux, "read_process", reading)

    return change


Show = Callable[[str, str], None]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[Show]:
    """Let a file of the whole system say something else."""
    descriptors: list[int] = []

    def show(path: str, text: str) -> None:
        descriptors.append(os.memfd_create(path))
        os.write(descriptors[-1], text.encode())
        monkeypatch.setitem(linux._system_files, path, descriptors[-1])

    yield show
    monkeypatch.undo()
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """All sleeps of the test, in seconds; none is slept."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


class TestTheWindow:
    @pytest.mark.parametrize("processes", [0, 1, 40])
    def test_is_slept_once_whatever_the_number_of_processes(
        self, spawn: Spawn, sleeps: list[float], processes: int
    ) -> None:
        for _ in range(processes):
            spawn(OWN + "sleeper")
        assert len(take(OWN, window=0.75).processes) == processes
        assert sleeps == [0.75]

    def test_of_zero_seconds_is_not_slept(self, spawn: Spawn, sleeps: list[float]) -> None:
        spawn("pt-sleeper")
        sample = take("pt-sleeper", window=0)
        assert sleeps == []
        assert sample.system["window_seconds"] is sample.system["cpu_percent"] is None

    def test_of_zero_seconds_is_followed_by_a_short_one_to_find_the_largest(
        self, python: Python, sleeps: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that has just begun to spin was not recorded before; it gets its rank but no percentage."""
        spinning, sleep = python("print(flush=True)\nwhile True: pass"), threading.Event().wait
        monkeypatch.setattr(time, "sleep", lambda seconds: (sleeps.append(seconds), sleep(seconds)))
        sample = take(top=8, window=0)
        assert sleeps == [sampler.RANKING_SECONDS]
        assert row_of(spinning, sample)["cpu_percent"] is sample.system["window_seconds"] is None

    def test_is_stored_as_long_as_it_was(self) -> None:
        before = time.monotonic()
        sample = take(window=0.2)
        assert 0.2 <= sample.system["window_seconds"] <= time.monotonic() - before

    def test_ends_at_the_instant_of_the_sample(self, in_the_window: Callable[..., None]) -> None:
        asleep_at: list[float] = []
        in_the_window(lambda: asleep_at.append(time.time()))
        taken_at = timestamp(take(window=0.2).system["taken_at"])
        assert asleep_at[0] + 0.2 <= taken_at <= time.time()

    def test_is_undisturbed(self, tmp_path: Path, spawn: Spawn) -> None:
        """Between the counters nothing is imported, opened or started; there is only the sleep."""
        process = spawn(OWN + "sleeper")
        program = """
import json, os, sys, time
import perftrack.__main__
os._exit = sys.exit  # which the program may leave by
events, sleep = [], time.sleep
def audited(event, arguments):
    if event in {"import", "open", "exec", "os.listdir", "os.scandir", "subprocess.Popen", "socket.__new__"}:
        events.append([event, str(arguments[0])])
def audited_sleep(seconds):
    events.append(["sleep", str(seconds)])
    sleep(seconds)
    events.append(["awake", ""])
time.sleep = audited_sleep
sys.addaudithook(audited)
sys.argv = ["perftrack", "record"]
try:
    perftrack.__main__.main()
except SystemExit as end:
    assert end.code == 0
print(json.dumps(events))
"""
        env = {
            **os.environ,
            "PERFTRACK_DATABASE": str(tmp_path / "perftrack.db"),
            "PERFTRACK_PROCESS_FILTER": OWN,
            "PERFTRACK_TOP": "0",
            "PERFTRACK_CPU_WINDOW": "0.05",
        }
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
        events = json.loads(done.stdout)
        middle = events.index(["sleep", "0.05"])
        # the second counters come from files that are open since the first
        assert events[middle - 1 : middle + 3] == [
            ["open", "/proc/stat"],
            ["sleep", "0.05"],
            ["awake", ""],
            ["open", f"/proc/{process.pid}/statm"],
        ]
        assert ["open", f"/proc/{process.pid}/stat"] in events[:middle]


def timestamp(utc_text: str) -> float:
    return datetime.datetime.fromisoformat(f"{utc_text}+00:00").timestamp()


def waited_ms(resource: str) -> int:
    """Return what /proc/pressure says, read in another way than the sampler does."""
    match = re.match(r"some .*total=(\d+)", Path(f"/proc/pressure/{resource}").read_text())
    return int(match[1]) // 1000


def counters() -> dict[str, float]:
    """Return the counters of system_sample from psutil and /proc/pressure; iowait may decrease and is left out."""
    cpu, disk, network = psutil.cpu_times(), psutil.disk_io_counters(), psutil.net_io_counters()
    read = {
        "cpu_user_ms": (cpu.user + cpu.nice) * 1000,
        "cpu_system_ms": (cpu.system + cpu.irq + cpu.softirq) * 1000,
        "cpu_idle_ms": cpu.idle * 1000,
        "cpu_steal_ms": cpu.steal * 1000,
        "uptime_seconds": time.clock_gettime(time.CLOCK_BOOTTIME),
    }
    if disk is not None:
        read |= {"disk_read_bytes": disk.read_bytes, "disk_write_bytes": disk.write_bytes}
    if network is not None:
        read |= {"net_sent_bytes": network.bytes_sent, "net_received_bytes": network.bytes_recv}
    if os.path.exists("/proc/pressure"):
        read |= {f"pressure_{resource}_ms": waited_ms(resource) for resource in ("cpu", "memory", "io")}
    return read


class TestTheSystemsRow:
    def test_has_every_column_of_the_model(self) -> None:
        assert set(take().system) == {*SystemSample.__table__.columns.keys()} - {"id", "boot_id"}

    def test_has_the_counters_that_psutil_reads(self) -> None:
        before, system, after = counters(), take().system, counters()
        for name, value in before.items():
            assert round(value, 3) <= system[name] <= after[name] + 0.5, name

    def test_has_true_memory_and_swap(self) -> None:
        system, memory, swap = take().system, psutil.virtual_memory(), psutil.swap_memory()
        assert (system["mem_total_bytes"], system["swap_total_bytes"]) == (memory.total, swap.total)
        assert system["mem_available_bytes"] == pytest.approx(memory.available, abs=memory.total / 5)
        assert system["mem_used_bytes"] == system["mem_total_bytes"] - system["mem_available_bytes"]
        assert system["swap_used_bytes"] == pytest.approx(swap.used, abs=memory.total / 5)

    def test_has_them_as_psutil_reads_them(self) -> None:
        for read in ("memory_bytes", "swap_bytes", "disk_bytes", "network_bytes"):
            before = getattr(portable, read)()
            values = getattr(linux, read)()
            after = getattr(portable, read)()
            assert (before is None) == (values is None)
            for low, value, high in zip(before or (), values or (), after or (), strict=True):
                if read == "memory_bytes":
                    assert value == pytest.approx(low, rel=0.2)
                else:
                    assert low <= value <= high or (read == "swap_bytes" and high <= value <= low)

    def test_has_the_cpu_counters_as_psutil_reads_them(self) -> None:
        before, counters, after = portable.cpu_counters(), linux.cpu_counters(), portable.cpu_counters()
        assert counters.keys() == before.keys()
        for name, value in counters.items():
            assert before[name] <= value <= after[name] or name == "cpu_iowait_ms"

    @pytest.mark.parametrize(
        "available", ["MemAvailable: 900 kB\n", "MemAvailable: 0 kB\n", "MemAvailable: 3000 kB\n", ""]
    )
    def test_has_memory_as_psutil_has_it_where_the_kernel_does_not_tell(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: Show, available: str
    ) -> None:
        """An old kernel or a container, for which psutil estimates what is available."""
        fields = ("MemTotal", "Buffers", "Cached", "Shmem", "Active", "Inactive", "MemFree")
        text = "".join(f"{name}: {2000 - 300 * number} kB\n" for number, name in enumerate(fields)) + available
        shown("/proc/meminfo", text)
        (tmp_path / "meminfo").write_text(text)
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
        assert linux.memory_bytes() == portable.memory_bytes()

    def test_counts_disks_and_not_their_partitions(self, monkeypatch: pytest.MonkeyPatch, shown: Show) -> None:
        """As /proc/diskstats lists them, the second with a slash in its name."""
        lines = """\
   8       0 sda 4321 100 1000 50 77 5 2000 9 0 10 20 0 0 0 0 1 2
   8       1 sda1 4000 90 900 40 70 4 1900 8 0 9 19 0 0 0 0 0 0
 104       0 cciss/c0d0 1 0 8 0 1 0 16 0 0 0 0
   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
"""
        shown("/proc/diskstats", lines)
        monkeypatch.setattr(os, "listdir", {b"/sys/block": [b"sda", b"cciss!c0d0"]}.get)
        assert linux.disk_bytes() == (1008 * 512, 2016 * 512)
        monkeypatch.setattr(os, "listdir", {b"/sys/block": []}.get)
        assert linux.disk_bytes() is None

    def test_reads_files_of_more_than_a_page_to_their_end(self, shown: Show) -> None:
        interface = "eth{}: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n"
        shown("/proc/net/dev", "two\nheaders\n" + "".join(interface.format(number) for number in range(1000)))
        assert linux.network_bytes() == (2000, 1000)

    def test_has_the_number_of_cpus_and_the_load(self) -> None:
        before, system, after = os.getloadavg(), take().system, os.getloadavg()
        assert system["cpu_count"] == psutil.cpu_count()
        for number, name in enumerate(("load_1min", "load_5min", "load_15min")):
            assert system[name] in {round(before[number], 2), round(after[number], 2)}

    def test_has_the_share_of_cpu_time_that_was_busy(self, shown: Show, in_the_window: Callable[..., None]) -> None:
        """Of 10 s in all: user 1, nice 1, system 1, interrupts 1, steal 1; idle 4 and iowait 1 are not busy."""
        shown("/proc/stat", "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n")
        in_the_window(lambda: shown("/proc/stat", "cpu  100 100 100 400 100 50 50 100 70 30\n"))
        system = take().system
        assert system["cpu_percent"] == 50.0
        assert {
            name: value for name, value in system.items() if name.startswith("cpu_") and name.endswith("_ms")
        } == {
            "cpu_user_ms": 2000,
            "cpu_system_ms": 2000,
            "cpu_idle_ms": 4000,
            "cpu_iowait_ms": 1000,
            "cpu_steal_ms": 1000,
        }

    def test_has_the_same_instant_in_utc_and_as_the_wall_clock_shows_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TZ", "TEST-05:30")  # POSIX: 5:30 ahead of UTC
        time.tzset()
        system = take().system
        utc, local = (datetime.datetime.fromisoformat(system[name]) for name in ("taken_at", "taken_at_local"))
        assert local - utc == datetime.timedelta(hours=5, minutes=30)
        assert abs(timestamp(system["taken_at"]) - time.time()) < 5

    def test_has_microseconds_even_when_they_are_zero(self) -> None:
        assert sampler.utc_text(1_790_000_000) == "2026-09-21 14:13:20.000000"

    def test_counts_the_processes_seen_but_not_the_recorder(
        self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pids = [os.getpid(), spawn("pt-one").pid, spawn("other").pid]
        monkeypatch.setattr(psutil, "pids", lambda: pids)
        sample = take("pt-one")
        assert (sample.system["processes_seen"], len(sample.processes)) == (2, 1)

    def test_says_what_the_sample_itself_cost(self) -> None:
        before = time.process_time()
        sample = sampler.take_sample(Selection([]), 0.2, no_baseline, charged_cpu_seconds=before)
        cost = sample.system["recorder_cpu_ms"]
        assert 0 <= cost <= (time.process_time() - before) * 1000 + 1
        assert take(window=0).system["recorder_cpu_ms"] >= before * 1000

    def test_belongs_to_this_boot_of_this_host(self) -> None:
        sample = take()
        assert sample.host == {"name": socket.gethostname()}
        assert sample.boot["key"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert timestamp(sample.boot["booted_at"]) == pytest.approx(psutil.boot_time(), abs=2)

    def test_belongs_to_a_boot_told_by_its_time_where_the_kernel_gives_no_id(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As in gVisor. Without any key all boots would be one, and that of the imported data."""
        read = linux._read_system

        def read_but_for_the_id(path: str, *size: int) -> bytes:
            if path.endswith("boot_id"):
                raise FileNotFoundError(path)
            return read(path, *size)

        monkeypatch.setattr(linux, "_read_system", read_but_for_the_id)
        key = take().boot["key"]
        assert key is not None
        assert key.startswith(COMPUTED_BOOT_KEY)


PROCESS_COLUMNS = {*Process.__table__.columns.keys(), *ProcessSample.__table__.columns.keys(), "filter"} - {
    "id",
    "boot_id",
    "sample_id",
    "process_id",
    "filter_id",
}


class TestAProcesssRow:
    @pytest.mark.parametrize("platform", [linux, portable])
    def test_has_every_column_of_the_models(
        self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch, platform: ModuleType
    ) -> None:
        monkeypatch.setattr(sampler, "platform", platform)
        row = row_of(spawn("pt-sleeper"), take("pt-sleeper"))
        assert set(row) >= PROCESS_COLUMNS
        not_asked_for = {"uss_bytes", "pss_bytes", "swap_bytes"}
        assert {name for name in PROCESS_COLUMNS if row[name] is None} == not_asked_for

    def test_says_who_it_is(self, spawn: Spawn) -> None:
        process = spawn("pt-sleeper", "1000", "0")
        row = row_of(process, take("sleeper"))
        assert (row["name"], row["filter"], row["ppid"]) == ("pt-sleeper", "sleeper", os.getpid())
        assert row["username"] == psutil.Process(process.pid).username()
        assert row["command"] == " ".join([os.fsdecode(process.args[0]), "1000", "0"])

    def test_says_when_it_started(self, spawn: Spawn) -> None:
        before = time.time()
        process = spawn("pt-sleeper")
        after = time.time()
        row = row_of(process, take("pt-sleeper"))
        assert before - 0.02 <= timestamp(row["started_at"]) <= after + 0.02  # the kernel counts in 10 ms
        assert row["started_ticks"] == round(psutil.Process(process.pid)._proc.create_time(monotonic=True) * 100)

    def test_has_the_counters_and_memory_that_psutil_reads(self, spawn: Spawn) -> None:
        process = spawn("pt-sleeper")
        row = row_of(process, take("pt-sleeper"))
        seen = psutil.Process(process.pid)
        cpu, memory, io = seen.cpu_times(), seen.memory_info(), seen.io_counters()
        assert (row["cpu_user_ms"], row["cpu_system_ms"]) == (round(cpu.user * 1000), round(cpu.system * 1000))
        assert (row["rss_bytes"], row["vms_bytes"]) == (memory.rss, memory.vms)
        assert (row["read_bytes"], row["write_bytes"]) == (io.read_bytes, io.write_bytes)
        assert (row["num_threads"], row["cpu_percent"]) == (1, 0.0)

    def test_counts_its_threads_and_what_it_wrote(self, python: Python, tmp_path: Path) -> None:
        writer = python(
            "import os, sys, threading, time\n"
            "[threading.Thread(target=time.sleep, args=[1000], daemon=True).start() for _ in range(3)]\n"
            "file = open(sys.argv[1], 'wb'); file.write(b'x' * 1_000_000); file.flush(); os.fsync(file.fileno())\n"
            f"{SLEEP}",
            str(tmp_path / "written"),
        )
        asleep(writer)
        row = row_of(writer, take("python"))
        assert row["num_threads"] == 4
        assert row["write_bytes"] == psutil.Process(writer.pid).io_counters().write_bytes
        assert row["cpu_user_ms"] == round(psutil.Process(writer.pid).cpu_times().user * 1000)

    def test_shows_a_busy_process_as_busy_as_it_is(self, python: Python) -> None:
        """Near 100 % where nobody else wants the CPUs, and what psutil measures in any case."""
        busy = psutil.Process(python("print(flush=True)\nwhile True: pass").pid)
        busy.cpu_percent()
        sample = take("python", window=0.3)
        measured = busy.cpu_percent()
        percent = next(row["cpu_percent"] for row in sample.processes if row["pid"] == busy.pid)
        assert percent == pytest.approx(measured, abs=20)
        assert 10 < percent < 110

    def test_is_measured_between_its_own_two_readings(self, spawn: Spawn, second_reading: Change) -> None:
        """100 ms of user and 50 ms of kernel time in 0.3 s, however long the system's window was."""
        process = spawn("pt-sleeper")

        def later(before: Row, after: Row) -> Row:
            return after | {
                "read_at": before["read_at"] + 0.3,
                "cpu_user_ms": before["cpu_user_ms"] + 100,
                "cpu_system_ms": before["cpu_system_ms"] + 50,
            }

        second_reading(later)
        assert row_of(process, take("pt-sleeper"))["cpu_percent"] == 50.0

    def test_has_uss_pss_and_swap_when_asked_for(self, spawn: Spawn) -> None:
        process = spawn("pt-sleeper")
        row = row_of(process, take("pt-sleeper", memory_detail=True))
        memory = psutil.Process(process.pid).memory_full_info()
        assert (row["uss_bytes"], row["swap_bytes"]) == (memory.uss, memory.swap)
        assert row["pss_bytes"] == pytest.approx(memory.pss, abs=200_000)  # others share more or less of it by now

    def test_has_them_of_every_process_that_tells(self) -> None:
        rows = take(everything=True, memory_detail=True).processes
        assert any(row["uss_bytes"] for row in rows)
        assert all((row["uss_bytes"] is None) == (row["pss_bytes"] is None) for row in rows)


def spawn_zombie(spawn: Spawn, name: str) -> subprocess.Popen[bytes]:
    process = spawn(name, "0")
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    return process


class TestAProcessThatIsGone:
    KEPT = ("pid", "started_ticks", "name", "ppid", "username", "command", "cpu_user_ms", "vms_bytes", "num_threads")

    @pytest.mark.parametrize("options", [{}, {"everything": True}, {"top": 10_000}])
    def test_in_the_window_keeps_its_row_with_what_was_read(
        self, spawn: Spawn, in_the_window: Callable[..., None], options: dict[str, Any]
    ) -> None:
        process = spawn("pt-leaver")
        alive = row_of(process, take("pt-leaver"))
        in_the_window(lambda: (process.kill(), process.wait()))
        sample = take("pt-leaver", **options)
        gone = row_of(process, sample)
        assert {name: gone[name] for name in self.KEPT} == {name: alive[name] for name in self.KEPT}
        assert set(gone) >= PROCESS_COLUMNS
        assert gone["cpu_percent"] is gone["read_bytes"] is None
        assert gone["rss_bytes"] > 0
        assert timestamp(gone["started_at"]) == pytest.approx(timestamp(alive["started_at"]), abs=0.01)

    @pytest.mark.parametrize("options", [{"everything": True}, {"top": 10_000}])
    def test_without_a_matching_name_keeps_its_row_too(
        self, python: Python, in_the_window: Callable[..., None], options: dict[str, Any]
    ) -> None:
        process = python(CALL_ITSELF, b"pt-leaver".hex())
        in_the_window(lambda: (process.kill(), process.wait()))
        row = row_of(process, take(**options))
        assert (row["name"], row["filter"], row["cpu_percent"]) == ("pt-leaver", "", None)
        assert row["started_at"] is not None

    def test_whose_pid_is_another_processs_now_keeps_its_row(self, spawn: Spawn, second_reading: Change) -> None:
        process = spawn("pt-leaver")
        ticks = row_of(process, take("pt-leaver"))["started_ticks"]
        second_reading(lambda before, after: after | {"started_ticks": ticks + 1, "name": "pt-other", "ppid": 1})
        row = row_of(process, take("pt-leaver"))
        assert (row["name"], row["started_ticks"], row["ppid"]) == ("pt-leaver", ticks, os.getpid())
        assert row["cpu_percent"] is row["read_bytes"] is None

    def test_is_never_given_the_command_and_user_of_its_successor(self, spawn: Spawn, second_reading: Change) -> None:
        """--top asks for owner and command only of those chosen, after the window."""
        process = spawn("pt-successor")
        second_reading(lambda before, after: after | {"started_ticks": before["started_ticks"] + 1})
        row = row_of(process, take(top=10_000))
        assert row["command"] is row["username"] is None

    def test_before_it_could_be_read_is_no_row(self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
        process = spawn("pt-leaver")
        process.kill()
        process.wait()
        monkeypatch.setattr(psutil, "pids", lambda: [process.pid])
        assert take("pt-leaver", everything=True).processes == []

    def test_but_for_its_exit_code_is_recorded_as_the_zombie_it_is(self, spawn: Spawn) -> None:
        zombie = spawn_zombie(spawn, "pt-zombie")
        sample = take("pt-zombie", memory_detail=True)
        row = row_of(zombie, sample)
        assert (row["name"], row["command"], row["rss_bytes"]) == ("pt-zombie", None, 0)
        assert row["cpu_percent"] == 0.0
        assert sample.system["processes_denied"] == 0

    def test_that_becomes_another_program_in_the_window_keeps_its_first_name(
        self, spawn: Spawn, second_reading: Change
    ) -> None:
        process = spawn("pt-first")
        second_reading(lambda before, after: after | {"name": "pt-second"})
        row = row_of(process, take("pt-first"))
        assert row["name"] == "pt-first"
        assert row["cpu_percent"] is not None

    def test_whose_counter_went_backwards_has_no_percentage(self, spawn: Spawn, second_reading: Change) -> None:
        process = spawn("pt-sleeper")
        second_reading(lambda before, after: after | {"cpu_user_ms": before["cpu_user_ms"] - 10})
        row = row_of(process, take("pt-sleeper"))
        assert row["cpu_percent"] is None
        assert row["read_bytes"] is not None


class TestRefusedAccess:
    AS_ANOTHER_USER = """
import json, os, sys
from perftrack.recording import linux, portable, sampler
from perftrack.recording.selection import Selection
sampler.platform = {"linux": linux, "portable": portable}[sys.argv[1]]
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sample = sampler.take_sample(Selection([sys.argv[2]]), 0.05, lambda host, boot: None, memory_detail=True)
print(json.dumps([sample.system, sample.processes]))
"""

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    @pytest.mark.parametrize("platform", ["linux", "portable"])
    def test_is_null_and_counted_and_the_rest_is_recorded(self, spawn: Spawn, platform: str) -> None:
        names = {OWN + "one", OWN + "another-with-a-long-name"}
        processes = [spawn(name) for name in names]
        command = [sys.executable, "-c", self.AS_ANOTHER_USER, platform, OWN]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        system, rows = json.loads(done.stdout)
        assert done.stderr == ""
        assert system["processes_denied"] == 2
        assert {row["pid"] for row in rows} == {process.pid for process in processes}
        for row in rows:
            refused = {"read_bytes", "write_bytes", "uss_bytes", "pss_bytes", "swap_bytes"}
            assert {name for name in PROCESS_COLUMNS if row[name] is None} == refused
            assert row["username"] == "root"
        assert {row["name"] for row in rows} == names

    def test_is_not_counted_where_nothing_was_refused(self, spawn: Spawn) -> None:
        spawn(OWN + "own")
        assert take(OWN).system["processes_denied"] == 0

    def test_to_a_whole_process_is_counted(self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
        """As `mount -o hidepid=1` does: its PID is all that is seen of it."""
        process, opened = spawn(OWN + "sleeper"), os.open

        def open_what_is_allowed(path: str, *arguments: Any, **options: Any) -> int:
            if str(path).startswith(f"/proc/{process.pid}/"):
                raise PermissionError(path)
            return opened(path, *arguments, **options)

        monkeypatch.setattr(os, "open", open_what_is_allowed)
        sample = take(OWN)
        assert (sample.processes, sample.system["processes_denied"]) == ([], 1)

    @pytest.mark.parametrize("refused", ["cmdline", "io"])
    def test_to_one_file_of_proc_costs_only_its_fields(
        self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch, refused: str
    ) -> None:
        """As a security module may do."""
        process, opened = spawn(OWN + "sleeper"), os.open

        def open_what_is_allowed(path: str, *arguments: Any, **options: Any) -> int:
            if path == f"/proc/{process.pid}/{refused}":
                raise PermissionError(path)
            return opened(path, *arguments, **options)

        monkeypatch.setattr(os, "open", open_what_is_allowed)
        sample = take(OWN)
        row = row_of(process, sample)
        assert (row["rss_bytes"] > 0, row["cpu_percent"] is None) == (True, False)
        assert (row["username"] is None, row["command"] is None) == (False, refused == "cmdline")
        assert (row["read_bytes"] is None, row["write_bytes"] is None) == (refused == "io", refused == "io")
        assert sample.system["processes_denied"] == 1


class TestOpenFiles:
    """What a loop reads again and again stays open: opening costs more than reading."""

    @pytest.fixture
    def opened(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The paths that are opened below /proc/PID."""
        paths, real = [], os.open

        def watched(path: str, *arguments: Any, **options: Any) -> int:
            if re.match(r"/proc/\d+/", str(path)):
                paths.append(path)
            return real(path, *arguments, **options)

        monkeypatch.setattr(os, "open", watched)
        return paths

    def test_are_opened_once(self, spawn: Spawn, opened: list[str]) -> None:
        wanted, unwanted, described = spawn(OWN + "wanted"), spawn("pt-unwanted"), {}

        def opened_of(process: subprocess.Popen[bytes]) -> list[str]:
            take(OWN, described=described)
            return [path.rpartition("/")[2] for path in opened if f"/{process.pid}/" in path]

        opened_of(wanted)
        assert opened_of(wanted) == ["stat", "status", "cmdline", "statm", "io"]
        assert opened_of(unwanted) == ["stat", "comm"]

    @pytest.mark.parametrize("wanted", [True, False])
    @pytest.mark.parametrize("name", ["exactly-15-bytes"[:15], "longer-than-the-kernel-keeps"])
    def test_are_opened_once_also_where_the_name_is_cut(
        self, spawn: Spawn, opened: list[str], name: str, wanted: bool
    ) -> None:
        process, described = spawn(name), {}
        filters = [name] if wanted else []
        for _ in range(2):
            take(*filters, described=described)
        assert f"/proc/{process.pid}/cmdline" in opened
        opened.clear()
        assert len(take(*filters, described=described).processes) == wanted
        assert [path for path in opened if f"/{process.pid}/" in path] == []

    def test_of_the_whole_system_are_opened_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(linux, "_system_files", {})
        take()
        assert {"/proc/stat", "/proc/meminfo", "/proc/diskstats"} <= linux._system_files.keys()
        opened: list[str] = []
        for module, real in ((os, os.open), (builtins, open)):

            def watched(path: str, *arguments: Any, real: Callable[..., Any] = real, **options: Any) -> Any:
                if not re.match(r"/proc/\d+/", str(path)):  # of a process, which may have begun just now
                    opened.append(path)
                return real(path, *arguments, **options)

            monkeypatch.setattr(module, "open", watched)
        take()
        assert opened == []

    def test_of_kernel_threads_are_opened_once(self, opened: list[str]) -> None:
        """Whose names are never cut, however long."""
        threads = {
            process.pid
            for process in psutil.process_iter(["name", "ppid"])
            if process.info["ppid"] == 2
            and len(process.info["name"]) > 15
            and not re.match(r"kworker/\w+:", process.info["name"])  # which come, go and take other names
        }
        if not threads:
            pytest.skip("no kernel thread with a long name to be seen here")
        for _ in range(2):
            take(OWN)
        opened.clear()
        take(OWN)
        assert threads.isdisjoint(int(path.split("/")[2]) for path in opened)

    def test_are_closed_when_the_process_has_ended(self, spawn: Spawn) -> None:
        processes = [spawn(OWN + "wanted"), spawn("pt-unwanted")]
        take(OWN)
        take(OWN)
        theirs = re.compile(f"/proc/({processes[0].pid}|{processes[1].pid})/(\\w+)")

        def held() -> set[str]:
            links = []
            for fd in os.listdir("/proc/self/fd"):
                with suppress(FileNotFoundError):  # the one that listed them
                    links.append(os.readlink(f"/proc/self/fd/{fd}"))
            return {match[2] for match in map(theirs.match, links) if match}

        assert held() == {"stat", "statm", "io", "comm"}
        for process in processes:
            process.kill()
            process.wait()
        take(OWN)
        assert held() == set()

    def test_are_no_more_than_a_limit(self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
        linux.forget_all_but([])
        monkeypatch.setattr(linux, "_OPEN_FILES_MAX", 4)
        processes = [spawn(f"{OWN}{number}") for number in range(3)]
        for _ in range(3):
            sample = take(OWN)
            assert len(linux._descriptors) == 4
            assert {process.pid for process in processes} == {row["pid"] for row in sample.processes}
            assert None not in {row["cpu_percent"] for row in sample.processes}

    def test_that_show_another_name_are_believed(self) -> None:
        """A process takes another name: from one that is not wanted to one that is, and back."""
        script = (
            "import sys\nfor name in sys.stdin: open('/proc/self/comm', 'w').write(name.strip()); print(flush=True)"
        )
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            for name in ("pt-unwanted", OWN + "wanted", "pt-unwanted", OWN + "again"):
                print(name, file=process.stdin, flush=True)
                process.stdout.readline()
                for _ in range(2):
                    sample = take(OWN)
                    names = [row["name"] for row in sample.processes if row["pid"] == process.pid]
                    assert names == ([name] if name.startswith(OWN) else [])
            process.stdin.close()


class TestDescriptions:
    """Owner and command line are read once for each process, however many samples a loop takes of it."""

    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The PIDs whose owner and command are read."""
        pids, read = [], linux.read_owner_and_command
        monkeypatch.setattr(
            linux, "read_owner_and_command", lambda row, how: (pids.append(row["pid"]), read(row, how))
        )
        return pids

    def test_are_read_once_and_the_same_in_every_sample(self, spawn: Spawn, reads: list[int]) -> None:
        process, described = spawn(OWN + "sleeper"), {}
        first, *later = [row_of(process, take(OWN, described=described)) for _ in range(3)]
        assert reads == [process.pid]
        for row in later:
            assert (row["command"], row["username"]) == (first["command"], first["username"])
            assert set(row) >= PROCESS_COLUMNS

    def test_of_another_name_or_start_are_read_anew(
        self, spawn: Spawn, reads: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process, described, read = spawn(OWN + "sleeper"), {}, linux.read_process
        for change in ({}, {"name": OWN + "exec"}, {"started_ticks": 1}):
            monkeypatch.setattr(linux, "read_process", changed(read, change))
            take(OWN, described=described)
        assert reads == [process.pid] * 3

    def test_of_the_gone_are_forgotten(self, spawn: Spawn) -> None:
        process, described = spawn(OWN + "sleeper"), {}
        take(OWN, described=described)
        assert len(described) == 1
        process.kill()
        process.wait()
        take(OWN, described=described)
        assert described == {}


def changed(read: Callable[..., Row | None], change: Row) -> Callable[..., Row | None]:
    """Return read_process with *change* in each row that it reads."""

    def reading(*arguments: Any) -> Row | None:
        row = read(*arguments)
        return None if row is None else row | change

    return reading


def whole_row(platform: ModuleType, pid: int) -> Row:
    """Return all that *platform* says of a process, but for the start, which each counts from another instant."""
    row = platform.read_process(pid)
    assert row is not None
    platform.read_memory_and_io(row)
    platform.read_owner_and_command(row)
    return {name: value for name, value in row.items() if name not in {"read_at", "started_ticks", "zombie"}}


def both_rows(pid: int) -> tuple[Row, Row]:
    """Return a process's row from /proc and from psutil alone, read while nothing about it changed."""
    for _ in range(100):
        before, other, after = whole_row(linux, pid), whole_row(portable, pid), whole_row(linux, pid)
        if before == after:
            return before, other
    pytest.fail(f"process {pid} does not stop changing")


def age(platform: ModuleType, pid: int) -> float:
    return platform.seconds_since_start(platform.read_process(pid))


class TestProcAndPsutilAlone:
    """recording.linux and recording.portable give the same row."""

    NAMES = (
        b"pt-short",
        b"pt-exactly-15-b",
        b"pt-longer-than-the-kernel-keeps",
        b"pt \xff)\n(\xc3",
        b"pt-" + b"\xc3\xa9" * 9,
    )

    @pytest.mark.parametrize("name", NAMES)
    def test_for_names_of_every_kind(self, spawn: Spawn, name: bytes) -> None:
        process = spawn(name, "1000", "0")
        by_proc, by_psutil = both_rows(process.pid)
        assert by_proc == by_psutil
        assert by_proc["denied"] is False

    def test_for_a_long_name_in_full(self, spawn: Spawn) -> None:
        process = spawn("pt-longer-than-the-kernel-keeps")
        assert {row["name"] for row in both_rows(process.pid)} == {"pt-longer-than-the-kernel-keeps"}

    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            ((b"%s and a title",), "%s"),
            ((b"%s and a title", b"-"), "%s and a title"),
            ((b"%s and a title", b"-", b""), "%s and a title"),
            ((b"/a/dir/%s\xff", b"-", b"/b/c"), "%s\\xff"),
            ((b"another-title", b"-"), "pt-longer-than-"),
            ((b"", b"-"), "pt-longer-than-"),
            ((b"%s " + b"x" * 5000,), "%s"),
            ((b"%s x", b"-", b"x" * 5000), "%s x"),
        ],
    )
    def test_for_a_long_name_and_the_arguments_it_is_taken_from(
        self, tmp_path: Path, arguments: tuple[bytes, ...], name: str
    ) -> None:
        program = tmp_path / "pt-longer-than-the-kernel-keeps"
        program.symlink_to(shutil.which("cat"))
        given = [argument.replace(b"%s", program.name.encode()) for argument in arguments]
        with subprocess.Popen(given, executable=program, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            try:
                until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING)
                assert {row["name"] for row in both_rows(process.pid)} == {name.replace("%s", program.name)}
            finally:
                process.kill()

    def test_for_arguments_that_end_without_a_nul(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As an old kernel shows those of a process that has written over them."""
        monkeypatch.setattr(linux, "_read_again", lambda *_: b"pt-exactly-15-bytes: a title")
        assert linux._full_name(1, b"pt-exactly-15-b", 0) == "pt-exactly-15-bytes:"

    def test_for_a_process_with_threads_io_and_odd_arguments(self, python: Python, tmp_path: Path) -> None:
        program = (
            "import os, sys, threading, time\n"
            "threading.Thread(target=time.sleep, args=[1000], daemon=True).start()\n"
            f"file = open({str(tmp_path / 'written')!r}, 'wb'); file.write(b'x' * 100_000); file.close()\n"
            f"{SLEEP}"
        )
        process = python(program, b"\xff", "", "two words", "ünï", "line\nbreak", "end")
        asleep(process)
        by_proc, by_psutil = both_rows(process.pid)
        assert by_proc == by_psutil

    @pytest.mark.parametrize("arguments", [("",), ("x", "", "")])
    def test_for_empty_arguments_at_the_end(self, python: Python, arguments: tuple[str, ...]) -> None:
        process = python(SLEEP, *arguments)
        asleep(process)
        by_proc, by_psutil = both_rows(process.pid)
        assert by_proc["command"] == by_psutil["command"]

    @pytest.mark.parametrize("argument", ["x" * 10_000, " x" * 5_000, "日本 🐍" * 1_000, b"\xff" * 10_000])
    def test_for_a_command_line_that_is_cut(self, python: Python, argument: str | bytes) -> None:
        process = python(SLEEP, argument)
        by_proc, by_psutil = both_rows(process.pid)
        assert by_proc["command"] == by_psutil["command"]
        assert by_proc["command"].endswith("…")

    def test_for_a_kernel_thread(self) -> None:
        if not psutil.pid_exists(2) or psutil.Process(2).ppid() != 0:
            pytest.skip("no kernel threads to be seen here")
        by_proc, by_psutil = both_rows(2)
        assert by_proc == by_psutil
        assert (by_proc["name"], by_proc["command"], by_proc["rss_bytes"]) == ("kthreadd", "", 0)

    def test_for_a_zombie(self, spawn: Spawn) -> None:
        zombie = spawn_zombie(spawn, "pt-zombie-with-a-long-name")
        by_proc, by_psutil = both_rows(zombie.pid)
        assert by_proc == by_psutil
        assert by_proc["command"] is None

    def test_for_this_process_and_its_parent_and_init(self) -> None:
        for pid in (os.getpid(), os.getppid(), 1):
            by_proc, by_psutil = both_rows(pid)
            assert by_proc == by_psutil

    def test_for_a_process_that_has_gone(self, spawn: Spawn) -> None:
        process = spawn("pt-leaver")
        rows = [platform.read_process(process.pid) for platform in (linux, portable)]
        process.kill()
        process.wait()
        for platform, row in zip((linux, portable), rows, strict=True):
            platform.read_memory_and_io(row)
            platform.read_owner_and_command(row)
            assert row["command"] is row["username"] is row["read_bytes"] is row["write_bytes"] is None
            assert row["name"] == "pt-leaver"
            assert platform.read_process(process.pid) is None

    def test_for_its_age(self, spawn: Spawn) -> None:
        process = spawn("pt-sleeper")
        assert age(linux, process.pid) == pytest.approx(0.1, abs=0.5)
        assert age(portable, process.pid) == pytest.approx(0.1, abs=2)  # boot_time is of whole seconds
        assert age(linux, os.getppid()) == pytest.approx(age(portable, os.getppid()), abs=2)

    def test_for_the_time_since_boot(self) -> None:
        assert portable.uptime_seconds() == pytest.approx(linux.uptime_seconds(), abs=2)


class TestOddNames:
    @pytest.mark.parametrize(
        ("raw", "text"),
        [
            (b"", ""),
            (b"bad \xff\xfe", "bad \\xff\\xfe"),
            (b"new\nline", "new\nline"),
            (b"quo\"te's, comma", "quo\"te's, comma"),
            (b"esc \x1b[31m", "esc \x1b[31m"),
            (b") R 1 (1 2) 3", ") R 1 (1 2) 3"),
            ("ünï".encode(), "ünï"),
            (b"\\xff", "\\x5cxff"),
            (b"=1+1", "=1+1"),
        ],
    )
    def test_are_recorded_as_text_that_gives_the_bytes_back(self, python: Python, raw: bytes, text: str) -> None:
        process = python(CALL_ITSELF, raw.hex())
        row = row_of(process, take(everything=True))
        assert row["name"] == text
        assert (row["ppid"], row["num_threads"]) == (os.getpid(), 1)

    def test_in_command_lines_too(self, python: Python) -> None:
        process = python(SLEEP, b"\xff", 'a "b", c', "line\nbreak", "\x1b[31m", "", "\\xff")
        command = row_of(process, take("python"))["command"]
        assert command == f'{sys.executable} -c {SLEEP} \\xff a "b", c line\nbreak \x1b[31m  \\x5cxff'

    @pytest.mark.parametrize(("length", "cut"), [(4096, False), (4097, True), (100_000, True)])
    def test_of_any_length_are_cut_at_4096_bytes(self, python: Python, length: int, cut: bool) -> None:
        start = f"{sys.executable} -c {SLEEP} "
        process = python(SLEEP, "x" * (length - len(start)))
        command = row_of(process, take("python"))["command"]
        assert command == (start + "x" * length)[:4096] + ("…" if cut else "")

    def test_that_are_no_text_at_all_do_not_stop_a_tick(self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
        """Windows lets a program have half a surrogate pair in its name and arguments."""
        process = spawn("pt-sleeper")
        monkeypatch.setattr(sampler, "platform", portable)
        monkeypatch.setattr(os, "fsencode", lambda text: text.encode("utf-8", "surrogatepass"))
        monkeypatch.setattr(psutil.Process, "name", lambda self: "pt-\ud800")
        monkeypatch.setattr(psutil.Process, "cmdline", lambda self: ["pt-\ud800", "x"])
        row = row_of(process, take("pt-"))
        assert row["name"] == "pt-\\ud800"
        assert row["command"].encode().endswith(b" x")


class TestAMetricThatFails:
    COLUMNS: ClassVar = {
        (linux, "memory_bytes"): {"mem_total_bytes", "mem_available_bytes", "mem_used_bytes"},
        (linux, "swap_bytes"): {"swap_total_bytes", "swap_used_bytes"},
        (linux, "disk_bytes"): {"disk_read_bytes", "disk_write_bytes"},
        (linux, "network_bytes"): {"net_sent_bytes", "net_received_bytes"},
        (psutil, "cpu_count"): {"cpu_count"},
        (linux, "cpu_counters"): {
            *("cpu_percent", "cpu_user_ms", "cpu_system_ms", "cpu_idle_ms", "cpu_iowait_ms", "cpu_steal_ms"),
        },
    }

    @pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, FileNotFoundError, PermissionError])
    @pytest.mark.parametrize("metric", COLUMNS, ids=lambda metric: metric[1])
    def test_is_null_and_the_rest_is_recorded(
        self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch, metric: tuple[ModuleType, str], error: type[Exception]
    ) -> None:
        def failing(*_arguments: Any, **_options: Any) -> None:
            raise error("not in this container")

        process, nulls_before = spawn("pt-sleeper"), nulls(take())
        monkeypatch.setattr(*metric, failing)
        sample = take("pt-sleeper")
        assert nulls(sample) == nulls_before | self.COLUMNS[metric]
        assert row_of(process, sample)["cpu_percent"] is not None

    @pytest.mark.parametrize("metric", [(linux, "disk_bytes"), (linux, "network_bytes"), (psutil, "cpu_count")])
    def test_by_being_none_is_null(self, monkeypatch: pytest.MonkeyPatch, metric: tuple[ModuleType, str]) -> None:
        nulls_before = nulls(take())
        monkeypatch.setattr(*metric, lambda: None)
        assert nulls(take()) == nulls_before | self.COLUMNS[metric]

    def test_because_the_system_has_no_load_average_is_null(self, monkeypatch: pytest.MonkeyPatch) -> None:
        nulls_before, loads = nulls(take()), {"load_1min", "load_5min", "load_15min"}
        monkeypatch.delattr(os, "getloadavg")
        assert nulls(take()) == nulls_before | loads

    def test_because_the_load_cannot_be_had_is_null(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing() -> None:
            raise OSError("Load averages are unobtainable")

        monkeypatch.setattr(os, "getloadavg", failing)
        assert take().system["load_1min"] is None

    def test_because_the_kernel_has_no_pressure_files_is_null(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read = linux._read_system

        def read_without_pressure(path: str, *size: int) -> bytes:
            if path.startswith("/proc/pressure/"):
                raise FileNotFoundError(path)
            return read(path, *size)

        monkeypatch.setattr(linux, "_read_system", read_without_pressure)
        pressure = {"pressure_cpu_ms", "pressure_memory_ms", "pressure_io_ms"}
        assert nulls(take()) >= pressure

    def test_because_the_cpus_count_no_iowait_is_null(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on macOS."""
        times = namedtuple("scputimes", "user nice system idle")
        readings = iter([times(1, 1, 1, 10), times(3, 2, 2, 16)])
        monkeypatch.setattr(linux, "cpu_counters", portable.cpu_counters)
        monkeypatch.setattr(psutil, "cpu_times", lambda: next(readings))
        sample = take()
        assert nulls(sample) >= {"cpu_iowait_ms", "cpu_steal_ms"}
        assert sample.system["cpu_percent"] == 40.0

    def test_with_a_warning_keeps_it_to_itself(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        memory = psutil.virtual_memory()

        def warning() -> Any:
            warnings.warn("shared memory stats couldn't be determined and was set to 0", RuntimeWarning, stacklevel=2)
            return memory

        monkeypatch.setattr(linux, "memory_bytes", portable.memory_bytes)
        monkeypatch.setattr(psutil, "virtual_memory", warning)
        assert take().system["mem_total_bytes"] == memory.total
        assert capfd.readouterr() == ("", "")


def nulls(sample: Sample) -> set[str]:
    return {name for name, value in sample.system.items() if value is None}
