"""The pages keep their word: generated parts are up to date, and every query and command in them is run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import readme
import test_processes
import test_tick
import test_together
import typer
from conftest import LEGACY, Run, cgroup_row, process_row, sample

from perftrack.cli.app import app
from perftrack.storage import documentation, insertion, opening, pending, schema

TEXT = "\n".join(page.read_text(encoding="utf-8") for page in readme.PAGES)
COOKBOOK = re.findall(r"\n([^\n]+\?)[^\n]*(?:\n[^\n`]+)*\n\n```sql\n(.*?)```", TEXT, re.DOTALL)
SHELL = list(
    dict.fromkeys(line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines())
)


def test_the_generated_parts_are_up_to_date() -> None:
    for page, text in readme.pages().items():
        assert page.read_text(encoding="utf-8") == text, "run: python tests/readme.py"


def test_every_command_is_named() -> None:
    group = typer.main.get_command(app)
    for name in group.commands:  # type: ignore[attr-defined]
        assert f"perftrack {name}" in TEXT, name


def test_the_page_of_the_database_is_up_to_date() -> None:
    page = schema.migrations_folder() / "SCHEMA.md"
    assert page.read_text(encoding="utf-8") == documentation.schema(), "run: perftrack database schema"


def test_the_picture_is_one() -> None:
    assert readme.PICTURE.read_bytes().startswith(b"\x89PNG")
    assert f"]({readme.PICTURE.relative_to(readme.ROOT)})" in TEXT


def test_the_first_page_is_one_to_read() -> None:
    assert len(readme.README.read_text(encoding="utf-8").splitlines()) <= 370


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, place in re.findall(r"\]\((?!https:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
        there = page.parent / target if target else page
        assert there.exists(), target
        if place:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert place in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, place


@pytest.fixture
def a_busy_week(path: str) -> None:
    """Made-up samples of the last hours, with a reboot and a gap in them, a growing process and a busy one."""
    now = datetime.now(UTC).replace(tzinfo=None)
    with closing(opening.open_current(path)) as connection:
        for number in range(40):
            taken_at = now - timedelta(minutes=60 * (number < 20) + 2 * (40 - number) + 60 * 24 * (number < 2))
            values = {
                "taken_at": taken_at.isoformat(" ", "microseconds"),
                "uptime_seconds": 1000.0 + 120 * number,
                "load_1min": 1.5,
                "recorder_cpu_ms": 50,
                **dict.fromkeys(("forks", "context_switches"), number * 100),
                "oom_kills": number // 30,
                **dict.fromkeys(("disk_read_bytes", "disk_write_bytes", "net_received_bytes"), number * 1000000),
            }
            service = "/system.slice/app.service"
            groups = [cgroup_row(each, number * 70_000, memory_bytes=number << 20) for each in ("/", service)]
            grows = process_row(pid=10, rss_bytes=number << 20, cpu_user_ms=number * 10)
            busy = process_row(
                pid=11, name="java", command="java -jar app.jar", cpu_user_ms=number * 60_000, cgroup=service
            )
            boot = "boot-1" if number < 20 else "boot-2"
            insertion.insert_sample(
                connection, sample(grows, busy, host=socket.gethostname(), boot=boot, cgroups=groups, **values)
            )


def test_the_cookbook_is_found() -> None:
    assert len(COOKBOOK) == len(re.findall("```sql", TEXT)) == 8


@pytest.mark.usefixtures("a_busy_week")
@pytest.mark.parametrize(("question", "sql"), COOKBOOK, ids=[question for question, _ in COOKBOOK])
def test_a_query_of_the_cookbook_runs_in_the_sqlite3_shell_and_answers(
    sqlite3_shell: Callable[..., str], question: str, sql: str
) -> None:
    answer = sqlite3_shell(sql, "-header", "-csv").splitlines()
    assert len(answer) > 1, question
    assert any(field not in {"", "0", "0.0"} for field in answer[-1].split(","))


@pytest.mark.usefixtures("a_busy_week")
def test_the_cookbook_names_the_busy_process_and_the_growing_one(sqlite3_shell: Callable[..., str]) -> None:
    answers = {question: sqlite3_shell(sql, "-csv").splitlines() for question, sql in COOKBOOK}
    assert answers["Which recorded processes used most CPU time?"][0].startswith("java,11,root,")
    assert answers["Which unit was a process in?"][0].startswith("app.service,java,2,")
    services = "Which services used most CPU time, with all that ended in them, and what did they hold?"
    assert answers[services][0].startswith("app.service,")
    assert answers["Which processes grew?"][0].startswith("python3,10,")


@pytest.mark.usefixtures("a_busy_week")
@pytest.mark.parametrize(("question", "sql"), COOKBOOK, ids=[question for question, _ in COOKBOOK])
def test_a_query_of_the_cookbook_reads_no_more_than_its_range(path: str, question: str, sql: str) -> None:
    """Its condition on the time uses an index, and nothing scans the process rows."""
    with closing(sqlite3.connect(path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert not [step for step in plan if step.startswith("SCAN process_sample")], plan
    if "'now'" in sql:
        assert re.search(
            r"SEARCH (system_sample|later) USING (COVERING )?INDEX ix_system_sample_", "\n".join(plan)
        ), plan


@pytest.mark.usefixtures("a_busy_week")
def test_every_shell_command_works(path: str, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "perftrack"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m perftrack "$@"\n')
    program.chmod(0o755)
    work = tmp_path / "work"
    (work / "bin").mkdir(parents=True)
    (work / "bin" / "perftrack").symlink_to(program)
    shutil.copy(LEGACY / "data.pik", work)
    env = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PERFTRACK_DATABASE": path,
        "PERFTRACK_CPU_WINDOW": "0",
    }
    assert len(SHELL) == 34
    for line in SHELL:
        if not all(shutil.which(program) for program in {"jq", "promtool"} & set(line.split())):
            continue
        with subprocess.Popen(
            ["sh", "-c", line],
            cwd=work,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as shell:
            try:
                _, told = shell.communicate("SELECT 1;", timeout=120)
            except subprocess.TimeoutExpired:
                left = [
                    (found.pid, found.status(), found.cmdline())
                    for found in psutil.Process().children(recursive=True)
                ]
                os.killpg(shell.pid, signal.SIGKILL)  # all of a pipeline, which holds our pipes open
                pytest.fail(f"it does not end: {line}: {left}")
        # nothing at 02:00 in these samples: an answer that says so
        if "no samples in this range" in told:
            assert shell.returncode == (0 if " export " in line else 1), line
        else:
            assert (shell.returncode, told) == (0, ""), line


def test_the_settings_named_in_the_text_are_real(perftrack: Run) -> None:
    named = re.findall(r"`(\w+) = ([\w.]+)`", TEXT)
    assert ("top", "0") in named
    for name, value in named:
        assert f"{name} = " in perftrack("config", "show", env={f"PERFTRACK_{name.upper()}": value}).stdout


def test_the_crontab_line_runs_what_it_should() -> None:
    line = re.search(r"```crontab\n(.*?)\n```", TEXT)
    assert line is not None
    minute, hour, day, month, weekday, *command = shlex.split(line[1])
    assert [minute, hour, day, month, weekday] == ["*"] * 5
    assert command[0].endswith("/bin/perftrack")
    assert command[1:] == ["record"]


def test_the_figures_of_injected_faults_are_those_of_their_tests() -> None:
    faults = (readme.ROOT / "tests" / "faults" / "README.md").read_text(encoding="utf-8")
    for figure in (
        f"{test_tick.KILLS} kills at random moments",
        f"{test_tick.CUTS} cuts with",
        f"8 first runs at the same moment, {test_together.ROUNDS} times",
        f"killed at {test_together.KILLS} moments each",
        f"{test_processes.MANY:,} processes",
        f"limited to {pending.SAMPLES_MAX} and to {pending.BYTES_MAX // 1024**2} MiB",
    ):
        assert figure in " ".join(faults.split()), figure
