"""A sample that cannot be written is kept beside the database, and is there once as soon as it can be."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run, process_row, query, sample, system_row

from perftrack import private
from perftrack.errors import BusyError, PassingError, UnusableError
from perftrack.recording import sampler
from perftrack.recording.recorder import record_every, record_one
from perftrack.settings import Settings, load
from perftrack.storage import insertion, opening, pending, sqlite_file, store, tick_sql

PROBLEM = PassingError("it is full")


@pytest.fixture
def settings(path: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """The settings of a tick; it does not wait long for a lock."""
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.05)

    def made(**options: object) -> Settings:
        return load({"database": path, "cpu_window": 0.01, **options})

    return made


def kept(path: str) -> list[str]:
    """Return the names of the files beside the database."""
    return sorted(os.listdir(f"{path}-pending")) if os.path.isdir(f"{path}-pending") else []


def instants(path: str) -> list[str]:
    return query(path, "SELECT taken_at FROM system_sample ORDER BY id")


def minute(number: int) -> str:
    return f"2026-11-20 12:{number:02d}:00.000000"


class TestALockedDatabase:
    def test_gets_the_samples_of_that_time_first_in_order_and_once(
        self, settings: Callable[..., Settings], path: str, connection: sqlite3.Connection
    ) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for number in range(1, 4):
            with pytest.raises(BusyError, match=f"try again later; the sample is kept in {path}-pending") as error:
                record_one(settings())
            assert error.value.exit_code == 75
            assert pending.count(path) == number
        connection.execute("ROLLBACK")
        assert instants(path) == []
        record_one(settings())
        record_one(settings())
        assert len(instants(path)) == 5
        assert instants(path) == sorted(instants(path))
        assert pending.count(path) == 0

    def test_costs_a_loop_nothing(
        self, settings: Callable[..., Settings], path: str, connection: sqlite3.Connection
    ) -> None:
        connection.execute("BEGIN IMMEDIATE")
        loop = record_every(settings(), 0.05, 3)
        assert [type(next(loop)) for _ in range(2)] == [BusyError, BusyError]
        connection.execute("ROLLBACK")
        assert len(list(loop)) == 1
        assert len(instants(path)) == 3

    def test_is_measured_from_the_newest_sample_that_was_kept(
        self,
        settings: Callable[..., Settings],
        path: str,
        connection: sqlite3.Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Without a window of its own, a sample covers the time since the one before it, wherever that was."""
        monkeypatch.setattr(sampler, "SHORTEST_SECONDS", 0.0)
        record_one(settings(cpu_window=0))
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError):
            record_one(settings(cpu_window=0))
        connection.execute("ROLLBACK")
        record_one(settings(cpu_window=0))
        rows = query(path, "SELECT uptime_seconds, window_seconds FROM system_sample ORDER BY id")
        assert rows[2][1] == pytest.approx(rows[2][0] - rows[1][0], abs=0.002)


class TestWhatCannotBeWritten:
    """For each reason, the sample is there after all as soon as the reason is gone."""

    @staticmethod
    def refused(settings: Settings, path: str, says: str) -> None:
        before = Path(path).read_bytes()
        with pytest.raises(UnusableError, match=f"{says}.*; the sample is kept in {path}-pending until then$"):
            record_one(settings)
        assert Path(path).read_bytes() == before
        assert pending.count(path) == 1

    def test_because_the_disk_is_full(self, settings: Callable[..., Settings], path: str) -> None:
        """The limit of a file's size, above what a kept sample takes, stands for the disk."""
        record_one(settings())
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE padding AS SELECT zeroblob(3000000)")
        connection.close()
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        try:
            self.refused(settings(process_filter=["no such name"]), path, "the disk")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        record_one(settings())
        assert len(instants(path)) == 3

    @pytest.mark.parametrize(
        ("content", "says"),
        [(b"", "is empty, but"), (b"not a database at all" * 100, "not a SQLite database")],
    )
    def test_because_it_is_no_database(
        self, settings: Callable[..., Settings], path: str, content: bytes, says: str
    ) -> None:
        record_one(settings())
        whole = Path(path).read_bytes()
        Path(path).write_bytes(content)
        Path(f"{path}-wal").write_text("what a crash left")
        self.refused(settings(), path, says)
        Path(path).write_bytes(whole)
        record_one(settings())
        assert len(instants(path)) == 3

    @pytest.mark.parametrize("what", ["truncated", "a page overwritten"])
    def test_because_it_is_damaged(self, settings: Callable[..., Settings], path: str, what: str) -> None:
        record_one(settings())
        whole = Path(path).read_bytes()
        root = query(path, "SELECT rootpage FROM sqlite_master WHERE name = 'system_sample'")[0] - 1
        page = bytes(range(256)) * 16
        broken = (
            whole[: 2 * 4096] if what == "truncated" else whole[: root * 4096] + page + whole[(root + 1) * 4096 :]
        )
        Path(path).write_bytes(broken)
        self.refused(
            settings(), path, r"it is damaged.*`sqlite3 FILE \.recover \| sqlite3 NEW` may save what is in it"
        )
        Path(path).write_bytes(whole)
        record_one(settings())
        assert len(instants(path)) == 3

    def test_because_a_newer_perftrack_has_upgraded_it(self, settings: Callable[..., Settings], path: str) -> None:
        record_one(settings())
        query(path, "UPDATE alembic_version SET version_num = '9999'")
        self.refused(settings(), path, "newer perftrack")
        query(path, f"UPDATE alembic_version SET version_num = '{tick_sql.REVISION}'")
        record_one(settings())
        assert len(instants(path)) == 3

    def test_and_not_kept_either_says_that_it_is_lost(self, perftrack: Run, path: str) -> None:
        perftrack("record")
        whole = Path(path).read_bytes()
        Path(path).write_bytes(b"no database at all" * 100)
        Path(f"{path}-pending").write_text("in the way")
        done = perftrack("record", expect=1)
        assert done.stderr.endswith(
            f"the sample is lost, for it cannot be kept in {path}-pending either: it is no folder\n"
        )
        assert done.stderr.count("\n") == 1
        Path(path).write_bytes(whole)
        perftrack("record")
        assert Path(f"{path}-pending").read_text() == "in the way"

    def test_because_it_is_another_programs_is_not_kept_beside_that(self, perftrack: Run, path: str) -> None:
        os.makedirs(os.path.dirname(path))
        query(path, "CREATE TABLE bookmarks (url TEXT)")
        assert "another program" in perftrack("record", expect=1).stderr
        assert os.listdir(os.path.dirname(path)) == ["perftrack.db"]

    @pytest.mark.parametrize("text", ["root:x:0:0:root:/root:/bin/bash\n", "x" * 10_000])
    def test_because_another_file_was_named_is_not_kept_beside_that(
        self, perftrack: Run, path: str, text: str
    ) -> None:
        os.makedirs(os.path.dirname(path))
        Path(path).write_text(text)
        os.chmod(path, 0o644)
        for arguments in (["record"], ["record", "--every", "0.1s", "--count", "2"]):
            done = perftrack(*arguments, expect=1, env={"XDG_DATA_HOME": os.path.join(path, arguments[-1])})
            assert done.stderr == (
                f"perftrack: database {path}: it is not a SQLite database: name another file, or move this one away\n"
            )
        assert os.listdir(os.path.dirname(path)) == ["perftrack.db"]
        assert Path(path).read_text() == text

    @pytest.mark.parametrize(
        ("beginning", "mode", "beside"),
        [
            (b"SQLite format 3\0", 0o644, ""),
            (bytes(4096), 0o644, ""),
            (b"", 0o600, ""),
            (b"", 0o644, "-wal"),
            (b"", 0o644, "-failures"),
        ],
    )
    def test_because_a_database_of_ours_is_damaged_is_kept(
        self, perftrack: Run, path: str, beginning: bytes, mode: int, beside: str
    ) -> None:
        os.makedirs(os.path.dirname(path))
        Path(path).write_bytes(beginning + b"no database at all" * 100)
        os.chmod(path, mode)
        if beside:
            Path(f"{path}{beside}").write_text("x")
        assert "the sample is kept" in perftrack("record", expect=1).stderr


class TestTheDiskFloor:
    @pytest.fixture
    def nearly_full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_file, "disk_free_bytes", lambda folder: 63 * 1024 * 1024)

    @pytest.mark.usefixtures("connection", "nearly_full")
    def test_keeps_the_database_from_growing(
        self, settings: Callable[..., Settings], path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop = record_every(settings(), 0.05, 2)
        error = next(loop)
        assert isinstance(error, PassingError)
        assert "less than 64 MiB are free" in str(error)
        assert "disk_floor_mib" in str(error)
        assert (instants(path), pending.count(path)) == ([], 1)
        monkeypatch.setattr(sqlite_file, "disk_free_bytes", lambda folder: 65 * 1024 * 1024)
        assert len(list(loop)) == 1
        assert (len(instants(path)), pending.count(path)) == (2, 0)

    @pytest.mark.usefixtures("nearly_full")
    def test_keeps_one_from_being_created(self, settings: Callable[..., Settings], path: str) -> None:
        os.makedirs(os.path.dirname(path))
        with pytest.raises(PassingError, match="less than 64 MiB"):
            record_one(settings())
        assert not os.path.exists(path)

    @pytest.mark.usefixtures("nearly_full")
    @pytest.mark.parametrize("floor", [0, 63])
    def test_is_what_one_sets(self, settings: Callable[..., Settings], path: str, floor: int) -> None:
        record_one(settings(disk_floor_mib=floor))
        assert len(instants(path)) == 1

    def test_is_measured_on_the_databases_own_disk(self, tmp_path: Path) -> None:
        disk = os.statvfs(tmp_path)
        free_mib = disk.f_bavail * disk.f_frsize // 1024**2
        store.refuse_nearly_full_disk(str(tmp_path / "x.db"), free_mib - 1000)
        with pytest.raises(PassingError):
            store.refuse_nearly_full_disk(str(tmp_path / "x.db"), free_mib + 1000)


class TestTheFile:
    @pytest.mark.usefixtures("connection")
    def test_is_private_and_readable(self, path: str) -> None:
        pending.keep(path, sample(process_row(command="grün")), PROBLEM)
        (name,) = kept(path)
        assert re.fullmatch(r"00000001-[0-9a-f]{8}\.json", name)
        file = Path(f"{path}-pending") / name
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        rows = json.loads(file.read_text())
        assert rows["processes"][0]["command"] == "grün"
        assert rows["system"]["taken_at"] == "2026-11-20 12:00:00.000000"

    def test_is_on_the_disk_with_its_folder(self, path: str, tmp_path: Path) -> None:
        """As strace sees it: all that names it is synced after it is there."""
        if shutil.which("strace") is None:
            pytest.skip("strace is not installed")
        os.mkdir(os.path.dirname(path), 0o700)
        Path(path).write_bytes(b"no database at all")
        os.chmod(path, 0o600)
        command = ["strace", "-y", "-o", tmp_path / "trace", "-e", "fsync,rename", sys.executable, "-m", "perftrack"]
        env = {**os.environ, "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"}
        for folders in ([f"{path}-pending", os.path.dirname(path)], [f"{path}-pending"]):
            done = subprocess.run([*command, "record"], env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 1, done.stderr
            before, _, after = (tmp_path / "trace").read_text().partition("rename(")
            assert re.findall(r"^fsync\(\d+<(.*)>\) += 0$", before, re.MULTILINE)[-1].endswith(".json.new")
            assert re.findall(r"^fsync\(\d+<(.*)>\) += 0$", after, re.MULTILINE)[: len(folders)] == folders

    @pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can be another user")
    def test_is_kept_in_a_folder_that_its_user_may_not_list(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/perftrack.db"
            Path(path).write_bytes(b"no database at all")
            for made in (path, folder):
                os.chown(made, 65534, 65534)
            os.chmod(folder, 0o300)
            pid = os.fork()
            if pid == 0:
                os.setuid(65534)
                os._exit(not pending.keep(path, sample(), PROBLEM).kept)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert pending.count(path) == 1

    def test_brings_back_the_very_rows(self, path: str, connection: sqlite3.Connection, tmp_path: Path) -> None:
        rows = [process_row(pid=1), process_row(pid=2, name="\\xff\n", username=None, cpu_percent=0.1 + 0.2)]
        pending.keep(path, sample(*rows, uptime_seconds=1 / 3), PROBLEM)
        pending.insert(connection, path)
        other = str(tmp_path / "other.db")
        directly = opening.open_current(other)
        insertion.insert_sample(directly, sample(*rows, uptime_seconds=1 / 3))
        directly.close()
        for view in ("system_log", "process_log", "process", "system_sample"):
            assert query(path, f"SELECT * FROM {view}") == query(other, f"SELECT * FROM {view}") != []

    def test_is_removed_with_its_folder(self, settings: Callable[..., Settings], path: str) -> None:
        record_one(settings())
        pending.keep(path, sample(), PROBLEM)
        record_one(settings())
        assert len(instants(path)) == 3
        assert not os.path.exists(f"{path}-pending")

    def test_found_again_after_a_crash_adds_nothing(self, path: str, connection: sqlite3.Connection) -> None:
        """Killed between the commit and the removal: the same files are there once more."""
        for number in range(3):
            pending.keep(path, sample(process_row(), taken_at=minute(number)), PROBLEM)
        again = {name: (Path(f"{path}-pending") / name).read_text() for name in kept(path)}
        for _ in range(2):
            pending.insert(connection, path)
            assert instants(path) == [minute(0), minute(1), minute(2)]
            assert query(path, "SELECT count(*) FROM process_sample") == [3]
            os.makedirs(f"{path}-pending", exist_ok=True)
            for name, text in again.items():
                (Path(f"{path}-pending") / name).write_text(text)

    def test_of_the_same_microsecond_is_another_sample(self, path: str, connection: sqlite3.Connection) -> None:
        """The clock was set back, and samples of a boot have the same instant; found twice, each is there once."""
        insertion.insert_sample(connection, sample(uptime_seconds=1.0))
        for uptime in (2.0, 3.0):
            pending.keep(path, sample(uptime_seconds=uptime), PROBLEM)
        again = {name: (Path(f"{path}-pending") / name).read_text() for name in kept(path)}
        for _ in range(2):
            pending.insert(connection, path)
            rows = query(
                path, "SELECT substr(taken_at, -6), substr(taken_at_local, -6), uptime_seconds FROM system_sample"
            )
            assert rows == [("000000", "000000", 1.0), ("000001", "000001", 2.0), ("000002", "000002", 3.0)]
            os.makedirs(f"{path}-pending", exist_ok=True)
            for name, text in again.items():
                (Path(f"{path}-pending") / name).write_text(text)

    def test_only_it_can_be_there_already(self, path: str, connection: sqlite3.Connection) -> None:
        """Two ticks that start together can read the same of everything: both are in the database."""
        for _ in range(3):
            insertion.insert_sample(connection, sample(process_row()))
        assert query(path, "SELECT substr(taken_at, -6) FROM system_sample") == ["000000", "000001", "000002"]
        assert query(path, "SELECT count(*) FROM process_sample") == [3]

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"{",
            b"[]",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"processes": [7]}',
            b'{"host": {"name": "x"}, "boot": {}, "system": {}, "processes": []}',
            b'{"host": {"name": []}, "boot": {}, "system": {}, "processes": []}',
            b'{"host": {"name": "x"}, "boot": {"key": 99999999999999999999999}, "system": {}, "processes": []}',
            *(
                json.dumps(
                    {
                        "host": {"name": "x"},
                        "boot": {"key": "x", "booted_at": None} | boot,
                        "recorder": recorder,
                        "system": system_row() | system,
                        "processes": [process_row() | process],
                    }
                ).encode()
                for boot, recorder, system, process in (
                    ({}, None, {"taken_at": "garbage"}, {}),
                    ({}, None, {"taken_at": 5}, {}),
                    ({}, None, {"taken_at_local": "2026-11-20T12:00:00Z"}, {}),
                    ({}, None, {"cpu_percent": "12.5"}, {}),
                    ({}, None, {"cpu_percent": float("nan")}, {}),
                    ({}, None, {"mem_total_bytes": 1.5}, {}),
                    ({}, None, {"mem_total_bytes": True}, {}),
                    ({}, None, {}, {"pid": "7"}),
                    ({}, None, {}, {"pid": None}),
                    ({}, None, {}, {"name": 7}),
                    ({}, None, {}, {"started_at": "yesterday"}),
                    ({"booted_at": "garbage"}, None, {}, {}),
                    ({"key": 7}, None, {}, {}),
                    ({}, 7, {}, {}),
                    ({}, [], {}, {}),
                    ({}, {"username": 7, "selection": ""}, {}, {}),
                )
            ),
        ],
    )
    @pytest.mark.usefixtures("connection")
    def test_that_is_no_sample_is_set_aside_and_stops_nothing(
        self, settings: Callable[..., Settings], path: str, text: bytes
    ) -> None:
        pending.keep(path, sample(taken_at=minute(1)), PROBLEM)
        pending.keep(path, sample(taken_at=minute(3)), PROBLEM)
        file = Path(f"{path}-pending") / "00000001-zz.json"  # after the first
        file.write_bytes(text)
        told: list[str] = []
        record_one(settings(), told.append)
        assert told == [f"{file} holds no sample, and is set aside as 00000001-zz.json.refused"]
        assert instants(path)[:2] == [minute(1), minute(3)]
        assert kept(path) == ["00000001-zz.json.refused"]
        assert query(path, "SELECT name FROM host WHERE name = 'x'") == []

    @pytest.mark.usefixtures("connection")
    @pytest.mark.parametrize("name", ["9backup.json", "00000001.json", "²2345678-zz.json", "notes.json"])
    def test_that_is_not_named_as_a_sample_is_set_aside_and_stops_none(
        self, perftrack: Run, path: str, name: str
    ) -> None:
        pending.keep(path, sample(taken_at=minute(1)), PROBLEM)
        file = Path(f"{path}-pending") / name
        file.write_bytes(pending._text(sample(taken_at=minute(2))))
        assert pending.count(path) == 1
        assert "is kept" in str(pending.keep(path, sample(taken_at=minute(3)), PROBLEM))
        done = perftrack("record")
        assert done.stderr == f"perftrack: {file} holds no sample, and is set aside as {name}.refused\n"
        assert instants(path)[:2] == [minute(1), minute(3)]
        assert len(instants(path)) == 3
        assert kept(path) == [f"{name}.refused"]
        assert perftrack("record").stderr == ""

    def test_is_in_order_after_however_many(self, path: str, connection: sqlite3.Connection) -> None:
        folder = Path(f"{path}-pending")
        folder.mkdir()
        (folder / "99999999-zz.json").write_bytes(pending._text(sample(taken_at=minute(1))))
        pending.keep(path, sample(taken_at=minute(2)), PROBLEM)
        pending.insert(connection, path)
        assert instants(path) == [minute(1), minute(2)]

    @pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
    @pytest.mark.usefixtures("connection")
    def test_that_is_no_file_is_set_aside_and_stops_nothing(
        self, settings: Callable[..., Settings], path: str, kind: str
    ) -> None:
        pending.keep(path, sample(taken_at=minute(1)), PROBLEM)
        planted = f"{path}-pending/00000002-zz.json"
        if kind == "link":
            os.symlink("/dev/zero", planted)
        else:
            os.mkfifo(planted) if kind == "pipe" else os.mkdir(planted)
        record_one(settings())
        assert instants(path)[0] == minute(1)
        assert len(instants(path)) == 2
        assert kept(path) == ["00000002-zz.json.refused"]

    def test_is_kept_though_another_tick_removes_the_folder(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """That has just inserted the last one."""
        create = private.create

        def create_too_late(file: str) -> int:
            monkeypatch.setattr(private, "create", create)
            os.rmdir(os.path.dirname(file))
            return create(file)

        os.makedirs(os.path.dirname(path))
        monkeypatch.setattr(private, "create", create_too_late)
        assert "is kept" in str(pending.keep(path, sample(), PROBLEM))
        assert pending.count(path) == 1

    def test_leaves_no_folder_behind_that_a_killed_tick_could_not_remove(
        self, settings: Callable[..., Settings], path: str
    ) -> None:
        record_one(settings())
        os.mkdir(f"{path}-pending")
        record_one(settings())
        assert not os.path.exists(f"{path}-pending")

    def test_of_an_earlier_perftrack_has_null_where_it_knew_no_column(
        self, path: str, connection: sqlite3.Connection
    ) -> None:
        pending.keep(path, sample(), PROBLEM)
        file = Path(f"{path}-pending") / kept(path)[0]
        rows = json.loads(file.read_text())
        del rows["system"]["swap_used_bytes"], rows["boot"]["booted_at"]
        file.write_text(json.dumps(rows))
        pending.insert(connection, path)
        assert query(path, "SELECT mem_total_bytes, swap_used_bytes FROM system_sample") == [(1000, None)]

    @pytest.mark.parametrize("limit", ["SAMPLES_MAX", "BYTES_MAX"])
    def test_is_one_of_a_limited_number_and_size(
        self, path: str, monkeypatch: pytest.MonkeyPatch, limit: str
    ) -> None:
        os.makedirs(os.path.dirname(path))
        size = len(pending._text(sample()))
        monkeypatch.setattr(pending, limit, 3 if limit == "SAMPLES_MAX" else 3 * size + 5)
        told = [str(pending.keep(path, sample(), PROBLEM)) for _ in range(4)]
        assert ["is kept" in line for line in told] == [True, True, True, False]
        assert "lost" in told[3]
        assert "3 are there already" in told[3]
        assert len(kept(path)) == pending.count(path) == 3

    def test_through_a_planted_link_is_not_written(self, path: str, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        os.makedirs(os.path.dirname(path))
        os.symlink(elsewhere, f"{path}-pending")
        assert "lost" in str(pending.keep(path, sample(), PROBLEM))
        assert os.listdir(elsewhere) == []

    def test_left_unfinished_by_a_killed_tick_is_removed(self, path: str, connection: sqlite3.Connection) -> None:
        pending.keep(path, sample(), PROBLEM)
        for name, age in (("old", 3600), ("young", 0)):
            file = Path(f"{path}-pending") / f"00000002-{name}.json.new"
            file.write_text("{")
            os.utime(file, (os.stat(file).st_mtime - age,) * 2)
        pending.insert(connection, path)
        assert kept(path) == ["00000002-young.json.new"]
