"""`perftrack export`: the original's two files, ranges, one snapshot."""

from __future__ import annotations

import csv
import io
import os
import random
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, process_row, sample
from exported import PROCESS_HEADER, SYSTEM_HEADER, minute, read_both, record_minutes

from perftrack.reading import queries
from perftrack.reading.export import files as exporting
from perftrack.reading.export.logs import Form
from perftrack.reading.queries import TimeRange
from perftrack.storage import engine
from perftrack.storage.insertion import insert_sample


@pytest.fixture
def three_samples(connection: sqlite3.Connection) -> None:
    record_minutes(connection, 3)


class TestTheFiles:
    @pytest.mark.usefixtures("three_samples")
    def test_are_the_originals_to_the_byte(self, perftrack: Run, tmp_path: Path) -> None:
        perftrack("export", "--until", "2026-11-20 12:01")
        assert (tmp_path / "work" / "system_log.csv").read_bytes() == (
            f"{SYSTEM_HEADER}\r\n12.5,2026-11-20 12:00:00,750,0.25,1000,250\r\n".encode()
        )
        assert (tmp_path / "work" / "process_log.csv").read_bytes() == (
            f"{PROCESS_HEADER}\r\n3.0,2026-11-20 12:00:00,python,python3,100,4096,8192\r\n".encode()
        )

    def test_show_what_is_not_known_as_an_empty_field(
        self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path
    ) -> None:
        unknown = process_row(cpu_percent=None, rss_bytes=None, vms_bytes=None)
        insert_sample(connection, sample(unknown, cpu_percent=None, mem_used_bytes=None))
        perftrack("export")
        system, processes = read_both(tmp_path / "work")
        assert system[1] == ",2026-11-20 12:00:00,750,,1000,"
        assert processes[1] == ",2026-11-20 12:00:00,python,python3,100,,"

    def test_order_rows_by_time_pid_and_filter_whatever_order_they_came_in(
        self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path
    ) -> None:
        for number in (2, 0, 1):
            rows = [process_row(pid=pid, name=f"python{pid}") for pid in (30, 9, 200)]
            insert_sample(connection, sample(*rows, taken_at=minute(number)))
        perftrack("export")
        rows = [line.split(",") for line in read_both(tmp_path / "work")[1][1:]]
        assert [(row[1][14:16], row[4]) for row in rows] == [
            (f"{number:02d}", pid) for number in range(3) for pid in ("9", "30", "200")
        ]

    def test_quote_names_as_pythons_csv_module_does(
        self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path
    ) -> None:
        names = ['a,"b"', "line\nbreak", "\\xff", "", "ünï", " lead", "=1+1", "\x1b[31m"]
        for pid, name in enumerate(names):
            insert_sample(connection, sample(process_row(name=name, pid=pid), taken_at=minute(pid)))
        perftrack("export")
        text = (tmp_path / "work" / "process_log.csv").read_bytes().decode()
        assert [row["name"] for row in csv.DictReader(io.StringIO(text, newline=""))] == names

    def test_of_processes_hold_what_the_csv_module_would_write(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path
    ) -> None:
        """The fast lines against the slow ones: processes come and go, values are missing, names are odd."""
        chance = random.Random(7)
        names = ["python", "100%", "%s", "%(x)s", "a,b", 'quo"te', "new\nline", "{0}", "\\x00", "None"]
        for number in range(200):
            rows = [
                process_row(
                    pid=pid,
                    name=names[pid % len(names)],
                    filter=chance.choice(["", "java", "x,y"]),
                    cpu_percent=chance.choice([None, 0.0, 12.5, chance.random() * 1e-5, chance.random() * 1e17]),
                    rss_bytes=chance.choice([None, 0, 1 << 40]),
                    vms_bytes=chance.choice([None, 4096]),
                )
                for pid in chance.sample(range(100), 5)
            ]
            insert_sample(connection, sample(*rows, taken_at=minute(number)))
        exporting.export(path, None, str(tmp_path / "fast.csv"), TimeRange())
        exporting.export(path, None, str(tmp_path / "wide.csv"), TimeRange(), form=Form(wide=True))
        slow = io.StringIO()
        with open(tmp_path / "wide.csv", newline="") as wide:
            csv.writer(slow).writerows(row[:7] for row in csv.reader(wide))
        assert (tmp_path / "fast.csv").read_bytes().decode() == slow.getvalue()

    @pytest.mark.usefixtures("three_samples")
    def test_go_where_the_settings_and_options_say(self, perftrack: Run, tmp_path: Path) -> None:
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        perftrack("export", env={"PERFTRACK_SYSTEM_CSV": str(folder / "s.csv")})
        perftrack("export", "--directory", str(folder), "--process-csv", "p.csv")
        assert sorted(os.listdir(folder)) == ["p.csv", "s.csv", "system_log.csv"]
        assert os.listdir(tmp_path / "work") == ["process_log.csv"]

    @pytest.mark.usefixtures("three_samples")
    def test_are_private_whatever_the_umask(self, perftrack: Run, tmp_path: Path) -> None:
        perftrack("export", preexec_fn=lambda: os.umask(0))
        assert stat.S_IMODE((tmp_path / "work" / "system_log.csv").stat().st_mode) == 0o600

    @pytest.mark.usefixtures("three_samples")
    def test_say_nothing_without_a_terminal(self, perftrack: Run) -> None:
        done = perftrack("export")
        assert (done.stdout, done.stderr) == ("", "")


class TestTheColumnDatetime:
    @pytest.fixture
    def winter_in_berlin(self, connection: sqlite3.Connection) -> None:
        taken = {"taken_at": "2026-11-20 12:00:00.250000", "taken_at_local": "2026-11-20 13:00:00.250000"}
        insert_sample(connection, sample(process_row(), **taken))

    @pytest.mark.usefixtures("winter_in_berlin")
    @pytest.mark.parametrize(
        ("option", "shown"),
        [
            ([], "2026-11-20 13:00:00.250000"),
            (["--time", "local"], "2026-11-20 13:00:00.250000"),
            (["--time", "utc"], "2026-11-20T12:00:00.250000Z"),
            (["--time", "epoch"], "1795176000.250000"),
        ],
    )
    def test_shows(self, perftrack: Run, tmp_path: Path, option: list[str], shown: str) -> None:
        perftrack("export", *option)
        assert [lines[1].split(",")[1] for lines in read_both(tmp_path / "work")] == [shown, shown]

    def test_refuses_another_format(self, perftrack: Run) -> None:
        assert "'local', 'utc', 'epoch'" in perftrack("export", "--time", "unix", expect=2).stderr


class TestRanges:
    @pytest.mark.usefixtures("three_samples")
    @pytest.mark.parametrize(
        ("since", "until", "minutes"),
        [
            (None, None, [0, 1, 2]),
            ("2026-11-20 12:01", None, [1, 2]),
            (None, "2026-11-20 12:01", [0]),
            ("2026-11-20 12:00", "2026-11-20 12:02", [0, 1]),
            ("2026-11-20T13:01:00+01:00", None, [1, 2]),
            ("2026-11-20 12:00:00.000001", None, [1, 2]),
        ],
    )
    def test_are_half_open(
        self, perftrack: Run, tmp_path: Path, since: str | None, until: str | None, minutes: list[int]
    ) -> None:
        options = [*(["--since", since] if since else []), *(["--until", until] if until else [])]
        perftrack("export", *options)
        for lines in read_both(tmp_path / "work"):
            assert [line.split(",")[1] for line in lines[1:]] == [minute(number)[:19] for number in minutes]

    @pytest.mark.usefixtures("three_samples")
    def test_that_are_empty_give_headers_and_a_note(self, perftrack: Run, tmp_path: Path) -> None:
        done = perftrack("export", "--since", "2026-11-21")
        assert read_both(tmp_path / "work") == ([SYSTEM_HEADER], [PROCESS_HEADER])
        assert "holds 3 samples, from 2026-11-20 12:00:00 to 2026-11-20 12:02:00" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.usefixtures("connection")
    def test_of_an_empty_database_say_so(self, perftrack: Run) -> None:
        assert "holds no samples yet" in perftrack("export").stderr

    def test_that_run_backwards_are_refused(self, perftrack: Run) -> None:
        done = perftrack("export", "--since", "2026-11-21", "--until", "2026-11-20", expect=2)
        assert done.stderr == "perftrack: --since 2026-11-21 is later than --until 2026-11-20\n"

    def test_that_cannot_be_parsed_are_refused(self, perftrack: Run) -> None:
        done = perftrack("export", "--since", "lately", expect=2)
        assert "'lately' is no time" in done.stderr
        assert "2 hours ago" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.parametrize("wide", [False, True])
    @pytest.mark.parametrize("since", [None, queries.datetime(2026, 11, 20, tzinfo=queries.UTC)])
    @pytest.mark.usefixtures("three_samples")
    def test_use_the_index_and_sort_no_more_than_a_sample(
        self,
        path: str,
        tmp_path: Path,
        connection: sqlite3.Connection,
        monkeypatch: pytest.MonkeyPatch,
        since: Any,
        wide: bool,
    ) -> None:
        """All that an export asks the database for, as SQLite plans it."""
        statements: list[str] = []
        connect = engine.connect

        def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            opened = connect(*arguments, **options)
            opened.set_trace_callback(statements.append)
            return opened

        monkeypatch.setattr(engine, "connect", traced)
        exporting.export(
            path, str(tmp_path / "s.csv"), str(tmp_path / "p.csv"), TimeRange(since), form=Form(wide=wide)
        )
        selects = {sql for sql in statements if "sample" in sql and sql.startswith("SELECT")}
        plans = [[row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")] for sql in selects]
        if since is None:  # what the database holds of all is counted without an index
            plans = [plan for plan in plans if plan[0] != "SCAN system_sample"]
        of_ranges = [plan for plan in plans if "ix_system_sample_taken_at" in plan[0]]
        # what of it the database holds; the systems' rows; the processes' or their samples
        assert len(of_ranges) == (2 if since is None else 3)
        for plan in of_ranges:
            assert plan.pop(0).startswith(
                "SCAN system_sample USING" if since is None else "SEARCH system_sample USING"
            )
        for plan in plans:
            # which boots are of the machine is looked up once
            assert [step for step in plan if not step.startswith(("SEARCH", "LIST SUBQUERY"))] in (
                [],
                ["USE TEMP B-TREE FOR RIGHT PART OF ORDER BY"],
            )


class TestWide:
    @pytest.mark.usefixtures("three_samples")
    def test_adds_every_further_column_of_the_views(
        self, perftrack: Run, tmp_path: Path, sqlite3_shell: Callable[..., str]
    ) -> None:
        perftrack("export", "--wide")
        for lines, view, original in zip(
            read_both(tmp_path / "work"),
            ("system_log", "process_log"),
            (SYSTEM_HEADER, PROCESS_HEADER),
            strict=True,
        ):
            assert lines[0].startswith(original + ",")
            in_shell = csv.reader(sqlite3_shell(f"SELECT * FROM {view}", "-csv", "-header").splitlines())
            # the shell shows the stored instant, the CSV's column datetime what str(datetime) would
            shown = [[row[0], row[1].removesuffix(".000000"), *row[2:]] for row in in_shell]
            assert list(csv.reader(lines)) == shown

    @pytest.mark.usefixtures("three_samples")
    def test_is_the_only_way_for_a_command_line_to_get_out(self, perftrack: Run) -> None:
        assert "job.py" not in perftrack("export", "--process-csv", "-").stdout
        assert "job.py" in perftrack("export", "--process-csv", "-", "--wide").stdout


class TestOneSnapshot:
    def test_a_tick_in_between_is_in_neither_file(
        self, path: str, connection: sqlite3.Connection, tmp_path: Path
    ) -> None:
        insert_sample(connection, sample(process_row(), taken_at=minute(0)))
        ticks = []

        def tick_between_the_files(*_: Any) -> None:
            if not ticks:
                ticks.append(insert_sample(connection, sample(process_row(), taken_at=minute(1))))

        targets = [str(tmp_path / name) for name in ("system_log.csv", "process_log.csv")]
        done = exporting.export(path, *targets, TimeRange(), progress=tick_between_the_files)
        assert ticks
        assert (done.system_rows, done.process_rows) == (1, 1)
        assert [len(lines) for lines in read_both(tmp_path)] == [2, 2]

    def test_a_tick_is_not_kept_waiting(self, path: str, connection: sqlite3.Connection, tmp_path: Path) -> None:
        connection.execute("PRAGMA busy_timeout = 0")
        insert_sample(connection, sample(process_row(), taken_at=minute(0)))
        written = []
        exporting.export(
            path,
            str(tmp_path / "system_log.csv"),
            None,
            TimeRange(),
            progress=lambda *_: written.append(insert_sample(connection, sample(taken_at=minute(1)))),
        )
        assert len(written) == 1
