"""`perftrack import`: what the original recorded comes in once, at the right instants, and goes out as it was."""

from __future__ import annotations

import base64
import csv
import io
import os
import pickle
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import LEGACY, Run, process_row, query, sample

from perftrack.errors import PerftrackError
from perftrack.legacy import importer
from perftrack.legacy.importer import Imported
from perftrack.legacy.source import reading
from perftrack.reading.export import export
from perftrack.reading.queries import TimeRange
from perftrack.storage.database import insert_sample

DATA_PIK = str(LEGACY / "data.pik")
CSV_FILES = (str(LEGACY / "system_log.csv"), str(LEGACY / "process_log.csv"))
ALL_OF_IT = Imported(8, 44, 8, 44)
NOTHING_NEW = Imported(8, 44, 0, 0)

Entry = dict[str, Any]
Both = tuple[bytes, bytes]
WriteOriginal = Callable[..., str]
NOON = datetime(2026, 11, 20, 12, 0, 0, 250000)
BERLIN = ZoneInfo("Europe/Berlin")


def system(**values: Any) -> Entry:
    """An entry of the original's list 'system', made-up but for *values*."""
    memory = {"mem_total": 8000, "mem_available": 6000, "mem_used": 2000, "mem_percent_used": 0.25}
    return {"datetime": NOON, "cpu_usage": 12.5, **memory, **values}


def process(**values: Any) -> Entry:
    """An entry of the original's list 'processes', made-up but for *values*."""
    who = {"filter": "java", "name": "java", "pid": 7}
    return {"datetime": NOON, **who, "cpu_usage": 1.5, "rss_memory": 4096, "vms_memory": 8192, **values}


def import_file(file: str, database: str, *arguments: Any, **options: Any) -> Imported:
    """Import a file as the command does."""
    with reading(file) as source:
        return importer.import_file(source, database, *arguments, **options)


@pytest.fixture
def original(tmp_path: Path) -> WriteOriginal:
    """Write a pickle as the original did, and return its path."""

    def write(
        *,
        systems: list[Any] | None = None,
        processes: list[Any] | None = None,
        protocol: int = 4,
        name: str = "data.pik",
    ) -> str:
        data = {"system": systems or [], "processes": processes or []}
        (tmp_path / name).write_bytes(pickle.dumps(data, protocol))
        return str(tmp_path / name)

    return write


def extracted(entries: list[Entry]) -> bytes:
    """The CSV file that the original extracts from *entries*: keys sorted, str() of each value."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, sorted(entries[0]))
    writer.writeheader()
    writer.writerows(entries)
    return text.getvalue().encode()


def exported(path: str, since: datetime | None = None, until: datetime | None = None) -> Both:
    """What `perftrack export` writes."""
    files = [Path(path).with_name(name) for name in ("system.csv", "processes.csv")]
    export(path, str(files[0]), str(files[1]), TimeRange(since, until))
    return files[0].read_bytes(), files[1].read_bytes()


def dump(path: str) -> list[str]:
    with closing(sqlite3.connect(path)) as opened:
        return list(opened.iterdump())


def use_zone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TZ", name)
    time.tzset()


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


# Made once with Python 2.7.18, print base64.b64encode(pickle.dumps(data, protocol)): system() and twice process() as
# above, at 2013-07-14 09:30:00.250000, with pid 7, 'java', and pid 8, 'java\xc3\x9f'. There, text is bytes, and the
# processes' memory is long: 4096L.
PYTHON_2_PICKLES = {  # by protocol
    0: (
        "KGRwMApTJ3Byb2Nlc3NlcycKcDEKKGxwMgooZHAzClMndm1zX21lbW9yeScKcDQKTDgxOTJMCnNTJ2NwdV91c2FnZScKcDUKRjEu"
        "NQpzUydyc3NfbWVtb3J5JwpwNgpMNDA5NkwKc1MnbmFtZScKcDcKUydqYXZhJwpwOApzUydwaWQnCnA5Ckk3CnNTJ2RhdGV0aW1l"
        "JwpwMTAKY2RhdGV0aW1lCmRhdGV0aW1lCnAxMQooUydceDA3XHhkZFx4MDdceDBlXHRceDFlXHgwMFx4MDNceGQwXHg5MCcKcDEy"
        "CnRwMTMKUnAxNApzUydmaWx0ZXInCnAxNQpnOApzYShkcDE2Cmc0Ckw4MTkyTApzZzUKRjEuNQpzZzYKTDQwOTZMCnNnNwpTJ2ph"
        "dmFceGMzXHg5ZicKcDE3CnNnOQpJOApzZzEwCmcxNApzZzE1Cmc4CnNhc1Mnc3lzdGVtJwpwMTgKKGxwMTkKKGRwMjAKZzUKRjEy"
        "LjUKc2cxMApnMTQKc1MnbWVtX3VzZWQnCnAyMQpJMjAwMApzUydtZW1fcGVyY2VudF91c2VkJwpwMjIKRjAuMjUKc1MnbWVtX3Rv"
        "dGFsJwpwMjMKSTgwMDAKc1MnbWVtX2F2YWlsYWJsZScKcDI0Ckk2MDAwCnNhcy4="
    ),
    1: (
        "fXEAKFUJcHJvY2Vzc2VzcQFdcQIofXEDKFUKdm1zX21lbW9yeXEETDgxOTJMClUJY3B1X3VzYWdlcQVHP/gAAAAAAABVCnJzc19t"
        "ZW1vcnlxBkw0MDk2TApVBG5hbWVxB1UEamF2YXEIVQNwaWRxCUsHVQhkYXRldGltZXEKY2RhdGV0aW1lCmRhdGV0aW1lCnELKFUK"
        "B90HDgkeAAPQkHEMdHENUnEOVQZmaWx0ZXJxD2gIdX1xEChoBEw4MTkyTApoBUc/+AAAAAAAAGgGTDQwOTZMCmgHVQZqYXZhw59x"
        "EWgJSwhoCmgOaA9oCHVlVQZzeXN0ZW1xEl1xE31xFChoBUdAKQAAAAAAAGgKaA5VCG1lbV91c2VkcRVN0AdVEG1lbV9wZXJjZW50"
        "X3VzZWRxFkc/0AAAAAAAAFUJbWVtX3RvdGFscRdNQB9VDW1lbV9hdmFpbGFibGVxGE1wF3VhdS4="
    ),
    2: (
        "gAJ9cQAoVQlwcm9jZXNzZXNxAV1xAih9cQMoVQp2bXNfbWVtb3J5cQSKAgAgVQljcHVfdXNhZ2VxBUc/+AAAAAAAAFUKcnNzX21l"
        "bW9yeXEGigIAEFUEbmFtZXEHVQRqYXZhcQhVA3BpZHEJSwdVCGRhdGV0aW1lcQpjZGF0ZXRpbWUKZGF0ZXRpbWUKcQtVCgfdBw4J"
        "HgAD0JBxDIVxDVJxDlUGZmlsdGVycQ9oCHV9cRAoaASKAgAgaAVHP/gAAAAAAABoBooCABBoB1UGamF2YcOfcRFoCUsIaApoDmgP"
        "aAh1ZVUGc3lzdGVtcRJdcRN9cRQoaAVHQCkAAAAAAABoCmgOVQhtZW1fdXNlZHEVTdAHVRBtZW1fcGVyY2VudF91c2VkcRZHP9AA"
        "AAAAAABVCW1lbV90b3RhbHEXTUAfVQ1tZW1fYXZhaWxhYmxlcRhNcBd1YXUu"
    ),
}


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


class TestTheTimeZone:
    SUMMER_AND_WINTER = (datetime(2026, 7, 1, 12), datetime(2026, 12, 1, 12))

    @pytest.fixture
    def file(self, original: WriteOriginal) -> str:
        return original(
            systems=[system(datetime=when) for when in self.SUMMER_AND_WINTER],
            processes=[process(datetime=when) for when in self.SUMMER_AND_WINTER],
        )

    def test_of_the_file_can_be_named(self, file: str, perftrack: Run, path: str) -> None:
        perftrack("import", file, "--timezone", "Europe/Berlin", env={"TZ": "Asia/Tokyo"})
        assert query(path, "SELECT taken_at, taken_at_local FROM system_sample") == [
            ("2026-07-01 10:00:00.000000", "2026-07-01 12:00:00.000000"),
            ("2026-12-01 11:00:00.000000", "2026-12-01 12:00:00.000000"),
        ]

    def test_is_this_systems_by_default(self, file: str, perftrack: Run, path: str) -> None:
        perftrack("import", file, env={"TZ": "America/New_York"})
        assert query(path, "SELECT taken_at FROM system_log") == [
            "2026-07-01 16:00:00.000000",
            "2026-12-01 17:00:00.000000",
        ]
        assert query(path, "SELECT DISTINCT taken_at FROM process_log") == query(
            path, "SELECT taken_at FROM system_log"
        )

    @pytest.mark.parametrize("zone", ["Nowhere/Town", "Europe", ""])
    def test_that_does_not_exist_is_wrong_usage(self, zone: str, file: str, perftrack: Run, path: str) -> None:
        done = perftrack("import", file, "--timezone", zone, expect=2)
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)
        assert done.stderr.startswith(f"perftrack: --timezone {zone}: no such time zone" if zone else "perftrack: ")
        assert not os.path.exists(path)


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


class TestTheHourThatTheClockGoesThroughTwice:
    """25 October 2026 in Berlin: after 02:59 summer time comes 02:00 winter time. A sample every ten minutes."""

    INSTANTS = tuple(datetime(2026, 10, 24, 23, 50, tzinfo=UTC) + timedelta(minutes=10 * n) for n in range(15))
    WALL_CLOCK = "01:50 02:00 02:10 02:20 02:30 02:40 02:50 02:00 02:10 02:20 02:30 02:40 02:50 03:00 03:10"

    @staticmethod
    def local(instant: datetime, microsecond: int = 0) -> datetime:
        return instant.astimezone(BERLIN).replace(tzinfo=None, microsecond=microsecond)  # with its fold

    @pytest.fixture(params=["to the second", "to the microsecond"])
    def times(self, request: pytest.FixtureRequest) -> list[datetime]:
        """What the original noted; cron is late by a little, so that no two times are the same, or by nothing."""
        step = 137 if request.param == "to the microsecond" else 0
        return [self.local(instant, step * n) for n, instant in enumerate(self.INSTANTS)]

    @pytest.fixture
    def night(self, times: list[datetime]) -> tuple[list[Entry], list[Entry]]:
        """The entries; the memory of each process tells which sample it is of."""
        systems = [system(datetime=when, cpu_usage=float(n)) for n, when in enumerate(times)]
        processes = [process(datetime=when, rss_memory=n, pid=pid) for n, when in enumerate(times) for pid in (7, 8)]
        return systems, processes

    @pytest.fixture(params=["--timezone", "TZ"])
    def zone(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ZoneInfo | None:
        if request.param == "--timezone":
            return BERLIN
        use_zone(monkeypatch, "Europe/Berlin")
        return None

    @pytest.fixture(params=["protocol 3", "protocol 4", "system_log.csv first", "process_log.csv first"])
    def files(
        self,
        request: pytest.FixtureRequest,
        night: tuple[list[Entry], list[Entry]],
        original: WriteOriginal,
        tmp_path: Path,
    ) -> list[str]:
        systems, processes = night
        if request.param.startswith("protocol"):
            return [original(systems=systems, processes=processes, protocol=int(request.param[-1]))]
        files = [tmp_path / "system_log.csv", tmp_path / "process_log.csv"]
        for file, entries in zip(files, night, strict=True):
            file.write_bytes(extracted(entries))
        return [str(file) for file in (files if request.param.startswith("system") else reversed(files))]

    def assert_in_order(self, path: str, night: tuple[list[Entry], list[Entry]]) -> None:
        instants = [(n, f"{instant:%Y-%m-%d %H:%M:%S}") for n, instant in enumerate(self.INSTANTS)]
        seconds = "substr(taken_at, 1, 19)"
        assert query(path, f"SELECT cpu_usage, {seconds} FROM system_log ORDER BY cpu_usage") == instants
        for pid in (7, 8):
            of_pid = f"SELECT rss_memory, {seconds} FROM process_log WHERE pid = {pid} ORDER BY rss_memory"
            assert query(path, of_pid) == instants
        assert exported(path) == (extracted(night[0]), extracted(night[1]))

    def test_is_what_these_tests_are_about(self, times: list[datetime]) -> None:
        assert " ".join(f"{when:%H:%M}" for when in times) == self.WALL_CLOCK
        noted = {protocol: pickle.loads(pickle.dumps(times, protocol)) for protocol in (3, 4)}
        assert [when.fold for when in noted[3]] == [0] * 15
        assert [when.fold for when in noted[4]] == [0] * 7 + [1] * 6 + [0] * 2

    def test_is_told_apart_by_the_order_in_the_file(
        self, files: list[str], zone: ZoneInfo | None, night: tuple[list[Entry], list[Entry]], path: str
    ) -> None:
        for file in files:
            import_file(file, path, "here", zone)
        self.assert_in_order(path, night)

    def test_is_found_again(self, files: list[str], night: tuple[list[Entry], list[Entry]], path: str) -> None:
        for file in files * 2:
            done = import_file(file, path, "here", BERLIN)
        assert (done.new_system_entries, done.new_process_entries) == (0, 0)
        self.assert_in_order(path, night)

    @pytest.mark.parametrize("half", range(1, 15, 3))
    def test_is_told_apart_in_a_file_that_has_grown(
        self, half: int, night: tuple[list[Entry], list[Entry]], original: WriteOriginal, path: str
    ) -> None:
        import_file(original(systems=night[0][:half], processes=night[1][: 2 * half]), path, "here", BERLIN)
        import_file(original(systems=night[0], processes=night[1]), path, "here", BERLIN)
        self.assert_in_order(path, night)

    def test_is_told_apart_after_a_file_that_began_in_it(
        self, night: tuple[list[Entry], list[Entry]], original: WriteOriginal, path: str
    ) -> None:
        import_file(original(systems=night[0][7:], processes=night[1][14:]), path, "here", BERLIN)
        import_file(original(systems=night[0], processes=night[1]), path, "here", BERLIN)
        self.assert_in_order(path, night)

    @pytest.mark.parametrize("times", ["to the microsecond"], indirect=True)
    def test_places_a_process_that_began_in_it_by_the_systems_entries(
        self,
        files: list[str],
        night: tuple[list[Entry], list[Entry]],
        original: WriteOriginal,
        path: str,
        tmp_path: Path,
    ) -> None:
        del night[1][:14]  # all before the second 02:00
        if len(files) == 1:
            files = [original(systems=night[0], processes=night[1], protocol=3)]
        else:
            (tmp_path / "process_log.csv").write_bytes(extracted(night[1]))
        for file in files:
            import_file(file, path, "here", BERLIN)
        assert query(path, "SELECT min(taken_at) FROM process_log") == ["2026-10-25 01:00:00.000959"]
        assert exported(path) == (extracted(night[0]), extracted(night[1]))

    def test_is_told_apart_by_fold_where_the_order_says_nothing(
        self, zone: ZoneInfo | None, original: WriteOriginal, path: str
    ) -> None:
        import_file(original(systems=[system(datetime=datetime(2026, 10, 25, 2, 30, fold=1))]), path, "here", zone)
        assert query(path, "SELECT taken_at FROM system_log") == ["2026-10-25 01:30:00.000000"]


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
