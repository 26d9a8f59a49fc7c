"""`perftrack export`: the original's two files, ranges, one snapshot, and files that are whole or not there."""

from __future__ import annotations

import csv
import io
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, process_row, sample, until
from sqlalchemy import CursorResult

from perftrack.errors import PerftrackError
from perftrack.reading import export as exporting
from perftrack.reading import process_csv, queries
from perftrack.reading.queries import TimeRange
from perftrack.storage import engine, opening
from perftrack.storage.insertion import insert_sample

SYSTEM_HEADER = "cpu_usage,datetime,mem_available,mem_percent_used,mem_total,mem_used"
PROCESS_HEADER = "cpu_usage,datetime,filter,name,pid,rss_memory,vms_memory"


def minute(number: int) -> str:
    return f"2026-11-20 {12 + number // 60:02d}:{number % 60:02d}:00.000000"


@pytest.fixture
def three_samples(connection: sqlite3.Connection) -> None:
    """At 12:00, 12:01 and 12:02, one process in each."""
    for number in range(3):
        insert_sample(connection, sample(process_row(pid=100 + number), taken_at=minute(number)))


def read_both(folder: Path) -> tuple[list[str], list[str]]:
    return (folder / "system_log.csv").read_text().splitlines(), (folder / "process_log.csv").read_text().splitlines()


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
        exporting.export(path, None, str(tmp_path / "wide.csv"), TimeRange(), wide=True)
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


class TestStdout:
    @pytest.mark.usefixtures("three_samples")
    def test_takes_one_file_alone(self, perftrack: Run, tmp_path: Path) -> None:
        done = perftrack("export", "--process-csv", "-")
        assert done.stdout.splitlines()[0] == PROCESS_HEADER
        assert len(done.stdout.splitlines()) == 4
        assert os.listdir(tmp_path / "work") == []

    @pytest.mark.usefixtures("three_samples")
    def test_leaves_the_other_file_where_it_is_named(self, perftrack: Run, tmp_path: Path) -> None:
        perftrack("export", "--process-csv", "-", "--system-csv", "s.csv")
        perftrack("export", "--system-csv", "-", "--directory", ".")
        assert sorted(os.listdir(tmp_path / "work")) == ["process_log.csv", "s.csv"]

    def test_does_not_take_both(self, perftrack: Run) -> None:
        done = perftrack("export", "--process-csv", "-", "--system-csv", "-", expect=2)
        assert done.stderr.startswith("perftrack: both files would go to the same place")

    @pytest.fixture
    def more_than_a_pipe_holds(self, connection: sqlite3.Connection) -> None:
        for number in range(100):
            rows = [process_row(pid=pid, name="python" * 10) for pid in range(50)]
            insert_sample(connection, sample(*rows, taken_at=minute(number)))

    @pytest.mark.usefixtures("more_than_a_pipe_holds")
    def test_that_is_closed_ends_quietly(self, path: str, tmp_path: Path) -> None:
        done, status = self.closed_early(path, tmp_path)
        assert (done, status) == ("", 0)

    @staticmethod
    def closed_early(path: str, folder: Path, *options: str) -> tuple[str, int]:
        """Read one line of the processes' file, as head does; return what was said on stderr and the exit code."""
        command = [sys.executable, "-m", "perftrack", "export", "--process-csv", "-", "--database", path, *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, cwd=folder, text=True, **pipes) as export:
            assert export.stdout is not None
            assert export.stderr is not None
            assert export.stdout.readline() == PROCESS_HEADER + "\n"
            export.stdout.close()
            return export.stderr.read(), export.wait(timeout=60)

    @pytest.mark.usefixtures("more_than_a_pipe_holds")
    def test_that_is_closed_leaves_the_other_file_and_says_so(self, path: str, tmp_path: Path) -> None:
        said, status = self.closed_early(path, tmp_path, "--system-csv", "s.csv")
        assert (said, status) == ("perftrack: stdout was closed before its end; s.csv is as it was\n", 1)
        assert not (tmp_path / "s.csv").exists()

    @pytest.mark.usefixtures("three_samples")
    def test_that_was_never_open_is_no_traceback(self, path: str, tmp_path: Path) -> None:
        for arguments in ("record", "export --process-csv -", "config show"):
            done = subprocess.run(
                ["sh", "-c", f"exec {sys.executable} -m perftrack {arguments} >&-"],
                cwd=tmp_path,
                env={**os.environ, "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"},
                stderr=subprocess.PIPE,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, b"")


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
        exporting.export(path, str(tmp_path / "s.csv"), str(tmp_path / "p.csv"), TimeRange(since), wide=wide)
        selects = {sql for sql in statements if "sample" in sql and sql.startswith("SELECT")}
        plans = [[row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")] for sql in selects]
        of_ranges = [plan for plan in plans if "ix_system_sample_taken_at" in plan[0]]
        assert len(of_ranges) == 3  # what the database holds; the systems' rows; the processes' or their samples
        for plan in of_ranges:
            assert plan.pop(0).startswith(
                "SCAN system_sample USING" if since is None else "SEARCH system_sample USING"
            )
        for plan in plans:
            assert [step for step in plan if not step.startswith("SEARCH")] in (
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


class TestMemory:
    @pytest.fixture
    def many_rows(self, connection: sqlite3.Connection) -> None:
        rows = [process_row(pid=pid) for pid in range(200)]
        for number in range(200):
            insert_sample(connection, sample(*rows, taken_at=minute(number)))

    @pytest.mark.usefixtures("many_rows")
    def test_does_not_grow_with_the_rows(self, path: str, tmp_path: Path) -> None:
        def peak(until_minute: int) -> int:
            until = queries.datetime.fromisoformat(minute(until_minute) + "+00:00")
            tracemalloc.start()
            exporting.export(path, None, str(tmp_path / "p.csv"), TimeRange(until=until))
            try:
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        peak(20)  # SQLAlchemy fills its caches
        assert peak(200) < peak(20) * 1.5

    @pytest.mark.usefixtures("many_rows")
    def test_holds_the_lines_of_some_samples_at_a_time(self, path: str, tmp_path: Path) -> None:
        done: list[int] = []
        exporting.export(
            path, None, str(tmp_path / "p.csv"), TimeRange(), progress=lambda samples, _: done.append(samples)
        )
        assert done == [200 + process_csv.SAMPLES_AT_ONCE * number for number in range(1, 11)]

    @pytest.mark.usefixtures("many_rows")
    @pytest.mark.parametrize(
        ("wide", "rows", "at_once"),
        [(False, 200, process_csv.SAMPLES_AT_ONCE), (True, 40000, exporting.ROWS_AT_ONCE)],
    )
    def test_fetches_a_bounded_number_of_rows_at_once(
        self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide: bool, rows: int, at_once: int
    ) -> None:
        fetched: list[int] = []
        partitions = CursorResult.partitions

        def watched(result: CursorResult[Any]) -> Iterator[Sequence[Any]]:
            for partition in partitions(result):
                fetched.append(len(partition))
                yield partition

        monkeypatch.setattr(CursorResult, "partitions", watched)
        exporting.export(path, None, str(tmp_path / "p.csv"), TimeRange(), wide=wide)
        assert (sum(fetched), max(fetched)) == (rows, at_once)


class TestFailure:
    """Whatever goes wrong, the files of the export before are still there, whole, and nothing else is."""

    @pytest.fixture
    def earlier(self, tmp_path: Path) -> dict[str, str]:
        (tmp_path / "work").mkdir(exist_ok=True)
        earlier = {"system_log.csv": "earlier\n", "process_log.csv": "earlier\n"}
        for name, text in earlier.items():
            (tmp_path / "work" / name).write_text(text)
        return earlier

    @staticmethod
    def found(folder: Path) -> dict[str, str]:
        return {path.name: path.read_text() for path in folder.iterdir()}

    @pytest.mark.usefixtures("three_samples")
    @pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
    def test_a_full_disk(self, path: str, tmp_path: Path, earlier: dict[str, str]) -> None:
        done = subprocess.run(
            ["sh", "-c", f"trap '' XFSZ; ulimit -f 0; exec {sys.executable} -m perftrack export --database {path}"],
            cwd=tmp_path / "work",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("perftrack: cannot write ")
        assert len(done.stderr.splitlines()) == 1
        assert self.found(tmp_path / "work") == earlier

    @pytest.mark.usefixtures("three_samples")
    def test_an_error_half_way(
        self, path: str, tmp_path: Path, earlier: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path / "work")

        def fails_at_the_second_file(done: int, total: int) -> None:
            if done > total / 2:
                raise OSError(28, "No space left on device")

        with pytest.raises(PerftrackError, match="No space left"):
            exporting.export(
                path, "system_log.csv", "process_log.csv", TimeRange(), progress=fails_at_the_second_file
            )
        assert self.found(tmp_path / "work") == earlier

    @pytest.mark.usefixtures("three_samples")
    def test_one_target_under_two_names(self, perftrack: Run, tmp_path: Path, earlier: dict[str, str]) -> None:
        done = perftrack("export", "--system-csv", "./process_log.csv", expect=2)
        assert done.stderr.startswith("perftrack: both files would go to the same place")
        assert self.found(tmp_path / "work") == earlier

    def test_being_ended_by_a_signal(self, path: str, tmp_path: Path, earlier: dict[str, str]) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)  # nobody reads it, so that the export waits
        opening.open_current(path).close()
        command = [sys.executable, "-m", "perftrack", "export", "--process-csv", str(fifo), "--database", path]
        with subprocess.Popen(command, cwd=tmp_path / "work", stderr=subprocess.PIPE, text=True) as export:
            while len(os.listdir(tmp_path / "work")) == len(earlier):
                assert export.poll() is None
                time.sleep(0.01)
            export.terminate()
            assert export.wait(timeout=60) == 128 + signal.SIGTERM
        assert self.found(tmp_path / "work") == earlier

    @pytest.mark.usefixtures("three_samples", "earlier")
    @pytest.mark.parametrize("is_first", [True, False], ids=["none were there", "earlier ones were there"])
    def test_a_target_that_does_not_let_itself_be_replaced(
        self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_first: bool
    ) -> None:
        """When the other one has been already."""
        monkeypatch.chdir(tmp_path / "work")
        if is_first:
            os.unlink("system_log.csv")

        def becomes_a_folder(done: int, total: int) -> None:
            if os.path.isfile("process_log.csv"):
                os.unlink("process_log.csv")
                os.mkdir("process_log.csv")

        with pytest.raises(PerftrackError, match=r"^cannot write process_log.csv: Is a directory$"):
            exporting.export(path, "system_log.csv", "process_log.csv", TimeRange(), progress=becomes_a_folder)
        os.rmdir("process_log.csv")
        assert self.found(tmp_path / "work") == ({} if is_first else {"system_log.csv": "earlier\n"})

    def test_being_killed_leaves_something_until_the_next_export(
        self, perftrack: Run, path: str, tmp_path: Path, earlier: dict[str, str]
    ) -> None:
        work, fifo = tmp_path / "work", tmp_path / "fifo"
        os.mkfifo(fifo)  # nobody reads it, so that the export waits
        opening.open_current(path).close()
        command = [sys.executable, "-m", "perftrack", "export", "--process-csv", str(fifo), "--database", path]
        for is_killed in (True, False):
            before = set(os.listdir(work))
            with subprocess.Popen(command, cwd=work, stderr=subprocess.DEVNULL) as export:
                until(lambda: set(os.listdir(work)) - before)  # noqa: B023
                (leftover,) = set(os.listdir(work)) - before
                if is_killed:
                    export.kill()
                    continue
                stranger = work / leftover.replace(".tmp", ".tmp.mine")
                stranger.write_text("mine")
                perftrack("export")  # while that one is still being written
                found = set(os.listdir(work))
                export.terminate()
        assert found == {*earlier, leftover, stranger.name}
        assert set(os.listdir(work)) == {*earlier, stranger.name}

    @pytest.mark.usefixtures("three_samples", "earlier")
    def test_a_folder_that_is_not_there(self, perftrack: Run, tmp_path: Path) -> None:
        target = str(tmp_path / "nowhere" / "p.csv")
        done = perftrack("export", "--process-csv", target, expect=1)
        assert done.stderr == f"perftrack: cannot write {target}: No such file or directory\n"
        assert self.found(tmp_path / "work")["system_log.csv"] == "earlier\n"

    def test_no_database(self, perftrack: Run, path: str, tmp_path: Path, earlier: dict[str, str]) -> None:
        done = perftrack("export", expect=1, cwd=tmp_path / "work")
        assert done.stderr.startswith(f"perftrack: no database at {path}; `perftrack record` creates it")
        assert not os.path.exists(path)
        assert self.found(tmp_path / "work") == earlier


def ways_to_spell(file: Path, folder: Path) -> dict[str, str]:
    """Paths that lead to *file*, from *folder*."""
    link, hard_link, folder_link = folder / "a link", folder / "a hard link", folder / "a folder's link"
    link.symlink_to(file)
    folder_link.symlink_to(file.parent)
    ways = {
        "in full": str(file),
        "from here": os.path.relpath(file, folder),
        "with a detour": f"{file.parent}/../{file.parent.name}//./{file.name}",
        "through a link": str(link),
        "through a folder's link": str(folder_link / file.name),
    }
    if file.is_file():
        os.link(file, hard_link)
        ways["by another name"] = str(hard_link)
    return ways


@pytest.mark.usefixtures("three_samples")
class TestATargetThatIsPerftracksOwn:
    """Replacing the database with what is in it would lose all the rest."""

    @pytest.mark.parametrize(
        ("suffix", "what"),
        [
            ("", "the database"),
            ("-wal", "a file of the database"),
            ("-shm", "a file of the database"),
            ("-journal", "a file of the database"),
            ("-failures", "a file of the database"),
            ("-pending", "a file of the database"),
            ("-pending/00000001-aaaaaaaa.json", "in a folder of the database"),
            ("-config", "the config file"),
        ],
    )
    def test_is_refused_however_it_is_spelled(
        self, perftrack: Run, path: str, tmp_path: Path, suffix: str, what: str
    ) -> None:
        Path(f"{path}-config").write_text("top = 3\n")
        database, there = Path(path).read_bytes(), sorted(os.listdir(Path(path).parent))
        for spelling in ways_to_spell(Path(f"{path}{suffix}"), tmp_path / "work").values():
            for option in ("--system-csv", "--process-csv"):
                done = perftrack("export", option, spelling, "--config", f"{path}-config", expect=2)
                said = f"perftrack: {spelling} is {what}, which is not to be overwritten; name another file\n"
                assert done.stderr == said
        assert Path(path).read_bytes() == database
        assert Path(f"{path}-config").read_text() == "top = 3\n"
        assert sorted(os.listdir(Path(path).parent)) == there

    def test_is_refused_where_stdout_is(self, path: str) -> None:
        database = Path(path).read_bytes()
        command = [sys.executable, "-m", "perftrack", "export", "--process-csv", "-", "--database", path]
        with open(path, "ab") as stdout:
            done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("perftrack: - is the database")
        assert Path(path).read_bytes() == database

    def test_is_refused_by_its_usual_name(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir(exist_ok=True)
        os.rename(path, tmp_path / "work" / "system_log.csv")
        own = str(tmp_path / "work" / "system_log.csv")
        before = Path(own).read_bytes()
        assert "is the database" in perftrack("export", "--database", own, expect=2).stderr
        assert Path(own).read_bytes() == before

    @pytest.mark.parametrize("way", ["from here", "with a detour", "through a link", "by another name"])
    def test_is_refused_where_it_is_the_other_target(self, perftrack: Run, tmp_path: Path, way: str) -> None:
        file = tmp_path / "out" / "a.csv"
        file.parent.mkdir()
        file.write_text("earlier")
        spelling = ways_to_spell(file, tmp_path / "work")[way]
        done = perftrack("export", "--system-csv", str(file), "--process-csv", spelling, expect=2)
        assert done.stderr.startswith("perftrack: both files would go to the same place")
        assert file.read_text() == "earlier"

    def test_is_refused_for_a_plot(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        own = str(Path(path).with_name("perftrack.html"))
        os.rename(path, own)
        before = Path(own).read_bytes()
        for spelling in ways_to_spell(Path(own), tmp_path / "work").values():
            done = perftrack("plot", "--since", "2026-11-20", "-o", spelling, "--database", own, expect=2)
            assert done.stderr.startswith(f"perftrack: {spelling} is the database")
        assert Path(own).read_bytes() == before


@pytest.mark.usefixtures("three_samples")
class TestSpecialTargets:
    def test_a_symbolic_link_is_replaced_not_followed(self, perftrack: Run, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (tmp_path / "work" / "system_log.csv").symlink_to(victim)
        perftrack("export")
        assert victim.read_text() == "precious"
        assert not (tmp_path / "work" / "system_log.csv").is_symlink()

    def test_a_device_stays_one(self, perftrack: Run) -> None:
        perftrack("export", "--system-csv", os.devnull)
        assert not os.path.isfile(os.devnull)

    def test_dev_stdout_is_stdout(self, perftrack: Run) -> None:
        assert perftrack("export", "--process-csv", "/dev/stdout").stdout.startswith(PROCESS_HEADER)
