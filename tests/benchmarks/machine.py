"""A machine to measure on: sleeping processes, so many of them under a name that is recorded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from perftrack.recording import cgroups

TOTAL = 120
RECORDED = 50
NAME = "python-bench"
GROUPS = 100
BUSY_GROUPS = 10
# Enters a control group, and uses some milliseconds of CPU ten times a second.
BUSY = """
import os, sys, time
with open(sys.argv[1] + "/cgroup.procs", "w") as file:
    file.write(str(os.getpid()))
while True:
    until = time.process_time() + 0.002
    while time.process_time() < until:
        pass
    time.sleep(0.1)
"""


@contextmanager
def processes(total: int = TOTAL, recorded: int = RECORDED) -> Iterator[int]:
    """Let there be *total* processes, of which *recorded* have NAME in theirs; yield how many there are."""
    with tempfile.TemporaryDirectory() as folder:
        started = []
        program = Path(folder) / NAME
        shutil.copy("/bin/sleep", program)
        others = max(0, total - recorded - len(psutil.pids()))
        try:
            started += [subprocess.Popen([program, "86400"]) for _ in range(recorded)]
            started += [subprocess.Popen(["sleep", "86400"]) for _ in range(others)]
            yield len(psutil.pids())
        finally:
            for process in started:
                process.kill()
            for process in started:
                process.wait()


@contextmanager
def groups(total: int = GROUPS, busy: int = BUSY_GROUPS) -> Iterator[None]:
    """Let there be *total* more control groups, in *busy* of which a process works. Raises: OSError, not allowed."""
    mount = cgroups.mount()
    if mount is None:
        raise FileNotFoundError("no control groups of version 2 are mounted")
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next(line for line in lines if line.startswith("0::")).removeprefix("0::").removeprefix(mount[0])
    folder = Path(f"{mount[1]}{own.rstrip('/')}/perftrack-bench-{os.getpid()}.slice")
    made: list[Path] = []
    started = []
    try:
        for each in (folder, *(folder / f"bench-{number}.service" for number in range(total - 1))):
            each.mkdir()
            made.append(each)
        started = [subprocess.Popen([sys.executable, "-c", BUSY, str(each)]) for each in made[1 : busy + 1]]
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
        for each in reversed(made):
            each.rmdir()
