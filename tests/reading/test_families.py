"""Made-up families of processes, of which every millisecond is known, against what `top` says that children used."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import Run, query, seeds, until
from machine import NOON, Machine, process

from perftrack.reading.queries import TimeRange
from perftrack.reading.usage import parts
from perftrack.reading.usage.top import Top, top

WHOLE = TimeRange(datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 11, 1, tzinfo=UTC))
Identity = tuple[int, int]  # PID and start


@dataclass(eq=False)
class Member:
    """A process as the kernel has it. In ms, what no sample has shown yet: *unshown*, ..., *hidden*."""

    pid: int
    started_ticks: int
    parent: Member | None
    name: str
    cpu_ms: int = 0
    children_ms: int = 0
    unshown: int = 0
    unshown_children: int = 0
    hidden: int = 0
    is_recorded: bool = False
    is_zombie: bool = False
    is_subreaper: bool = False
    ignores_children: bool = False

    @property
    def identity(self) -> Identity:
        return self.pid, self.started_ticks

    def ancestors(self) -> list[Member]:
        return [] if self.parent is None else [self.parent, *self.parent.ancestors()]


class Families:
    """Processes that fork, execute, work, end and are waited for at random. Where nothing is said, all are recorded.

    PIDs are few and so reused. A process whose parent has ended becomes a child of the nearest subreaper, or of init.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        seed: int,
        recorder: str = "--all",
        is_recorded: Callable[[Member], bool] = lambda member: True,
        is_clear: bool = False,
    ) -> None:
        self.chance = random.Random(seed)
        self.machine = Machine(connection)
        self.machine.uptime_seconds = 0.0
        self.recorder = recorder
        self.is_recorded = is_recorded
        self.is_clear = is_clear
        self.init = Member(1, 1, None, "init")
        self.alive: dict[int, Member] = {1: self.init}
        self.next_pid = 2
        self.ticks = 1
        self.worked = 0  # since the last sample
        self.seconds_left = 60.0
        # what can be known, from the first sample on; lost: nobody waited for it
        self.children: dict[Identity, int] = defaultdict(int)
        self.lost = 0
        self.ignorant: list[Member] = []  # whose children ended without being waited for since the last sample
        self.system_ms = 0
        self.is_first = True
        self.sampled_ticks = 0

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            for _ in range(20):
                self.machine.uptime_seconds += 3
                self.machine.clock += timedelta(seconds=3)
                self.step()
            self.sample()

    def step(self) -> None:
        chance = self.chance
        for member in list(self.alive.values()):
            if self.alive.get(member.pid) is not member:
                continue
            if member.is_zombie:
                if chance.random() < 0.5:
                    self.reap(member)
                continue
            self.work(member, chance.choice((0, 0, 10, 40, 250)))
            if chance.random() < 0.15 and len(self.alive) < 40:
                self.fork(member)
            if chance.random() < 0.03:
                member.name = chance.choice(("sh", "make", "cc", "python"))
            if member is not self.init and chance.random() < self.ending(member):
                self.end(member)

    def ending(self, member: Member) -> float:
        """Return how likely it ends. Where all is to be clear, there are no orphans, and who ignores its children is
        still there in the next sample.
        """
        has_children = any(other.parent is member for other in self.alive.values())
        if self.is_clear:
            return 0.0 if has_children or member in self.ignorant else 0.15
        return 0.03 if has_children else 0.15

    def work(self, member: Member, cpu_ms: int) -> None:
        member.cpu_ms += cpu_ms
        member.unshown += cpu_ms
        self.worked += cpu_ms

    def fork(self, parent: Member) -> None:
        if len(self.alive) > 50:
            return
        while self.next_pid in self.alive:
            self.next_pid = self.next_pid % 60 + 1
        self.ticks = max(self.ticks + 1, int(self.machine.uptime_seconds * 100) - 200)
        child = Member(self.next_pid, self.ticks, parent, parent.name)
        child.ignores_children = self.chance.random() < 0.1
        child.is_subreaper = not self.is_clear and self.chance.random() < 0.1
        self.alive[child.pid] = child
        self.next_pid = self.next_pid % 60 + 1
        self.work(child, self.chance.choice((0, 10, 500)))
        if self.chance.random() < 0.4:  # it is gone before anybody looks
            for _ in range(self.chance.randrange(2)):
                self.fork(child)
            if self.ending(child):
                self.end(child)

    def end(self, member: Member) -> None:
        for child in [other for other in self.alive.values() if other.parent is member]:
            child.parent = next((each for each in member.ancestors() if each.is_subreaper), self.init)
            if child.is_zombie:
                self.reap(child)
        assert member.parent is not None
        if self.chance.random() < 0.3 and not member.parent.ignores_children:
            member.is_zombie = True
        else:
            self.reap(member)

    def reap(self, member: Member) -> None:
        reaper = member.parent
        assert reaper is not None
        if reaper.ignores_children:
            self.lost += member.unshown + member.unshown_children + member.hidden
            self.ignorant.append(reaper)
        else:
            reaper.children_ms += member.cpu_ms + member.children_ms
            reaper.unshown_children += member.unshown + member.unshown_children + member.hidden
        del self.alive[member.pid]

    def sample(self) -> None:
        self.ignorant.clear()
        rows = []
        for member in self.alive.values():
            if not self.is_recorded(member):
                continue
            if not self.is_first:
                if member.is_recorded or member.started_ticks > self.sampled_ticks:
                    self.children[member.identity] += member.unshown_children
                else:  # what it used before its first sample is shown nowhere until it has been waited for
                    member.hidden += member.unshown + member.unshown_children
            member.unshown = member.unshown_children = 0
            member.is_recorded = True
            rows.append(row_of(member))
        if self.is_first:
            for member in self.alive.values():
                member.unshown = member.unshown_children = 0
            self.lost = 0
        else:
            self.system_ms += self.worked
        self.machine.tick(*rows, after=0, window=0, recorder=self.recorder, cpu_user_ms=self.worked)
        self.worked, self.is_first = 0, False
        self.sampled_ticks = int(self.machine.uptime_seconds * 100)


def row_of(member: Member) -> dict[str, Any]:
    return process(
        member.cpu_ms,
        pid=member.pid,
        ppid=0 if member.parent is None else member.parent.pid,
        name=member.name,
        started_ticks=member.started_ticks,
        started_at=(NOON + timedelta(seconds=member.started_ticks / 100)).isoformat(" ", "microseconds"),
        children_user_ms=member.children_ms,
    )


def children_of(path: str, found: Top) -> dict[Identity, float]:
    """Return what children used, by the process that it is shown at."""
    identities = {row[0]: row[1:] for row in query(path, "SELECT id, pid, started_ticks FROM process")}
    return {
        identities[row.process.process_id]: row.used.children_cpu_ms
        for row in found.rows
        if row.process and row.used.children_cpu_ms
    }


def used(counted: dict[Identity, int]) -> dict[Identity, int]:
    return {identity: ms for identity, ms in counted.items() if ms}


def too_much(shown: dict[Identity, float], known: dict[Identity, int]) -> float:
    return sum(max(0, shown[each] - known.get(each, 0)) for each in shown)


@pytest.mark.parametrize("seed", seeds(20))
def test_where_samples_tell_who_waited_for_whom_every_millisecond_is_where_it_belongs(
    connection: sqlite3.Connection, path: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART", timedelta(minutes=17))
    families = Families(connection, seed, is_clear=True)
    families.run(40)
    found = top(path, WHOLE, limit=10_000)
    assert children_of(path, found) == pytest.approx(used(families.children))
    assert len(used(families.children)) > 100
    assert found.cpu.system_cpu_ms == families.system_ms
    assert found.cpu.unattributed_cpu_ms == pytest.approx(families.lost)
    by_name = top(path, WHOLE, group="name", limit=10_000).rows
    of_names = sum(row.used.children_cpu_ms or 0 for row in by_name)
    assert of_names == pytest.approx(sum(families.children.values()))


@pytest.mark.parametrize("seed", seeds(20))
def test_of_orphans_hardly_anything_is_elsewhere_and_nothing_counts_twice(
    connection: sqlite3.Connection, path: str, seed: int
) -> None:
    """Init or a subreaper waits for them, and of those that end with their parents no sample tells who did."""
    families = Families(connection, seed)
    families.run(40)
    found = top(path, WHOLE, limit=10_000)
    shown, known = children_of(path, found), used(families.children)
    assert too_much(shown, known) <= 0.05 * sum(known.values())
    assert 0.95 * sum(known.values()) <= sum(shown.values()) <= 1.01 * sum(known.values())
    assert found.cpu.recorded_cpu_ms <= families.system_ms
    assert found.cpu.unattributed_cpu_ms == pytest.approx(families.system_ms - found.cpu.recorded_cpu_ms)


RECORDED: dict[str, Callable[[random.Random], Callable[[Member], bool]]] = {
    "--filter sh": lambda chance: lambda member: member.name in {"sh", "init"},
    "--filter java --top 5": lambda chance: lambda member: chance.random() < 0.5,
    "--filter java": lambda chance: lambda member: member.pid % 2 == 1,
}


@pytest.mark.parametrize("is_clear", [True, False])
@pytest.mark.parametrize("recorder", RECORDED)
@pytest.mark.parametrize("seed", seeds(4, often=2))
def test_where_some_are_recorded_little_is_shown_that_was_not_used_and_nothing_counts_twice(
    connection: sqlite3.Connection, path: str, seed: int, recorder: str, is_clear: bool
) -> None:
    families = Families(connection, seed, recorder, RECORDED[recorder](random.Random(seed)), is_clear=is_clear)
    families.run(40)
    found = top(path, WHOLE, limit=10_000)
    shown, known = children_of(path, found), used(families.children)
    assert sum(shown.values()) > 0
    assert min(shown.values()) > 0
    assert too_much(shown, known) <= 0.05 * sum(known.values())
    assert found.cpu.recorded_cpu_ms <= families.system_ms * (1 + 1e-9)


@pytest.mark.parametrize("seed", seeds(6, often=2))
def test_of_a_part_of_the_time_no_more_is_shown_than_was_used_in_it(
    connection: sqlite3.Connection, path: str, seed: int
) -> None:
    """Ranges that begin and end with a sample, and such that do not, together have what all of them have."""
    families = Families(connection, seed, is_clear=True)
    families.run(40)
    whole = sum(children_of(path, top(path, WHOLE, limit=10_000)).values())
    for seconds in (0, 23):
        middle = (NOON + timedelta(minutes=21, seconds=seconds)).replace(tzinfo=UTC)
        both = [
            top(path, span, limit=10_000) for span in (WHOLE._replace(until=middle), WHOLE._replace(since=middle))
        ]
        for found in both:
            assert found.cpu.system_cpu_ms is not None
            assert found.cpu.recorded_cpu_ms <= found.cpu.system_cpu_ms * (1 + 1e-9)
        assert sum(sum(children_of(path, found).values()) for found in both) == pytest.approx(whole, rel=0.02)


STARTER = """
import os, resource, subprocess, sys
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        subprocess.run(["/bin/sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done"])
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(usage.ru_utime + usage.ru_stime, flush=True)
"""


@pytest.mark.slow  # and by itself: where all CPUs are busy, what these worked bounds what is known of children
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
def test_of_real_short_processes_who_started_them_shows_what_the_kernel_counted(
    connection: sqlite3.Connection, perftrack: Run, path: str
) -> None:
    def samples() -> int:
        (count,) = query(connection, "SELECT count(*) FROM system_sample")
        assert isinstance(count, int)
        return count

    loop = ["record", "--all", "--every", "1", "--cpu-window", "0", "--database", path]
    starting = [sys.executable, "-c", STARTER]
    with (
        subprocess.Popen([sys.executable, "-m", "perftrack", *loop]) as recorder,
        subprocess.Popen(starting, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter,
    ):
        assert starter.stdin is not None
        assert starter.stdout is not None
        starter.stdout.readline()
        try:
            until(lambda: samples() > 0)
            begun = samples()
            until(lambda: samples() > begun)
            starter.stdin.write("500\n")
            starter.stdin.flush()
            used = float(starter.stdout.readline())
            ended = samples()
            until(lambda: samples() > ended + 1)
        finally:
            recorder.terminate()
            starter.stdin.close()
    found = json.loads(perftrack("top", "-n", "1000", "--format", "json").stdout)
    if not found["system_cpu_seconds"]:
        pytest.skip("this sandbox does not say what its CPUs do")
    (row,) = [row for row in found["rows"] if row["pid"] == starter.pid]
    assert 0.95 * used <= row["children_cpu_seconds"] <= used + 0.02
    assert row["cpu_seconds"] < used
    assert found["recorded_cpu_seconds"] <= found["system_cpu_seconds"] + 0.1
