"""A made-up night to plot: a busy hour, spikes, a gap, a reboot, and processes with hostile names."""

from __future__ import annotations

import math
import random
import sys
from contextlib import closing
from datetime import datetime

from machine import Machine, process

from perftrack.storage import opening

HOSTILE = "<img src=x onerror=document.title='pwned'>"
UNDERSCORED = "_</script><b>bold</b>\u202e$x^2$"


def a_night(path: str, samples: int = 1400, seconds: float = 60, begin: datetime | None = None) -> None:
    chance = random.Random(7)
    with closing(opening.open_current(path)) as connection:
        machine = Machine(connection)
        if begin is not None:
            machine.clock = begin
        used = dict.fromkeys(("java", "python3", "postgres", "nginx", HOSTILE, UNDERSCORED), 0)
        connection.execute("PRAGMA synchronous=OFF")
        for number in range(samples):
            share = number / samples
            if number == samples * 6 // 10:
                machine.names["boot"], machine.uptime_seconds = "boot-2", 30.0
                used = dict.fromkeys(used, 0)
                machine.counters = dict.fromkeys(machine.counters, 0)
            busy = 15 + 10 * math.sin(share * 12) + chance.random() * 6 + (55 if 0.3 < share < 0.36 else 0)
            if number == samples * 8 // 10:
                busy = 99.0
            capacity = 2000 * seconds
            work = min(busy, 100) / 100 * capacity
            used["java"] += int(work * 0.5)
            used["python3"] += int(work * (0.1 + 0.1 * chance.random()))
            used["postgres"] += int(work * 0.05)
            used[HOSTILE] += int(work * 0.04)
            used[UNDERSCORED] += int(work * 0.03)
            rows = [
                process(ms, name=name, pid=10 + index, started_ticks=5, rss_bytes=int((index + 1 + share) * 2e8))
                for index, (name, ms) in enumerate(used.items())
            ]
            machine.tick(
                *rows,
                after=seconds * 90 if number == samples // 2 else seconds,
                extra={
                    "mem_total_bytes": 8 << 30,
                    "mem_used_bytes": int((2 + 3 * share + chance.random() / 3) * (1 << 30)),
                    "swap_total_bytes": 2 << 30,
                    "swap_used_bytes": int(share * (1 << 29)),
                    "load_1min": busy / 40 + chance.random() / 5,
                    "load_5min": busy / 45,
                    "load_15min": busy / 50,
                    "recorder_cpu_ms": 45,
                },
                cpu_user_ms=int(work * 0.75),
                cpu_system_ms=int(work * 0.25),
                cpu_iowait_ms=int(capacity * 0.02 * chance.random()),
                cpu_idle_ms=int(capacity - work),
                cpu_steal_ms=int(capacity * 0.005),
                disk_read_bytes=int(chance.expovariate(1) * 3e6 * seconds),
                disk_write_bytes=int(chance.expovariate(1) * 9e6 * seconds),
                net_sent_bytes=int(2e5 * seconds * (1 + busy / 10)),
                net_received_bytes=int(8e5 * seconds * (1 + busy / 10)),
                pressure_cpu_ms=int(busy * 3 * seconds),
                pressure_io_ms=int(chance.random() * 30 * seconds),
            )


if __name__ == "__main__":
    a_night(sys.argv[1], int(sys.argv[2]))
