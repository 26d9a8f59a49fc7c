"""`perftrack database check`: what is healthy and what is not, real damage included; it changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Run, query
from upkept import DAMAGES, as_another, beside, fill, of_revision, overwritten_in_the_middle, recording

from perftrack.storage import pending
from perftrack.storage.sqlite_file import LOG_BYTES_MAX
from perftrack.upkeep.check import check

NAMES = ["integrity", "keys", "revision", "mode", "owner", "recorder", "modes", "log", "pending", "failures", "disk"]
as_root = pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="only root can be another user")


@pytest.fixture
def checked(path: str) -> Callable[..., dict[str, str]]:
    """The checks of a database of which those named are wrong, and no others."""

    def look(*wrong: str, floor: int = 0, quick: bool = False) -> dict[str, str]:
        found = check(path, floor, quick=quick)
        assert [each.name for each in found if each.ok is False] == list(wrong), found
        return {each.name: each.text for each in found}

    return look


Checked = Callable[..., dict[str, str]]


class TestAHealthyDatabase:
    def test_has_a_line_for_each(self, perftrack: Run, path: str) -> None:
        fill(path)
        out = perftrack("database", "check").stdout
        assert [line.split()[0] for line in out.splitlines()] == NAMES
        assert all(line.split()[1] == "ok:" for line in out.splitlines())
        found = json.loads(perftrack("database", "check", "--json").stdout)
        assert found["ok"]
        assert {name: each["ok"] for name, each in found["checks"].items()} == dict.fromkeys(NAMES, True)

    @pytest.mark.parametrize("quick", [False, True])
    def test_is_all_right_and_stays_as_it_is(self, path: str, checked: Checked, quick: bool) -> None:
        fill(path)
        before = Path(path).read_bytes(), os.stat(path).st_mtime_ns
        found = checked(quick=quick)
        assert list(found) == NAMES
        assert ("quick_check" in found["integrity"]) is quick
        assert (Path(path).read_bytes(), os.stat(path).st_mtime_ns) == before
        assert beside(path) == ["perftrack.db"]

    def test_is_so_while_somebody_writes(self, path: str, checked: Checked) -> None:
        fill(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            checked()

    def test_is_so_while_it_records(self, path: str, checked: Checked) -> None:
        with recording(path):
            for _ in range(2):
                checked()


class TestDamage:
    @pytest.mark.parametrize("quick", [False, True])
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_is_a_line_that_says_what_to_do(self, path: str, damage: Callable[[str], None], quick: bool) -> None:
        fill(path, 20, 50)
        damage(path)
        before = Path(path).read_bytes()
        found = {each.name: each for each in check(path, 0, quick=quick)}
        assert list(found) == [name for name in NAMES if name != "recorder" or name in found]
        assert found["integrity"].ok is False
        assert "damaged" in found["integrity"].text
        assert "`perftrack database restore FILE`" in found["integrity"].text
        assert "\n" not in "".join(each.text for each in found.values())
        assert Path(path).read_bytes() == before

    def test_is_printed_and_no_traceback(self, perftrack: Run, path: str) -> None:
        fill(path, 20, 50)
        overwritten_in_the_middle(path)
        done = perftrack("database", "check", expect=1)
        assert done.stdout.startswith("integrity WRONG: ")
        assert [line.split()[0] for line in done.stdout.splitlines() if line[0] != " "][:4] == NAMES[:4]
        assert done.stderr == ""

    def test_of_an_index_is_found_by_all_but_a_quick_look(self, path: str, checked: Checked) -> None:
        fill(path)
        index = "ix_system_sample_taken_at_local"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            ((sql, root),) = connection.execute(f"SELECT sql, rootpage FROM sqlite_master WHERE name = '{index}'")
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(f"DELETE FROM sqlite_master WHERE name = '{index}'")
        query(path, "DELETE FROM process_sample WHERE sample_id = 3")
        query(path, "DELETE FROM system_sample WHERE id = 3")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            row = ("index", index, "system_sample", root, sql)
            connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
        checked(quick=True)
        assert index in checked("integrity")["integrity"]

    def test_of_keys_says_which(self, path: str, checked: Checked) -> None:
        fill(path, 3, 5)
        query(path, "DELETE FROM system_sample WHERE id = 2")
        assert "5 of process_sample to system_sample" in checked("keys")["keys"]
        assert "--quick" in checked(quick=True)["keys"]


class TestTheRevision:
    def test_of_an_older_perftrack_says_how_to_upgrade(self, path: str, checked: Checked) -> None:
        of_revision(path, "0003")
        assert "`perftrack database upgrade` brings it to" in checked("revision")["revision"]

    def test_of_a_newer_one_says_so(self, path: str, checked: Checked) -> None:
        fill(path)
        query(path, "UPDATE alembic_version SET version_num = 'zzzz'")
        assert "upgrade perftrack" in checked("revision")["revision"]

    def test_of_another_programs_database_is_none(self, path: str, checked: Checked) -> None:
        os.makedirs(os.path.dirname(path), 0o700)
        query(path, "CREATE TABLE invoice (id)")
        os.chmod(path, 0o600)
        assert "another program" in checked("revision")["revision"]


def test_a_copy_is_not_in_wal_mode(path: str, checked: Checked) -> None:
    fill(path)
    query(path, f"VACUUM INTO '{path}.copy'")
    os.replace(f"{path}.copy", path)
    os.chmod(path, 0o600)
    assert "`perftrack database upgrade` puts it right" in checked("mode")["mode"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
class TestOwnershipAndModes:
    def test_what_others_can_read_is_said(self, path: str, checked: Checked) -> None:
        fill(path)
        os.chmod(path, 0o644)
        assert checked("modes")["modes"] == f"{path} can be used by any user: `chmod 600` it"
        for file in (path, f"{path}-wal", f"{path}-shm"):  # which have its mode
            os.chmod(file, 0o640)  # somebody wants it so
        checked()

    def test_a_folder_that_anybody_can_write_to(self, path: str, checked: Checked) -> None:
        fill(path)
        os.chmod(os.path.dirname(path), 0o1777)
        assert "in a folder of your own" in checked("modes")["modes"]

    @as_root
    def test_who_records_cannot_write_to_the_folder(self, path: str, checked: Checked) -> None:
        fill(path)
        os.chown(path, 65534, 65534)
        assert "cannot write to" in checked("modes")["modes"]

    @as_root
    def test_side_files_of_another_user(self, path: str, checked: Checked) -> None:
        fill(path)
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("SELECT * FROM host").fetchall()
            os.chown(f"{path}-wal", 65534, 65534)
            assert f"{path}-wal belongs to nobody, and not to root" in checked("owner")["owner"]

    @as_root
    def test_another_user_than_the_one_who_records(self, path: str, checked: Checked) -> None:
        fill(path)
        query(path, "UPDATE recorder SET username = 'nobody'")
        assert "`chown nobody` it" in checked("recorder")["recorder"]


class TestWhatWaitsAndFails:
    def test_is_told_until_it_is_over(self, path: str, perftrack: Run, checked: Checked) -> None:
        perftrack("record")
        perftrack("record", expect=1, env={"PERFTRACK_DISK_FLOOR_MIB": str(10**9)})
        found = checked("pending", "failures", "disk", floor=10**9)
        assert found["pending"].startswith(f"{path}-pending holds 1 sample for a tick")
        assert re.match(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, 1 time: ", found["failures"])
        assert f"less than {10**9} MiB are free" in found["failures"]
        assert "make room" in found["disk"]
        perftrack("record")
        checked()

    def test_files_that_hold_no_sample(self, path: str, perftrack: Run, checked: Checked) -> None:
        fill(path)
        os.mkdir(f"{path}-pending", 0o700)
        Path(f"{path}-pending", "x.json").write_text("{}")
        perftrack("record")
        assert pending.count(path) == 0
        assert checked("pending")["pending"].startswith(f"{path}-pending holds 1 file without a sample")

    def test_a_log_that_cannot_be_emptied_says_who_reads(
        self, path: str, checked: Checked, python: Callable[..., subprocess.Popen[bytes]]
    ) -> None:
        fill(path)
        reader = python(
            "import sqlite3, sys, time\n"
            "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "connection.execute('BEGIN')\n"
            "connection.execute('SELECT count(*) FROM host').fetchone()\n"
            "print(flush=True)\n"
            "time.sleep(1000)\n",
            path,
        )
        query(path, f"CREATE TABLE large AS SELECT zeroblob({LOG_BYTES_MAX})")
        assert f"({reader.pid}): end that" in checked("log")["log"]


class TestWhatCannotBeLookedAt:
    @pytest.fixture
    def shared(self) -> Iterator[str]:
        """A database in a folder that others can look into; pytest's own are root's alone."""
        folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="perftrack-test-"))
        folder.chmod(0o755)
        yield str(folder / "perftrack.db")
        shutil.rmtree(folder)

    @as_root
    def test_another_users_database_is_looked_at_as_far_as_it_can_be(self, shared: str) -> None:
        fill(shared)
        os.mkdir(f"{shared}-pending", 0o700)
        os.chmod(shared, 0o644)
        before = sorted(os.listdir(os.path.dirname(shared)))
        done = as_another(shared, "database", "check", "--json")
        assert (done.returncode, done.stderr) == (1, "")
        checks = json.loads(done.stdout)["checks"]
        assert {name for name, each in checks.items() if each["ok"] is False} == {"modes"}
        assert {name for name, each in checks.items() if each["ok"] is None} == {"pending"}
        assert sorted(os.listdir(os.path.dirname(shared))) == before

    @as_root
    def test_one_that_may_not_be_read(self, shared: str) -> None:
        fill(shared)
        done = as_another(shared, "database", "check")
        assert (done.returncode, done.stderr) == (1, "")
        lines = done.stdout.splitlines()
        assert lines[0].startswith("integrity WRONG: ")
        assert "this user may read" in " ".join(lines[:3])
        assert "keys      ?: not looked at, for the database cannot be read" in lines

    def test_one_that_is_not_there(self, perftrack: Run, path: str) -> None:
        done = perftrack("database", "check", "--json", expect=1)
        assert json.loads(done.stdout)["problem"].startswith(f"no database at {path}")
        assert done.stderr.count("\n") == 1

    def test_one_that_is_no_file(self, path: str) -> None:
        os.makedirs(path)
        assert "it is not a file" in check(path, 0)[0].text
