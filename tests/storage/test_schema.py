"""Creating and upgrading the database: private, in one transaction, by whoever comes first; never somebody else's."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from conftest import LEGACY, REPOSITORY, Run, process_row, query, sample

from perftrack.errors import BusyError, PerftrackError
from perftrack.storage import insertion, opening, schema, sqlite_file, tick_sql
from perftrack.storage.engine import engine_for
from perftrack.storage.intervals import VIEWS
from perftrack.storage.models import Base
from perftrack.storage.opening import current_engine

TABLES = {
    *("source", "host", "recorder", "boot", "device_set", "name_filter"),
    *("cgroup", "process", "system_sample", "cgroup_sample", "process_sample"),
}


def revision(path: str) -> str:
    return str(query(path, "SELECT version_num FROM alembic_version")[0])


class TestTheSchema:
    @pytest.mark.usefixtures("connection")
    def test_of_the_migrations_is_that_of_the_models(self, path: str) -> None:
        with current_engine(path).connect() as reader:
            context = MigrationContext.configure(reader, opts={"include_object": _is_no_view})
            assert compare_metadata(context, Base.metadata) == []

    def test_has_the_views_of_views_py(self, connection: sqlite3.Connection) -> None:
        stored = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'"))
        expected = {name: view.info["sql"] for name, view in VIEWS.items()}
        assert {name: sql.strip() for name, sql in stored.items()} == expected

    def test_is_described_column_by_column(self) -> None:
        columns = [column for table in Base.metadata.sorted_tables for column in table.columns]
        assert {table.name for table in Base.metadata.sorted_tables} == TABLES
        for column in columns:
            assert column.doc, column
            assert column.info.get("unit"), column
            assert not column.nullable or "NULL" in column.doc, f"{column}: what does NULL mean?"

    def test_is_recognised_by_file1(self, connection: sqlite3.Connection) -> None:
        assert connection.execute("PRAGMA application_id").fetchone() == (sqlite_file.APPLICATION_ID,)


def _is_no_view(_object: object, name: str | None, kind: str, _reflected: bool, _compared: object) -> bool:
    return not (kind == "table" and name in VIEWS)


class TestTheConnection:
    @pytest.mark.parametrize(
        ("pragma", "value"),
        [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 30000)],
    )
    def test_has(self, connection: sqlite3.Connection, pragma: str, value: object) -> None:
        assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)

    @pytest.mark.usefixtures("connection")
    def test_of_sqlalchemy_has_the_same(self, path: str) -> None:
        with engine_for(path, write=True).connect() as writer:
            found = [writer.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "foreign_keys")]
        assert found == [2, 1]

    def test_that_writes_takes_the_lock_at_once(self, connection: sqlite3.Connection, path: str) -> None:
        with engine_for(path, write=True).begin():
            connection.execute("PRAGMA busy_timeout = 0")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                insertion.insert_sample(connection, sample())
        insertion.insert_sample(connection, sample())

    def test_that_reads_cannot_write(self, path: str, connection: sqlite3.Connection) -> None:
        assert connection
        with current_engine(path).connect() as reader, pytest.raises(Exception, match="readonly"):
            reader.exec_driver_sql("DELETE FROM host")

    @pytest.mark.parametrize(
        "arguments", [["record"], ["record", "--every", "0.1s", "--count", "2"], ["database", "vacuum"], ["top"]]
    )
    def test_leaves_the_log_of_a_crash_where_the_beginning_of_the_database_is_gone(
        self, perftrack: Run, path: str, arguments: list[str]
    ) -> None:
        """SQLite itself deletes it, when it closes what it has found to be no database."""
        perftrack("record")
        with closing(sqlite3.connect(path)) as crashing:
            crashing.execute("CREATE TABLE further (value)")
            log = Path(f"{path}-wal").read_bytes()
        Path(f"{path}-wal").write_bytes(log)
        with open(path, "r+b") as file:
            file.write(b"overwritten by accident")
        assert "not a SQLite database" in perftrack(*arguments, expect=1).stderr
        assert Path(f"{path}-wal").read_bytes() == log


class TestCreating:
    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
    def test_is_private_whatever_the_umask(self, tmp_path: Path, umask: int) -> None:
        path = tmp_path / "one" / "two" / "perftrack.db"
        before = os.umask(umask)
        try:
            connection = opening.open_current(str(path))
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO host (name) VALUES ('x')")
            connection.execute("COMMIT")
            modes = {
                str(found.relative_to(tmp_path)): stat.S_IMODE(found.stat().st_mode)
                for found in (tmp_path / "one", *(tmp_path / "one").rglob("*"))
            }
            connection.close()
        finally:
            os.umask(before)
        assert modes == {
            "one": 0o700,
            "one/two": 0o700,
            "one/two/perftrack.db": 0o600,
            "one/two/perftrack.db-wal": 0o600,
            "one/two/perftrack.db-shm": 0o600,
        }

    def test_leaves_nothing_else_behind(self, path: str) -> None:
        opening.open_current(path).close()
        assert os.listdir(os.path.dirname(path)) == ["perftrack.db"]

    def test_keeps_the_permissions_of_a_folder_that_is_there(self, tmp_path: Path) -> None:
        folder = tmp_path / "shared"
        folder.mkdir()
        folder.chmod(0o755)
        opening.open_current(str(folder / "perftrack.db")).close()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755

    def test_by_eight_at_once_gives_one_database(self, path: str) -> None:
        command = [sys.executable, "-m", "perftrack", "record"]
        env = {**os.environ, "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"}
        started = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(8)]
        results = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
        assert results == [("", 0)] * 8
        assert query(path, "SELECT count(*) FROM system_sample") == [8]
        assert query(path, "SELECT count(*) FROM host") == [1]
        assert query(path, "PRAGMA journal_mode") == ["wal"]
        assert os.listdir(os.path.dirname(path)) == ["perftrack.db"]

    def test_goes_on_while_another_first_run_does_the_same(self, path: str) -> None:
        """Of two that switch to WAL mode at once, SQLite refuses one, although it was told to wait."""
        os.makedirs(os.path.dirname(path))
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            opening_it = pool.submit(lambda: opening.open_current(path).close())
            time.sleep(0.5)
            assert not opening_it.done()
            other.execute("ROLLBACK")
            opening_it.result(timeout=30)
        other.close()
        assert query(path, "PRAGMA journal_mode") == ["wal"]
        assert revision(path) == tick_sql.REVISION

    def test_does_not_wait_for_it_for_ever(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.05)
        os.makedirs(os.path.dirname(path))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(BusyError, match="locked by another program; try again later"):
                opening.open_current(path)

    def test_never_replaces_a_file_that_came_in_between(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        make_folder = schema.make_folder
        precious = b"no database at all" * 100
        monkeypatch.setattr(schema, "make_folder", lambda name: (make_folder(name), Path(path).write_bytes(precious)))
        with pytest.raises(PerftrackError, match="it is not a SQLite database"):
            opening.open_current(path)
        assert Path(path).read_bytes() == precious

    def test_never_takes_the_log_of_another_for_its_own(self, perftrack: Run, path: str) -> None:
        opened = opening.open_current(path)
        insertion.insert_sample(opened, sample())
        os.rename(path, f"{path}.moved")  # and its -wal stays, with the sample in it
        done = perftrack("record", expect=1)
        assert f"{path}-wal is still there" in done.stderr
        assert not os.path.exists(path)
        opened.close()

    @pytest.mark.parametrize("command", [["record"], ["export"], ["status"], ["database", "upgrade"]])
    def test_never_loses_the_log_of_a_database_that_was_emptied(
        self, perftrack: Run, path: str, command: list[str]
    ) -> None:
        """SQLite itself would delete it."""
        os.makedirs(os.path.dirname(path))
        Path(path).touch()
        Path(f"{path}-wal").write_text("samples")
        done = perftrack(*command, expect=1)
        assert f"database {path} is empty, but {path}-wal is still there" in done.stderr
        assert done.stderr.count("\n") == 1
        assert os.path.getsize(path) == 0
        assert Path(f"{path}-wal").read_text() == "samples"

    @pytest.mark.parametrize("mode", [0o644, 0o600])
    @pytest.mark.parametrize("switched", [False, True], ids=["0 bytes", "a database without tables"])
    def test_goes_on_where_a_first_run_was_killed(self, perftrack: Run, path: str, switched: bool, mode: int) -> None:
        """And what somebody else made, as `sqlite3` does, becomes private."""
        os.makedirs(os.path.dirname(path))
        Path(path).touch()
        os.chmod(path, mode)
        if switched:
            assert query(path, "PRAGMA journal_mode=WAL") == ["wal"]
        before = Path(path).read_bytes()
        assert bool(before) == switched
        for command in ("export", "top", "status"):
            done = perftrack(command, expect=1)
            assert done.stderr.startswith(f"perftrack: database {path} is empty: `perftrack record` fills it")
            assert done.stderr.count("\n") == 1
        assert Path(path).read_bytes() == before
        perftrack("record")
        assert query(path, "SELECT count(*) FROM system_sample") == [1]
        assert query(path, "PRAGMA journal_mode") == ["wal"]
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert os.listdir(os.path.dirname(path)) == ["perftrack.db"]

    def test_takes_a_relative_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ("perftrack.db", "new/folder/perftrack.db"):
            opening.open_current(name).close()
            with current_engine(name).connect() as reader:
                assert reader.exec_driver_sql("SELECT count(*) FROM system_sample").scalar() == 0
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600

    def test_takes_a_relative_path_on_the_command_line(self, perftrack: Run, tmp_path: Path) -> None:
        here = str(tmp_path / "work")
        for command in (["record"], ["database", "upgrade"], ["import", str(LEGACY / "data.pik")], ["top"]):
            perftrack(*command, "--database", "own.db", cwd=here)
        assert query(tmp_path / "work" / "own.db", "SELECT count(*) > 1 FROM system_sample") == [1]

    def test_where_it_is_not_allowed_says_so(self, perftrack: Run, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        target = str(tmp_path / "file" / "perftrack.db")
        done = perftrack("record", expect=1, env={"PERFTRACK_DATABASE": target})
        assert done.stderr.startswith(f"perftrack: database {target} cannot be created: Not a directory; ")
        assert len(done.stderr.splitlines()) == 1


class TestRefusing:
    """What is not ours, or not of our time, stays as it is."""

    @staticmethod
    def refused(perftrack: Run, path: str, *says: str) -> None:
        before = Path(path).read_bytes()
        for arguments in (["record"], ["export"], ["database", "upgrade"], ["import", "/dev/null"]):
            done = perftrack(*arguments, expect=1)
            assert len(done.stderr.splitlines()) == 1
            if arguments[0] != "import":
                assert all(part in done.stderr for part in (path, *says)), done.stderr
        assert Path(path).read_bytes() == before

    def test_a_newer_database(self, perftrack: Run, path: str, connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.close()
        self.refused(perftrack, path, "newer perftrack", "9999", tick_sql.REVISION, "upgrade perftrack")

    def test_another_programs_database(self, perftrack: Run, path: str) -> None:
        os.makedirs(os.path.dirname(path))
        query(path, "CREATE TABLE bookmarks (url TEXT)")
        self.refused(perftrack, path, "another program")

    @pytest.mark.parametrize("revision", ["3f2a", tick_sql.REVISION])
    def test_another_programs_database_that_uses_alembic_too(self, perftrack: Run, path: str, revision: str) -> None:
        os.makedirs(os.path.dirname(path))
        query(path, "CREATE TABLE alembic_version (version_num TEXT)")
        query(path, f"INSERT INTO alembic_version VALUES ('{revision}')")
        self.refused(perftrack, path, "another program")

    def test_what_is_no_database(self, perftrack: Run, path: str) -> None:
        os.makedirs(os.path.dirname(path))
        Path(path).write_bytes(b"not a database at all" * 100)
        self.refused(perftrack, path, "not a SQLite database")

    def test_a_folder(self, perftrack: Run, path: str) -> None:
        os.makedirs(path)
        done = perftrack("record", expect=1)
        assert done.stderr.startswith(f"perftrack: database {path}: ")
        assert os.listdir(path) == []

    def test_a_locked_database_can_be_tried_again(
        self, path: str, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.05)
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match="locked by another program; try again later") as error:
            schema.upgrade(path)
        assert error.value.exit_code == 75


# A second revision that this perftrack does not have: what a later release will bring.
NEXT = f"{int(tick_sql.REVISION) + 1:04d}"
LATER = f'''
"""A later release."""
import os, signal
from alembic import op
import sqlalchemy as sa
revision, down_revision = "{NEXT}", "{tick_sql.REVISION}"

def upgrade():
    op.add_column("system_sample", sa.Column("temperature", sa.Float()))
    op.create_table("later", sa.Column("id", sa.Integer(), primary_key=True))
    if os.environ.get("DIE"):
        os.kill(os.getpid(), signal.SIGKILL)
    op.execute("UPDATE host SET name = name || '!'")

def downgrade():
    pass
'''


@pytest.fixture
def later_release(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run one upgrade as a later release does, in a process of its own."""
    migrations = tmp_path / "migrations"
    shutil.copytree(schema.migrations_folder(), migrations)
    (migrations / "versions" / f"{NEXT}_later.py").write_text(LATER)
    program = tmp_path / "later.py"
    program.write_text(
        textwrap.dedent(f"""
        import pathlib, sys
        from perftrack.storage import opening, schema, tick_sql
        schema.migrations_folder = lambda: pathlib.Path({str(migrations)!r})
        tick_sql.REVISION = {NEXT!r}
        opening.open_current(sys.argv[1]).close()
        """)
    )

    def run(path: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(program), path]
        return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)

    return run


LaterRelease = Callable[..., "subprocess.CompletedProcess[str]"]


class TestUpgrading:
    @pytest.fixture(autouse=True)
    def of_today(self, connection: sqlite3.Connection) -> None:
        """A database of this release, with a row in every table."""
        insertion.insert_sample(connection, sample(process_row()))
        connection.close()

    def test_happens_by_itself(self, path: str, later_release: LaterRelease) -> None:
        assert later_release(path).returncode == 0
        assert revision(path) == NEXT
        assert query(path, "SELECT name FROM host") == ["here!"]
        assert query(path, "SELECT count(*) FROM process_log") == [1]

    def test_killed_in_the_middle_leaves_the_old_revision_and_the_next_one_goes_on(
        self, path: str, later_release: LaterRelease
    ) -> None:
        for _ in range(3):
            assert later_release(path, DIE="1").returncode == -signal.SIGKILL
            tables = query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")
            assert set(tables) == TABLES | {"alembic_version"}
            assert query(path, "SELECT name FROM host") == ["here"]
            assert query(path, "PRAGMA integrity_check") == ["ok"]
            assert revision(path) == tick_sql.REVISION
        assert later_release(path).returncode == 0
        assert revision(path) == NEXT

    def test_with_alembics_default_transaction_would_be_wedged(self, path: str, tmp_path: Path) -> None:
        """The control: the same kill, through Alembic's own env.py template, and no later run gets past it."""
        migrations = tmp_path / "default"
        shutil.copytree(schema.migrations_folder(), migrations)
        (migrations / "versions" / f"{NEXT}_later.py").write_text(LATER)
        template = Path(schema.command.__file__).parent / "templates" / "generic" / "env.py"
        shutil.copy(template, migrations / "env.py")
        ini = tmp_path / "default.ini"
        logging = (REPOSITORY / "alembic.ini").read_text().partition("[loggers]")[2]
        ini.write_text(
            f"[alembic]\nscript_location = {migrations}\nsqlalchemy.url = sqlite:///{path}\n[loggers]{logging}"
        )
        command = [sys.executable, "-m", "alembic", "-c", str(ini), "upgrade", "head"]
        killed = subprocess.run(command, env={**os.environ, "DIE": "1"}, capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        assert again.returncode == 1
        assert "duplicate column name" in again.stderr

    @pytest.mark.slow
    def test_by_eight_at_once(self, path: str, tmp_path: Path, later_release: LaterRelease) -> None:
        later_release(path, DIE="1")
        command = [sys.executable, str(tmp_path / "later.py"), path]
        started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(8)]
        assert [(process.communicate(timeout=60)[1], process.returncode) for process in started] == [("", 0)] * 8
        assert query(path, "SELECT name FROM host") == ["here!"]

    def test_does_not_happen_by_reading(self, perftrack: Run, path: str) -> None:
        os.unlink(path)
        with schema.migrating(path) as migration:
            config = schema.alembic_config()
            config.attributes["connection"] = migration
            schema.command.upgrade(config, "0001")
        before = Path(path).read_bytes()
        for command in ("export", "top", "report", "status", "plot"):
            done = perftrack(command, expect=1)
            assert done.stderr == (
                f"perftrack: database {path} is of an older perftrack: `perftrack database upgrade` brings it up to "
                "date, and so does `perftrack record`\n"
            )
        assert Path(path).read_bytes() == before
        perftrack("database", "upgrade")
        assert len(perftrack("export", "--system-csv", "-").stdout.splitlines()) == 1

    def test_is_undone_when_it_leaves_a_row_that_refers_to_nothing(self, path: str) -> None:
        with pytest.raises(PerftrackError, match="refers to nothing"), schema.migrating(path) as migration:
            migration.exec_driver_sql("UPDATE process_sample SET process_id = 99")
        assert query(path, "SELECT process_id FROM process_sample") == [1]

    def test_is_refused_afterwards_by_this_release(self, path: str, later_release: LaterRelease) -> None:
        later_release(path)
        with pytest.raises(PerftrackError, match="written by a newer perftrack"):
            opening.open_current(path)
