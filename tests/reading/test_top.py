"""`perftrack top`: who used most, by the counters; what nobody explains; and the processes at an instant."""

from __future__ import annotations

import csv
import json
import sqlite3
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from conftest import LEGACY, Run, cgroup_row, query
from machine import NOON, Machine, process

from perftrack.reading.coverage import coverage
from perftrack.reading.queries import TimeRange
from perftrack.reading.usage import children, parts
from perftrack.reading.usage import processes as usage
from perftrack.reading.usage.top import top
from perftrack.storage.snapshot import snapshot

SINCE = "2026-11-20T12:00Z"
UNTIL = "2026-11-21T12:00Z"
WHOLE = ("--since", SINCE, "--until", UNTIL)


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


@pytest.fixture
def document(perftrack: Run) -> Callable[..., dict[str, Any]]:
    def ask(*arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(perftrack("top", "--format", "json", *arguments).stdout)
        return found

    return ask


Document = Callable[..., dict[str, Any]]


def seconds(found: dict[str, Any]) -> dict[str, float | None]:
    return {row["name"]: row["cpu_seconds"] for row in found["rows"]}


class TestCpuTime:
    def test_is_what_the_counters_grew_by(self, machine: Machine, document: Document) -> None:
        for cpu_ms in (1000, 31_000, 31_500):
            machine.tick(process(cpu_ms))
        assert seconds(document(*WHOLE)) == {"python3": 30.5}

    def test_counts_a_burst_between_two_samples_of_a_process_that_is_rarely_recorded(
        self, machine: Machine, document: Document
    ) -> None:
        machine.tick(process(1000))
        machine.tick()
        machine.tick(process(91_000))
        assert seconds(document(*WHOLE)) == {"python3": 90.0}

    def test_of_an_interval_counts_by_its_share_of_the_range(self, machine: Machine, document: Document) -> None:
        for cpu_ms in (0, 10_000, 30_000, 60_000):  # at 12:01, 12:02, 12:03 and 12:04
            machine.tick(process(cpu_ms), cpu_user_ms=60_000)
        found = document("--since", "2026-11-20T12:02:30Z", "--until", "2026-11-20T12:03:30Z")
        assert seconds(found) == {"python3": 25.0}
        assert found["rows"][0]["cpu_estimated_seconds"] == 25.0
        assert (found["system_cpu_seconds"], found["system_cpu_estimated_seconds"]) == (60.0, 60.0)
        found = document("--since", "2026-11-20T12:01:30Z", "--until", "2026-11-20T12:03:00Z")
        assert seconds(found) == {"python3": 25.0}
        assert found["rows"][0]["cpu_estimated_seconds"] == 5.0

    def test_after_a_gap_is_no_more_than_the_range_is_long(self, machine: Machine, document: Document) -> None:
        """One thread and two CPUs, all busy for two hours without a sample."""
        machine.tick(process(0))
        machine.tick(process(7_200_000), after=7200, cpu_user_ms=14_400_000)
        machine.tick(process(7_260_000), cpu_user_ms=120_000)
        whole = document(*WHOLE)
        assert (seconds(whole), whole["system_cpu_seconds"]) == ({"python3": 7260.0}, 14_520.0)
        found = document("--since", "2026-11-20T14:00:50Z", "--until", "2026-11-20T14:01:20Z")
        assert (seconds(found), found["system_cpu_seconds"]) == ({"python3": 30.0}, 60.0)

    def test_of_consecutive_ranges_is_that_of_both(self, machine: Machine, document: Document) -> None:
        for number in range(6):
            machine.tick(process(number * 10_007, read_bytes=number * 999), after=60 + 600 * (number == 3))
        (whole,) = document(*WHOLE)["rows"]
        middle = "2026-11-20T12:07:11Z"
        before, after = document("--since", SINCE, "--until", middle), document("--since", middle, "--until", UNTIL)
        assert before["rows"][0]["cpu_seconds"] + after["rows"][0]["cpu_seconds"] == pytest.approx(50.035)
        assert before["rows"][0]["read_bytes"] + after["rows"][0]["read_bytes"] == pytest.approx(
            whole["read_bytes"], abs=1
        )

    def test_never_reaches_across_a_reboot_or_a_counter_that_went_backwards(
        self, machine: Machine, document: Document
    ) -> None:
        machine.tick(process(1000))
        machine.tick(process(5000))
        machine.tick(process(3000))
        machine.tick(process(3500))
        machine.names["boot"] = "boot-2"
        machine.tick(process(99_000))
        machine.tick(process(99_200))
        rows = document(*WHOLE)["rows"]
        assert sorted(row["cpu_seconds"] for row in rows) == [0.2, 4.5]

    def test_of_a_new_process_counts_from_its_start_and_of_an_ended_one_to_its_last_sample(
        self, machine: Machine, document: Document
    ) -> None:
        machine.tick(process(0, name="old", pid=1))
        began = int(machine.uptime_seconds * 100) + 500
        machine.tick(process(700, name="old", pid=1), process(4000, name="new", pid=2, started_ticks=began))
        machine.tick(process(9000, name="new", pid=2, started_ticks=began))
        assert seconds(document(*WHOLE)) == {"old": 0.7, "new": 9.0}

    def test_is_not_known_where_it_is_not(self, machine: Machine, document: Document, perftrack: Run) -> None:
        machine.tick()
        machine.tick(process(5000))
        assert seconds(document(*WHOLE)) == {"python3": None}
        (line,) = [line for line in perftrack("top", *WHOLE).stdout.splitlines() if "python3" in line]
        assert line.split()[0] == "?"

    def test_is_added_up_in_parts(self, machine: Machine, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parts, "FIRST_PART", timedelta(minutes=3))
        monkeypatch.setattr(parts, "PART", timedelta(minutes=5))
        machine.tick()
        began = int(machine.uptime_seconds * 100) + 100
        for number in range(1, 30):
            machine.tick(process(number * 1000, started_ticks=began), step=-600 if number == 9 else 0)
        (row,) = top(path, TimeRange((NOON - timedelta(hours=1)).replace(tzinfo=UTC), None)).rows
        assert (row.used.cpu_ms, row.used.cpu_estimated_ms, row.used.rss_mean_bytes) == (29_000, 0, 4096)

    def test_of_a_process_that_changed_its_name_is_one_process_and_of_both_names(
        self, machine: Machine, document: Document
    ) -> None:
        machine.tick(process(0, name="python3"))
        machine.tick(process(1000, name="python3"))
        machine.tick(process(5000, name="worker"))
        assert seconds(document(*WHOLE)) == {"worker": 5.0}
        assert seconds(document(*WHOLE, "--group", "name")) == {"worker": 4.0, "python3": 1.0}


class TestUnattributed:
    def test_is_what_no_recorded_process_explains(self, machine: Machine, document: Document, perftrack: Run) -> None:
        machine.tick(process(0))
        machine.tick(process(20_000), cpu_user_ms=40_000, cpu_system_ms=10_000, cpu_steal_ms=7_000)
        found = document(*WHOLE)
        assert (found["system_cpu_seconds"], found["unattributed_cpu_seconds"]) == (50.0, 30.0)
        last = perftrack("top", *WHOLE).stdout.splitlines()[-1]
        assert last == "(unattributed) 30.0 CPU s, 60 % of the 50.0 s that all CPUs worked"

    def test_is_never_below_nothing(self, machine: Machine, document: Document) -> None:
        machine.tick(process(0))
        machine.tick(process(20_010), cpu_user_ms=20_000)
        assert document(*WHOLE)["unattributed_cpu_seconds"] == 0

    def test_is_the_last_row_of_the_csv_too(self, machine: Machine, perftrack: Run) -> None:
        machine.tick(process(0))
        machine.tick(process(2000), cpu_user_ms=5000)
        rows = list(csv.DictReader(perftrack("top", *WHOLE, "--format", "csv").stdout.splitlines()))
        assert [(row["name"], row["cpu_seconds"]) for row in rows] == [("python3", "2.0"), ("(unattributed)", "3.0")]

    def test_of_imported_data_is_not_known(self, perftrack: Run) -> None:
        perftrack("import", str(LEGACY / "data.pik"), "--timezone", "UTC")
        out = perftrack("top", "--since", "2000-01-01").stdout
        assert "imported, without counters: what was used is not known" in out
        assert "(unattributed): not known" in out
        assert "java" in out


class TestRanking:
    @pytest.fixture(autouse=True)
    def three(self, machine: Machine) -> None:
        for number in range(3):
            machine.tick(
                process(number * 1000, name="a", pid=1, username="u", rss_bytes=(3 - number) << 20, num_threads=1),
                process(number * 10, name="b", pid=2, username="u", rss_bytes=5 << 20, read_bytes=number << 30),
                process(number * 100, name="a", pid=3, username=None, rss_bytes=number << 20, num_threads=50),
            )

    @pytest.mark.parametrize(
        ("by", "pids"), [("cpu", [1, 3, 2]), ("rss", [2, 1, 3]), ("io", [2, 1, 3]), ("threads", [3, 1, 2])]
    )
    def test_is_by(self, document: Document, by: str, pids: list[int]) -> None:
        assert [row["pid"] for row in document(*WHOLE, "--by", by)["rows"]] == pids

    def test_shows_n(self, document: Document) -> None:
        assert [row["pid"] for row in document(*WHOLE, "-n", "1")["rows"]] == [1]

    def test_of_a_group_adds_up_cpu_and_what_it_holds_in_each_sample(self, document: Document) -> None:
        rows = {row["name"]: row for row in document(*WHOLE, "--group", "name")["rows"]}
        assert rows["a"]["cpu_seconds"] == 2.2
        # at each of the three samples both together hold 3, 3 and 3 MiB, though their peaks are 3 and 2
        assert (rows["a"]["rss_max_bytes"], rows["a"]["rss_mean_bytes"]) == (3 << 20, 3 << 20)
        assert rows["a"]["num_threads_max"] == 51

    def test_of_users_has_one_for_those_not_known(self, document: Document) -> None:
        rows = {row["username"]: row["cpu_seconds"] for row in document(*WHOLE, "--group", "user")["rows"]}
        assert rows == {"u": 2.02, None: 0.2}


def test_gives_the_same_answer_as_plain_sql_over_the_views(machine: Machine, path: str) -> None:
    """Processes that come, go, change and reuse PIDs over days and a reboot: every interval counted, none twice."""
    for number in range(300):
        if number == 150:
            machine.names["boot"], machine.uptime_seconds = "boot-2", 50.0
        began = int(machine.uptime_seconds * 100) + 100
        machine.tick(
            process(number * 7, name="steady", pid=1, started_ticks=3),
            process(100 + number % 10, name="short", pid=2, started_ticks=began - (number % 10) * 60_000),
            *([process(number * 3, name="late", pid=3, started_ticks=5)] if number > 100 else []),
            after=600,
            cpu_user_ms=20,
        )
    since, until = NOON + timedelta(hours=7), NOON + timedelta(hours=43)
    # both ends are samples: the interval that ends with the range is in it, and the one that ends at its begin is not
    first, last = (instant.isoformat(" ", "microseconds") for instant in (since, until))
    ends = f"taken_at > '{first}' AND taken_at <= '{last}'"
    expected = query(
        path,
        f"SELECT process_id, sum(cpu_ms) FILTER (WHERE {ends}),"
        f" max(rss_bytes) FILTER (WHERE taken_at >= '{first}' AND taken_at < '{last}')"
        f" FROM process_interval WHERE taken_at BETWEEN '{first}' AND '{last}' GROUP BY process_id",
    )
    found = top(path, TimeRange(since.replace(tzinfo=UTC), until.replace(tzinfo=UTC)), limit=1000)
    with snapshot(path) as reader:
        assert coverage(reader, found.coverage.span, found.coverage.span.until).held == found.coverage.held
    answer = [(row.process.process_id, row.used.cpu_ms, row.used.rss_max_bytes) for row in found.rows if row.process]
    assert sorted(row for row in answer if row[1] is not None) == [row for row in expected if row[1] is not None]
    assert found.cpu.system_cpu_ms == query(path, f"SELECT sum(cpu_ms) FROM system_interval WHERE {ends}")[0]
    assert len(answer) > 20


class TestTheRange:
    def test_is_said_with_its_samples_and_gaps(self, machine: Machine, perftrack: Run) -> None:
        for after in (60, 60, 60, 1800, 60):
            machine.tick(after=after)
        machine.names["boot"], machine.uptime_seconds = "boot-2", 0.0
        machine.tick(after=120)
        out = perftrack("top", "--since", "2026-11-20 12:00", "--until", "2026-11-20 12:37").stdout.splitlines()
        assert out[:4] == [
            "here: 2026-11-20 12:00:00 to 2026-11-20 12:37:00 UTC",
            "6 samples of 36, usually every 1 min",
            "no samples from 2026-11-20 12:03:00 to 2026-11-20 12:33:00 (30 min)",
            "booted, no samples from 2026-11-20 12:34:00 to 2026-11-20 12:36:00 (2 min)",
        ]

    @pytest.mark.parametrize("columns", ["0", "1", "20"])
    def test_is_said_on_a_screen_of_no_width_too(self, machine: Machine, perftrack: Run, columns: str) -> None:
        machine.tick()
        out = perftrack("top", *WHOLE, env={"COLUMNS": columns}).stdout.splitlines()
        assert out[0] == "here: 2026-11-20 12…"

    def test_names_both_zones_where_the_clock_changed(self, machine: Machine, perftrack: Run) -> None:
        machine.clock = datetime(2026, 10, 25, 0, 10)
        for after in (60, 60, 60, 3600, 60):
            machine.tick(after=after)
        day = ("--since", "2026-10-25", "--until", "2026-10-25 02:15Z")
        out = perftrack("top", *day, env={"TZ": "Europe/Berlin"}).stdout.splitlines()
        assert out[0].startswith("here: 2026-10-25 00:00:00 CEST to ")
        assert out[2] == "no samples from 2026-10-25 02:13:00 CEST to 2026-10-25 02:13:00 CET (1 h)"

    def test_tells_a_gap_that_lasts_to_its_end(self, machine: Machine, document: Document) -> None:
        for _ in range(4):
            machine.tick()
        gaps = document("--since", "2026-11-20T12:00Z", "--until", "2026-11-20T12:30Z")["gaps"]
        assert gaps == [
            {"host": "", "kind": "gap", "since": "2026-11-20T12:04:00Z", "until": None, "seconds": 1560.0}
        ]

    def test_is_the_last_24_hours(self, machine: Machine, document: Document) -> None:
        machine.clock = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=25)
        machine.tick()
        machine.tick(process(1000), after=7200)
        found = document()
        assert found["samples"] == 1
        assert found["rows"][0]["name"] == "python3"

    @pytest.mark.parametrize("group", ["process", "name", "unit"])
    def test_of_which_an_interval_is_only_a_part_has_whole_bytes(
        self, machine: Machine, perftrack: Run, group: str
    ) -> None:
        for number in range(3):
            machine.tick(process(0), cgroups=[cgroup_row("/", 60 * number, write_bytes=0)])
        half = ("--since", "2026-11-20 12:02:30", "--group", group)
        (row, *_) = csv.DictReader(perftrack("top", *half, "--format", "csv").stdout.splitlines())
        assert row["write_bytes"] == "0"

    @pytest.mark.usefixtures("machine")
    def test_that_is_empty_says_what_there_is(self, machine: Machine, perftrack: Run) -> None:
        machine.tick()
        done = perftrack("top", "--since", "2020-01-01", "--until", "2020-01-02", expect=1)
        assert done.stdout == ""
        assert "no samples in this range" in done.stderr
        assert "holds 1 sample, from 2026-11-20 12:01:00" in done.stderr


class TestAt:
    @pytest.fixture(autouse=True)
    def three(self, machine: Machine) -> None:
        for number in range(3):
            machine.tick(
                process(0, name=f"p{number}", cpu_percent=1.0), process(0, name="busy", pid=7, cpu_percent=9)
            )

    def test_shows_the_nearest_sample_and_its_neighbours(self, perftrack: Run) -> None:
        out = perftrack("top", "--wide", "--at", "2026-11-20 12:02:20").stdout.splitlines()
        assert out[0] == "here: sample of 2026-11-20 12:02:00 UTC, 20 s before the time asked for"
        assert out[1] == "previous: 2026-11-20 12:01:00, next: 2026-11-20 12:03:00"
        assert [line.split()[5:8] for line in out[5:]] == [["2026-11-20", "11:00:00", "root"]] * 2
        assert "busy" in out[5]
        assert "p1" in out[6]

    def test_for_programs(self, document: Document) -> None:
        found = document("--at", "2026-11-20T13:00Z")
        assert (found["taken_at"], found["away_seconds"], found["next_at"]) == ("2026-11-20T12:03:00Z", 3420.0, None)
        assert [row["name"] for row in found["rows"]] == ["busy", "p2"]

    def test_leaves_ranges_away(self, perftrack: Run) -> None:
        assert "leave --since" in perftrack("top", "--at", "12:00", "--since", "11:00", expect=2).stderr


HOSTILE = "[/red]\x1b[31m\u202egnp.exe\n"


class TestNames:
    def test_cannot_act_on_the_terminal(self, machine: Machine, perftrack: Run) -> None:
        for number in range(2):
            machine.tick(process(number, name=HOSTILE, command=HOSTILE, username=HOSTILE))
        for arguments in (WHOLE, ("--at", "2026-11-20 12:00"), (*WHOLE, "--group", "command")):
            out = perftrack("top", *arguments, "--wide").stdout
            assert r"[/red]\x1b[31m\u202egnp.exe\n" in out
            assert all(char.isprintable() or char == "\n" for char in out)

    def test_are_cut_on_a_screen_and_in_a_pipe_but_on_request(self, machine: Machine, perftrack: Run) -> None:
        for number in range(2):
            machine.tick(process(number, command="x" * 300))
        assert "x" * 300 in perftrack("top", *WHOLE, "--wide").stdout
        for columns in (80, 132, None):
            lines = perftrack("top", *WHOLE, env={"COLUMNS": columns and str(columns)}).stdout.splitlines()
            assert max(map(len, lines)) <= (columns or 132), columns
            assert any("…" in line for line in lines)


def test_reads_no_more_than_its_range(machine: Machine, path: str) -> None:
    from sqlalchemy import event

    for number in range(5):
        machine.tick(process(number, children_user_ms=10 * number), process(number, pid=7, ppid=100), cpu_user_ms=99)
    steps: list[str] = []
    with snapshot(path) as reader:
        from perftrack.reading.usage import top as reading

        def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.strip().startswith(("SELECT", "INSERT", "UPDATE", "WITH")):
                steps.extend(
                    row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                )

        event.listen(reader, "before_cursor_execute", explain)
        span = TimeRange((NOON + timedelta(minutes=2)).replace(tzinfo=UTC), None)
        for group in get_args(usage.Group):
            covered = coverage(reader, span, (NOON + timedelta(hours=1)).replace(tzinfo=UTC))
            reading.rankings(reader, covered, ["cpu"], group, 5)
    scans = {step for step in steps if step.startswith("SCAN") and "(subquery" not in step and "anon" not in step}
    made = {
        "used",
        "interval",
        "new",
        "CONSTANT",
        "json_each",
        *children.TABLES,
        "growth",
        "newest",
        "found",
        "up",
        "begun",
    }
    assert {scan.split()[1] for scan in scans} <= {"boot", "gap", "name_filter", "recorder"} | made, scans
    assert any("ix_system_sample_taken_at" in step for step in steps)
    assert "SEARCH own USING PRIMARY KEY (sample_id=?)" in steps, steps


class TestWhen:
    def test_tells_the_busiest_time_the_mean_and_when_it_was_last_seen(
        self, machine: Machine, document: Document, perftrack: Run
    ) -> None:
        for cpu_ms in (0, 6_000, 36_000, 42_000):  # 10, 50 and 10 % of a CPU
            machine.tick(process(cpu_ms))
        machine.tick()
        (row,) = document(*WHOLE)["rows"]
        assert (row["cpu_percent_mean"], row["cpu_percent_max"]) == (23.33, 50.0)
        assert row["cpu_percent_max_at"] == "2026-11-20T12:03:00Z"
        assert row["last_seen_at"] == "2026-11-20T12:04:00Z"
        (line,) = [line for line in perftrack("top", *WHOLE).stdout.splitlines() if "python3" in line]
        assert line.split()[:4] == ["42.0", "23.3", "12:03:00", "12:04:00"]
        (cells,) = csv.DictReader(perftrack("top", *WHOLE, "--format", "csv").stdout.splitlines()[:2])
        assert (cells["cpu_percent_max"], cells["cpu_percent_max_at"]) == ("50.0", "2026-11-20T12:03:00Z")

    def test_of_a_group_is_that_of_its_processes_together(self, machine: Machine, document: Document) -> None:
        for number in range(3):
            machine.tick(process(number * 6_000, pid=1), process(number * number * 6_000, pid=2))
        (row,) = document(*WHOLE, "--group", "name")["rows"]
        assert (row["cpu_percent_mean"], row["cpu_percent_max"]) == (30.0, 40.0)
        assert row["cpu_percent_max_at"] == "2026-11-20T12:03:00Z"


class TestFilters:
    @pytest.fixture(autouse=True)
    def two(self, machine: Machine) -> None:
        for number in range(2):
            machine.tick(
                process(number * 1000, name="backup", pid=7, username="root"),
                process(number * 500, name="python3", pid=8, username="app"),
            )

    @pytest.mark.parametrize("option", [("--name", "ack"), ("--pid", "7"), ("--user", "root")])
    @pytest.mark.parametrize("group", ["process", "name", "user"])
    def test_leave_the_others_away(self, document: Document, option: tuple[str, str], group: str) -> None:
        found = document(*WHOLE, *option, "--group", group)
        assert [row["cpu_seconds"] for row in found["rows"]] == [1.0]
        assert found["unattributed_cpu_seconds"] is None

    def test_that_match_nothing_are_an_error(self, perftrack: Run) -> None:
        done = perftrack("top", *WHOLE, "--name", "nobody", expect=1)
        assert (done.stdout, "no process" in done.stderr) == ("", True)


def test_without_a_process_says_what_is_recorded_and_how_to_change_that(machine: Machine, perftrack: Run) -> None:
    for _ in range(2):
        machine.tick(cpu_user_ms=5000)
    for arguments, stream in (((), "stdout"), (("--format", "json"), "stderr")):
        text = getattr(perftrack("top", *WHOLE, *arguments), stream)
        assert "no process was recorded in this range" in text
        assert "`perftrack record --filter python`" in text
        assert "`perftrack config init`" in text
    assert "(unattributed) 5.0 CPU s" in perftrack("top", *WHOLE).stdout


def test_holds_no_more_in_memory_than_it_shows(machine: Machine, path: str, connection: sqlite3.Connection) -> None:
    """400,000 processes that were gone again took hundreds of megabytes when each was kept in Python."""

    def peak() -> int:
        tracemalloc.start()
        found = top(path, TimeRange(NOON.replace(tzinfo=UTC), None), limit=5)
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            assert len(found.rows) == 5

    for number in range(6):
        machine.tick(
            *(process(number, pid=pid, children_user_ms=10_000 * number, started_ticks=5) for pid in range(1, 7)),
            recorder="--all",
            cpu_user_ms=120_000,
        )
    peak()  # what is imported and compiled once
    few = peak()
    connection.execute(
        "WITH RECURSIVE one (pid) AS (SELECT 100 UNION ALL SELECT pid + 1 FROM one WHERE pid < 30000)"
        " INSERT INTO process (boot_id, pid, ppid, started_ticks, name) SELECT 1, pid, 1, 7, 'short' || pid FROM one"
    )
    connection.execute(
        "INSERT INTO process_sample (sample_id, process_id, filter_id, cpu_user_ms, cpu_system_ms, rss_bytes)"
        " SELECT 3 + id % 3, id, 1, 5, 5, 4096 FROM process WHERE name LIKE 'short%'"
    )
    assert peak() < few + 200_000


@pytest.mark.parametrize(
    "given", [("-n", f"{10**20}"), ("-n", f"{10**20}", "--group", "unit"), ("--pid", f"{10**20}"), ("--pid", "-1")]
)
def test_a_number_that_none_can_be_is_wrong_usage(machine: Machine, perftrack: Run, given: tuple[str, ...]) -> None:
    machine.tick(process(0))
    assert f"Invalid value for '{given[0]}'" in perftrack("top", *given, *WHOLE, expect=2).stderr
