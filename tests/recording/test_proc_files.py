"""Files of /proc that stay open: opening costs more than reading."""

from __future__ import annotations

import builtins
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
import pytest
from conftest import OWN
from taken import Spawn, no_baseline, sampler_of, take

from perftrack.recording import linux_processes, proc_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")


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
        wanted, unwanted, sampler = spawn(OWN + "wanted"), spawn("pt-unwanted"), sampler_of(OWN)

        def opened_of(process: subprocess.Popen[bytes]) -> list[str]:
            sampler.take(no_baseline)
            return [path.rpartition("/")[2] for path in opened if f"/{process.pid}/" in path]

        opened_of(wanted)
        assert opened_of(wanted) == ["stat", "status", "cmdline", "cgroup", "statm", "io"]
        assert opened_of(unwanted) == ["stat", "comm"]

    @pytest.mark.parametrize("wanted", [True, False])
    @pytest.mark.parametrize("name", ["exactly-15-bytes"[:15], "longer-than-the-kernel-keeps"])
    def test_are_opened_once_also_where_the_name_is_cut(
        self, spawn: Spawn, opened: list[str], name: str, wanted: bool
    ) -> None:
        process, sampler = spawn(name), sampler_of(*([name] if wanted else []))
        for _ in range(2):
            sampler.take(no_baseline)
        assert f"/proc/{process.pid}/stat" in opened
        opened.clear()
        assert len(sampler.take(no_baseline).processes) == wanted
        assert [path for path in opened if f"/{process.pid}/" in path] == []

    def test_of_the_whole_system_are_opened_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(proc_files, "_of_system", {})
        sampler = sampler_of()
        sampler.take(no_baseline)
        assert {"/proc/stat", "/proc/meminfo", "/proc/diskstats"} <= proc_files._of_system.keys()
        opened: list[str] = []
        for module, real in ((os, os.open), (builtins, open)):

            def watched(path: str, *arguments: Any, real: Callable[..., Any] = real, **options: Any) -> Any:
                if not re.match(r"/proc/\d+/", str(path)):  # of a process, which may have begun just now
                    opened.append(path)
                return real(path, *arguments, **options)

            monkeypatch.setattr(module, "open", watched)
        sampler.take(no_baseline)
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
        assert processes[1].pid in linux_processes._unwanted
        for process in processes:
            process.kill()
            process.wait()
        take(OWN)
        assert held() == set()
        assert processes[1].pid not in linux_processes._unwanted

    def test_are_no_more_than_a_limit(self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
        linux_processes.forget_all_but([])
        monkeypatch.setattr(proc_files, "_OPEN_MAX", 4)
        monkeypatch.setattr(proc_files, "_descriptors", set())
        processes = [spawn(f"{OWN}{number}") for number in range(3)]
        for _ in range(3):
            sample = take(OWN, cgroups=False)
            assert len(proc_files._descriptors) == 4
            assert {process.pid for process in processes} == {row["pid"] for row in sample.processes}
            assert None not in {row["cpu_percent"] for row in sample.processes}
        linux_processes.forget_all_but([])

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
