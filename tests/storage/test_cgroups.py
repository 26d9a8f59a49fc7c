"""Control groups: a row where something changed, and what each has used between two looks at them."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import pytest
from conftest import cgroup_row, process_row, query, sample
from machine import Machine

from perftrack.storage.insertion import KnownIds, insert_sample

GREW = "SELECT sample_id, path, cpu_ms FROM cgroup_interval ORDER BY sample_id, path"


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


def grown(connection: sqlite3.Connection) -> list[Any]:
    return query(connection, GREW)


class TestARow:
    def test_is_there_where_something_changed(self, connection: sqlite3.Connection, machine: Machine) -> None:
        for cpu, memory in ((5, 1), (5, 1), (9, 1), (9, 1), (9, 2)):
            machine.tick(cgroups=[cgroup_row("/"), cgroup_row("/a", cpu, memory_bytes=memory)])
        rows = (
            "SELECT sample_id, previous_sample_id, cpu_user_ms, memory_bytes FROM cgroup_sample WHERE cgroup_id = 2"
        )
        assert query(connection, rows) == [(1, None, 5, 1), (3, 1, 9, 1), (5, 3, 9, 2)]
        assert query(connection, "SELECT latest_sample_id FROM cgroup WHERE id = 2") == [5]

    def test_is_the_same_in_a_loop_which_remembers_them(self, path: str, connection: sqlite3.Connection) -> None:
        samples = [
            sample(
                uptime_seconds=60.0 * number,
                taken_at=f"2026-11-20 12:0{number}:00.000000",
                cgroups=[cgroup_row("/", number), *([cgroup_row("/a", number // 2)] if number != 4 else [])],
            )
            for number in range(1, 8)
        ]
        known, statements = KnownIds(), []
        for number, one in enumerate(samples):
            connection.set_trace_callback(statements.append if number == 2 else None)
            insert_sample(connection, one, known)
        assert [each for each in statements if each.startswith("\nSELECT") and "cgroup" in each] == []
        asked = "SELECT * FROM cgroup", "SELECT * FROM cgroup_sample"
        remembered = [query(connection, sql) for sql in asked]
        for table in ("cgroup_sample", "cgroup", "system_sample"):
            query(path, f"DELETE FROM {table}")
        for one in samples:
            insert_sample(connection, one)
        assert [query(connection, sql) for sql in asked] == remembered

    def test_names_its_unit_and_the_group_it_is_in(self, connection: sqlite3.Connection, machine: Machine) -> None:
        paths = ["/", "/system.slice", "/system.slice/cron.service", "/user.slice/user-0.slice/session-1.scope"]
        machine.tick(cgroups=[cgroup_row(path) for path in paths])
        assert query(connection, "SELECT path, unit, parent_id FROM cgroup ORDER BY id") == [
            ("/", "/", None),
            ("/system.slice", "system.slice", 1),
            ("/system.slice/cron.service", "cron.service", 2),
            ("/user.slice/user-0.slice/session-1.scope", "root: sessions", 1),  # those between are not recorded
        ]


class TestWhatAGroupUsed:
    def test_is_not_known_of_the_first_look(self, connection: sqlite3.Connection, machine: Machine) -> None:
        machine.tick(cgroups=[cgroup_row("/", 1000)])
        machine.tick(cgroups=[cgroup_row("/", 1300)])
        assert grown(connection) == [(1, "/", None), (2, "/", 300)]

    def test_is_since_the_look_before_however_long_nothing_happened(
        self, connection: sqlite3.Connection, machine: Machine
    ) -> None:
        for cpu in (5, 5, 5, 65):
            machine.tick(cgroups=[cgroup_row("/a", cpu)])
        assert query(connection, "SELECT sample_id, seconds, cpu_ms, cpu_percent FROM cgroup_interval")[1:] == [
            (4, 60.0, 60, 0.1)
        ]

    def test_of_one_that_began_is_all_of_it(self, connection: sqlite3.Connection, machine: Machine) -> None:
        machine.tick(cgroups=[cgroup_row("/", 50)])
        machine.tick(cgroups=[cgroup_row("/", 90), cgroup_row("/a", 40)])
        assert grown(connection) == [(1, "/", None), (2, "/", 40), (2, "/a", 40)]

    def test_of_one_that_another_recorder_did_not_look_at_is_not_known(
        self, connection: sqlite3.Connection, machine: Machine
    ) -> None:
        """It may have been there all the time."""
        machine.tick(cgroups=[cgroup_row("/", 50)], recorder="cgroup_depth=0 cgroup_paths=*")
        machine.tick(cgroups=[cgroup_row("/", 90), cgroup_row("/a", 4000)])
        assert grown(connection) == [(1, "/", None), (2, "/", 40), (2, "/a", None)]

    def test_of_one_that_was_made_again_begins_anew(self, connection: sqlite3.Connection, machine: Machine) -> None:
        machine.tick(cgroups=[cgroup_row("/a", 500)])
        machine.tick(cgroups=[cgroup_row("/a", 30, inode=7)])
        assert grown(connection) == [(1, "/a", None), (2, "/a", 30)]
        assert query(connection, "SELECT inode, gone_sample_id FROM cgroup WHERE inode <> 7")[0][1] == 2

    def test_of_another_boot_begins_anew(self, connection: sqlite3.Connection, machine: Machine) -> None:
        machine.tick(cgroups=[cgroup_row("/a", 500)])
        machine.names["boot"], machine.uptime_seconds = "boot-2", 0.0
        machine.tick(cgroups=[cgroup_row("/a", 700)])
        assert grown(connection) == [(1, "/a", None), (2, "/a", None)]

    def test_goes_on_after_a_time_without_a_look(self, connection: sqlite3.Connection, machine: Machine) -> None:
        """A recorder that does not look at them is none that found nothing."""
        machine.tick(cgroups=[cgroup_row("/a", 5)])
        machine.tick(recorder="cgroups=false")
        machine.tick(cgroups=[cgroup_row("/a", 25)])
        asked = "SELECT sample_id, seconds, cpu_ms FROM cgroup_interval WHERE sample_id > 1"
        assert query(connection, asked) == [(3, 120.0, 20)]
        assert query(connection, "SELECT gone_sample_id FROM cgroup") == [None]


def test_a_group_that_comes_back_to_be_looked_at_goes_on(connection: sqlite3.Connection, machine: Machine) -> None:
    machine.tick(cgroups=[cgroup_row("/"), cgroup_row("/a", 5)])
    machine.tick(cgroups=[cgroup_row("/")], recorder="cgroup_depth=0 cgroup_paths=*")
    assert query(connection, "SELECT gone_sample_id FROM cgroup ORDER BY id") == [None, 2]
    machine.tick(cgroups=[cgroup_row("/"), cgroup_row("/a", 25)])
    assert query(connection, "SELECT gone_sample_id FROM cgroup ORDER BY id") == [None, None]
    assert grown(connection)[-1] == (3, "/a", 20)


def test_an_older_sample_that_comes_later_leaves_the_groups_as_they_are(
    connection: sqlite3.Connection, machine: Machine
) -> None:
    """It was kept beside the database, or another recorder was quicker."""
    machine.tick(cgroups=[cgroup_row("/a", 5)])
    machine.tick(cgroups=[cgroup_row("/a", 50)], after=120)
    machine.tick(process_row(cgroup="/a/b"), cgroups=[cgroup_row("/a", 30)], after=-60)
    machine.tick(cgroups=[cgroup_row("/a", 90)], after=120)
    assert grown(connection) == [(1, "/a", None), (2, "/a", 45), (4, "/a", 40)]
    assert query(connection, "SELECT id, cgroups_seen FROM system_sample ORDER BY id") == [
        (1, 1),
        (2, 1),
        (3, None),
        (4, 1),
    ]
    assert query(connection, "SELECT cgroup_id FROM process") == [1]


@pytest.mark.parametrize(
    ("inside", "unit"),
    [("/a/b/c", "/a/b"), ("/a/b", "/a/b"), ("/a/bc", "/a"), ("/elsewhere", "/"), ("/", "/"), (None, None)],
)
def test_a_process_is_in_the_innermost_group_that_is_recorded(
    connection: sqlite3.Connection, machine: Machine, inside: str | None, unit: str | None
) -> None:
    machine.tick(process_row(cgroup=inside), cgroups=[cgroup_row(each) for each in ("/", "/a", "/a/b")])
    asked = "SELECT cgroup.path FROM process LEFT JOIN cgroup ON cgroup.id = cgroup_id"
    assert query(connection, asked) == [unit]
    assert query(connection, "SELECT unit FROM process_interval") == [unit]


def test_a_range_reads_no_more_than_its_samples(connection: sqlite3.Connection) -> None:
    asked = "EXPLAIN QUERY PLAN SELECT * FROM cgroup_interval WHERE taken_at >= '2026-11-20'"
    steps = [row[3] for row in connection.execute(asked)]
    assert "SEARCH later USING INDEX ix_system_sample_taken_at (taken_at>?)" in steps
    assert [step for step in steps if re.match(r"SCAN (?!CONSTANT ROW|new )", step)] == []
