"""A copy of the database takes its place: it is read, recorded into, and made what ours are, with a line about it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Run, process_row, query, sample

from perftrack.errors import BusyError
from perftrack.storage import insertion, opening, sqlite_file
from perftrack.storage.snapshot import snapshot

SHELL = shutil.which("sqlite3")


def shell(*arguments: str, **options: object) -> str:
    assert SHELL is not None
    return subprocess.run([SHELL, *arguments], check=True, capture_output=True, text=True, **options).stdout


# Each makes a copy at the second path.
WAYS: dict[str, Callable[[str, str], object]] = {
    "cp": shutil.copyfile,
    "VACUUM INTO": lambda path, copy: query(path, f"VACUUM INTO '{copy}'"),
    ".backup": lambda path, copy: shell(path, f".backup '{copy}'"),
    ".dump": lambda path, copy: shell(copy, input=shell(path, ".dump")),
}


@pytest.mark.skipif(SHELL is None, reason="the sqlite3 shell is not installed")
@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
class TestACopy:
    @pytest.fixture(params=WAYS)
    def restored(self, path: str, connection: sqlite3.Connection, request: pytest.FixtureRequest) -> str:
        """How the copy was made that is in the place of a database of one sample."""
        insertion.insert_sample(connection, sample(process_row()))
        connection.close()
        WAYS[request.param](path, f"{path}.copy")
        os.chmod(f"{path}.copy", 0o644)  # as it is with the usual umask
        os.replace(f"{path}.copy", path)
        return str(request.param)

    @staticmethod
    def is_as_ours_are(path: str) -> bool:
        found = (
            stat.S_IMODE(os.stat(path).st_mode),
            query(path, "PRAGMA journal_mode"),
            query(path, "PRAGMA application_id"),
        )
        return found == (0o600, ["wal"], [sqlite_file.APPLICATION_ID])

    @pytest.mark.parametrize("command", [["record"], ["database", "upgrade"]], ids=" ".join)
    def test_becomes_what_ours_are_with_one_line(
        self, perftrack: Run, path: str, restored: str, command: list[str]
    ) -> None:
        done = [perftrack(*command).stderr for _ in range(2)]
        what = "private (0600)" if restored in {"cp", ".backup"} else "private (0600) and in WAL mode"
        assert done == [f"perftrack: database {path} was restored from a copy, it seems: it is {what} again\n", ""]
        assert self.is_as_ours_are(path)
        assert query(path, "SELECT count(*) FROM system_sample") == [3 if command == ["record"] else 1]
        assert query(path, "PRAGMA integrity_check") == ["ok"]
        assert os.listdir(os.path.dirname(path)) == ["perftrack.db"]

    @pytest.mark.usefixtures("restored")
    def test_is_read_before(self, perftrack: Run, path: str) -> None:
        before = Path(path).read_bytes()
        assert "python3" in perftrack("export", "--process-csv", "-").stdout
        assert Path(path).read_bytes() == before


def test_a_new_database_is_no_copy(perftrack: Run, path: str) -> None:
    """Also where a first run was killed, or met a full disk, before it had written anything."""
    os.makedirs(os.path.dirname(path))
    Path(path).touch(mode=0o600)
    assert perftrack("record").stderr == ""
    assert query(path, "PRAGMA journal_mode") == ["wal"]


def test_another_programs_tables_of_our_names_are_not_ours(perftrack: Run, path: str, tmp_path: Path) -> None:
    perftrack("record")
    query(path, "PRAGMA application_id = 7")
    before = Path(path).read_bytes()
    assert "another program" in perftrack("record", expect=1, env={"XDG_DATA_HOME": str(tmp_path)}).stderr
    assert Path(path).read_bytes() == before


class TestAReadOnlyDisk:
    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
        """A disk, and what makes it read-only."""
        folder = tmp_path / "disk"
        folder.mkdir()
        if sys.platform != "linux" or shutil.which("mount") is None:
            pytest.skip("tmpfs is Linux's")
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if made.returncode:
            pytest.skip(f"mounting is not allowed here: {made.stderr.strip()}")
        yield folder, lambda: subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        subprocess.run(["umount", "-l", str(folder)], check=True)

    def test_is_read(self, perftrack: Run, disk: tuple[Path, Callable[[], None]]) -> None:
        database = str(disk[0] / "perftrack.db")
        perftrack("record", "--database", database)
        disk[1]()
        assert len(perftrack("export", "--system-csv", "-", "--database", database).stdout.splitlines()) == 2
        assert "revision" in perftrack("status", "--database", database).stdout

    @pytest.mark.parametrize("beside", [["-wal"], ["-wal", "-shm"]])
    def test_is_read_with_its_log_or_not_at_all(
        self, perftrack: Run, path: str, disk: tuple[Path, Callable[[], None]], beside: list[str]
    ) -> None:
        """Without it the newest samples would be missing in silence."""
        database = str(disk[0] / "perftrack.db")
        connection = opening.open_current(path)
        insertion.insert_sample(connection, sample())
        for suffix in ("", *beside):
            shutil.copy(f"{path}{suffix}", f"{database}{suffix}")
        connection.close()
        disk[1]()
        arguments = ("export", "--system-csv", "-", "--database", database)
        if len(beside) == 2:
            assert len(perftrack(*arguments).stdout.splitlines()) == 2
        else:
            done = perftrack(*arguments, expect=1)
            assert f"its newest samples are in {database}-wal: copy both into a folder of your own" in done.stderr
            assert done.stderr.count("\n") == 1

    @pytest.mark.usefixtures("connection")
    def test_that_is_none_is_told_when_it_was_written_meanwhile(
        self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A folder that this user cannot write to is another's, who may."""
        copy = tmp_path / "perftrack.db"
        query(path, f"VACUUM INTO '{copy}'")
        monkeypatch.setattr(os, "access", lambda path, mode: False)

        def read_while_it_is_written() -> None:
            with snapshot(str(copy)) as reader:
                assert reader.exec_driver_sql("SELECT count(*) FROM host").scalar() == 0
                query(copy, "INSERT INTO host (name) VALUES ('new')")

        with pytest.raises(BusyError, match="was written while it was read; try again"):
            read_while_it_is_written()
