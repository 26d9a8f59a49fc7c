"""The system's row: true numbers, and NULL for whatever is unknown here."""

from __future__ import annotations

import datetime
import os
import re
import socket
import sys
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
from taken import Row, Spawn, no_baseline, nulls, row_of, sampler_of, take, timestamp

from perftrack.recording import linux_system, portable_system, proc_files, sampler, system
from perftrack.rows import SystemRow
from perftrack.sample import COMPUTED_BOOT_KEY, CPU_COUNTERS
from perftrack.storage.models import SystemSample, columns_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")


Show = Callable[[str, str], None]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[Show]:
    """Let a file of the whole system say something else."""
    descriptors: list[int] = []

    def show(path: str, text: str) -> None:
        descriptors.append(os.memfd_create(path))
        os.write(descriptors[-1], text.encode())
        monkeypatch.setitem(proc_files._of_system, path, descriptors[-1])

    yield show
    monkeypatch.undo()
    for descriptor in descriptors:
        os.close(descriptor)


def waited_ms(resource: str) -> int:
    """Return what /proc/pressure says, read in another way than the sampler does."""
    match = re.match(r"some .*total=(\d+)", Path(f"/proc/pressure/{resource}").read_text())
    return int(match[1]) // 1000


def hardware_disks() -> list[Any]:
    disks = psutil.disk_io_counters(perdisk=True)
    return [disk for name, disk in disks.items() if os.path.exists(f"/sys/block/{name}/device")]


def counters() -> dict[str, float]:
    """Return the counters of system_sample from psutil and /proc/pressure; iowait may decrease and is left out."""
    cpu, disks, network = psutil.cpu_times(), hardware_disks(), psutil.net_io_counters()
    read = {
        "cpu_user_ms": (cpu.user + cpu.nice) * 1000,
        "cpu_system_ms": (cpu.system + cpu.irq + cpu.softirq) * 1000,
        "cpu_idle_ms": cpu.idle * 1000,
        "cpu_steal_ms": cpu.steal * 1000,
        "uptime_seconds": time.clock_gettime(time.CLOCK_BOOTTIME),
    }
    if disks:
        read["disk_read_bytes"] = sum(disk.read_bytes for disk in disks)
        read["disk_write_bytes"] = sum(disk.write_bytes for disk in disks)
    if network is not None:
        read |= {"net_sent_bytes": network.bytes_sent, "net_received_bytes": network.bytes_recv}
    if os.path.exists("/proc/pressure"):
        read |= {f"pressure_{resource}_ms": waited_ms(resource) for resource in ("cpu", "memory", "io")}
    return read


def metrics(platform: ModuleType) -> Row:
    """Return all that *platform* says of the system."""
    found: Row = {}
    for read in platform.READERS:
        with suppress(OSError):  # no /proc/pressure
            found |= read()
    return found


class TestTheSystemsRow:
    PRESSURE: ClassVar = {"pressure_cpu_ms", "pressure_memory_ms", "pressure_io_ms"}
    LINUX_ONLY: ClassVar = {*PRESSURE, "oom_kills"}

    @pytest.mark.parametrize("platform", [linux_system, portable_system])
    def test_has_every_column_of_the_model(self, monkeypatch: pytest.MonkeyPatch, platform: ModuleType) -> None:
        """A column that no metric fills is None, and so found here by its name."""
        for module in (sampler, system):
            monkeypatch.setattr(module, "system_reader", platform)
        sample = take()
        columns = {
            column.name
            for column in columns_of(SystemSample)
            if not (column.foreign_keys or column.info.get("is_of_condensing"))
        } - {"id"}
        assert set(sample.system) == columns | {"disk_set", "net_set"} == set(SystemRow.__annotations__)
        unavailable = set()
        if platform is portable_system:
            unavailable |= self.LINUX_ONLY | {"forks", "tasks_running", "tasks_blocked"}
        if not os.path.exists("/proc/pressure"):
            unavailable |= self.PRESSURE
        if sample.cgroups is None:
            unavailable |= {"cgroups_seen"}
        if psutil.disk_io_counters() is None:
            unavailable |= {"disk_set", "disk_read_bytes", "disk_write_bytes"}
        if psutil.net_io_counters() is None:
            unavailable |= {"net_set", "net_sent_bytes", "net_received_bytes"}
        assert nulls(sample) == unavailable

    def test_has_the_counters_that_psutil_reads(self) -> None:
        before, row, after = counters(), take().system, counters()
        for name, value in before.items():
            assert round(value, 3) <= row[name] <= after[name] + 0.5, name

    def test_has_true_memory_and_swap(self) -> None:
        system, memory, swap = take().system, psutil.virtual_memory(), psutil.swap_memory()
        assert (system["mem_total_bytes"], system["swap_total_bytes"]) == (memory.total, swap.total)
        assert system["mem_available_bytes"] == pytest.approx(memory.available, abs=memory.total / 5)
        assert system["mem_used_bytes"] == system["mem_total_bytes"] - system["mem_available_bytes"]
        assert system["swap_used_bytes"] == pytest.approx(swap.used, abs=memory.total / 5)

    def test_has_them_as_psutil_reads_them(self) -> None:
        before, values, after = metrics(portable_system), metrics(linux_system), metrics(portable_system)
        assert values.keys() - self.LINUX_ONLY == before.keys()
        for name, low in before.items():
            if name == "net_set":  # without inodes
                assert [word.partition(":")[0] for word in values[name].split()] == low.split()
            elif name.startswith("disk_"):  # psutil's are also of what is on top of others
                assert values["disk_set"].partition(":")[0] in before["disk_set"].split()
            elif name.startswith("mem_"):
                assert values[name] == pytest.approx(low, rel=0.2)
            else:
                assert min(low, after[name]) <= values[name] <= max(low, after[name]), name

    def test_has_the_cpu_counters_as_psutil_reads_them(self) -> None:
        before, counters = portable_system.cpu_counters(), linux_system.cpu_counters()
        after = portable_system.cpu_counters()
        assert counters.keys() - before.keys() == {"forks", "tasks_running", "tasks_blocked"}
        for name, value in before.items():
            assert value <= counters[name] <= after[name] or name == "cpu_iowait_ms"

    @pytest.mark.parametrize(
        "available", ["MemAvailable: 900 kB\n", "MemAvailable: 0 kB\n", "MemAvailable: 3000 kB\n", ""]
    )
    def test_has_memory_as_psutil_has_it_where_the_kernel_does_not_say(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: Show, available: str
    ) -> None:
        """An old kernel or a container, for which psutil estimates what is available."""
        fields = ("MemTotal", "Buffers", "Cached", "Shmem", "Active", "Inactive", "MemFree")
        text = "".join(f"{name}: {2000 - 300 * number} kB\n" for number, name in enumerate(fields)) + available
        shown("/proc/meminfo", text)
        (tmp_path / "meminfo").write_text(text)
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
        assert linux_system.memory() == portable_system.memory()

    DISKSTATS = """\
   8       0 sda 4321 100 1000 50 77 5 2000 9 0 10 20 0 0 0 0 1 2
   8       1 sda1 4000 90 900 40 70 4 1900 8 0 9 19 0 0 0 0 0 0
 104       0 cciss/c0d0 1 0 8 0 1 0 16 0 0 0 0
   7       0 loop0 1 0 500 0 1 0 600 0 0 0 0 0 0 0 0 0 0
 253       0 dm-0 1 0 700 0 1 0 800 0 0 0 0 0 0 0 0 0 0
"""

    @pytest.fixture
    def devices(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, int]]:
        """Make folders of devices as in /sys; return the inode of each."""
        monkeypatch.setattr(linux_system, "BLOCK_DEVICES", str(tmp_path))
        monkeypatch.setattr(linux_system, "INTERFACES", str(tmp_path))

        def made(*names: str, hardware: tuple[str, ...] = ()) -> dict[str, int]:
            for name in (*names, *(f"{name}/device" for name in hardware)):
                (tmp_path / name).mkdir(parents=True, exist_ok=True)
            return {folder.name: folder.stat().st_ino for folder in tmp_path.iterdir()}

        return made

    def test_counts_disks_and_neither_partitions_nor_what_is_on_top_of_them(
        self, shown: Show, devices: Callable[..., dict[str, int]]
    ) -> None:
        """As /proc/diskstats lists them, the second with a slash in its name."""
        shown("/proc/diskstats", self.DISKSTATS)
        made = devices("loop0", "dm-0", hardware=("sda", "cciss!c0d0"))
        assert linux_system.disks() == {
            "disk_set": f"cciss!c0d0:{made['cciss!c0d0']} sda:{made['sda']}",
            "disk_read_bytes": 1008 * 512,
            "disk_write_bytes": 2016 * 512,
        }

    def test_counts_all_but_loop_devices_where_there_is_no_hardware(
        self, shown: Show, devices: Callable[..., dict[str, int]]
    ) -> None:
        shown("/proc/diskstats", self.DISKSTATS)
        assert linux_system.disks() == {}
        made = devices("loop0", "dm-0")
        assert linux_system.disks()["disk_set"] == f"dm-0:{made['dm-0']}"
        assert linux_system.disks()["disk_read_bytes"] == 700 * 512

    @pytest.mark.usefixtures("devices")
    def test_reads_files_of_more_than_a_page_to_their_end(self, shown: Show) -> None:
        interface = "eth{}: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n"
        shown("/proc/net/dev", "two\nheaders\n" + "".join(interface.format(number) for number in range(1000)))
        found = linux_system.network()
        assert found.pop("net_set").split() == sorted(f"eth{number}" for number in range(1000))
        assert found == {"net_sent_bytes": 2000, "net_received_bytes": 1000}

    def test_names_interfaces_whatever_they_are_called(
        self, shown: Show, devices: Callable[..., dict[str, int]]
    ) -> None:
        """What the views take apart again is told from what is in a name."""
        name = 'a"b\\c:d'
        counters = "1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0"
        shown("/proc/net/dev", f'two\nheaders\n  lo: {counters}\n a"b\\c:d: {counters}\n')
        made = devices("lo", name)
        assert linux_system.network()["net_set"] == f"a?b?c:d:{made[name]} lo:{made['lo']}"

    def test_takes_each_file_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read, paths = linux_system.read_system, []
        monkeypatch.setattr(linux_system, "read_system", lambda *given: (paths.append(given[0]), read(*given))[1])
        take(window=0)
        assert len(paths) == len(set(paths))
        assert {"/proc/stat", "/proc/meminfo", "/proc/diskstats", "/proc/net/dev"} <= set(paths)

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
        assert system.utc_text(1_790_000_000) == "2026-09-21 14:13:20.000000"

    def test_counts_the_processes_seen_but_not_the_recorder(
        self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pids = [os.getpid(), spawn("pt-one").pid, spawn("other").pid]
        monkeypatch.setattr(psutil, "pids", lambda: pids)
        sample = take("pt-one")
        assert (sample.system["processes_seen"], len(sample.processes)) == (2, 1)

    def test_says_what_the_sample_itself_cost(self) -> None:
        before = time.process_time()
        one = sampler_of(window=0.2)
        one.charged_cpu_seconds = before
        sample = one.take(no_baseline)
        cost = sample.system["recorder_cpu_ms"]
        assert 0 <= cost <= (time.process_time() - before) * 1000 + 1
        assert take(window=0).system["recorder_cpu_ms"] >= before * 1000

    def test_belongs_to_this_boot_of_this_host(self) -> None:
        sample = take()
        assert sample.host == {"name": socket.gethostname()}
        assert sample.boot["key"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert timestamp(sample.boot["booted_at"]) == pytest.approx(psutil.boot_time(), abs=2)

    def test_belongs_to_a_boot_known_by_its_time_where_the_kernel_gives_no_id(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As in gVisor. Without any key all boots would be one, and that of the imported data."""
        read = linux_system.read_system

        def read_but_for_the_id(path: str, *size: int) -> bytes:
            if path.endswith("boot_id"):
                raise FileNotFoundError(path)
            return read(path, *size)

        monkeypatch.setattr(linux_system, "read_system", read_but_for_the_id)
        key = take().boot["key"]
        assert key is not None
        assert key.startswith(COMPUTED_BOOT_KEY)


def failing(error: type[Exception]) -> Callable[[], Any]:
    def fail() -> None:
        raise error("not in this container")

    return fail


class TestAMetricThatFails:
    COLUMNS: ClassVar = {
        "memory": {
            *("mem_total_bytes", "mem_available_bytes", "mem_used_bytes", "swap_total_bytes", "swap_used_bytes"),
        },
        "disks": {"disk_set", "disk_read_bytes", "disk_write_bytes"},
        "network": {"net_set", "net_sent_bytes", "net_received_bytes"},
        "pressure": {"pressure_cpu_ms", "pressure_memory_ms", "pressure_io_ms"},
    }

    @staticmethod
    def replace(monkeypatch: pytest.MonkeyPatch, name: str, metric: Callable[[], Row]) -> None:
        others = [other for other in linux_system.READERS if other.__name__ != name]
        assert len(others) == len(linux_system.READERS) - 1
        monkeypatch.setattr(linux_system, "READERS", (metric, *others))

    @pytest.mark.parametrize(
        "error", [RuntimeError, NotImplementedError, FileNotFoundError, PermissionError, psutil.AccessDenied]
    )
    @pytest.mark.parametrize("name", COLUMNS)
    def test_is_null_and_the_rest_is_recorded(
        self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch, name: str, error: type[Exception]
    ) -> None:
        process, nulls_before = spawn("pt-sleeper"), nulls(take())
        self.replace(monkeypatch, name, failing(error))
        sample = take("pt-sleeper")
        assert nulls(sample) == nulls_before | self.COLUMNS[name]
        assert row_of(process, sample)["cpu_percent"] is not None

    @pytest.mark.parametrize("name", COLUMNS)
    def test_by_having_nothing_is_null(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        nulls_before = nulls(take())
        self.replace(monkeypatch, name, dict)
        assert nulls(take()) == nulls_before | self.COLUMNS[name]

    @pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, FileNotFoundError, PermissionError])
    def test_because_the_cpu_counters_cannot_be_had_is_null(
        self, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        nulls_before = nulls(take())
        monkeypatch.setattr(linux_system, "cpu_counters", failing(error))
        assert nulls(take()) == nulls_before | {
            *("cpu_percent", *CPU_COUNTERS),
            *("forks", "context_switches", "tasks_running", "tasks_blocked"),  # which come with them
        }

    @pytest.mark.parametrize("found", [failing(RuntimeError), lambda: None])
    def test_because_the_cpus_cannot_be_counted_is_null(
        self, monkeypatch: pytest.MonkeyPatch, found: Callable[[], None]
    ) -> None:
        nulls_before = nulls(take())
        monkeypatch.setattr(psutil, "cpu_count", found)
        assert nulls(take()) == nulls_before | {"cpu_count"}

    def test_because_the_system_has_no_load_average_is_null(self, monkeypatch: pytest.MonkeyPatch) -> None:
        nulls_before, loads = nulls(take()), {"load_1min", "load_5min", "load_15min"}
        monkeypatch.delattr(os, "getloadavg")
        assert nulls(take()) == nulls_before | loads

    def test_because_the_load_cannot_be_had_is_null(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "getloadavg", failing(OSError))
        assert take().system["load_1min"] is None

    def test_because_the_kernel_has_no_pressure_files_is_null(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read = linux_system.read_system

        def read_without_pressure(path: str, *size: int) -> bytes:
            if path.startswith("/proc/pressure/"):
                raise FileNotFoundError(path)
            return read(path, *size)

        monkeypatch.setattr(linux_system, "read_system", read_without_pressure)
        pressure = {"pressure_cpu_ms", "pressure_memory_ms", "pressure_io_ms"}
        assert nulls(take()) >= pressure

    def test_because_the_cpus_count_no_iowait_is_null(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on macOS."""
        times = namedtuple("scputimes", "user nice system idle")
        readings = iter([times(1, 1, 1, 10), times(3, 2, 2, 16)])
        monkeypatch.setattr(linux_system, "cpu_counters", portable_system.cpu_counters)
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

        self.replace(monkeypatch, "memory", portable_system.memory)
        monkeypatch.setattr(psutil, "virtual_memory", warning)
        assert take().system["mem_total_bytes"] == memory.total
        assert capfd.readouterr() == ("", "")
