"""`perftrack database backup`: one whole file, while it records; whoever is killed leaves the old one or the new."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run, on_a_terminal, query, until
from upkept import COUNT, DAMAGES, as_another, beside, count, dying, fill, is_sound, of_revision, recording

from perftrack.cli import upkeep
from perftrack.errors import PerftrackError, UsageError
from perftrack.upkeep import copying
from perftrack.upkeep.backup import back_up

KILLS = 60


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups" / "b.db"


class TestABackup:
    def test_is_one_whole_private_file(self, perftrack: Run, path: str, target: Path) -> None:
        fill(path, 30, 20)
        done = perftrack("database", "backup", str(target))
        assert (done.stdout, done.stderr) == ("", "")
        assert os.listdir(target.parent) == ["b.db"]
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        for table in ("system_sample", "process_sample", "process", "alembic_version"):
            assert query(target, f"SELECT * FROM {table}") == query(path, f"SELECT * FROM {table}")
        assert is_sound(str(target))
        assert query(target, "PRAGMA journal_mode") == ["delete"]
        assert os.listdir(target.parent) == ["b.db"]
        assert len(perftrack("export", "--system-csv", "-", "--database", str(target)).stdout.splitlines()) == 31

    def test_in_a_folder_is_called_by_the_instant(self, path: str, target: Path) -> None:
        fill(path)
        told = on_a_terminal("database", "backup", str(target.parent), PERFTRACK_DATABASE=path)
        (name,) = os.listdir(target.parent)
        assert name.startswith("perftrack-20")
        assert name.endswith("Z.db")
        assert f"backed up to {target.parent / name}: " in told
        assert "3 samples, the newest of 2026-11-20 12:03:00 UTC" in told

    def test_of_an_older_perftracks_database_is_made_too(self, path: str, target: Path) -> None:
        of_revision(path, "0003")
        back_up(path, str(target))
        assert query(target, "SELECT version_num FROM alembic_version") == ["0003"]
        assert query(path, "SELECT version_num FROM alembic_version") == ["0003"]

    @pytest.mark.usefixtures("connection")
    def test_holds_what_is_in_the_log_alone(self, path: str, target: Path) -> None:
        fill(path)
        assert os.path.getsize(f"{path}-wal") > 0
        assert back_up(path, str(target)).held.samples == 3

    @pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="only root can be another user")
    def test_is_not_for_who_may_not_read(self, path: str, target: Path) -> None:
        fill(path)
        done = as_another(path, "database", "backup", str(target))
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


class TestIsRefused:
    def test_where_a_file_is_there_unless_forced(self, perftrack: Run, path: str, target: Path) -> None:
        fill(path)
        target.write_text("precious")
        target.chmod(0o644)
        told = perftrack("database", "backup", str(target), expect=2).stderr
        assert told == f"perftrack: {target} is there already; --force puts the backup in its place\n"
        assert target.read_text() == "precious"
        perftrack("database", "backup", "--force", str(target))
        assert query(target, COUNT) == [3]
        assert stat.S_IMODE(target.stat().st_mode) == 0o600

    @pytest.mark.parametrize("name", ["{}", "{}-wal", "{}-failures", "{}-pending/x", "{}.link", "-", "{}/nowhere/x"])
    def test_what_is_no_place_for_it(self, path: str, name: str) -> None:
        fill(path)
        os.link(path, f"{path}.link")
        os.mkdir(f"{path}-pending")
        before = Path(path).read_bytes()
        with pytest.raises(UsageError):
            upkeep.backup(name.format(path), force=True, database=path)
        assert Path(path).read_bytes() == before

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_database(self, path: str, target: Path, damage: Callable[[str], None]) -> None:
        """An older backup stays."""
        fill(path, 20, 50)
        back_up(path, str(target))
        before = target.read_bytes()
        damage(path)
        with pytest.raises(PerftrackError, match=r"damaged|not a SQLite database"):
            back_up(path, str(target), force=True)
        assert target.read_bytes() == before
        assert os.listdir(target.parent) == ["b.db"]

    @pytest.mark.parametrize("sql", ["CREATE TABLE invoice (id)", "SELECT 1"])
    def test_what_is_no_database_of_ours(self, path: str, target: Path, sql: str) -> None:
        os.makedirs(os.path.dirname(path))
        query(path, sql)
        with pytest.raises(PerftrackError, match=r"another program|is empty"):
            back_up(path, str(target))
        assert os.listdir(target.parent) == []

    def test_one_that_is_not_there(self, perftrack: Run, target: Path) -> None:
        assert "no database at" in perftrack("database", "backup", str(target), expect=1).stderr

    @pytest.mark.skipif(sys.platform != "linux" or shutil.which("mount") is None, reason="tmpfs is Linux's")
    def test_where_there_is_no_room(self, path: str, tmp_path: Path) -> None:
        fill(path, 30, 50)
        small = tmp_path / "small"
        small.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting is not allowed here")
        try:
            with pytest.raises(PerftrackError, match=r"a backup needs .* KiB are free: make room"):
                back_up(path, str(small / "b.db"))
            assert os.listdir(small) == []
        finally:
            subprocess.run(["umount", "-l", str(small)], check=True)


def test_while_it_records_both_go_on(path: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that locked would stop recording, and one that began anew with each sample would never end."""
    monkeypatch.setattr(copying, "PAGES", 5)
    fill(path, 50, 20)
    steps = []
    with recording(path):

        def progress(done: int, total: int) -> None:
            before = count(path)
            if len(steps) < 4:
                until(lambda: count(path) > before)
            steps.append(done)

        made = back_up(path, str(target), progress=progress)
    assert len(steps) > 5
    assert steps == sorted(set(steps))
    assert made.held.samples == count(str(target)) < count(path) - 4
    assert is_sound(str(target))
    assert os.listdir(target.parent) == ["b.db"]


class TestKilled:
    def test_in_the_middle_leaves_what_was_there(self, path: str, target: Path) -> None:
        fill(path, 10, 10)
        call = f"backup.back_up({path!r}, {str(target)!r}, force=True, progress=progress)"
        for before in (None, "older"):
            if before:
                target.write_text(before)
            for step in (1, 3):
                assert subprocess.run(dying(call, step), check=False).returncode == -signal.SIGKILL
                assert (target.read_text() if target.exists() else None) == before
                (left,) = set(os.listdir(target.parent)) - {"b.db"}
                assert left.startswith(".b.db.perftrack-")
        elsewhere = target.with_name("c.db")
        back_up(path, str(elsewhere))
        assert sorted(os.listdir(target.parent)) == ["b.db", "c.db"]

    def test_leaves_the_unfinished_file_of_another_backup_alone(self, path: str, target: Path) -> None:
        fill(path)

        def another(done: int, total: int) -> None:
            back_up(path, str(target.with_name("c.db")))

        back_up(path, str(target), progress=another)
        assert sorted(os.listdir(target.parent)) == ["b.db", "c.db"]

    @pytest.mark.faults
    def test_at_any_moment_leaves_the_old_one_or_the_new(self, path: str, target: Path) -> None:
        fill(path, 300, 50)
        command = [sys.executable, "-m", "perftrack", "database", "backup", "--force", str(target)]
        env = {**os.environ, "PERFTRACK_DATABASE": path}
        start = time.monotonic()
        subprocess.run(command, env=env, check=True)
        longest = time.monotonic() - start
        outcomes = set()
        for _ in range(KILLS):
            target.write_text("older")
            process = subprocess.Popen(command, env=env)
            time.sleep(random.uniform(0.3, 1.2) * longest)
            process.kill()
            outcomes.add(process.wait())
            if target.read_bytes() != b"older":
                assert is_sound(str(target))
                assert count(str(target)) == 300
            assert beside(path) == ["perftrack.db"]
        assert -signal.SIGKILL in outcomes
        subprocess.run(command, env=env, check=True)
        assert os.listdir(target.parent) == ["b.db"]
