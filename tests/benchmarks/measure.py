"""Running programs and saying what they cost. A and B take turns, so that a noisy machine is noisy for both."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Cost(NamedTuple):
    """What one run of a program cost."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int


class Ratio(NamedTuple):
    """The medians of two series that took turns, each with its spread (the middle half), and their ratio."""

    ours: float
    ours_spread: float
    theirs: float
    theirs_spread: float

    @property
    def value(self) -> float:
        return self.ours / self.theirs


# A program's peak memory begins with that of the one that started it, so a small one does.
# Writes what Cost holds to a descriptor, which the program does not get.
LAUNCHER = """
import os, sys, time
figures, *command = sys.argv[1:]
os.set_inheritable(int(figures), False)
started = time.perf_counter()
pid = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(pid, 0)
wall = time.perf_counter() - started
os.write(int(figures), f"{usage.ru_utime + usage.ru_stime} {wall} {usage.ru_maxrss * 1024}".encode())
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""


def run(command: Sequence[str], env: Mapping[str, str] | None = None, stdout: str = os.devnull) -> Cost:
    """Run *command* to its end and return what it and its children cost. Raises: CalledProcessError."""
    reading, writing = os.pipe()
    with open(stdout, "wb") as out, open(reading, "rb") as figures:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", LAUNCHER, str(writing), *command],
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                pass_fds=[writing],
                check=False,
            )
        finally:
            os.close(writing)
        if done.returncode:
            raise subprocess.CalledProcessError(1, command, stderr=done.stderr.decode(errors="replace"))
        cpu, wall, peak = figures.read().split()
    return Cost(float(cpu), float(wall), int(peak))


def take_turns(ours: Callable[[], float], theirs: Callable[[], float], repeats: int, *, warm_up: int = 1) -> Ratio:
    """Measure both *repeats* times in turn, after *warm_up* runs of each that do not count."""
    return ratio(*in_turn([ours, theirs], repeats, warm_up))


def in_turn(measures: Sequence[Callable[[], float]], repeats: int, warm_up: int) -> list[list[float]]:
    """Return for each of *measures* what it gave in *repeats* rounds of all of them, *warm_up* rounds left out."""
    rounds = [[measure() for measure in measures] for _ in range(warm_up + repeats)]
    return [list(values) for values in zip(*rounds[warm_up:], strict=True)]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Compare two series."""
    return Ratio(statistics.median(ours), _spread(ours), statistics.median(theirs), _spread(theirs))


def _spread(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    lower, _, upper = statistics.quantiles(values, n=4)
    return upper - lower
