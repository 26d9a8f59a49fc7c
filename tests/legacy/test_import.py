"""`perftrack import`: what the original recorded comes in once, and goes out as it was."""

from __future__ import annotations

import base64
import os
import pickle
import socket
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from conftest import Run, process_row, query, sample
from originals import (
    CSV_FILES,
    DATA_PIK,
    NOON,
    Both,
    WriteOriginal,
    dump,
    exported,
    extracted,
    import_file,
    original,
    process,
    system,
)
from python_2 import PYTHON_2_PICKLES

from perftrack.errors import PerftrackError
from perftrack.legacy.importer import Imported
from perftrack.storage.insertion import insert_sample

__all__ = ["original"]  # the fixture

ALL_OF_IT = Imported(8, 44, 8, 44)
NOTHING_NEW = Imported(8, 44, 0, 0)
ORIGINAL: Both = (Path(CSV_FILES[0]).read_bytes(), Path(CSV_FILES[1]).read_bytes())
RECORDED = pickle.loads(Path(DATA_PIK).read_bytes())


class TestImportThenExport:
    def test_gives_back_both_files_to_the_byte(self, perftrack: Run, tmp_path: Path) -> None:
        perftrack("import", DATA_PIK)
        perftrack("export")
        assert tuple((tmp_path / "work" / Path(file).name).read_bytes() for file in CSV_FILES) == ORIGINAL

    def test_has_the_original_as_its_witness(self) -> None:
        assert (extracted(RECORDED["system"]), extracted(RECORDED["processes"])) == ORIGINAL

    @pytest.mark.parametrize("protocol", range(6))
    def test_takes_a_pickle_of_every_protocol(self, protocol: int, original: WriteOriginal, path: str) -> None:
        file = original(systems=RECORDED["system"], processes=RECORDED["processes"], protocol=protocol)
        assert import_file(file, path, "here") == ALL_OF_IT
        assert exported(path) == ORIGINAL

    @pytest.mark.parametrize("files", [CSV_FILES, CSV_FILES[::-1]], ids=["system first", "processes first"])
    def test_takes_the_csv_files_in_one_command(self, files: tuple[str, str], perftrack: Run, path: str) -> None:
        perftrack("import", *files)
        assert exported(path) == ORIGINAL

    @pytest.mark.parametrize("files", [CSV_FILES, CSV_FILES[::-1]], ids=["system first", "processes first"])
    def test_takes_the_csv_files_one_by_one(self, files: tuple[str, str], path: str) -> None:
        done = [import_file(file, path, "here") for file in files]
        assert set(done) == {Imported(8, 0, 8, 0), Imported(0, 44, 0, 44)}
        assert exported(path) == ORIGINAL

    def test_takes_the_pickle_after_its_csv_files_as_nothing_new(self, path: str) -> None:
        for file in CSV_FILES:
            import_file(file, path, "here")
        assert import_file(DATA_PIK, path, "here") == NOTHING_NEW
        assert exported(path) == ORIGINAL

    def test_leaves_out_a_system_that_no_file_told_of(self, path: str) -> None:
        import_file(CSV_FILES[1], path, "here")
        assert exported(path) == (ORIGINAL[0].splitlines(keepends=True)[0], ORIGINAL[1])

    def test_holds_wherever_the_export_runs(self, perftrack: Run, tmp_path: Path) -> None:
        perftrack("import", DATA_PIK, env={"TZ": "Asia/Tokyo"})
        perftrack("export", env={"TZ": "America/New_York"})
        assert tuple((tmp_path / "work" / Path(file).name).read_bytes() for file in CSV_FILES) == ORIGINAL

    @pytest.mark.parametrize("filters", [("python", "java"), ("java", "python"), ("ruby", "pyth")], ids=" ".join)
    @pytest.mark.parametrize("imported", ["before", "after"])
    def test_holds_beside_samples_of_other_times(
        self, filters: tuple[str, str], imported: str, connection: sqlite3.Connection, path: str
    ) -> None:
        if imported == "before":
            import_file(DATA_PIK, path, "here")
        for hour in (17, 19):
            rows = [process_row(pid=32187, name="javapython", filter=text) for text in filters]
            insert_sample(connection, sample(*rows, taken_at=f"2026-11-22 {hour}:24:31.143660"))
        if imported == "after":
            import_file(DATA_PIK, path, "here")
        evening = (datetime(2026, 11, 22, hour, 24, tzinfo=UTC) for hour in (18, 19))
        assert exported(path, *evening) == ORIGINAL
        assert len(exported(path)[0].splitlines()) == 1 + 8 + 2

    def test_holds_for_a_range_given_on_the_command_line(
        self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path
    ) -> None:
        for instant in ("17:00", "18:30"):  # an hour later by Berlin's clocks
            insert_sample(connection, sample(process_row(), taken_at=f"2026-11-22 {instant}:00.000000"))
        perftrack("import", DATA_PIK, "--timezone", "Europe/Berlin")
        span = ("--since", "2026-11-22 18:24", "--until", "2026-11-22 18:25")
        perftrack("export", *span, env={"TZ": "Europe/Berlin"})
        assert tuple((tmp_path / "work" / Path(file).name).read_bytes() for file in CSV_FILES) == ORIGINAL

    @pytest.mark.parametrize("as_csv", [False, True], ids=["pickle", "csv"])
    def test_writes_a_whole_second_as_str_of_a_datetime_does(
        self, as_csv: bool, original: WriteOriginal, path: str, tmp_path: Path
    ) -> None:
        times = [datetime(2026, 11, 20), datetime(2026, 11, 20, 12, 0, 5), datetime(2026, 11, 20, 12, 0, 5, 10)]
        systems, processes = [system(datetime=when) for when in times], [process(datetime=when) for when in times]
        expected = extracted(systems), extracted(processes)
        if as_csv:
            for content, name in zip(expected, ("s.csv", "p.csv"), strict=True):
                (tmp_path / name).write_bytes(content)
                import_file(str(tmp_path / name), path, "here")
        else:
            import_file(original(systems=systems, processes=processes), path, "here")
        assert exported(path) == expected
        assert [line.split(b",")[1] for line in exported(path)[0].splitlines()[1:]] == [
            b"2026-11-20 00:00:00",
            b"2026-11-20 12:00:05",
            b"2026-11-20 12:00:05.000010",
        ]


class TestAProcessThatSeveralFiltersMatch:
    """The original wrote one row for each, in the order of its list."""

    LISTS = (("python", "java"), ("java", "python"), ("java", "java"), ("thon", "java", "python", "java", "a"))

    @pytest.mark.parametrize("filters", LISTS, ids=" ".join)
    def test_comes_back_in_that_order(self, filters: tuple[str, ...], original: WriteOriginal, path: str) -> None:
        processes = [process(name="javapython", filter=text) for text in filters] + [process(pid=8)]
        import_file(original(systems=[system()], processes=processes), path, "here")
        assert exported(path)[1] == extracted(processes)

    def test_comes_back_in_the_order_of_each_file(self, original: WriteOriginal, path: str) -> None:
        processes = []
        for minute, filters in enumerate(self.LISTS):
            when = NOON + timedelta(minutes=minute)
            of_sample = [process(datetime=when, pid=pid, filter=text) for pid in (7, 8) for text in filters]
            import_file(original(systems=[system(datetime=when)], processes=of_sample), path, "here")
            processes += of_sample
        assert exported(path)[1] == extracted(processes)


class TestAPickleOfPython2:
    @pytest.mark.parametrize("protocol", PYTHON_2_PICKLES)
    def test_is_imported(self, protocol: int, path: str, tmp_path: Path) -> None:
        (tmp_path / "data.pik").write_bytes(base64.b64decode(PYTHON_2_PICKLES[protocol]))
        assert import_file(str(tmp_path / "data.pik"), path, "here") == Imported(1, 2, 1, 2)
        when = datetime(2013, 7, 14, 9, 30, 0, 250000)
        assert exported(path) == (
            extracted([system(datetime=when)]),
            extracted([process(datetime=when), process(datetime=when, pid=8, name="javaß")]),
        )


class TestTheHost:
    def test_is_this_one_by_default(self, perftrack: Run, path: str) -> None:
        perftrack("import", DATA_PIK)
        assert query(path, "SELECT name FROM host") == [socket.gethostname()]

    def test_can_be_named_and_is_a_machine_of_its_own(self, perftrack: Run, path: str) -> None:
        for name in ("db1", "db2"):
            done = perftrack("import", DATA_PIK, "--host", name)
            assert done.stdout == f"{DATA_PIK}: imported 8 system entries and 44 process entries\n"
        assert query(path, "SELECT host, count(*) FROM system_log GROUP BY host") == [("db1", 8), ("db2", 8)]
        assert query(path, "SELECT host, count(*) FROM process_log GROUP BY host") == [("db1", 44), ("db2", 44)]

    def test_is_what_its_recorded_samples_belong_to_as_well(self, connection: sqlite3.Connection, path: str) -> None:
        insert_sample(connection, sample(host="here"))
        import_file(DATA_PIK, path, "here")
        assert query(path, "SELECT name FROM host") == ["here"]
        assert query(path, 'SELECT "key", booted_at IS NULL FROM boot ORDER BY id') == [("boot-1", 0), (None, 1)]


class TestAFileIsOneTransaction:
    def test_and_a_second_time_adds_nothing_and_says_so(self, perftrack: Run, path: str) -> None:
        first = perftrack("import", DATA_PIK)
        assert first.stdout == f"{DATA_PIK}: imported 8 system entries and 44 process entries\n"
        before = dump(path)
        second = perftrack("import", DATA_PIK)
        assert second.stdout == (
            f"{DATA_PIK}: nothing new, the database has all of it already (8 system entries and 44 process entries)\n"
        )
        assert dump(path) == before

    def test_that_adds_what_is_new(self, original: WriteOriginal, path: str, perftrack: Run) -> None:
        times = [NOON + timedelta(minutes=minute) for minute in range(3)]
        systems, processes = [system(datetime=when) for when in times], [process(datetime=when) for when in times]
        import_file(original(systems=systems[:2], processes=processes[:2]), path, "here")
        file = original(systems=systems, processes=processes)
        done = perftrack("import", file, "--host", "here")
        assert done.stdout == (
            f"{file}: imported 1 system entry and 1 process entry of 3 system entries and 3 process entries\n"
        )
        assert exported(path) == (extracted(systems), extracted(processes))

    def test_that_finds_its_times_again_whatever_zone_they_came_in_as(
        self, original: WriteOriginal, path: str
    ) -> None:
        times = [NOON + timedelta(minutes=20 * n, seconds=n) for n in range(9)]
        systems, processes = [system(datetime=when) for when in times], [process(datetime=when) for when in times]
        early, whole = (
            original(systems=systems[:count], processes=processes[:count], name=f"{count}.pik") for count in (5, 9)
        )
        for file, zone in ((early, "UTC"), (whole, "Europe/Berlin"), (whole, "UTC"), (whole, "America/New_York")):
            done = import_file(file, path, "here", ZoneInfo(zone))
        assert done == Imported(9, 9, 0, 0)
        assert query(path, "SELECT count(*) FROM system_log UNION ALL SELECT count(*) FROM process_log") == [9, 9]

    def test_that_can_be_of_nothing(self, original: WriteOriginal, path: str) -> None:
        assert import_file(original(), path, "here") == Imported(0, 0, 0, 0)

    def test_that_a_failure_in_the_middle_undoes(self, connection: sqlite3.Connection, path: str) -> None:
        insert_sample(connection, sample(process_row()))
        last = RECORDED["processes"][-1]["rss_memory"]
        connection.execute(
            f"CREATE TRIGGER failing BEFORE INSERT ON process_sample WHEN new.rss_bytes = {last} "
            "BEGIN SELECT RAISE(ABORT, 'the disk is on fire'); END"
        )
        before = dump(path)
        with pytest.raises(PerftrackError, match="on fire"):
            import_file(DATA_PIK, path, "here")
        assert dump(path) == before

    def test_that_a_bad_last_entry_undoes(self, original: WriteOriginal, path: str) -> None:
        import_file(DATA_PIK, path, "here")
        before = dump(path)
        file = original(systems=[system()], processes=[process(), process(pid=8), process(pid=9, rss_memory=-1)])
        with pytest.raises(PerftrackError, match=r"data.pik, process entry 3: "):
            import_file(file, path, "here")
        assert dump(path) == before

    def test_of_its_own(self, original: WriteOriginal, perftrack: Run, path: str) -> None:
        bad = original(systems=[system(), system(cpu_usage=-1)], name="bad.pik")
        done = perftrack("import", DATA_PIK, bad, expect=1)
        assert done.stdout == f"{DATA_PIK}: imported 8 system entries and 44 process entries\n"
        assert done.stderr.startswith(f"perftrack: {bad}, system entry 2: ")
        assert exported(path) == ORIGINAL


class TestADryRun:
    def test_tells_and_does_not_create_a_database(self, perftrack: Run, path: str) -> None:
        done = perftrack("import", "--dry-run", DATA_PIK)
        assert done.stdout == f"{DATA_PIK}: would import 8 system entries and 44 process entries\n"
        assert not os.path.exists(os.path.dirname(path))

    def test_changes_nothing(self, path: str) -> None:
        import_file(CSV_FILES[0], path, "here")
        before = dump(path)
        assert import_file(DATA_PIK, path, "here", dry_run=True) == Imported(8, 44, 0, 44)
        assert dump(path) == before
        assert import_file(DATA_PIK, path, "here") == Imported(8, 44, 0, 44)

    def test_refuses_what_an_import_would(self, original: WriteOriginal, path: str) -> None:
        file = original(processes=[process(pid=-1)])
        with pytest.raises(PerftrackError, match=r"data.pik, process entry 1: "):
            import_file(file, path, "here", dry_run=True)
        assert not os.path.exists(path)


class TestNames:
    NAMES = ("java, 8", "100%r", 'java "x"', "java\nx", "java\r\nx", " java ", "ünï", "=1+1", "'", "")

    def test_come_back_through_a_pickle_and_a_csv_file(
        self, original: WriteOriginal, path: str, tmp_path: Path
    ) -> None:
        processes = [process(name=name, filter=name, pid=pid) for pid, name in enumerate(self.NAMES)]
        import_file(original(processes=processes), path, "a")
        assert query(path, "SELECT name FROM process_log ORDER BY pid") == list(self.NAMES)
        assert exported(path)[1] == extracted(processes)
        (tmp_path / "process_log.csv").write_bytes(extracted(processes))
        assert import_file(str(tmp_path / "process_log.csv"), path, "a") == Imported(0, 10, 0, 0)

    @pytest.mark.parametrize("protocol", range(6))
    def test_that_are_no_utf8_become_text(self, protocol: int, original: WriteOriginal, path: str) -> None:
        name = os.fsdecode(b"java\xe4\xff")  # as psutil gives it to Python 3
        import_file(original(processes=[process(name=name, filter=name)], protocol=protocol), path, "here")
        assert query(path, "SELECT name, filter FROM process_log") == [(r"java\xe4\xff", r"java\xe4\xff")]

    def test_that_are_no_utf8_in_a_csv_file_become_the_same_text(self, path: str, tmp_path: Path) -> None:
        (tmp_path / "process_log.csv").write_bytes(extracted([process(name="java#")]).replace(b"#", b"\xe4\xff"))
        import_file(str(tmp_path / "process_log.csv"), path, "here")
        assert query(path, "SELECT name FROM process_log") == [r"java\xe4\xff"]

    def test_of_files_and_hosts_may_be_no_utf8_either(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        file = tmp_path / os.fsdecode(b"\xff.pik")
        file.write_bytes(Path(DATA_PIK).read_bytes())
        strict = {"PYTHONIOENCODING": "utf-8:strict"}  # as in any locale but C
        done = perftrack("import", str(file), "--host", os.fsdecode(b"h\xff"), env=strict)
        assert done.stdout.endswith("/\\xff.pik: imported 8 system entries and 44 process entries\n")
        assert query(path, "SELECT name FROM host") == [r"h\xff"]
