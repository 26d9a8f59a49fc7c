"""`perftrack database restore`: nothing is lost unasked, and whoever is killed leaves the old content or the new."""

from __future__ import annotations

import glob
import os
import random
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Run, on_a_terminal, query, until
from upkept import (
    COUNT,
    DAMAGES,
    as_another,
    beside,
    count,
    cut_off,
    dying,
    fill,
    is_sound,
    of_revision,
    overwritten_in_the_middle,
    recording,
    without_its_header,
)

from perftrack.cli import upkeep
from perftrack.errors import BusyError, PerftrackError, UnusableError, UsageError
from perftrack.storage import pending, sqlite_file, tick_sql
from perftrack.upkeep import copying
from perftrack.upkeep.backup import back_up
from perftrack.upkeep.restore import restore

KILLS = 60


@pytest.fixture
def backup(path: str, tmp_path: Path) -> str:
    """A backup of three samples, which the database still has."""
    fill(path, 3, 20)
    return back_up(path, str(tmp_path / "b.db")).path


def kept(path: str) -> list[str]:
    return sorted(glob.glob(f"{path}.before-restore-*"))


def everything(path: str) -> list[object]:
    tables = query(path, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [(name, query(path, f"SELECT * FROM {name}")) for name in tables]


class TestABackup:
    def test_takes_the_place_of_a_database_that_has_nothing_else(
        self, perftrack: Run, path: str, backup: str
    ) -> None:
        """Here one from which somebody has deleted something."""
        expected = everything(path)
        query(path, "DELETE FROM process_sample")
        query(path, "DELETE FROM system_sample WHERE id > 1")
        done = perftrack("database", "restore", backup)
        assert (done.stdout, done.stderr) == ("", "")
        assert everything(path) == expected
        assert is_sound(path)
        assert query(path, "PRAGMA journal_mode") == ["wal"]
        assert beside(path) == ["perftrack.db"]
        assert perftrack("record").stderr == ""

    def test_takes_the_place_of_one_that_is_gone(self, perftrack: Run, path: str, backup: str) -> None:
        shutil.rmtree(os.path.dirname(path))
        told = on_a_terminal("database", "restore", backup, PERFTRACK_DATABASE=path)
        assert "3 samples, the newest of 2026-11-20 12:03:00 UTC" in told
        assert count(path) == 3
        assert [stat.S_IMODE(os.stat(each).st_mode) for each in (path, os.path.dirname(path))] == [0o600, 0o700]
        assert perftrack("record").stderr == ""

    def test_of_an_older_perftrack_is_brought_up_to_date_first(self, path: str, tmp_path: Path) -> None:
        fill(path)
        older = str(tmp_path / "older.db")
        of_revision(older, "0003")
        query(older, "INSERT INTO host VALUES (1, 'old')")
        before = Path(older).read_bytes()
        query(path, "DELETE FROM process_sample")
        query(path, "DELETE FROM system_sample")
        restore(path, older)
        assert query(path, "SELECT version_num FROM alembic_version") == [tick_sql.REVISION]
        assert query(path, "SELECT name FROM host") == ["old"]
        assert Path(older).read_bytes() == before
        assert beside(path) == ["perftrack.db"]
        assert is_sound(path)

    def test_of_other_pages_is_taken_too(self, path: str, backup: str) -> None:
        with closing(sqlite3.connect(backup)) as connection:
            connection.executescript("PRAGMA page_size = 8192; VACUUM")
        assert query(backup, "PRAGMA page_size") == [8192]
        restore(path, backup)
        assert query(path, "PRAGMA page_size") == [4096]
        assert count(path) == 3

    @pytest.mark.parametrize("way", ["cp", "VACUUM INTO"])
    def test_may_be_another_copy(self, path: str, tmp_path: Path, way: str) -> None:
        fill(path)
        copy = str(tmp_path / "copy.db")
        shutil.copy(path, copy) if way == "cp" else query(path, f"VACUUM INTO '{copy}'")
        os.unlink(path)
        restore(path, copy)
        assert count(path) == 3


class TestIsRefused:
    def refused(self, path: str, file: str, says: str, *, force: bool = True) -> None:
        before = everything(path)
        with pytest.raises(PerftrackError, match=says):
            restore(path, file, force=force)
        assert everything(path) == before
        assert beside(path) == ["perftrack.db"]

    def test_where_samples_would_be_lost_and_says_which(self, perftrack: Run, path: str, backup: str) -> None:
        fill(path, 2, 3, after=7200)
        told = perftrack("database", "restore", backup, expect=1).stderr
        assert told == (
            f"perftrack: database {path} holds 2 samples that {backup} lacks, from 2026-11-20 14:00:00 to 2026-11-20 "
            "14:01:00 UTC: --force restores all the same, and keeps what is there beside it\n"
        )
        assert count(path) == 5
        forced = perftrack("database", "restore", "--force", backup).stderr
        (copy,) = kept(path)
        assert forced == f"perftrack: what was in database {path} is kept in {copy}\n"
        assert (count(path), count(copy)) == (3, 5)
        assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
        assert is_sound(copy)
        restore(path, copy)
        assert count(path) == 5

    def test_also_where_they_are_older_than_its_newest(self, path: str, backup: str) -> None:
        fill(path, 1, 3, after=90)
        self.refused(path, backup, "holds 1 sample that .* lacks, of 2026-11-20 12:01:30 UTC", force=False)

    @pytest.mark.parametrize("damage", [overwritten_in_the_middle, without_its_header, cut_off])
    def test_a_damaged_backup(self, path: str, backup: str, damage: Callable[[str], None]) -> None:
        damage(backup)
        self.refused(path, backup, "damaged|not a SQLite database")

    def test_a_backup_with_broken_keys(self, path: str, backup: str) -> None:
        query(backup, "DELETE FROM system_sample WHERE id = 1")
        self.refused(path, backup, "a row refers to nothing")

    def test_what_is_no_backup_of_ours(self, path: str, tmp_path: Path, backup: str) -> None:
        other = str(tmp_path / "other.db")
        self.refused(path, other, "does not exist")
        query(other, "SELECT 1")
        self.refused(path, other, "is empty")
        query(other, "CREATE TABLE invoice (id)")
        self.refused(path, other, "another program")
        query(backup, "UPDATE alembic_version SET version_num = 'zzzz'")
        self.refused(path, backup, "newer perftrack")

    def test_in_the_place_of_another_programs_database(self, tmp_path: Path, backup: str) -> None:
        other = tmp_path / "invoices" / "other.db"
        other.parent.mkdir()
        query(other, "CREATE TABLE invoice (id)")
        with pytest.raises(PerftrackError, match="another program"):
            restore(str(other), backup, force=True)
        other.write_text("a letter")
        other.chmod(0o644)
        with pytest.raises(UnusableError, match="not a SQLite database"):
            restore(str(other), backup, force=True)
        assert other.read_text() == "a letter"

    @pytest.mark.parametrize("name", ["{}", "{}.link", "{}-wal"])
    def test_the_database_itself(self, path: str, name: str) -> None:
        fill(path)
        os.link(path, f"{path}.link")
        with pytest.raises(UsageError):
            upkeep.restore(name.format(path), force=True, database=path)

    def test_while_somebody_writes_for_too_long(
        self, path: str, backup: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.1)
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            with pytest.raises(BusyError, match="is locked by another program; try again later"):
                restore(path, backup)


class TestADamagedDatabase:
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_is_kept_and_replaced_when_forced(self, path: str, tmp_path: Path, damage: Callable[[str], None]) -> None:
        fill(path, 20, 50)
        backup = back_up(path, str(tmp_path / "b.db")).path
        damage(path)
        mode = 0o600 if damage is without_its_header else 0o640  # with neither it could be any file
        os.chmod(path, mode)
        before = Path(path).read_bytes()
        with pytest.raises(PerftrackError, match="is not known"):
            restore(path, backup)
        assert Path(path).read_bytes() == before
        assert kept(path) == []
        restore(path, backup, force=True)
        assert count(path) == 20
        assert is_sound(path)
        assert stat.S_IMODE(os.stat(path).st_mode) == mode
        (copy,) = kept(path)
        assert Path(copy).read_bytes()[100:] == before[100:]  # SQLite counts a write in the header
        fill(path, 1, after=86400)
        assert count(path) == 21

    @pytest.mark.parametrize("damage", [None, without_its_header])
    def test_behind_a_link_is_replaced_there(
        self, path: str, tmp_path: Path, backup: str, damage: Callable[[str], None] | None
    ) -> None:
        real = str(tmp_path / "real.db")
        os.rename(path, real)
        os.symlink(real, path)
        fill(path, 1, after=7200)
        if damage:
            damage(real)
        restore(path, backup, force=True)
        assert os.readlink(path) == real
        assert (count(path), count(real)) == (3, 3)
        assert len(kept(path) + kept(real)) == 1

    def test_of_a_newer_perftrack_is_kept_and_replaced_when_forced(self, path: str, backup: str) -> None:
        query(path, "UPDATE alembic_version SET version_num = 'zzzz'")
        with pytest.raises(PerftrackError, match="newer perftrack"):
            restore(path, backup)
        restore(path, backup, force=True)
        assert query(path, "SELECT version_num FROM alembic_version") == [tick_sql.REVISION]
        assert query(kept(path)[0], "SELECT version_num FROM alembic_version") == ["zzzz"]


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="only root can be another user")
class TestOwners:
    def test_the_file_stays_its_owners(self, path: str, backup: str) -> None:
        fill(path, 1, after=7200)
        for each in (os.path.dirname(path), path):
            os.chown(each, 65534, 65534)
        os.chmod(path, 0o640)
        inode = os.stat(path).st_ino
        restore(path, backup, force=True)
        found = os.stat(path)
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), found.st_ino) == (65534, 65534, 0o640, inode)
        assert [os.stat(each).st_uid for each in glob.glob(f"{os.path.dirname(path)}/*")] == [65534] * 2

    def test_who_may_not_write_is_told(self, path: str, backup: str) -> None:
        done = as_another(path, "database", "restore", backup)
        assert done.returncode in {1, 2}
        assert done.stderr.count("\n") == 1


class TestWhileItRecords:
    def test_no_sample_is_lost(self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each of the loop is in the database or in what was kept of it, whatever moment it comes at."""
        monkeypatch.setattr(copying, "PAGES", 20)
        fill(path, 20, 20)
        backup = back_up(path, str(tmp_path / "b.db")).path
        with recording(path):
            for _ in range(3):
                before = count(path)
                until(lambda least=before: count(path) > least + 1)
                restore(path, backup, force=True, progress=lambda done, total: time.sleep(0.005))
        assert is_sound(path)
        recorded = "SELECT taken_at FROM system_sample WHERE uptime_seconds IS NOT NULL AND recorder_id = 2"
        copies = [query(each, recorded) for each in kept(path)]
        assert len(copies) == 3
        assert all(len(each) >= 2 for each in copies)
        last = query(path, recorded)
        assert pending.count(path) == 0
        taken = [instant for each in [*copies, last] for instant in each]
        assert taken == sorted(set(taken))
        assert query(path, COUNT)[0] == 20 + len(last)

    def test_nobody_writes_from_when_it_has_looked_until_all_is_there(self, path: str, backup: str) -> None:
        outcomes = []

        def progress(done: int, total: int) -> None:
            with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as writer:
                try:
                    writer.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    outcomes.append((str(error), done < total))
                else:
                    outcomes.append(("written", done < total))

        restore(path, backup, progress=progress)
        assert ("database is locked", True) in outcomes
        assert ("written", True) not in outcomes

    def test_what_waits_beside_it_stays_until_the_next_tick(self, perftrack: Run, path: str, backup: str) -> None:
        floor = {"PERFTRACK_DISK_FLOOR_MIB": str(10**9)}
        perftrack("record", expect=1, env=floor)
        restore(path, backup)
        assert (pending.count(path), count(path)) == (1, 3)
        perftrack("record")
        assert (pending.count(path), count(path)) == (0, 5)

    def test_who_reads_goes_on_with_what_was_there(self, path: str, backup: str) -> None:
        fill(path, 1, after=7200)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute(COUNT).fetchone() == (4,)
            restore(path, backup, force=True)
            assert reader.execute(COUNT).fetchone() == (4,)
            reader.execute("COMMIT")
            assert reader.execute(COUNT).fetchone() == (3,)


class TestKilled:
    def test_in_the_middle_leaves_what_was_there(self, path: str, backup: str) -> None:
        fill(path, 10, 10, after=7200)
        before = everything(path)
        call = f"restore.restore({path!r}, {backup!r}, force=True, progress=progress)"
        for step in (1, 2, 4):
            assert subprocess.run(dying(call, step), check=False).returncode == -signal.SIGKILL
            assert everything(path) == before
            assert is_sound(path)
        restore(path, backup, force=True)
        assert count(path) == 3
        assert all(re.fullmatch(r"perftrack\.db(\.before-restore-\w+(-\d)?)?", name) for name in beside(path))

    @pytest.mark.faults
    @pytest.mark.parametrize("damage", [None, without_its_header])
    def test_at_any_moment_leaves_the_old_content_or_the_new(
        self, path: str, tmp_path: Path, damage: Callable[[str], None] | None
    ) -> None:
        fill(path, 300, 50)
        backup = back_up(path, str(tmp_path / "b.db")).path
        fill(path, 100, 50, after=86400)
        if damage:
            damage(path)
        saved = tmp_path / "saved"
        shutil.copytree(os.path.dirname(path), saved)
        command = [sys.executable, "-m", "perftrack", "database", "restore", "--force", backup]
        env = {**os.environ, "PERFTRACK_DATABASE": path}
        start = time.monotonic()
        subprocess.run(command, env=env, check=True, stderr=subprocess.DEVNULL)
        longest = time.monotonic() - start
        outcomes = set()
        for _ in range(KILLS):
            shutil.rmtree(os.path.dirname(path))
            shutil.copytree(saved, os.path.dirname(path))
            process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
            time.sleep(random.uniform(0.3, 1.1) * longest)
            process.kill()
            outcomes.add(process.wait())
            if damage and Path(path).read_bytes() == (saved / "perftrack.db").read_bytes():
                continue
            assert is_sound(path)
            assert count(path) in ({300} if damage else {300, 400})
        assert -signal.SIGKILL in outcomes
        subprocess.run(command, env=env, check=True, stderr=subprocess.DEVNULL)
        assert not [name for name in os.listdir(os.path.dirname(path)) if name.startswith(".")]
