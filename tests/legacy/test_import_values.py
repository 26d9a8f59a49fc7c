"""What no entry of the original can hold is named, and nothing of its file is imported."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opcodes import text, whole
from originals import (
    CSV_FILES,
    NOON,
    Entry,
    Refused,
    data_pik,
    extracted,
    import_file,
    imported,
    process,
    refused,
    system,
    use_zone,
)

from perftrack.legacy.importer import Imported

__all__ = ["imported", "refused"]  # the fixtures


def without(entry: Entry, key: str) -> Entry:
    return {name: value for name, value in entry.items() if name != key}


NEITHER = ": neither a pickle nor one of the original's CSV files"
NO_NUMBER = (True, None, "1.5", float("nan"), float("inf"), -float("inf"), -0.1, 10**400, [1.5])
NO_BYTES = (True, None, "4096", 4096.0, -1, 2**63, 10**5000, float("nan"), [4096])
NO_TEXT = (None, 5, True, ["java"], NOON)
NO_TIME = (None, "2026-11-20 12:00:00", 1790000000.0, b"2026-11-20", [NOON])


def cases(**values: tuple[Any, ...]) -> list[Any]:
    return [
        pytest.param(key, value, id=f"{key}-{type(value).__name__}-{number}")
        for key in values
        for number, value in enumerate(values[key])
    ]


class TestAValue:
    @pytest.mark.parametrize(
        ("key", "value"),
        cases(
            datetime=NO_TIME,
            cpu_usage=NO_NUMBER,
            mem_total=(*NO_BYTES, 0),
            mem_available=NO_BYTES,
            mem_used=NO_BYTES,
            mem_percent_used=(*NO_NUMBER, 25.0, 0.2500001, 0.0),
        ),
    )
    def test_of_the_system_that_cannot_be(self, key: str, value: Any, refused: Refused) -> None:
        said = refused(data_pik((system(), {**system(datetime=NOON + timedelta(1)), key: value})))
        assert said.startswith(", system entry 2: ")
        assert key in said

    @pytest.mark.parametrize(
        ("key", "value"),
        cases(
            datetime=NO_TIME,
            filter=NO_TEXT,
            name=NO_TEXT,
            pid=(True, None, "7", 7.0, -1, 2**31, 10**5000),
            cpu_usage=NO_NUMBER,
            rss_memory=NO_BYTES,
            vms_memory=NO_BYTES,
        ),
    )
    def test_of_a_process_that_cannot_be(self, key: str, value: Any, refused: Refused) -> None:
        said = refused(data_pik((system(),), (process(), process(pid=8), {**process(pid=9), key: value})))
        assert said.startswith(", process entry 3: ")
        assert key in said

    def test_at_the_end_of_its_range_is_no_reason_to_refuse(self, path: str, tmp_path: Path) -> None:
        largest = {"mem_total": 2**63 - 1, "mem_used": 2**63 - 1, "mem_percent_used": 1, "mem_available": 0}
        entries = (system(**largest, cpu_usage=0),), (process(pid=2**31 - 1, rss_memory=2**63 - 1, vms_memory=0),)
        (tmp_path / "data.pik").write_bytes(data_pik(*entries))
        assert import_file(str(tmp_path / "data.pik"), path, "here") == Imported(1, 1, 1, 1)


class TestATime:
    def test_with_a_zone_is_refused_by_its_zones_class(self, refused: Refused) -> None:
        said = refused(data_pik((system(datetime=datetime.now(UTC)),)))
        assert said.startswith(": refused, it refers to datetime.timezone, ")

    def test_with_an_offset_is_refused_in_a_csv_file(self, refused: Refused) -> None:
        said = refused(extracted([system(), system(datetime=NOON.replace(tzinfo=UTC))]), "system_log.csv")
        assert said.startswith(", line 3: datetime is no local time")

    @pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
    @pytest.mark.parametrize("year", [1, 9999])
    def test_without_an_instant_in_utc_is_refused(
        self, year: int, zone: str, refused: Refused, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use_zone(monkeypatch, zone)
        end = datetime(1, 1, 1) if year == 1 else datetime(9999, 12, 31, 23)
        said = refused(data_pik((system(), system(datetime=end))))
        assert said.startswith(", system entry 2: datetime is ")

    @pytest.mark.parametrize(
        "state",
        ["07ea0b2d0c0000000000", "07ea02 1d0c0000000000", "07ea0b14630000000000", "07ea0b140c0000ffffff"],
        ids=["day 45", "29 February", "99 o'clock", "16777215 microseconds"],
    )
    def test_that_no_calendar_has_is_refused(self, state: str, refused: Refused) -> None:
        when = datetime(bytes.fromhex(state))  # type: ignore[call-arg, arg-type]  # the constructor of unpickling
        said = refused(data_pik((system(),), (process(), process(datetime=when))))
        assert said.startswith(", process entry 2: datetime is ")

    def test_cannot_be_that_of_two_system_entries(self, refused: Refused) -> None:
        entries = [system(), system(datetime=NOON + timedelta(1)), system()]
        said = refused(data_pik(entries))
        assert said.startswith(", system entry 3: ")
        assert "2026-11-20 12:00:00.250000" in said
        assert "2026-11-20 12:00:00.250000" in refused(extracted(entries), "system_log.csv")

    def test_cannot_be_that_of_two_rows_of_one_process(self, refused: Refused) -> None:
        said = refused(data_pik((), (process(), process(filter="av"), process(pid=8), process())))
        assert said.startswith(", process entry 4: ")

    def test_that_the_clock_left_out_cannot_stand_for_another(
        self, refused: Refused, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use_zone(monkeypatch, "Europe/Berlin")  # 02:30 was 03:30 there, so this is another zone's file
        times = (datetime(2026, 3, 29, 2, 30), datetime(2026, 3, 29, 3, 30))
        said = refused(data_pik([system(datetime=when) for when in times]))
        assert said.startswith(", system entry 2: ")


class TestAnEntry:
    @pytest.mark.parametrize("key", system())
    def test_of_the_system_has_every_key(self, key: str, refused: Refused) -> None:
        assert refused(data_pik((system(), without(system(), key)))).startswith(", system entry 2: its keys are ")

    @pytest.mark.parametrize("key", process())
    def test_of_a_process_has_every_key(self, key: str, refused: Refused) -> None:
        assert refused(data_pik((), (without(process(), key),))).startswith(", process entry 1: its keys are ")

    @pytest.mark.parametrize(
        "key", ["cmdline", b"pid ", 5, None, (1, 2), 10**5000], ids=lambda key: type(key).__name__
    )
    def test_has_no_other_key(self, key: Any, refused: Refused) -> None:
        said = refused(data_pik((), (process(), {**process(), key: 1})))
        assert said.startswith(", process entry 2: its keys are ")

    @pytest.mark.parametrize("entry", [None, 5, "java", list(process()), tuple(process().items()), {"datetime"}])
    def test_is_a_dictionary(self, entry: Any, refused: Refused) -> None:
        assert refused(data_pik((system(), entry))).startswith(", system entry 2: not a dictionary: ")

    @pytest.mark.parametrize("where", ["entry", "value"])
    def test_of_endless_depth_is_named(self, where: str, refused: Refused) -> None:
        depth = 100_000
        deep = pickle.EMPTY_LIST * depth + pickle.APPEND * (depth - 1)
        if where == "value":
            deep = pickle.MARK + text("datetime") + deep + pickle.DICT
        lists = text("system") + pickle.EMPTY_LIST + deep + pickle.APPEND + text("processes") + pickle.EMPTY_LIST
        assert refused(whole(pickle.MARK, lists, pickle.DICT)).startswith(", system entry 1: ")

    @pytest.mark.usefixtures("five_seconds")
    @pytest.mark.parametrize("where", ["entry", "value"])
    def test_of_endless_breadth_is_named(self, where: str, refused: Refused) -> None:
        laughs: Any = "ha"
        for _ in range(64):
            laughs = [laughs, laughs]  # 2 to the power of 64, in a file of some hundred bytes
        entry = laughs if where == "entry" else system(cpu_usage=laughs)
        assert refused(data_pik((entry,))).startswith(", system entry 1: ")


@pytest.fixture
def five_seconds() -> Iterator[None]:
    """End a test that would run for years."""

    def end(*_: object) -> None:
        pytest.fail("it is still at it")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class TestACsvFile:
    GOOD = extracted([process(name='java, "8"', pid=pid) for pid in (7, 8, 9)])

    def imported(self, content: bytes, path: str, tmp_path: Path) -> Imported:
        (tmp_path / "process_log.csv").write_bytes(content)
        return import_file(str(tmp_path / "process_log.csv"), path, "here")

    @pytest.mark.parametrize(
        ("what", "good", "bad"),
        [
            ("fields", b",9,4096,8192", b",9,4096"),
            ("fields", b",9,4096,8192", b",9,4096,8192,1"),
            ("expected", b",9,4096,8192", b',9,4096,"81"92'),
            ("pid", b",9,4096,8192", b",nine,4096,8192"),
            ("pid", b",9,4096,8192", b",,4096,8192"),
            ("pid", b",9,4096,8192", b",-9,4096,8192"),
            ("rss_memory", b",9,4096,8192", b",9,4096.5,8192"),
            ("vms_memory", b",9,4096,8192", b",9,4096,9223372036854775808"),
            ("vms_memory", b",9,4096,8192", b",9,4096," + b"9" * 5000),
            ("cpu_usage", b"1.5,", b"nan,"),
            ("cpu_usage", b"1.5,", b"1e999,"),
            ("cpu_usage", b"1.5,", b"much,"),
            ("datetime", b"2026-11-20 12", b"2026-02-30 12"),
            ("datetime", b"2026-11-20 12", b"yesterday 12"),
            ("datetime", b"12:00:00.250000", b"12:00:00.250000+01:00"),
        ],
    )
    def test_names_its_bad_line(self, what: str, good: bytes, bad: bytes, refused: Refused) -> None:
        lines = self.GOOD.splitlines(keepends=True)
        lines[3] = lines[3].replace(good, bad)
        assert bad in lines[3]
        said = refused(b"".join(lines), "process_log.csv")
        assert said.startswith(", line 4: ")
        assert what in said

    def test_names_the_line_of_a_quote_that_never_ends(self, refused: Refused) -> None:
        assert refused(self.GOOD + b'1.5,2026-11-20 12:00:00,java,java,7,4096,"8192', "process_log.csv").startswith(
            ", line 5: "
        )

    def test_names_the_line_of_a_wrong_fraction(self, refused: Refused) -> None:
        content = extracted([system(), system(datetime=NOON + timedelta(1), mem_percent_used=25.0)])
        assert refused(content, "system_log.csv").startswith(", line 3: mem_percent_used ")

    def test_with_other_columns_is_none_of_the_originals(self, refused: Refused) -> None:
        assert refused(b"datetime,pid\r\n2026-11-20,7\r\n", "process_log.csv") == NEITHER

    @pytest.mark.parametrize(
        "content",
        {
            "a byte order mark": b"\xef\xbb\xbf" + GOOD,
            "lines that end in LF": GOOD.replace(b"\r\n", b"\n"),
            "blank lines": GOOD.replace(b"\r\n", b"\r\n\r\n"),
            "no end of its last line": GOOD.removesuffix(b"\r\n"),
        }.values(),
        ids=["BOM", "LF", "blank lines", "no last newline"],
    )
    def test_may_have_been_through_an_editor(self, content: bytes, path: str, tmp_path: Path) -> None:
        assert self.imported(content, path, tmp_path) == Imported(0, 3, 0, 3)
        assert self.imported(self.GOOD, path, tmp_path) == Imported(0, 3, 0, 0)

    @pytest.mark.parametrize("file", CSV_FILES)
    def test_may_be_nothing_but_its_header(self, file: str, path: str, tmp_path: Path) -> None:
        header = Path(file).read_bytes().splitlines(keepends=True)[0]
        assert self.imported(header, path, tmp_path) == Imported(0, 0, 0, 0)
