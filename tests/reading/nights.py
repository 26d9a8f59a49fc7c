"""A made-up machine of which it is known who did what: a fortnight as it usually is, and nights with a culprit."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any

from conftest import cgroup_row
from machine import Machine, process

MINUTES = 10  # between two samples
BEGIN = datetime(2026, 11, 6, 18)
NIGHT = datetime(2026, 11, 20, 18)
HOURS = 12
JOB_AT = time(2, 10)
CPUS = 2
MIB = 1 << 20
MEMORY = 8192 * MIB

# What each service usually uses: percent of a CPU, MiB, and what it writes, in KiB/s.
SERVICES: dict[str, tuple[int, float, int, float]] = {
    "java -jar /srv/shop.jar": (812, 22, 1900, 20),
    "python3 /srv/queue.py": (901, 9, 150, 2),
    "python3 /srv/mail.py": (902, 14, 200, 1),
    "postgres: shop": (733, 6, 640, 60),
    "cron -f": (500, 0, 5, 0),
}


class Nights:
    """What happens on the machine, sample by sample. *events*: called for each, with the time, before it is taken."""

    def __init__(self, connection: sqlite3.Connection, seed: int, *, has_units: bool = False) -> None:
        """*has_units*: control groups are recorded too, one for each service."""
        self.of_units: dict[str, Counter[str]] | None = {} if has_units else None
        self.chance = random.Random(seed)
        self.machine = Machine(connection)
        self.machine.clock = BEGIN
        self.machine.uptime_seconds = 90_000.0
        self.events: list[Callable[[datetime], None]] = []
        self.counted: dict[int, dict[str, Any]] = {}
        self.at = BEGIN
        self.load: dict[str, float] = {}
        self.late, self.long = 0, 30

    def state(self) -> tuple[Any, ...]:
        """Return what `set_state` takes, for another night on the same machine."""
        return self.machine.clock, self.machine.uptime_seconds, self.machine.counters, self.counted, self.of_units

    def set_state(self, state: tuple[Any, ...]) -> None:
        self.machine.clock, self.machine.uptime_seconds, self.machine.counters, self.counted, self.of_units = state

    def go_on(self, until: datetime) -> None:
        """Record samples until then."""
        while self.machine.clock < until:
            self.step()

    def step(self) -> None:
        """Let MINUTES pass, and record a sample."""
        chance, seconds = self.chance, MINUTES * 60
        self.at = self.machine.clock + timedelta(minutes=MINUTES)
        self.load = {"other_cpu": max(0.0, chance.gauss(6, 2)), "cache": chance.gauss(0, 60), "io": 0.0}
        self.load["waiting"] = max(0.0, chance.gauss(1, 0.5))
        alive: list[int] = []
        for command, (pid, cpu, memory, written) in SERVICES.items():
            is_day = 8 <= self.at.hour < 20
            self.works(
                command,
                pid,
                cpu * chance.uniform(0.6, 1.4) * (1.5 if is_day else 1),
                memory * chance.uniform(0.97, 1.03),
                written * chance.uniform(0, 2),
                alive=alive,
            )
        self.nightly(alive)
        self.alive = alive
        for event in self.events:
            event(self.at)
        rows = [self.row(pid) for pid in alive]
        used = sum(self.counted[pid]["now_ms"] + self.counted[pid]["children_now_ms"] for pid in alive)
        used = round(min(used + self.load["other_cpu"] * seconds * 10, CPUS * seconds * 990))
        written = sum(self.counted[pid]["written_now"] for pid in alive) + chance.randrange(MIB)
        memory = sum(self.counted[pid]["rss"] for pid in alive) + (700 + self.load["cache"]) * MIB
        busy = used / (CPUS * seconds * 1000)
        self.machine.tick(
            *rows,
            after=seconds,
            recorder="--all",
            cgroups=self.cgroups(alive),
            extra={"mem_total_bytes": MEMORY, "mem_used_bytes": round(memory), "load_1min": round(busy * CPUS, 2)},
            cpu_user_ms=used,
            cpu_idle_ms=CPUS * seconds * 1000 - used,
            disk_write_bytes=round(written),
            pressure_io_ms=round((self.load["waiting"] + self.load["io"]) / 100 * seconds * 1000),
            pressure_cpu_ms=round(max(0.0, busy - 0.5) * 0.6 * seconds * 1000),
        )
        for pid in [pid for pid in self.counted if pid not in alive]:
            del self.counted[pid]

    def works(
        self,
        command: str,
        pid: int,
        cpu_percent: float,
        memory_mib: float,
        written_kib: float,
        *,
        ppid: int = 1,
        children_percent: float = 0,
        alive: list[int] | None = None,
        username: str = "app",
    ) -> None:
        """Let a process use so much until the sample; where it was not there, it begins 30 s after the one before."""
        seconds = MINUTES * 60
        of = self.counted.get(pid)
        if of is None:
            began = self.machine.uptime_seconds + (30 if pid > 1000 else -80_000)
            started_at = self.machine.clock + timedelta(seconds=began - self.machine.uptime_seconds)
            of = self.counted[pid] = {"ms": 0, "children_ms": 0, "written": 0}
            of |= {"started_ticks": int(began * 100), "started_at": started_at.isoformat(" ", "microseconds")}
        of["now_ms"] = round(cpu_percent * seconds * 10)
        of["children_now_ms"] = round(children_percent * seconds * 10)
        of["written_now"] = round(written_kib * 1024 * seconds)
        of["ms"] += of["now_ms"]
        of["children_ms"] += of["children_now_ms"]
        of["written"] += of["written_now"]
        of["rss"] = round(memory_mib * MIB)
        of["is"] = {
            "command": command,
            "name": command.split(maxsplit=1)[0].rstrip(":"),
            "ppid": ppid,
            "username": username,
        }
        (self.alive if alive is None else alive).append(pid)

    def row(self, pid: int) -> dict[str, Any]:
        of = self.counted[pid]
        return process(
            of["ms"],
            pid=pid,
            children_user_ms=of["children_ms"],
            rss_bytes=of["rss"],
            write_bytes=of["written"],
            own_write_bytes=of["written"],
            started_ticks=of["started_ticks"],
            started_at=of["started_at"],
            filter="",
            cgroup=None if self.of_units is None else path_of(of["is"]["command"]),
            **of["is"],
        )

    def cgroups(self, alive: list[int]) -> list[dict[str, Any]] | None:
        """Return rows of the control groups: a slice, and in it one for each service; cron has all of its jobs."""
        if self.of_units is None:
            return None
        for pid in alive:
            of = self.counted[pid]
            for path in ("/system.slice", path_of(of["is"]["command"])):
                counted = self.of_units.setdefault(path, Counter())
                counted["ms"] += of["now_ms"] + of["children_now_ms"]
                counted["written"] += of["written_now"]
        return [
            cgroup_row(path=path, inode=number, cpu_user_ms=of["ms"], read_bytes=0, write_bytes=of["written"])
            for number, (path, of) in enumerate(self.of_units.items(), 1)
        ]

    def nightly(self, alive: list[int]) -> None:
        """A job of each night at ten past two, sometimes a little later, for 20 to 40 minutes."""
        if self.at.time() == JOB_AT:
            self.late = self.chance.choice((0, 0, 10))
            self.long = self.chance.choice((20, 30, 40))
        begin = datetime.combine(self.at, JOB_AT)
        minutes = (self.at - begin).total_seconds() / 60
        if minutes > 0 and self.late < minutes <= self.late + self.long:
            day = f"{self.at:%Y-%m-%d}"
            pid = 2000 + self.at.day
            self.works(f"nightly --date {day}", pid, self.chance.uniform(70, 95), 300, 4000, ppid=500, alive=alive)
            self.load["io"] += self.chance.uniform(15, 25)


def path_of(command: str) -> str:
    """Return the control group of a command: of jobs, that of cron."""
    service = command.partition(" /srv/")[2].partition(".")[0] if command in SERVICES else ""
    return f"/system.slice/{'postgres' if command.startswith('postgres') else service or 'cron'}.service"


def unit_of(command: str) -> str:
    """Return the unit of a command."""
    return path_of(command).rpartition("/")[2]


def burner(nights: Nights, begin: datetime) -> str:
    """A job of cron takes a whole CPU; or a service that usually does little does."""
    until = begin + timedelta(minutes=nights.chance.choice((30, 60, 90)))
    is_service = nights.chance.random() < 0.5
    command = "python3 /srv/queue.py" if is_service else "python3 /srv/backup.py"
    percent = nights.chance.uniform(70, 100)

    def work(at: datetime) -> None:
        if begin < at <= until:
            if is_service:
                more = nights.counted[901]
                grown = round(percent * MINUTES * 600)
                more["ms"] += grown
                more["now_ms"] += grown
            else:
                nights.works("sh -c backup", 4241, 0, 1, 0, ppid=500, username="root")
                nights.works(command, 4242, percent, 200, 0, ppid=4241, username="root")

    nights.events.append(work)
    return command


def leak(nights: Nights, begin: datetime) -> str:
    """A service takes more and more memory."""
    begin = min(begin, NIGHT + timedelta(hours=6))
    command = nights.chance.choice(("java -jar /srv/shop.jar", "python3 /srv/mail.py", "postgres: shop"))
    pid = SERVICES[command][0]
    an_hour = nights.chance.uniform(200, 500)

    def grow(at: datetime) -> None:
        if at > begin:
            nights.counted[pid]["rss"] += round((at - begin).total_seconds() / 3600 * an_hour * MIB)

    nights.events.append(grow)
    return command


def fork_storm(nights: Nights, begin: datetime) -> str:
    """A script begins many short programs, of which no sample finds one."""
    until = begin + timedelta(minutes=nights.chance.choice((20, 40)))
    percent = nights.chance.uniform(60, 110)

    def storm(at: datetime) -> None:
        if begin < at <= until:
            nights.works("bash /srv/forks.sh", 4300, 2, 4, 0, ppid=500, children_percent=percent)

    nights.events.append(storm)
    return "bash /srv/forks.sh"


def disk_hog(nights: Nights, begin: datetime) -> str:
    """A copy keeps the disk busy."""
    until = begin + timedelta(minutes=nights.chance.choice((20, 40, 60)))
    waiting = nights.chance.uniform(25, 60)

    def write(at: datetime) -> None:
        if begin < at <= until:
            nights.works("rsync -a /srv /mnt", 4400, 8, 30, nights.chance.uniform(10_000, 50_000), ppid=500)
            nights.load["io"] += waiting

    nights.events.append(write)
    return "rsync -a /srv /mnt"
