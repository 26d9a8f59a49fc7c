"""Alembic's own command, as a developer runs it at the top level of a clone."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, query
from test_schema import NEXT, revision

from perftrack.storage import tick_sql
from perftrack.storage.intervals import VIEWS


@pytest.mark.slow
class TestTheAlembicCommand:
    @pytest.fixture
    def alembic(self, path: str, tmp_path: Path) -> Callable[..., str]:
        """Run it at the top level of a copy of the repository, as a developer does."""
        copy = tmp_path / "clone"
        shutil.copytree(
            REPOSITORY, copy, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__")
        )

        def run(*arguments: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "alembic", *arguments],
                cwd=copy,
                env={**os.environ, "PERFTRACK_DATABASE": path, "PYTHONPATH": str(copy)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        return run

    def test_upgrades_the_database_that_perftrack_would_use(self, path: str, alembic: Callable[..., str]) -> None:
        alembic("upgrade", "head")
        assert revision(path) == tick_sql.REVISION
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert alembic("current").strip() == f"{tick_sql.REVISION} (head)"

    def test_goes_down_and_up_again(self, path: str, alembic: Callable[..., str]) -> None:
        alembic("upgrade", "head")
        alembic("downgrade", "base")
        assert query(path, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')") == ["alembic_version"]
        alembic("upgrade", "head")
        assert revision(path) == tick_sql.REVISION

    def test_makes_a_new_metric_three_edits(self, path: str, tmp_path: Path, alembic: Callable[..., str]) -> None:
        """A model field, a line where it is read, `alembic revision --autogenerate`: it is recorded and exported."""
        clone = tmp_path / "clone"
        _insert_line(
            clone / "perftrack/storage/models.py",
            before="    processes_seen:",
            line='    cpu_temperature: Mapped[Seconds | None] = mapped_column(doc="Made up. NULL: not known.")',
        )
        _insert_line(
            clone / "perftrack/recording/linux_system.py",
            before="    if swap_total is not None and swap_free is not None:",
            line='    row["cpu_temperature"] = 36.6',
        )
        _insert_line(
            clone / "perftrack/storage/models.py",
            before="    own_read_bytes: Mapped",
            line='    minor_faults: Mapped[Count | None] = mapped_column(doc="Counter: faults. NULL: refused.")',
        )
        _insert_line(
            clone / "perftrack/recording/linux_processes.py",
            before='            "num_threads": int(fields[17]),',
            line='            "minor_faults": int(fields[7]),',
        )
        alembic("revision", "--autogenerate", "-m", "temperature")
        assert not os.path.exists(path)  # it compares with a scratch database
        subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "migrations"], cwd=clone, check=True)
        run = [sys.executable, "-m", "perftrack"]
        env = {**os.environ, "PERFTRACK_DATABASE": path, "PYTHONPATH": str(clone), "PERFTRACK_CPU_WINDOW": "0"}
        subprocess.run([*run, "record", "--all"], cwd=clone, env=env, check=True)
        exported = subprocess.run(
            [*run, "export", "--wide", "--system-csv", "-"], cwd=clone, env=env, check=True, capture_output=True
        )
        assert b"cpu_temperature" in exported.stdout
        assert b"36.6" in exported.stdout
        assert query(path, "SELECT max(minor_faults) > 0, count(*) = count(minor_faults) FROM process_sample") == [
            (1, 1)
        ]

    @pytest.mark.parametrize(
        ("before", "line", "up", "down"),
        [
            (
                "    uss_bytes: Mapped",
                '    handles: Mapped[Count | None] = mapped_column(doc="Made up. NULL: not known.")',
                {"process_log", "process_interval"},
                {"process_log", "process_interval"},
            ),
            (
                '    username: Mapped[String | None] = mapped_column(\n        doc="Its real',
                '    shell: Mapped[String | None] = mapped_column(doc="Made up. NULL: not known.")',
                {"process_log"},
                {"process_log", "process_interval"},  # the table is made anew without the column
            ),
            (
                "class ProcessSample(Base)",
                'Host.__table__.append_constraint(UniqueConstraint("id", "name"))\n\n',
                set(VIEWS),
                set(VIEWS),
            ),
        ],
        ids=["a column of process_sample", "a column of process", "a table made anew"],
    )
    def test_makes_those_views_anew_that_change_or_whose_table_does(
        self,
        path: str,
        tmp_path: Path,
        alembic: Callable[..., str],
        before: str,
        line: str,
        up: set[str],
        down: set[str],
    ) -> None:
        alembic("upgrade", "head")
        of_today = schema_of(path)
        _insert_line(tmp_path / "clone/perftrack/storage/models.py", before, line)
        alembic("revision", "--autogenerate", "-m", "later")
        (written,) = (tmp_path / "clone/migrations/versions").glob(f"{NEXT}_*.py")
        text = written.read_text()
        for found, expected in zip(text.split("def downgrade"), (up, down), strict=True):
            assert set(re.findall(r"DROP VIEW (\w+)", found)) == expected
            assert set(re.findall(r"CREATE VIEW (\w+)", found)) == expected
        expression = re.compile(r" +(\w+\(|CASE |ELSE |AND |\d|later\.|WHERE )")
        assert [one for one in text.splitlines() if len(one) > 120 and not expression.match(one)] == []
        alembic("upgrade", "head")
        assert revision(path) == NEXT
        of_later = schema_of(path)
        assert of_later != of_today
        alembic("downgrade", "-1")
        assert schema_of(path) == of_today
        alembic("upgrade", "head")
        assert schema_of(path) == of_later


def schema_of(path: str) -> set[Any]:
    """Return the views, and the columns and indexes of each table, whatever their order."""
    columns = (
        "SELECT m.name, c.name, c.type, c.'notnull', c.pk FROM sqlite_master AS m, pragma_table_xinfo(m.name) AS c"
    )
    indexes = "SELECT m.name, i.name, i.'unique' FROM sqlite_master AS m, pragma_index_list(m.name) AS i"
    options = "SELECT name, wr, strict FROM pragma_table_list"
    views = "SELECT name, sql FROM sqlite_master WHERE type = 'view'"
    return {row for sql in (columns, indexes, options, views) for row in query(path, sql)}


def _insert_line(file: Path, before: str, line: str) -> None:
    text = file.read_text()
    assert text.count(before) == 1
    file.write_text(text.replace(before, f"{line}\n{before}"))
