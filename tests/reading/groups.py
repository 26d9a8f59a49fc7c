"""Control groups of a made-up machine that come, work, hold memory and go at random, and what is known of them."""

from __future__ import annotations

import random
import sqlite3
from collections import defaultdict

from conftest import cgroup_row
from machine import Machine

from perftrack.storage.unit_names import unit

# What may come and go; a group needs the one that it is in.
PATHS = [
    "/",
    "/system.slice",
    *(f"/system.slice/{name}.service" for name in "abc"),
    "/system.slice/a.service/inner",
    "/system.slice/a.service/inner/most",
    "/user.slice",
    "/user.slice/user-0.slice",
    *(f"/user.slice/user-0.slice/session-{number}.scope" for number in range(5)),
    "/user.slice/user-0.slice/user@0.service",
    "/user.slice/user-0.slice/user@0.service/app.slice/x.service",  # the one between is not recorded
    "/by/hand",
]


class Simulation:
    """Control groups that come, use, hold, idle and go at random on a made-up machine, and what is known of them.

    Some samples do not look at them; the machine reboots; its clock steps.
    """

    def __init__(self, connection: sqlite3.Connection, seed: int, steps: tuple[float, ...]) -> None:
        self.chance = random.Random(seed)
        self.machine = Machine(connection)
        self.steps = steps
        self.alive: dict[str, dict[str, int]] = {}
        self.inode = 1000
        self.is_first = True
        self.cpu: dict[str, int] = defaultdict(int)
        self.written: dict[str, int] = defaultdict(int)
        self.kills: dict[str, int] = defaultdict(int)
        self.memory: dict[str, int] = {}
        self.by_path: dict[str, int] = defaultdict(int)

    def around(self, path: str) -> str | None:
        while path not in {"/", ""}:
            path = path.rpartition("/")[0] or "/"
            if path in self.alive:
                return path
        return None

    def step(self) -> None:
        chance, machine = self.chance, self.machine
        if chance.random() < 0.02:
            machine.names["boot"], machine.uptime_seconds = f"boot-{chance.random()}", 0.0
            self.alive.clear()
            self.is_first = True
        for path in [path for path in reversed(PATHS) if path in self.alive and path != "/"]:
            if chance.random() < 0.05 and not any(other.startswith(f"{path}/") for other in self.alive):
                group = self.alive.pop(path)
                into = self.around(path)
                assert into is not None
                for name in ("cpu", "written", "kills"):  # no look will see it: it is of the one around
                    self.alive[into][name] += group[name]
        for path in PATHS:
            parent = path.replace("/app.slice", "").replace("/by", "").rpartition("/")[0]
            is_possible = path not in self.alive and parent in {"", *self.alive}
            if is_possible and (path == "/" or chance.random() < 0.2):
                self.inode += 1
                self.alive[path] = dict.fromkeys(("cpu", "written", "kills", "of_all"), 0)
                self.alive[path] |= {"inode": self.inode, "memory": 0, "busy": chance.random() < 0.6}
        for group in self.alive.values():
            if group["busy"] and chance.random() < 0.5:
                group["cpu"] += chance.randrange(3000)
                group["written"] += chance.randrange(1 << 20)
                group["kills"] += chance.random() < 0.1
                group["memory"] = chance.randrange(1 << 30)
        step = chance.choice(self.steps) if chance.random() < 0.05 else 0
        if chance.random() < 0.2:
            machine.tick(step=step)
        else:
            self.look(step)

    def look(self, step: float) -> None:
        held: dict[str, int] = defaultdict(int)
        for path, group in self.alive.items():
            held[unit(path)] += group["memory"]
            group["grown"] = 0
        for path, group in self.alive.items():
            around: str | None = path
            while around is not None:
                self.alive[around]["grown"] += group["cpu"]
                around = self.around(around)
        for path, group in self.alive.items():
            if not self.is_first:
                self.cpu[unit(path)] += group["cpu"]
                self.written[unit(path)] += group["written"]
                self.kills[unit(path)] += group["kills"]
                self.by_path[path] += group["grown"]
        for name, memory in held.items():
            self.memory[name] = max(memory, self.memory.get(name, 0))
        rows = []
        for path in PATHS:
            if path in self.alive:
                inside = [each for name, each in self.alive.items() if f"{name}/".startswith(f"{path.rstrip('/')}/")]
                group = self.alive[path]
                group["of_all"] += group["grown"]
                group["written_of_all"] = group.get("written_of_all", 0) + sum(each["written"] for each in inside)
                group["kills_of_all"] = group.get("kills_of_all", 0) + sum(each["kills"] for each in inside)
                rows.append(
                    cgroup_row(
                        path,
                        group["of_all"],
                        inode=group["inode"],
                        write_bytes=group["written_of_all"],
                        oom_kills=group["kills_of_all"],
                        memory_bytes=sum(each["memory"] for each in inside),
                        tasks=len(inside),
                    )
                )
        for group in self.alive.values():
            group |= {"cpu": 0, "written": 0, "kills": 0}
        self.machine.tick(cgroups=rows, step=step)
        self.is_first = False
