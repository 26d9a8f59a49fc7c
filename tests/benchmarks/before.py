"""bin/bench --before: this checkout of perftrack against another one, each with what its own code recorded."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks import data, machine
from benchmarks.bars import INTERVAL, Bar
from benchmarks.measure import Cost, Ratio, run, take_turns
from perftrack.storage import tick_sql

ROOT = Path(__file__).resolve().parents[2]
NOT_SLOWER = 1.1  # what two runs of the same code can differ by on a noisy machine
MAKE_DATABASE = """
import pathlib, sys
from benchmarks import data
data.recorded(pathlib.Path(sys.argv[1]), int(sys.argv[2]), lambda done: None)
"""
RECORDING = {"PERFTRACK_PROCESS_FILTER": machine.NAME, "PERFTRACK_TOP": "0", "PERFTRACK_CPU_WINDOW": "0.1"}


class Checkout:
    """A checkout of perftrack at *root*, and the databases of its own schema: in *cache*, called *name*."""

    def __init__(self, root: Path, name: str, cache: Path) -> None:
        self.name = name
        self._bin = root / ".venv" / "bin"
        self._tests = root / "tests"
        self._cache = cache

    def run(self, database: Path, *arguments: str) -> Cost:
        settings = {"PERFTRACK_DATABASE": str(database), **RECORDING}
        return run([str(self._bin / "perftrack"), *arguments], settings)

    def recorded(self, rows: int) -> Path:
        """Return a database of so many rows of processes, which its own data.py made."""
        path = self._cache / f"{self.name}-{rows}.db"
        if not path.exists():
            command = [self._bin / "python", "-c", MAKE_DATABASE, path, str(rows)]
            env = {**os.environ, "PYTHONPATH": str(self._tests)}
            # in its folder: the folder that a program is run in comes first where Python looks for perftrack
            subprocess.run(command, env=env, cwd=self._tests.parent, check=True, capture_output=True, text=True)
        return path

    def new(self) -> Path:
        """Return where no database is yet."""
        for leftover in self._cache.glob(f"{self.name}-new.db*"):
            leftover.unlink()
        return self._cache / f"{self.name}-new.db"


def another(root: Path, cache: Path) -> Checkout:
    """Return the checkout at *root*, in a virtual environment that it makes itself. Raises: CalledProcessError."""
    root = root.resolve()
    git = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["sh", root / "bin" / "perftrack", "--version"], check=True, capture_output=True, text=True)
    return Checkout(root, commit, cache)


def bars(before: Checkout, cache: Path, *, quick: bool) -> list[Bar]:
    """Return the rows that compare this checkout with *before*."""
    now = Checkout(ROOT, tick_sql.REVISION, cache)
    rows, exported = 2_000_000 if quick else 26_000_000, 2_000_000
    end = data.BEGIN + timedelta(minutes=rows // data.PROCESSES)  # what ticks add is of today
    count, often, seldom = (25, 11, 5) if quick else (60, 21, 7)

    def tick(of: Checkout) -> float:
        return of.run(of.recorded(rows), "record").cpu_seconds * 1000

    def further_sample(of: Checkout) -> float:
        one, more = (
            of.run(of.new(), "record", "--every", INTERVAL, "--count", str(samples)).cpu_seconds
            for samples in (1, 1 + count)
        )
        return (more - one) / count * 1000

    def top(of: Checkout, since: datetime) -> float:
        span = ("--since", f"{since.isoformat()}Z", "--until", f"{end.isoformat()}Z")
        return of.run(of.recorded(rows), "top", *span).wall_seconds

    def export(of: Checkout) -> float:
        return of.run(of.recorded(exported), "export", "--directory", str(cache)).wall_seconds

    def import_(of: Checkout) -> float:
        return of.run(of.new(), "import", str(data.month_of_pickle(cache))).wall_seconds

    def bar(what: str, unit: str, measure: Callable[[Checkout], float], repeats: int) -> Bar:
        def pairs() -> Ratio:
            with machine.processes():
                return take_turns(lambda: measure(now), lambda: measure(before), repeats)

        return Bar(what, before.name, unit, NOT_SLOWER, pairs)

    million = f"{rows / 1e6:.0f} million rows"
    return [
        bar(f"CPU of a tick, {million}", "ms", tick, often),
        bar("CPU per further sample, --every", "ms", further_sample, seldom),
        bar(f"top over the last day of {million}", "s", lambda of: top(of, end - timedelta(days=1)), often),
        bar(f"top over all {million}", "s", lambda of: top(of, data.BEGIN), seldom),
        bar(f"export of {exported / 1e6:.0f} million rows", "s", export, seldom),
        bar("importing a pickle", "s", import_, seldom),
    ]
