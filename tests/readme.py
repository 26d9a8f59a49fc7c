"""The generated parts of the pages: `python tests/readme.py` writes them anew, test_readme.py checks them."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from conftest import cgroup_row
from machine import Machine, process

from perftrack.reading.dashboard.cookbook import COOKBOOK, Recipe
from perftrack.settings import SETTINGS
from perftrack.storage import opening

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
FURTHER = ROOT / "perftrack" / "reading" / "README.md"
SETTINGS_PAGE = ROOT / "perftrack" / "SETTINGS.md"
# All that a user reads: the first page, and one beside the code of each subject.
PAGES = (README, SETTINGS_PAGE, *sorted(ROOT.glob("perftrack/*/README.md")))
# The first page has the half of the cookbook that is asked most.
FIRST_QUESTIONS = 4
PICTURE = ROOT / ".readme" / "plot.png"
NIGHT = ("--since", "2026-11-20 22:00", "--until", "2026-11-21 06:00")
MIB = 1 << 20
SERVICES = {"java": "shop", "python3": "queue", "postgres": "postgresql", "backup": "backup", "cron": "cron"}


def a_night(path: str) -> None:
    """Record the made-up night that README.md shows: a backup at 02:10 that takes all of a CPU for 21 minutes."""
    with closing(opening.open_current(path)) as connection:
        machine = Machine(connection, host="web1")
        machine.uptime_seconds = 3_000_000.0
        machine.clock = machine.clock.replace(hour=21, minute=59)
        counted = dict.fromkeys(("java", "python3", "postgres", "backup", "cron"), 0)
        backup_ticks, written, all_used = 0, 0, 0
        for minute in range(8 * 60):
            is_backup = 250 <= minute < 271
            worked = {
                "java": 9_000 + round(4_000 * math.sin(minute / 40)) + 700 * (minute * 7919 % 5),
                "python3": 1_500 + 300 * (minute * 104729 % 7),
                "postgres": 2_500 + 9_000 * is_backup,
                "backup": 55_000 * is_backup,
                "cron": 900 + 150 * (minute * 31 % 4),  # programs that no sample sees
            }
            for name, used in worked.items():
                counted[name] += used
            others = 300 + 50 * (minute * 31 % 4)
            if minute == 250:
                backup_ticks = int(machine.uptime_seconds * 100) + 200
            written += 190 * MIB * is_backup
            rows = [
                _row("java", 812, counted, "app", "java -Xmx2g -jar /srv/shop/shop.jar", rss_bytes=1900 * MIB),
                _row(
                    "python3", 901, counted, "app", "python3 /srv/shop/queue.py", rss_bytes=(150 + minute // 3) * MIB
                ),
                _row("postgres", 733, counted, "postgres", "postgres: shop", rss_bytes=640 * MIB, filter=""),
            ]
            if is_backup:
                rows.append(
                    _row(
                        *("backup", 4242, counted, "root", "/usr/local/bin/backup --all /srv"),
                        filter="",
                        rss_bytes=(60 + 55 * (minute - 250)) * MIB,
                        started_ticks=backup_ticks,
                        started_at="2026-11-21 02:09:02.000000",
                        write_bytes=written,
                    )
                )
            busy = sum(worked.values()) + others
            all_used += busy
            used_bytes = (3600 + 55 * (minute - 249) * is_backup + minute // 3) * MIB
            machine.tick(
                *rows,
                recorder="--filter java --filter python --top 5",
                cgroups=_groups(counted, all_used, rows),
                forks=1_900 + 100 * (minute * 7919 % 5),
                extra={
                    "mem_total_bytes": 8192 * MIB,
                    "mem_used_bytes": used_bytes,
                    "swap_total_bytes": 2048 * MIB,
                    "swap_used_bytes": 12 * MIB,
                    "load_1min": round(busy / 60_000 + 0.1, 2),
                    "processes_seen": 143,
                    "recorder_cpu_ms": 58,
                },
                cpu_user_ms=busy * 4 // 5,
                cpu_system_ms=busy - busy * 4 // 5,
                cpu_idle_ms=120_000 - busy - 3_000 * is_backup,
                cpu_iowait_ms=3_000 * is_backup,
                disk_write_bytes=(4 + 190 * is_backup) * MIB,
                disk_read_bytes=(1 + 170 * is_backup) * MIB,
                net_sent_bytes=9 * MIB,
                net_received_bytes=3 * MIB,
                pressure_cpu_ms=900 + 9_000 * is_backup,
                pressure_io_ms=100 + 21_000 * is_backup,
            )


def _groups(counted: dict[str, int], all_used: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the services, each with the memory of its process and of some files."""
    memory = {row["name"]: row["rss_bytes"] + 90 * MIB for row in rows} | {"cron": 30 * MIB}
    services = [
        cgroup_row(_path(name), used, memory_bytes=memory[name]) for name, used in counted.items() if name in memory
    ]
    of_all = sum(counted.values())
    held = sum(memory.values())
    return [cgroup_row("/", all_used), cgroup_row("/system.slice", of_all, memory_bytes=held), *services]


def _path(name: str) -> str:
    return f"/system.slice/{SERVICES[name]}.service"


def _row(name: str, pid: int, counted: dict[str, int], user: str, command: str, **values: Any) -> dict[str, Any]:
    about = {"started_ticks": 9000, "cgroup": _path(name), "num_threads": 1 if name == "backup" else 8} | values
    about.setdefault("started_at", "2026-10-17 03:26:30.000000")
    return process(counted[name], name=name, pid=pid, username=user, command=command, **about)


def answer(path: str, *arguments: str) -> str:
    """Return what a command prints on a screen of 110 columns, behind its prompt."""
    env = {**os.environ, "PERFTRACK_DATABASE": path, "COLUMNS": "110", "TZ": "UTC", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "perftrack", *arguments]
    done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", check=True)
    prompt = " ".join(f'"{word}"' if " " in word else word for word in arguments)
    return f"```text\n$ perftrack {prompt}\n{done.stdout.strip()}\n```"


def settings() -> str:
    rows = ["| setting | default | environment | meaning |", "| --- | --- | --- | --- |"]
    for name, (_, default, meaning) in SETTINGS.items():
        shown = "`perftrack.db` in your data folder" if default is None else f"`{json.dumps(default)}`"
        rows.append(f"| `{name}` | {shown} | `PERFTRACK_{name.upper()}` | {meaning} |")
    return "\n".join(rows)


def questions(recipes: tuple[Recipe, ...]) -> str:
    return "\n\n".join(f"{recipe.question}\n\n```sql\n{recipe.sql}```" for recipe in recipes)


def pages() -> dict[Path, str]:
    """Return the pages that have generated parts, as they should be."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/perftrack.db"
        a_night(path)
        parts = {
            "top": answer(path, "top", *NIGHT),
            "report": answer(path, "report", *NIGHT),
            "questions": questions(COOKBOOK[:FIRST_QUESTIONS]),
        }
    return {
        README: _filled(README, parts),
        SETTINGS_PAGE: _filled(SETTINGS_PAGE, {"settings": settings()}),
        FURTHER: _filled(FURTHER, {"questions": questions(COOKBOOK[FIRST_QUESTIONS:])}),
    }


def _filled(page: Path, parts: dict[str, str]) -> str:
    written = page.read_text(encoding="utf-8")
    for name, generated in parts.items():
        pattern = rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)"
        written, count = re.subn(
            pattern, lambda match, body=generated: f"{match[1]}\n{body}\n\n{match[2]}", written, flags=re.DOTALL
        )
        assert count == 1, name
    return written


def draw() -> None:
    """Draw the picture of README.md anew."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/perftrack.db"
        a_night(path)
        PICTURE.parent.mkdir(exist_ok=True)
        env = {**os.environ, "PERFTRACK_DATABASE": path, "TZ": "UTC"}
        command = [sys.executable, "-m", "perftrack", "plot", *NIGHT, "-o", str(PICTURE)]
        subprocess.run(command, env=env, check=True)


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
    if "--picture" in sys.argv:
        draw()
