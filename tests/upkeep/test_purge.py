"""`perftrack purge`, and what ticks do of it: old samples are condensed or removed, beside all else that goes on."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, cgroup_row, on_a_terminal, query
from machine import Machine, process
from test_condensing import Restless, assert_same, of_cgroups, of_processes, of_system
from upkept import is_sound, recording

from perftrack.recording import recorder
from perftrack.settings import load
from perftrack.storage import opening, purging, retention, sqlite_file
from perftrack.storage.condensing import condense


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def record(path: str, days_ago: float, samples: int, every: float = 60, **sample: Any) -> Machine:
    with closing(opening.open_current(path)) as connection:
        machine = Machine(connection, boot=f"boot-{days_ago}")
        machine.clock = now() - timedelta(days=days_ago)
        for number in range(samples):
            machine.tick(
                process(number * 10, pid=1), process(5, pid=number + 10), after=every, cpu_user_ms=20, **sample
            )
        return machine


def ordinary(path: str) -> int:
    (count,) = query(path, "SELECT count(*) FROM system_sample WHERE samples IS NULL")
    return int(count)


class TestPurge:
    def test_condenses_what_is_old_and_says_so(self, perftrack: Run, path: str) -> None:
        record(path, 100, 180)
        record(path, 10, 60)
        used = "SELECT sum(cpu_ms), count(DISTINCT process_id) FROM process_interval"
        before = query(path, used)
        assert perftrack("purge", "--dry-run").stdout == "would condense 180 samples\n"
        assert ordinary(path) == 240
        said = perftrack("purge").stdout
        # in each of them another process ended
        assert said.startswith("240 samples became 240, 480 process rows 30")
        assert ordinary(path) == 60
        assert query(path, used) == before
        assert is_sound(path)
        assert perftrack("purge").stdout.startswith("nothing is old enough to be condensed or removed")

    def test_removes_what_is_older_and_all_that_nothing_refers_to(self, perftrack: Run, path: str) -> None:
        record(path, 100, 180, cgroups=[cgroup_row("/a.service", 5)])
        record(path, 10, 60)
        assert perftrack("purge", "--older-than", "30d", "--dry-run").stdout == "would remove 180 samples\n"
        said = perftrack("purge", "--older-than", "30d").stdout
        assert said.startswith("240 samples became 60, 480 process rows 120\n")
        # the highest id of each table stays, so that none is used again: that of the groups is the old one
        counts = "SELECT (SELECT count(*) FROM boot), (SELECT count(*) FROM process), (SELECT count(*) FROM cgroup)"
        assert query(path, counts) == [(2, 61, 1)]
        assert is_sound(path)
        assert query(path, "PRAGMA foreign_key_check") == []

    def test_gives_room_back_to_the_disk(self, perftrack: Run, path: str) -> None:
        record(path, 100, 2000)
        size = os.path.getsize(path)
        assert "--vacuum gives them back" in perftrack("purge", "--older-than", "90d").stdout
        assert os.path.getsize(path) >= size
        assert perftrack("purge", "--vacuum").stdout.splitlines()[-1].startswith("the file is ")
        assert os.path.getsize(path) < size / 2

    def test_of_a_database_that_was_not_made_for_it_too(self, perftrack: Run, path: str) -> None:
        record(path, 100, 300)
        query(path, "PRAGMA auto_vacuum = NONE")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA auto_vacuum = NONE")
            connection.execute("VACUUM")
        assert query(path, "PRAGMA auto_vacuum") == [0]
        perftrack("purge", "--older-than", "90d", "--vacuum")
        assert query(path, "PRAGMA auto_vacuum") == [2]

    def test_leaves_what_was_imported(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        folder = Path(__file__).parents[1] / "legacy"
        perftrack("import", str(folder / "data.pik"), "--timezone", "UTC")
        record(path, 100, 60)
        perftrack("purge", "--older-than", "1d")
        perftrack("export", "--directory", str(tmp_path), "--since", "2026-11-01", env={"TZ": "UTC"})
        for name in ("system_log.csv", "process_log.csv"):
            assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()

    @pytest.mark.parametrize("age", ["", "forever", "0d", "90", "90x", "-1d", "d"])
    def test_says_what_an_age_is(self, perftrack: Run, age: str) -> None:
        done = perftrack("purge", f"--older-than={age}", expect=2)
        assert done.stderr == f"perftrack: --older-than {age}: write days, weeks or years, e.g. 90d, 12w or 2y\n"

    def test_without_a_database_says_so(self, perftrack: Run) -> None:
        assert "no database at" in perftrack("purge", expect=1).stderr

    def test_shows_progress_on_a_terminal(self, path: str) -> None:
        record(path, 100, 120)
        assert "purging samples" in on_a_terminal("purge", PERFTRACK_DATABASE=path)

    @pytest.mark.slow
    def test_beside_ticks_and_an_export(self, perftrack: Run, path: str) -> None:
        record(path, 100, 1500)
        used = "SELECT sum(cpu_ms) FROM process_interval WHERE taken_at < datetime('now', '-50 days')"
        before = query(path, used)
        with recording(path):
            perftrack("purge")
            exported = perftrack("export", "--system-csv", "-").stdout
            perftrack("purge", "--vacuum")
        assert exported.startswith("cpu_usage,")
        assert query(path, used) == before
        assert is_sound(path)
        taken = query(path, "SELECT count(*) FROM system_sample WHERE recorder_id = 2")
        assert taken > [0]


class TestATick:
    @pytest.fixture(autouse=True)
    def few_samples_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "_NOW", retention._NOW.replace("1440", "3"))

    def tick(self, path: str, count: int = 1, **options: Any) -> None:
        settings = load({"database": path, "cpu_window": 0.0, "top": 0, "process_filter": ["no such"], **options})
        for _ in recorder.record_every(settings, 0.01, count):
            pass

    def test_does_a_piece_at_a_time(self, path: str) -> None:
        record(path, 100, 240)
        record(path, 1, 5)
        left = [ordinary(path)]
        while ordinary(path) > 6 + len(left):
            self.tick(path)
            left.append(ordinary(path))
            assert len(left) < 100
        assert left == sorted(left, reverse=True)
        assert len(left) > 2
        assert is_sound(path)

    def test_in_a_loop_goes_on_with_what_it_knows(self, path: str) -> None:
        """Rows of control groups that it goes on from are elsewhere now."""
        machine = record(path, 100, 240, cgroups=[cgroup_row("/a.service", 5)])
        with closing(opening.open_current(path)) as connection:
            machine.connection = connection
            machine.clock = now() - timedelta(hours=1)
            machine.tick(process(0), cgroups=[cgroup_row("/a.service", 5)])
        self.tick(path, 30)
        assert query(path, "PRAGMA foreign_key_check") == []
        assert is_sound(path)

    @pytest.mark.parametrize("options", [{}, {"keep_every_sample": "1d", "keep_hourly": "1d"}])
    def test_under_a_wrong_clock_touches_nothing(self, path: str, options: dict[str, str]) -> None:
        machine = record(path, 3, 30)
        with closing(opening.open_current(path)) as connection:
            machine.connection = connection
            machine.clock = now() + timedelta(days=400)
            machine.tick(process(0))
            assert not retention.keep_bounded(connection, path, load({"database": path} | options))

    def test_removes_what_is_older_than_keep_hourly(self, path: str) -> None:
        record(path, 100, 100)
        record(path, 1, 10)
        self.tick(path, 20, keep_hourly="30d")
        assert query(path, "SELECT count(*) FROM system_sample WHERE taken_at < datetime('now', '-30 days')") == [0]
        assert query(path, "SELECT count(*) FROM process") == [11]
        assert query(path, "PRAGMA foreign_key_check") == []

    def test_keeps_below_max_size_by_removing_the_oldest(self, path: str) -> None:
        record(path, 5, 7000)
        query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        assert os.path.getsize(path) > 1 << 20
        self.tick(path, 70, max_size="1M")
        with closing(sqlite3.connect(path)) as connection:
            assert sqlite_file.used_bytes(connection) + sqlite_file.log_bytes(path) < 1.6 * (1 << 20)
        assert query(path, "SELECT count(*) FROM system_sample WHERE taken_at > datetime('now', '-1 hour')") == [70]
        assert is_sound(path)

    def test_leaves_it_for_the_next_where_the_database_is_locked(self, path: str) -> None:
        record(path, 100, 120)
        record(path, 1, 5)
        with (
            closing(sqlite3.connect(path, isolation_level=None)) as other,
            closing(opening.open_current(path)) as own,
        ):
            other.execute("BEGIN IMMEDIATE")
            own.execute("PRAGMA busy_timeout = 0")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                retention.keep_bounded(own, path, load({"database": path}))
            other.execute("ROLLBACK")
            assert retention.keep_bounded(own, path, load({"database": path}))


def sums(path: str) -> tuple[list[Any], ...]:
    with closing(sqlite3.connect(path)) as connection:
        return of_processes(connection), of_system(connection), of_cgroups(connection)


class TestWhatIsLeftOfABoot:
    def test_counts_nothing_from_its_start(self, connection: sqlite3.Connection) -> None:
        """What was used in intervals that were removed, or began before, is not known."""
        simulation = Restless(connection, 5)
        simulation.run(300)
        cut = query(connection, "SELECT taken_at FROM system_sample ORDER BY taken_at")[150]
        before = query(connection, f"SELECT sum(cpu_ms) FROM process_interval WHERE taken_at >= '{cut}'")[0]
        groups = query(connection, f"SELECT sum(cpu_ms) FROM cgroup_interval WHERE taken_at >= '{cut}'")[0]
        while condense(connection, cut):
            pass
        while purging.purge(connection, cut) is not None:
            pass
        assert query(connection, "PRAGMA foreign_key_check") == []
        left = query(connection, "SELECT sum(cpu_ms) FROM process_interval")[0]
        of_groups = query(connection, "SELECT sum(cpu_ms) FROM cgroup_interval")[0]
        assert before * 0.8 < left <= before
        assert groups * 0.8 < of_groups <= groups
        purging.sweep(connection)
        assert query(connection, "PRAGMA foreign_key_check") == []
        assert query(connection, "SELECT sum(cpu_ms) FROM process_interval")[0] == left


PURGE = [sys.executable, "-B", "-m", "perftrack", "purge"]


@pytest.mark.parametrize(
    "kills", [pytest.param(5, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.faults)]
)
def test_killed_at_any_moment_nothing_is_lost_or_counted_twice(path: str, kills: int) -> None:
    with closing(opening.open_current(path)) as connection:
        simulation = Restless(connection, 11, 0.7)
        simulation.machine.clock = datetime(2025, 11, 20)
        simulation.run(600 if kills > 10 else 200)
    before = sums(path)
    chance = random.Random(kills)
    left = ordinary(path)
    for _ in range(kills):
        with subprocess.Popen(
            PURGE, stdout=subprocess.DEVNULL, env=os.environ | {"PERFTRACK_DATABASE": path}
        ) as purge:
            time.sleep(chance.uniform(0.3, 1.5))
            purge.send_signal(signal.SIGKILL)
        assert ordinary(path) <= left
        left = ordinary(path)
    subprocess.run(PURGE, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"PERFTRACK_DATABASE": path})
    assert ordinary(path) == 0
    assert_same(sums(path), before)
    assert is_sound(path)
