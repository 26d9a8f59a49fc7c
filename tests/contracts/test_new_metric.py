"""A new metric is four edits: the model, where it is read, the list of metrics, and `alembic revision`.

Two real ones are added to a copy of the repository: a counter of the system and one of processes. Nothing else is
touched, and the views, the report and a plot show them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, query

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="they are read from /proc")

# By file: a text of it, and what goes before it.
EDITS = {
    "perftrack/storage/models.py": {
        "    processes_seen: Mapped[Count | None] = mapped_column(\n": """
    soft_interrupts: Mapped[int | None] = mapped_column(
        Integer, info={"unit": "count", "counter": True}, doc="Counter: soft interrupts. NULL: not known."
    )
""",
        "    uss_bytes: Mapped[Bytes | None] = mapped_column(\n": """
    minor_faults: Mapped[int | None] = mapped_column(
        Integer, info={"unit": "count", "counter": True}, doc="Counter: faults that read no disk. NULL: not known."
    )
""",
    },
    "perftrack/recording/linux_system.py": {
        "# What the sampler adds to the system's row": """
def soft_interrupts() -> SystemRow:
    return {"soft_interrupts": number(read_system("/proc/stat"), b"\\nsoftirq")}


""",
        "memory, disks": "soft_interrupts, ",
    },
    "perftrack/recording/linux_processes.py": {
        '            "num_threads": ': '            "minor_faults": int(fields[7]),\n',
    },
    "perftrack/recording/portable_system.py": {
        "# What the sampler adds to the system's row": """
def soft_interrupts() -> SystemRow:
    return {"soft_interrupts": psutil.cpu_stats().soft_interrupts}


""",
        "memory, swap": "soft_interrupts, ",
    },
    "perftrack/reading/metrics.py": {
        ")\n# What cpu is where there are no counters": """
    Metric(
        "soft_interrupts",
        "/s",
        SYSTEM_INTERVAL,
        _rate(_INTERVAL.soft_interrupts),
        "Soft interrupts",
        "all CPUs",
        "interrupts",
    ),
""",
    },
}
PROCESS_METRIC = """
FAULTS = ProcessMetric(
    *("minor_faults", "/s", "minor_faults", 1.0),
    *("Minor faults by process", "a second", "most minor faults", "minor_faults"),
)
PROCESS = (*PROCESS, FAULTS)
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    for name in ("perftrack", "migrations"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("alembic.ini", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, folder)
    for name, edits in EDITS.items():
        file = folder / name
        for before, added in edits.items():
            content = file.read_text()
            assert content.count(before) == 1, f"{name}: {before}"
            file.write_text(content.replace(before, added + before))
    metrics = folder / "perftrack" / "reading" / "metrics.py"
    metrics.write_text(metrics.read_text() + PROCESS_METRIC)
    return folder


@pytest.mark.slow
def test_is_recorded_and_shown_everywhere(copy: Path, path: str, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(copy), "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"}

    def run(*command: str, **settings: str) -> str:
        command = (sys.executable, "-m", *command)
        done = subprocess.run(command, env=env | settings, cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("alembic", "revision", "--autogenerate", "-m", "two metrics")
    for _ in range(2):
        run("perftrack", "record", "--all")

    (grown,) = query(path, "SELECT soft_interrupts FROM system_interval")
    assert isinstance(grown, int)
    faults = query(path, "SELECT minor_faults FROM process_interval WHERE cpu_ms IS NOT NULL")
    assert faults
    assert None not in faults
    assert None not in query(path, "SELECT soft_interrupts FROM system_log")
    assert None not in query(path, "SELECT minor_faults FROM process_log")

    out = run("perftrack", "report")
    assert re.search(r"^interrupts/s +[\d,.]+", out, re.MULTILINE)
    assert re.search(r"^most minor faults +PID", out, re.MULTILINE)
    found = json.loads(run("perftrack", "report", "--format", "json"))
    assert found["metrics"]["soft_interrupts"]["unit"] == "/s"
    assert found["top_minor_faults"][0]["minor_faults"] is not None

    run("perftrack", "plot", "-o", str(tmp_path / "plot.svg"))
    drawn = (tmp_path / "plot.svg").read_text()
    assert "Soft interrupts" in drawn
    assert "Minor faults by process" in drawn
    assert "not available" not in drawn.split("Soft interrupts")[1].split("CPU by process")[0]
