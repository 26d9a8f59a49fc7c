"""Upgrading a database that holds rows: killed anywhere, on a full disk, and through tables that are made anew."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from conftest import process_row, query, sample
from faulty import CALLS, Place, calls, strace
from sqlalchemy import event

from perftrack.storage import insertion, opening, schema, tick_sql

pytestmark = [pytest.mark.faults, pytest.mark.skipif(sys.platform != "linux", reason="strace, tmpfs")]
ROWS = 40
# A later release: it makes both parents of process_sample anew, as Alembic's batch mode does.
LATER = """
from alembic import op
import sqlalchemy as sa
revision, down_revision = "9000", {head!r}

def upgrade():
    views = op.get_bind().exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'view'").all()
    for name, _ in views:
        op.execute(f"DROP VIEW {{name}}")
    with op.batch_alter_table("system_sample", recreate="always") as table:
        table.add_column(sa.Column("temperature", sa.Float()))
    with op.batch_alter_table("process", recreate="always") as table:
        table.alter_column("ppid", new_column_name="parent_pid")
    op.execute("UPDATE host SET name = name || '!'")
    for _, sql in views:
        op.execute(sql.replace("process.ppid", "process.parent_pid"))

def downgrade():
    pass
"""
PROGRAM = """
import os, pathlib, signal, sys
import sqlalchemy
from perftrack.errors import PerftrackError
from perftrack.storage import opening, schema, tick_sql
schema.migrations_folder = lambda: pathlib.Path({migrations!r})
tick_sql.REVISION = "9000"
left = int(os.environ.get("DIE_AT", "-1"))

@sqlalchemy.event.listens_for(sqlalchemy.Engine, "after_cursor_execute")
def count(_connection, _cursor, statement, *_):
    global left
    left -= not statement.lstrip().startswith(("SELECT", "PRAGMA"))  # which change nothing
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

try:
    opening.open_current(sys.argv[1]).close()
except PerftrackError as error:
    sys.exit(f"perftrack: {{error}}")
"""


class Release(Place):
    """A database of this release with rows in every table, and the program of a later one."""

    def __init__(self, folder: Path, programs: Path) -> None:
        super().__init__(folder, 1)
        migrations = programs / "migrations"
        shutil.copytree(schema.migrations_folder(), migrations)
        (migrations / "versions" / "9000_later.py").write_text(LATER.format(head=tick_sql.REVISION))
        program = programs / "later.py"
        program.write_text(textwrap.dedent(PROGRAM).format(migrations=str(migrations)))
        self.command = [sys.executable, "-B", str(program), self.path]
        with closing(opening.open_current(self.path)) as connection:
            for number in range(ROWS):
                row = process_row(pid=number, command="x" * 500)
                insertion.insert_sample(
                    connection, sample(row, taken_at=f"2026-11-20 12:{number:02d}:00.000000", uptime_seconds=number)
                )
        self.save()

    def upgrade(self, *before: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self.env |= variables
        try:
            return self.run(*before, command=self.command)
        finally:
            for name in variables:
                del self.env[name]

    def revision(self) -> str:
        """Return the revision, having made sure that everything is as it is at that one, and nothing is lost."""
        (found,) = query(self.path, "SELECT version_num FROM alembic_version")
        assert self.samples() == ROWS
        columns = query(self.path, "SELECT name FROM pragma_table_info('system_sample')")
        at_new = (["here!"], True, "parent_pid")
        at_old = (["here"], False, "ppid")
        process = query(self.path, "SELECT name FROM pragma_table_info('process')")
        state: tuple[Any, ...] = (
            query(self.path, "SELECT name FROM host"),
            "temperature" in columns,
            next(name for name in process if "p" in name and name.endswith("pid") and name != "pid"),
        )
        assert state == (at_new if found == "9000" else at_old)
        assert query(self.path, "SELECT count(*) FROM process_log") == [ROWS]
        assert query(self.path, "SELECT name FROM sqlite_master WHERE name LIKE '_alembic_tmp%'") == []
        return str(found)

    def judge_upgrade(self, done: subprocess.CompletedProcess[str]) -> None:
        assert "Traceback" not in done.stderr, done.stderr
        assert self.revision() == "9000" or done.returncode != 0
        assert self.revision() in {"9000", tick_sql.REVISION}
        again = self.upgrade()
        assert (again.returncode, again.stderr) == (0, "")
        assert self.revision() == "9000"


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path, tmp_path)


def test_an_upgrade_keeps_every_row_and_a_private_copy_of_what_was(release: Release) -> None:
    assert release.upgrade().returncode == 0
    assert release.revision() == "9000"
    copy = f"{release.path}.before-upgrade-from-{tick_sql.REVISION}"
    assert sorted(os.listdir(release.folder)) == [os.path.basename(release.path), os.path.basename(copy)]
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
    release.path = copy
    assert release.revision() == tick_sql.REVISION


def every_revision() -> list[str]:
    scripts = ScriptDirectory.from_config(schema.alembic_config()).walk_revisions()
    return sorted(script.revision for script in scripts)


@pytest.mark.parametrize("old", every_revision())
def test_from_every_revision_with_rows_in_every_table(path: str, old: str) -> None:
    with schema.migrating(path) as connection:
        config = schema.alembic_config()
        config.attributes["connection"] = connection
        schema.command.upgrade(config, old)
    rows_before = fill_every_table(path)
    assert rows_before.keys() >= {"host", "boot", "system_sample", "process", "name_filter", "process_sample"}
    schema.upgrade(path)
    assert query(path, "SELECT version_num FROM alembic_version") == [tick_sql.REVISION]
    assert query(path, "PRAGMA integrity_check") == ["ok"]
    assert query(path, "PRAGMA foreign_key_check") == []
    for table, rows in rows_before.items():
        with closing(sqlite3.connect(path)) as opened:
            opened.row_factory = sqlite3.Row
            after = [dict(row) for row in opened.execute(f"SELECT * FROM {table}")]
        assert [{name: row[name] for name in before} for row, before in zip(after, rows, strict=True)] == rows
    for view in query(path, "SELECT name FROM sqlite_master WHERE type = 'view'"):
        query(path, f"SELECT * FROM {view}")


def fill_every_table(path: str) -> dict[str, list[dict[str, Any]]]:
    """Put three rows into each table, of whatever columns there are at its revision, and return them; no others."""
    tables = query(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'alembic_version'")
    filled: dict[str, list[dict[str, Any]]] = {}
    with closing(sqlite3.connect(path)) as opened, opened:
        for table in tables:
            filled[table] = []
            opened.execute(f"DELETE FROM {table}")
            for number in (1, 2, 3):
                row = {}
                for _, name, kind, *_ in opened.execute(f"PRAGMA table_info({table})"):
                    instant = f"2026-11-20 12:00:0{number}.000000"
                    row[name] = {"DATETIME": instant, "TEXT": f"text {number}", "FLOAT": number / 3}.get(kind, number)
                marks = ", ".join(f":{name}" for name in row)
                opened.execute(f"INSERT INTO {table} VALUES ({marks})", row)
                filled[table].append(row)
    return filled


def test_killed_after_each_statement(release: Release) -> None:
    number = 0
    while True:
        number += 1
        release.restore()
        done = release.upgrade(DIE_AT=str(number))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        release.judge_upgrade(done)
    assert number > 12


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC"])
def test_a_fault_at_calls_that_change_a_file(release: Release, tmp_path: Path, fault: str) -> None:
    """At every sync and change of names, and at every eighth write of a page."""
    trace = tmp_path / "trace"
    release.upgrade("strace", "-f", "-o", str(trace), "-e", f"trace={CALLS}")
    points = [point for point in calls(trace) if point[0] != "pwrite64" or point[1] % 16 == 0]
    assert len(points) > 15
    for name, number in points:
        release.restore()
        done = release.upgrade(*strace("-e", f"trace={name}", "-e", f"inject={name}:{fault}:when={number}"))
        release.judge_upgrade(done)


def test_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        release = Release(folder, tmp_path)
        codes = []
        for kib in range(0, 800, 40):
            release.restore()
            disk = os.statvfs(folder)
            (folder / "filler").write_bytes(b"x" * (disk.f_bavail * disk.f_frsize - kib * 1024))
            done = release.upgrade()
            os.unlink(folder / "filler")
            codes.append(done.returncode)
            release.judge_upgrade(done)
        assert (codes[0], codes[-1]) == (1, 0)
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def test_eight_at_once(release: Release) -> None:
    started = [
        subprocess.Popen(release.command, env=release.env, stderr=subprocess.PIPE, text=True) for _ in range(8)
    ]
    assert [(process.communicate(timeout=120)[1], process.returncode) for process in started] == [("", 0)] * 8
    assert release.revision() == "9000"


def test_with_foreign_keys_on_the_same_upgrade_would_lose_rows() -> None:
    """The control, on a schema that deletes children with their parents: what switching them off is for."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE child (parent_id REFERENCES parent (id) ON DELETE CASCADE)")
        connection.execute("INSERT INTO parent VALUES (1)")
        connection.execute("INSERT INTO child VALUES (1)")
        connection.execute("DROP TABLE parent")
        assert connection.execute("SELECT count(*) FROM child").fetchone() == (0,)


@pytest.mark.parametrize(
    ("statement", "copied"),
    [
        ("CREATE TABLE more (id INTEGER)", False),
        ("ALTER TABLE host ADD COLUMN more TEXT", False),
        ("DROP VIEW process_log", False),
        ("UPDATE alembic_version SET version_num = version_num", False),
        ("CREATE INDEX more ON process (name)", False),
        ("UPDATE host SET name = 'x'", True),
        ("WITH chosen AS (SELECT 1 AS id) DELETE FROM boot WHERE id IN (SELECT 0 FROM chosen)", True),
        ("INSERT INTO host (name) VALUES ('more')", True),
        ("DELETE FROM process_sample WHERE 0", True),
        ("ALTER TABLE process DROP COLUMN command", True),
        ("drop table process_sample", True),
    ],
)
def test_rows_are_copied_and_counted_before_what_could_lose_one_only(
    release: Release, statement: str, copied: bool
) -> None:
    seen = []
    with schema.migrating(release.path) as connection:
        event.listen(connection, "before_cursor_execute", lambda *arguments: seen.append(arguments[2]))
        if "COLUMN command" in statement:
            for view in query(release.path, "SELECT name FROM sqlite_master WHERE type = 'view'"):
                connection.exec_driver_sql(f"DROP VIEW {view}")
        connection.exec_driver_sql(statement)
    assert os.path.exists(f"{release.path}.before-upgrade-from-{tick_sql.REVISION}") == copied
    assert ("PRAGMA foreign_key_check" in seen) == copied
    assert any("count(*)" in sql and "process_sample" in sql for sql in seen) == copied


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("INSERT INTO boot (host_id, key) VALUES (77, 'nowhere')", "a row of boot refers to nothing"),
        ("DELETE FROM process_sample WHERE sample_id = 1", "upgrading would lose rows of process_sample"),
    ],
)
def test_an_upgrade_that_loses_something_is_undone(release: Release, statement: str, why: str) -> None:
    with (
        pytest.raises(Exception, match=f"{why}; nothing was changed"),
        schema.migrating(release.path) as connection,
    ):
        connection.exec_driver_sql(statement)
    assert release.revision() == tick_sql.REVISION


def test_without_room_for_the_copy_there_is_no_upgrade(release: Release) -> None:
    os.mkdir(f"{release.path}.before-upgrade-from-{tick_sql.REVISION}.new")
    done = release.upgrade()
    assert done.returncode == 1
    assert done.stderr.startswith(f"perftrack: database {release.path} is not upgraded, for no copy of it could be")
    assert release.revision() == tick_sql.REVISION
