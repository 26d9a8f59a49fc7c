"""What processes are known to have used is what top, report, plot and views show: nothing lost, nothing twice."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, query, seeds
from machine import Machine, process

from perftrack.reading.coverage import coverage
from perftrack.reading.plot.processes import Point
from perftrack.reading.plot.series import AllSeries, read_series
from perftrack.reading.queries import TimeRange
from perftrack.reading.report import reports
from perftrack.reading.usage import parts
from perftrack.reading.usage.top import top
from perftrack.storage.snapshot import snapshot

WHOLE = TimeRange(datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 11, 1, tzinfo=UTC))


class Simulation:
    """Processes that begin, work and end at random on a made-up machine, all of them recorded, and what they used.

    PIDs are few and so reused at once; processes change their names, to and fro; the machine reboots; its clock steps
    by hours, both ways.
    """

    def __init__(self, connection: sqlite3.Connection, seed: int, recorded_share: float = 1) -> None:
        """*recorded_share*: so many of the processes are in a sample."""
        self.recorded_share = recorded_share
        self.chance = random.Random(seed)
        self.machine = Machine(connection)
        self.alive: dict[int, dict[str, Any]] = {}  # by PID
        # what can be known: what each used between two samples of a boot, from its start if it began there
        self.used: dict[tuple[str, int, int], int] = defaultdict(int)
        self.by_name: dict[str, int] = defaultdict(int)
        self.written: dict[tuple[str, int, int], int] = defaultdict(int)
        self.rss: dict[tuple[str, int, int], int] = defaultdict(int)
        self.seen: set[tuple[str, int, int]] = set()
        self.system_ms = 0
        self.unseen_ms = 0
        self.is_first = True

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.step()

    def step(self) -> None:
        chance, machine = self.chance, self.machine
        if chance.random() < 0.03:
            machine.names["boot"] = f"boot-{chance.random()}"
            machine.uptime_seconds = 0.0
            machine.counters = dict.fromkeys(machine.counters, 0)
            self.alive.clear()
            self.is_first = True
        for pid in [pid for pid in self.alive if chance.random() < 0.1]:
            del self.alive[pid]
        began = set()
        for pid in range(1, 12):
            if pid not in self.alive and chance.random() < 0.3:
                ticks = int((machine.uptime_seconds + chance.uniform(1, 59)) * 100)
                self.alive[pid] = {"ticks": ticks, "cpu": 0, "written": 0, "name": chance.choice("abc")}
                began.add(pid)
        worked = 0
        for each in self.alive.values():
            if chance.random() < 0.1:
                each["name"] = chance.choice("abc")
        for pid, each in self.alive.items():
            grown, written = chance.randrange(5000), chance.randrange(1 << 20)
            each["cpu"] += grown
            each["written"] += written
            each["rss"] = chance.randrange(1 << 30)
            worked += grown
            key = (machine.names["boot"], pid, each["ticks"])
            self.rss[key] = max(self.rss[key], each["rss"])
            self.seen.add(key)
            if not self.is_first:
                self.used[key] += grown
                self.by_name[each["name"]] += grown
                self.written[key] += written
        unseen = chance.randrange(3000)  # of processes that no sample finds
        if not self.is_first:
            self.system_ms += worked + unseen
            self.unseen_ms += unseen
        rows = [
            process(
                each["cpu"],
                pid=pid,
                name=each["name"],
                started_ticks=each["ticks"],
                write_bytes=each["written"],
                rss_bytes=each["rss"],
            )
            for pid, each in self.alive.items()
            if self.recorded_share == 1 or chance.random() < self.recorded_share
        ]
        step = chance.choice((-3600, 3600, -7, 86400)) if chance.random() < 0.05 else 0
        machine.tick(*rows, step=step, cpu_user_ms=worked + unseen, cpu_idle_ms=120_000 - worked - unseen)
        self.is_first = False


@pytest.mark.parametrize("seed", seeds(20))
def test_of_a_made_up_machine_all_answers_are_exact(
    connection: sqlite3.Connection, path: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART", timedelta(minutes=17))
    simulation = Simulation(connection, seed)
    simulation.run(200)

    found = top(path, WHOLE, limit=10_000)
    assert found.cpu.system_cpu_ms == simulation.system_ms
    assert found.cpu.unattributed_cpu_ms == simulation.unseen_ms
    sql = "SELECT process.id, boot.key, pid, started_ticks FROM process JOIN boot ON boot.id = boot_id"
    identities = {row[0]: row[1:] for row in query(path, sql)}
    rows = {identities[row.process.process_id]: row.used for row in found.rows if row.process}
    assert set(rows) == simulation.seen
    assert {key: used.cpu_ms for key, used in rows.items() if used.cpu_ms is not None} == simulation.used
    assert {key: used.write_bytes for key, used in rows.items() if used.write_bytes is not None} == simulation.written
    assert {key: used.rss_max_bytes for key, used in rows.items()} == simulation.rss
    by_name = {row.key: row.used.cpu_ms for row in top(path, WHOLE, group="name").rows}
    assert by_name == simulation.by_name

    assert dict(query(path, "SELECT name, sum(cpu_ms) FROM process_interval GROUP BY name")) == by_name
    in_sql = query(path, "SELECT sum(cpu_ms), (SELECT sum(cpu_ms) FROM system_interval) FROM process_interval")
    assert in_sql == [(simulation.system_ms - simulation.unseen_ms, simulation.system_ms)]

    _, by_cpu = reports(path, WHOLE)[0].largest[0]
    assert [row.used.cpu_ms for row in by_cpu.rows] == sorted(simulation.used.values(), reverse=True)[:5]
    assert (by_cpu.cpu.system_cpu_ms, by_cpu.cpu.unattributed_cpu_ms) == (simulation.system_ms, simulation.unseen_ms)

    drawn = plotted(path, WHOLE)
    assert by_name_in(drawn) == pytest.approx(simulation.by_name)
    assert in_ms(drawn, drawn.unattributed) == pytest.approx(simulation.unseen_ms)


@pytest.mark.parametrize("seed", seeds(20))
def test_of_processes_recorded_now_and_then_a_plot_shows_all_that_the_view_has(
    connection: sqlite3.Connection, path: str, seed: int
) -> None:
    """An interval may reach over several samples: each has its part of it. One that ends after the range, too."""
    simulation = Simulation(connection, seed, recorded_share=0.4)
    simulation.run(200)
    in_view = query(path, "SELECT name, sum(cpu_ms) FROM process_interval GROUP BY name")
    assert by_name_in(plotted(path, WHOLE)) == pytest.approx(dict(in_view))
    instants = query(path, "SELECT taken_at FROM system_sample ORDER BY taken_at")
    cut = datetime.fromisoformat(instants[100]).replace(tzinfo=UTC)
    before, after = (
        by_name_in(plotted(path, span)) for span in (WHOLE._replace(until=cut), WHOLE._replace(since=cut))
    )
    assert sum(before.values()) + sum(after.values()) == pytest.approx(sum(used for _, used in in_view), rel=0.03)


def plotted(path: str, span: TimeRange) -> AllSeries:
    with snapshot(path) as reader:
        return read_series(reader, coverage(reader, span, datetime(2027, 1, 1, tzinfo=UTC)), [])


def by_name_in(drawn: AllSeries) -> dict[str, float]:
    return {name: in_ms(drawn, points) for name, points in drawn.processes["cpu"].items()}


def in_ms(drawn: AllSeries, points: list[Point | None]) -> float:
    """Return what percentages of one CPU are in all, for 60 s each."""
    assert not drawn.is_bucketed
    return sum(point[1] * 600 for point in points if point and point[1])


BURNER = """
import os, resource, sys, time
held = bytearray(int(sys.argv[1]) << 20)
for at in range(0, len(held), 4096): held[at] = 1
def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
for line in sys.stdin:
    burn, written = line.split()
    until = used() + float(burn)
    while used() < until: pass
    with open(sys.argv[2], "wb") as file:
        file.write(os.urandom(1 << 10) * (int(written) << 10))
        file.flush()
        os.fsync(file.fileno())
    own = dict(field.split(": ") for field in open("/proc/self/io").read().splitlines())
    print(used(), own["write_bytes"], flush=True)
"""
CLOCK_TICK = 1 / os.sysconf("SC_CLK_TCK")


class Burner:
    """A real process that uses what it is asked to, and prints what the kernel says that it used."""

    def __init__(self, folder: Path, name: str, mebibytes: int) -> None:
        program = folder / name
        program.symlink_to(sys.executable)
        code = folder / f"{name}.py"
        code.write_text(BURNER)
        self.process = subprocess.Popen(
            [program, code, str(mebibytes), str(folder / f"{name}.out")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def burn(self, seconds: float, written_mebibytes: int) -> tuple[float, int]:
        """Use CPU and write; return the CPU seconds and the bytes since its start."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{seconds} {written_mebibytes}\n")
        self.process.stdin.flush()
        used, written = self.process.stdout.readline().split()
        return float(used), int(written)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def burners(tmp_path: Path) -> Iterator[list[Burner]]:
    started: list[Burner] = []
    yield started
    for each in started:
        each.end()


@pytest.mark.skipif(sys.platform != "linux" or not os.path.exists("/proc/self/io"), reason="needs Linux's /proc")
def test_of_real_processes_top_shows_what_the_kernel_counted(
    perftrack: Run, tmp_path: Path, burners: list[Burner]
) -> None:
    def tick() -> None:
        perftrack("record", "--cpu-window", "0", "--filter", "burner", "--top", "0")

    begin = datetime.now(UTC) - timedelta(seconds=1)
    tick()
    steady = Burner(tmp_path, "burner-steady", 48)
    burners.append(steady)
    used, written = steady.burn(0.4, 3)
    tick()
    used, written = steady.burn(0.3, 2)  # in one burst between two samples
    short = Burner(tmp_path, "burner-short", 1)
    short_used, _ = short.burn(0.3, 0)
    short.end()  # no sample ever finds it
    tick()
    found = json.loads(perftrack("top", "--since", begin.isoformat(), "--format", "json").stdout)
    (row,) = found["rows"]
    # the process goes on for a moment after it printed; each of two counters is rounded down to a tick of the clock
    assert row["name"] == "burner-steady"
    assert used - 3 * CLOCK_TICK <= row["cpu_seconds"] <= used + 0.05
    assert row["write_bytes"] == written
    assert row["rss_max_bytes"] >= 48 << 20
    if found["system_cpu_seconds"]:  # a sandbox may not say
        assert found["unattributed_cpu_seconds"] >= short_used - 0.1
