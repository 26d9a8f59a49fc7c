"""A process's row: true numbers, odd names, and NULL for whatever is gone or refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
from conftest import OWN, asleep
from taken import CALL_ITSELF, PROCESS_COLUMNS, SLEEP, Python, Spawn, row_of, spawn_zombie, take, timestamp

from perftrack.recording import linux_processes, portable_processes, sampler
from perftrack.recording.selection import Candidate
from perftrack.rows import ProcessRow

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")


Change = Callable[[Callable[[Candidate, Candidate], Candidate]], None]


@pytest.fixture
def second_reading(monkeypatch: pytest.MonkeyPatch) -> Change:
    """Let a function of both readings of a process decide what the second one, after the window, gives."""

    def change(altered: Callable[[Candidate, Candidate], Candidate]) -> None:
        read, first = linux_processes.read_process, {}

        def reading(pid: int, *wanted: Any) -> Candidate | None:
            candidate = read(pid, *wanted)
            if candidate is None or pid not in first:
                return first.setdefault(pid, candidate)
            return altered(first[pid], candidate)

        monkeypatch.setattr(linux_processes, "read_process", reading)

    return change


def with_row(candidate: Candidate, **values: Any) -> Candidate:
    candidate.row |= values
    return candidate


def not_known(platform: str) -> set[str]:
    """Return what *platform* does not say of a process on this machine."""
    if platform.endswith("portable_processes"):
        return {"major_faults", "cgroup"}
    return set() if "0::/" in Path("/proc/self/cgroup").read_text() else {"cgroup"}


class TestAProcesssRow:
    @pytest.mark.parametrize("platform", [linux_processes, portable_processes])
    def test_has_every_column_of_the_models(
        self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch, platform: ModuleType
    ) -> None:
        """A column that a platform does not fill is None, and so found here by its name."""
        monkeypatch.setattr(sampler, "processes", platform)
        row = row_of(spawn("pt-sleeper"), take("pt-sleeper"))
        assert set(row) == PROCESS_COLUMNS == set(ProcessRow.__annotations__)
        not_asked_for = {"uss_bytes", "pss_bytes", "swap_bytes"}
        not_apart = {"own_read_bytes", "own_write_bytes"}  # it has had no children
        not_apart |= not_known(platform.__name__)
        assert {name for name in PROCESS_COLUMNS if row[name] is None} == not_asked_for | not_apart

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

        def later(before: Candidate, after: Candidate) -> Candidate:
            after.read_uptime_seconds = before.read_uptime_seconds + 0.3
            counters = {
                "cpu_user_ms": before.row["cpu_user_ms"] + 100,
                "cpu_system_ms": before.row["cpu_system_ms"] + 50,
            }
            return with_row(after, **counters)

        second_reading(later)
        assert row_of(process, take("pt-sleeper"))["cpu_percent"] == 50.0

    def test_has_uss_pss_and_swap_when_asked_for(self, spawn: Spawn) -> None:
        process = spawn("pt-sleeper")
        row = row_of(process, take("pt-sleeper", memory_detail=True))
        memory = psutil.Process(process.pid).memory_full_info()
        assert (row["uss_bytes"], row["swap_bytes"]) == (memory.uss, memory.swap)
        assert row["pss_bytes"] == pytest.approx(memory.pss, abs=200_000)  # others share more or less of it by now

    def test_has_them_of_every_process_that_tells(self) -> None:
        rows = take(all=True, memory_detail=True).processes
        assert any(row["uss_bytes"] for row in rows)
        assert all((row["uss_bytes"] is None) == (row["pss_bytes"] is None) for row in rows)


class TestAProcessThatIsGone:
    KEPT = ("pid", "started_ticks", "name", "ppid", "username", "command", "cpu_user_ms", "vms_bytes", "num_threads")

    @pytest.mark.parametrize("options", [{}, {"all": True}, {"top": 10_000}])
    def test_in_the_window_keeps_its_row_with_what_was_read(
        self, spawn: Spawn, in_the_window: Callable[..., None], options: dict[str, Any]
    ) -> None:
        process = spawn("pt-leaver")
        alive = row_of(process, take("pt-leaver"))
        in_the_window(lambda: (process.kill(), process.wait()))
        sample = take("pt-leaver", **options)
        gone = row_of(process, sample)
        assert {name: gone[name] for name in self.KEPT} == {name: alive[name] for name in self.KEPT}
        assert set(gone) == PROCESS_COLUMNS
        assert gone["cpu_percent"] is gone["read_bytes"] is None
        assert gone["rss_bytes"] > 0
        assert timestamp(gone["started_at"]) == pytest.approx(timestamp(alive["started_at"]), abs=0.01)

    @pytest.mark.parametrize("options", [{"all": True}, {"top": 10_000}])
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
        second_reading(lambda before, after: with_row(after, started_ticks=ticks + 1, name="pt-other", ppid=1))
        row = row_of(process, take("pt-leaver"))
        assert (row["name"], row["started_ticks"], row["ppid"]) == ("pt-leaver", ticks, os.getpid())
        assert row["cpu_percent"] is row["read_bytes"] is None

    def test_is_never_given_the_command_and_user_of_its_successor(self, spawn: Spawn, second_reading: Change) -> None:
        """--top asks for owner and command only of those chosen, after the window."""
        process = spawn("pt-successor")
        second_reading(lambda before, after: with_row(after, started_ticks=before.row["started_ticks"] + 1))
        row = row_of(process, take(top=10_000))
        assert row["command"] is row["username"] is None

    def test_before_it_could_be_read_is_no_row(self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
        process = spawn("pt-leaver")
        process.kill()
        process.wait()
        monkeypatch.setattr(psutil, "pids", lambda: [process.pid])
        assert take("pt-leaver", all=True).processes == []

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
        second_reading(lambda before, after: with_row(after, name="pt-second"))
        row = row_of(process, take("pt-first"))
        assert row["name"] == "pt-first"
        assert row["cpu_percent"] is not None

    def test_whose_counter_went_backwards_has_no_percentage(self, spawn: Spawn, second_reading: Change) -> None:
        process = spawn("pt-sleeper")
        second_reading(lambda before, after: with_row(after, cpu_user_ms=before.row["cpu_user_ms"] - 10))
        row = row_of(process, take("pt-sleeper"))
        assert row["cpu_percent"] is None
        assert row["read_bytes"] is not None


class TestRefusedAccess:
    AS_ANOTHER_USER = """
import importlib, json, os, sys
from perftrack.recording import sampler
from perftrack.settings import load
sampler.processes = importlib.import_module(f"perftrack.recording.{sys.argv[1]}")
settings = load({"process_filter": [sys.argv[2]], "top": 0, "cpu_window": 0.05, "memory_detail": True})
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sample = sampler.Sampler(settings).take(lambda *about: None)
print(json.dumps([sample.system, sample.processes]))
"""

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    @pytest.mark.parametrize("platform", ["linux_processes", "portable_processes"])
    def test_is_null_and_counted_and_the_rest_is_recorded(self, spawn: Spawn, platform: str) -> None:
        """Of a program in a folder that is closed to it, a long name is not known in full."""
        processes = [spawn(name) for name in (OWN + "one", OWN + "another-with-a-long-name")]
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            program = shutil.copy("/bin/sleep", f"{folder}/{OWN}third-with-a-long-name")
            processes.append(subprocess.Popen([program, "1000"]))
            asleep(processes[-1])
            command = [sys.executable, "-c", self.AS_ANOTHER_USER, platform, OWN]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            processes[-1].kill()
            processes[-1].wait()
        system, rows = json.loads(done.stdout)
        assert done.stderr == ""
        assert system["processes_denied"] == 3
        assert {row["pid"] for row in rows} == {process.pid for process in processes}
        for row in rows:
            refused = {"read_bytes", "write_bytes", "uss_bytes", "pss_bytes", "swap_bytes"}
            refused |= {"own_read_bytes", "own_write_bytes"}
            refused |= not_known(platform)
            assert {name for name in PROCESS_COLUMNS if row[name] is None} == refused
            assert row["username"] == "root"
        names = (OWN + "one", f"{OWN}another-with-a-long-name"[:15], OWN + "third-with-a-long-name")
        assert {row["name"] for row in rows} == set(names)

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
        row = row_of(process, take(all=True))
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
        monkeypatch.setattr(sampler, "processes", portable_processes)
        monkeypatch.setattr(os, "fsencode", lambda text: text.encode("utf-8", "surrogatepass"))
        monkeypatch.setattr(psutil.Process, "name", lambda self: "pt-\ud800")
        monkeypatch.setattr(psutil.Process, "cmdline", lambda self: ["pt-\ud800", "x"])
        row = row_of(process, take("pt-"))
        assert row["name"] == "pt-\\ud800"
        assert row["command"].encode().endswith(b" x")


def test_what_an_ended_child_wrote_is_told_from_what_a_process_wrote_itself(tmp_path: Path) -> None:
    """The kernel adds both up: without that, a shell would have written what dd did."""
    script = f"dd if=/dev/urandom of={tmp_path}/of-child bs=1M count=32 2>&1 >&-; echo; exec sleep 1000"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as shell:
        while shell.stdout.readline().strip():
            pass
        candidate = linux_processes.read_process(shell.pid)
        linux_processes.read_memory_and_io(candidate)
        shell.kill()
    row = candidate.row
    if row["write_bytes"] == 0:
        pytest.skip("files here are on no disk")
    assert row["children_user_ms"] + row["children_system_ms"] > 0
    assert row["write_bytes"] >= 32 << 20
    assert row["own_write_bytes"] < 1 << 20
