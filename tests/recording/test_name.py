"""A process's name: the kernel's, in full only where that is certainly its program's, and without a secret in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import OWN, Run, query, until
from taken import PR_SET_NAME, Python, Spawn, count, no_baseline, row_of, sampler_of, take

from perftrack.recording import linux_processes, proc_files

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc"),
    pytest.mark.usefixtures("database"),
]

# As setproctitle does: over its arguments and into the kernel's name; the next title at each SIGUSR1.
TITLES = f"""
import ctypes, signal, sys, time
titles = [bytes.fromhex(title) for title in sys.argv[2:]]
start, end = map(int, open("/proc/self/stat").read().rpartition(")")[2].split()[45:47])
def take_the_next(*_):
    title = titles.pop(0)
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(title.ljust(end - start, b"\\0"))
    ctypes.CDLL(None).prctl({PR_SET_NAME}, title, 0, 0, 0)
signal.signal(signal.SIGUSR1, take_the_next)
take_the_next()
print(flush=True)
while True:
    time.sleep(1000)
"""
Titled = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def titled(python: Python) -> Titled:
    """Start a process that gives itself one title after the other."""
    return lambda *titles: python(TITLES, "x" * 200, *(title.encode().hex() for title in titles))


def next_title(process: subprocess.Popen[bytes]) -> None:
    before = comm(process)
    process.send_signal(signal.SIGUSR1)
    until(lambda: comm(process) != before)


def comm(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/comm").read_text().removesuffix("\n")


def settings(**values: str) -> dict[str, str]:
    return {"PERFTRACK_ALL": "true", **values}


class TestATitle:
    @pytest.mark.parametrize("how", ["full", "program", "none"])
    @pytest.mark.parametrize(
        ("title", "name"),
        [
            ("worker-process --password=s3cret", "worker-process "),
            ("worker-process-s3cret", "worker-process-"),
            ("pw=s3cret", "pw=***"),
            ("w --token s3cr3t", "w --token ***"),
            ("x://me:s3cret@h", "x://me:***"),
            ("ghp_s3cretcharacters", "***"),
        ],
    )
    def test_brings_no_secret_into_the_name(
        self, titled: Titled, perftrack: Run, path: str, tmp_path: Path, how: str, title: str, name: str
    ) -> None:
        process = titled(title)
        perftrack("record", env=settings(PERFTRACK_RECORD_COMMAND=how))
        assert query(path, f"SELECT name FROM process WHERE pid = {process.pid}") == [name]
        perftrack("export", "--directory", str(tmp_path))
        exported = (tmp_path / "process_log.csv").read_text()
        assert name in exported
        assert "s3cret" not in exported
        if how == "none" or (how == "program" and title != "worker-process-s3cret"):
            assert b"s3cret" not in Path(path).read_bytes()

    @pytest.mark.parametrize(
        "titles",
        [
            ("worker-process: job 1", "worker-process: job 2"),
            ("worker: idle", "worker: job 1", "worker: job 2"),
            ("/srv/worker: idle", "/srv/worker: job 1"),
        ],
    )
    def test_that_changes_makes_no_further_process(
        self, titled: Titled, perftrack: Run, path: str, titles: tuple[str, ...]
    ) -> None:
        process = titled(*titles)
        perftrack("record", env=settings())
        for title in titles[1:]:
            process.send_signal(signal.SIGUSR1)
            until(lambda title=title: title in Path(f"/proc/{process.pid}/cmdline").read_text())
            until(lambda title=title: comm(process) == title[:15])
            perftrack("record", env=settings())
        names = query(path, f"SELECT name FROM process WHERE pid = {process.pid}")
        assert names == [titles[0][:15]]
        samples = f"SELECT count(*) FROM process_sample JOIN process ON id = process_id WHERE pid = {process.pid}"
        assert query(path, samples) == [len(titles)]

    def test_that_changes_while_a_loop_goes_on_makes_none_either(
        self, titled: Titled, perftrack: Run, path: str
    ) -> None:
        process = titled("worker: idle", "worker: job 1")
        perftrack("record", env=settings())
        next_title(process)
        perftrack("record", "--every", "0.1s", "--count", "3", env=settings())
        assert count(path) == 4
        assert query(path, f"SELECT name FROM process WHERE pid = {process.pid}") == ["worker: idle"]

    def test_that_waited_for_the_database_makes_none_either(self, titled: Titled, perftrack: Run, path: str) -> None:
        process = titled("worker: idle", "worker: job 1")
        perftrack("record", env=settings())
        next_title(process)
        with open(path, "rb") as file:
            kept = file.read()
        Path(path).write_bytes(b"no database")
        perftrack("record", expect=1, env=settings())
        Path(path).write_bytes(kept)
        perftrack("record", env=settings())
        assert count(path) == 3
        assert query(path, f"SELECT name FROM process WHERE pid = {process.pid}") == ["worker: idle"]

    def test_of_a_kernel_thread_is_what_it_is_doing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A kworker is called after its work, and is the same process with the next."""
        flags = linux_processes._KERNEL_THREAD | 0x40
        stat = f"7 (kworker/0:1-xyz) I 2 0 0 0 -1 {flags} {' '.join('0' * 40)}".encode()
        monkeypatch.setattr(proc_files.processes, "read", lambda *_: stat)
        row = linux_processes.read_process(7).row
        assert (row["name"], row["named_itself"]) == ("kworker/0:1-xyz", True)


class TestAnotherProgram:
    @pytest.fixture
    def shell(self) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
        """Start a shell that becomes another program when it has read a line."""
        started: list[subprocess.Popen[bytes]] = []

        def start(command: str) -> subprocess.Popen[bytes]:
            started.append(subprocess.Popen(["sh", "-c", f"read line; exec {command}"], stdin=subprocess.PIPE))
            until(lambda: comm(started[-1]) == "sh")
            return started[-1]

        yield start
        for process in started:
            process.kill()
            process.communicate()

    @pytest.mark.parametrize("kind", ["path", "search path", "script", "link"])
    def test_in_the_same_process_id_is_another_process(
        self,
        shell: Callable[..., subprocess.Popen[bytes]],
        perftrack: Run,
        path: str,
        tmp_path: Path,
        kind: str,
    ) -> None:
        program = tmp_path / "pt-becomes"
        if kind == "script":
            program.write_text("#!/bin/sh\nsleep 1000 & wait\n")
            program.chmod(0o755)
        elif kind == "link":
            program.symlink_to(shutil.which("sleep"))
        else:
            shutil.copy("/bin/sleep", program)
        process = shell("sleep 1000" if kind == "search path" else f"{program} 1000")
        perftrack("record", env=settings())
        process.stdin.write(b"\n")
        process.stdin.flush()
        became = "sleep" if kind == "search path" else program.name
        until(lambda: comm(process) == became)
        perftrack("record", env=settings())
        names = query(path, f"SELECT name FROM process WHERE pid = {process.pid} ORDER BY id")
        assert names == ["sh", became]


class TestALongName:
    def test_is_in_full_where_the_program_is_called_so(self, spawn: Spawn) -> None:
        process = spawn(OWN + "longer-than-the-kernel-keeps")
        assert row_of(process, take("than-the-kernel"))["name"] == OWN + "longer-than-the-kernel-keeps"

    def test_stays_in_full_where_the_program_was_upgraded_meanwhile(self, spawn: Spawn) -> None:
        process = spawn(OWN + "longer-than-the-kernel-keeps")
        os.unlink(process.args[0])
        assert row_of(process, take("than-the-kernel"))["name"] == OWN + "longer-than-the-kernel-keeps"

    def test_of_a_link_is_in_full_too(self, tmp_path: Path) -> None:
        link = tmp_path / "pt-longer-than-the-kernel-keeps"
        link.symlink_to(shutil.which("sleep"))
        with subprocess.Popen([link, "1000"]) as process:
            until(lambda: comm(process) == link.name[:15])
            assert row_of(process, take("than-the-kernel"))["name"] == link.name
            process.kill()

    def test_is_looked_up_once(self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
        process, sampler = spawn(OWN + "longer-than-the-kernel-keeps"), sampler_of(OWN)
        read, readlink = [], os.readlink
        monkeypatch.setattr(os, "readlink", lambda path: (read.append(path), readlink(path))[1])
        for _ in range(3):
            assert len(sampler.take(no_baseline).processes) == 1
        assert len([path for path in read if str(process.pid) in str(path)]) <= 2
