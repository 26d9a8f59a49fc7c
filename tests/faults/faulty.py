"""What the tests of the faults group share: a place to harm, a tick to harm it with, and what holds afterwards."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from conftest import query

from perftrack.storage import pending

RECORD = [sys.executable, "-B", "-m", "perftrack", "record"]
# Every call that changes a file or makes it durable.
CALLS = (
    "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,ftruncate,link,linkat,"
    "mkdir,mkdirat,chmod,fchmod,chown,lchown,fchown"
)


class Place:
    """A database, and a copy of its folder to begin again with; every sample of it has the same watched processes."""

    def __init__(self, folder: Path, watched: int, **variables: str) -> None:
        self.folder = folder / "data"
        self.copy = folder / "copy"
        self.path = str(self.folder / "perftrack.db")
        self.watched = watched
        self.folder.mkdir(mode=0o700, exist_ok=True)
        # what is remembered of failures where the database's folder is of no use, begins again with that
        state = {"PERFTRACK_DATABASE": self.path, "XDG_DATA_HOME": str(self.folder / "share")}
        self.env = {**os.environ, **state, "PERFTRACK_CPU_WINDOW": "0", "PERFTRACK_TOP": "0", **variables}

    def run(
        self, *before: str, command: list[str] = RECORD, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*before, *command], env=self.env, capture_output=True, text=True, check=False, timeout=timeout
        )

    def tick(self) -> None:
        """Record, which must succeed and print nothing."""
        done = self.run()
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def save(self) -> None:
        shutil.copytree(self.folder, self.copy)

    def restore(self) -> None:
        """Make everything as it was when it was saved, but for the folder itself (it may be a mount point)."""
        for found in os.scandir(self.folder):
            shutil.rmtree(found.path) if found.is_dir() else os.unlink(found.path)
        shutil.copytree(self.copy, self.folder, dirs_exist_ok=True)

    def samples(self) -> int:
        """Return how many samples there are, having made sure that each is whole and the database is sound."""
        if not os.path.exists(self.path) or not query(self.path, "SELECT 1 FROM sqlite_master"):
            return 0
        assert query(self.path, "PRAGMA integrity_check") == ["ok"]
        assert query(self.path, "PRAGMA foreign_key_check") == []
        rows = query(
            self.path,
            "SELECT uptime_seconds, (SELECT count(*) FROM process_sample WHERE sample_id = id) FROM system_sample",
        )
        assert [found for _, found in rows] == [self.watched] * len(rows)
        assert len({uptime for uptime, _ in rows}) == len(rows), "a sample is there twice"
        return len(rows)

    def kept(self) -> int:
        return pending.count(self.path)

    def judge(self, done: subprocess.CompletedProcess[str], before: int) -> None:
        """Hold a tick that a fault met to what it said. *before*: the samples there were, kept ones included."""
        told = done.stderr
        assert "Traceback" not in told, told
        acknowledged = done.returncode == 0 or "; the sample is kept in " in told
        killed = done.returncode < 0
        if done.returncode > 0:
            assert done.returncode in {1, 75}, told
            assert re.fullmatch(r"perftrack: [^\n]+\n", told), told
            assert acknowledged or "; the sample is lost" in told, told
        now = self.samples() + self.kept()
        assert now <= before + 4  # those that were kept may be in both places for now
        self.tick()
        assert self.kept() == 0
        least = before + 1 + acknowledged
        assert least <= self.samples() <= least + (0 if acknowledged else 1), (killed, told)


def calls(trace: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of each call in the main thread of what strace wrote to *trace*."""
    lines = trace.read_text().splitlines()
    main = lines[0].split()[0]
    counts: dict[str, int] = {}
    for line in lines:
        match = re.match(rf"{main} +(\w+)\(", line)
        if match:
            counts[match[1]] = counts.get(match[1], 0) + 1
            yield match[1], counts[match[1]]


def strace(*options: str) -> list[str]:
    return ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", *options]
