"""A machine to measure on: sleeping processes, so many of them under a name that is recorded."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

TOTAL = 120
RECORDED = 50
NAME = "python-bench"


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
