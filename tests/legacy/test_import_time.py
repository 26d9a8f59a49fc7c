"""At which instant an entry was taken: the original noted local times only."""

from __future__ import annotations

import os
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from conftest import Run, query
from originals import Entry, WriteOriginal, exported, extracted, import_file, original, process, system, use_zone

__all__ = ["original"]  # the fixture
BERLIN = ZoneInfo("Europe/Berlin")


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
