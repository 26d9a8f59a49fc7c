"""`perftrack database vacuum`: the room of deleted rows goes back to the disk, and no sample is lost meanwhile."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Run, on_a_terminal, query
from upkept import as_another, beside, count, fill, is_sound, recording

from perftrack.errors import BusyError, PerftrackError
from perftrack.storage import pending, sqlite_file
from perftrack.upkeep.vacuum import vacuum


def without_most(path: str) -> int:
    """Delete most of what is in a database, and return its size, which stays."""
    fill(path, 100, 50)
    query(path, "DELETE FROM process_sample WHERE sample_id > 1")
    return os.path.getsize(path)


def test_gives_room_back_and_says_how_much(perftrack: Run, path: str) -> None:
    before = without_most(path)
    told = on_a_terminal("database", "vacuum", PERFTRACK_DATABASE=path)
    assert f"database {path} has " in told
    assert os.path.getsize(path) < before - 100_000
    assert is_sound(path)
    assert (count(path), query(path, "PRAGMA journal_mode")) == (100, ["wal"])
    assert query(path, "PRAGMA application_id") == [sqlite_file.APPLICATION_ID]
    assert beside(path) == ["perftrack.db"]
    done = perftrack("database", "vacuum")
    assert (done.stdout, done.stderr) == ("", "")


def test_while_it_records_no_sample_is_lost(path: str) -> None:
    without_most(path)
    with recording(path):
        done = [vacuum(path) for _ in range(5)]
    assert all(each.after <= each.before for each in done[:1])
    taken = query(path, "SELECT taken_at FROM system_sample WHERE recorder_id = 2 ORDER BY id")
    assert taken == sorted(set(taken))
    assert count(path) == 100 + len(taken)
    assert pending.count(path) == 0
    assert is_sound(path)


def test_says_that_somebody_reads(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes on seeing what was there when that began."""
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.1)
    without_most(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM host").fetchone()
        assert not vacuum(path).is_log_empty
        assert reader.execute("SELECT count(*) FROM system_sample").fetchone() == (100,)
    assert vacuum(path).is_log_empty


class TestIsRefused:
    def test_while_somebody_writes_for_too_long(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.1)
        fill(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            with pytest.raises(BusyError, match="try again later"):
                vacuum(path)

    @pytest.mark.skipif(sys.platform != "linux" or shutil.which("mount") is None, reason="tmpfs is Linux's")
    def test_where_there_is_no_room(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small = tmp_path / "small"
        small.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(small)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting is not allowed here")
        try:
            path = str(small / "perftrack.db")
            fill(path, 100, 50)
            for folder, times in ((tmp_path, 1), (small, 2)):
                monkeypatch.setenv("SQLITE_TMPDIR", str(folder))
                free = shutil.disk_usage(small).free
                (small / "large").write_bytes(b"x" * (free - times * os.path.getsize(path) + 50_000))
                with pytest.raises(PerftrackError, match=r"VACUUM needs .* of free disk space .*: make room"):
                    vacuum(path)
                os.unlink(small / "large")
            vacuum(path)
        finally:
            subprocess.run(["umount", "-l", str(small)], check=True)

    @pytest.mark.parametrize("sql", ["CREATE TABLE invoice (id)", "SELECT 1"])
    def test_what_is_no_database_of_ours(self, path: str, sql: str) -> None:
        os.makedirs(os.path.dirname(path))
        query(path, sql)
        with pytest.raises(PerftrackError, match=r"another program|is empty"):
            vacuum(path)

    @pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="only root can be another user")
    def test_to_who_may_not_write(self, path: str) -> None:
        fill(path)
        done = as_another(path, "database", "vacuum")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
