"""`perftrack import` of what must not come in: one line says what and where, and everything stays as it was."""

from __future__ import annotations

import copyreg
import os
import pickle
import resource
import shutil
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from test_import import CSV_FILES, DATA_PIK, NOON, Entry, dump, extracted, import_file, process, system, use_zone

from perftrack.__main__ import main
from perftrack.errors import PerftrackError
from perftrack.legacy.importer import Imported
from perftrack.legacy.pickle_file import read_pickle, unpickle

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that holds what the original recorded."""
    database = str(tmp_path_factory.mktemp("imported") / "perftrack.db")
    import_file(DATA_PIK, database, "here")
    return database


@pytest.fixture
def refused(
    imported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Import a file of these bytes: exit code 1, nothing changed, and one line; return what it says of the file."""
    database = str(shutil.copy(imported, tmp_path))
    before = dump(database)

    def run(content: bytes, name: str = "data.pik") -> str:
        file = tmp_path / name
        file.write_bytes(content)
        monkeypatch.setattr(sys, "argv", ["perftrack", "import", "--database", database, str(file)])
        with pytest.raises(SystemExit) as exited:
            main()
        said = capsys.readouterr()
        assert (exited.value.code, said.out) == (1, ""), said
        assert said.err.count("\n") == 1
        assert len(said.err) < 1000
        assert said.err.startswith(f"perftrack: {file}"), said.err
        assert dump(database) == before
        return said.err.removeprefix(f"perftrack: {file}").strip()

    return run


def data_pik(systems: Any = (), processes: Any = (), protocol: int = 4) -> bytes:
    lists = [list(entries) if isinstance(entries, tuple) else entries for entries in (systems, processes)]
    return pickle.dumps(dict(zip(("system", "processes"), lists, strict=True)), protocol)


def without(entry: Entry, key: str) -> Entry:
    return {name: value for name, value in entry.items() if name != key}


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


class TestAPickleOfSomethingElse:
    @pytest.mark.parametrize(
        "data",
        [
            None,
            [],
            "text",
            {},
            {"system": []},
            {"system": [], "processes": [], "more": []},
            {"system": (), "processes": []},
            {"system": [], "processes": {}},
            {"system": None, "processes": None},
            {5: [], None: []},
        ],
        ids=str,
    )
    def test_is_not_the_originals_data(self, data: Any, refused: Refused) -> None:
        assert refused(pickle.dumps(data)).startswith(": not the original's data: ")


# Opcodes, put together by hand: what a pickle is made of when somebody means ill.
def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def named(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def stack_named(module: str, name: str) -> bytes:
    return text(module) + text(name) + pickle.STACK_GLOBAL


def tuple_of(*parts: bytes) -> bytes:
    return pickle.MARK + b"".join(parts) + pickle.TUPLE


def called(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_of(*arguments) + pickle.REDUCE


def made(kind: bytes, *arguments: bytes) -> bytes:
    return kind + tuple_of(*arguments) + pickle.NEWOBJ


def made_ex(kind: bytes, *arguments: bytes) -> bytes:
    return kind + tuple_of(*arguments) + pickle.EMPTY_DICT + pickle.NEWOBJ_EX


def whole(*parts: bytes) -> bytes:
    return pickle.PROTO + b"\x05" + b"".join(parts) + pickle.STOP


DATETIME = named("datetime", "datetime")
ENCODE = named("_codecs", "encode")
A_TIME = called(DATETIME, pickle.SHORT_BINBYTES + b"\x0a" + bytes.fromhex("07ea0b140c0000000000"))
EXTENSION = 240  # of the codes for private use


def lazily(kind: Callable[..., bytes], command: bytes) -> bytes:
    """bytes(map(os.system, [command])), which runs while the object is made."""
    calls = kind(named("builtins", "map"), named("os", "system"), tuple_of(command))
    return kind(named("builtins", "bytes"), calls)


def partially(command: bytes) -> bytes:
    """functools.partial(print), whose state is then set to os.system."""
    state = tuple_of(named("os", "system"), pickle.EMPTY_TUPLE, pickle.EMPTY_DICT, pickle.NONE)
    harmless = made(named("functools", "partial"), named("builtins", "print"))
    return called(harmless + state + pickle.BUILD, command)


def executing(marker: Path) -> dict[str, bytes]:
    """Pickles that create *marker* when Python's own unpickler reads them, by the way they do it."""
    command = text(f"touch '{marker}'")
    code = text(f"open({str(marker)!r}, 'w').close()")
    imported_os = called(named("builtins", "__import__"), text("os"))
    return {
        "GLOBAL": called(named("os", "system"), command),
        "STACK_GLOBAL": called(stack_named("os", "system"), command),
        "INST": pickle.MARK + command + pickle.INST + b"os\nsystem\n",
        "OBJ": pickle.MARK + named("os", "system") + command + pickle.OBJ,
        "eval": called(named("builtins", "eval"), code),
        "exec": called(named("builtins", "exec"), code),
        "getattr": called(called(named("builtins", "getattr"), imported_os, text("system")), command),
        "an allowed module's loader": called(
            stack_named("datetime", "__loader__.set_data"), text(str(marker)), pickle.SHORT_BINBYTES + b"\x00"
        ),
        "NEWOBJ": lazily(made, command),
        "NEWOBJ_EX": lazily(made_ex, command),
        "BUILD": partially(command),
        "EXT1": called(pickle.EXT1 + struct.pack("<B", EXTENSION), command),
        "EXT2": called(pickle.EXT2 + struct.pack("<H", EXTENSION), command),
        "EXT4": called(pickle.EXT4 + struct.pack("<i", EXTENSION), command),
        "a part of a good pickle": whole(
            pickle.MARK,
            text("system") + pickle.EMPTY_LIST + called(named("os", "system"), command) + pickle.APPEND,
            text("processes") + pickle.EMPTY_LIST,
            pickle.DICT,
        )[2:-1],
    }


@pytest.fixture
def extension() -> Iterator[None]:
    copyreg.add_extension("os", "system", EXTENSION)
    yield
    copyreg.remove_extension("os", "system", EXTENSION)  # from the unpickler's cache as well


@pytest.mark.usefixtures("extension")
@pytest.mark.parametrize("how", executing(Path()))
class TestAPickleThatExecutes:
    def test_does_so_in_pythons_own_unpickler(self, how: str, tmp_path: Path) -> None:
        pickle.loads(whole(executing(tmp_path / "executed")[how]))
        assert (tmp_path / "executed").exists()

    def test_is_refused_by_name_and_does_not(self, how: str, tmp_path: Path) -> None:
        with pytest.raises(
            PerftrackError, match=r"^data\.pik: refused, it refers to .*, which the original's data never"
        ):
            unpickle(whole(executing(tmp_path / "executed")[how]), "data.pik")
        assert not (tmp_path / "executed").exists()

    def test_does_not_in_an_import(self, how: str, refused: Refused, tmp_path: Path) -> None:
        said = refused(whole(executing(tmp_path / "executed")[how]))
        # nobody has registered an extension where the file is read
        assert said.startswith(": not a readable pickle (" if how.startswith("EXT") else ": refused, it refers to ")
        assert not (tmp_path / "executed").exists()


BEYOND = {
    "a datetime of numbers": called(DATETIME, *[pickle.BININT1 + b"\x01"] * 3),
    "a datetime of text": called(DATETIME, text("2026-11-20")),
    "a datetime of nothing": called(DATETIME),
    "a datetime of eleven bytes": called(DATETIME, pickle.SHORT_BINBYTES + b"\x0b" + b"\x01" * 11),
    "a datetime of month 13": called(DATETIME, pickle.SHORT_BINBYTES + b"\x0a" + b"\x07\xea\x0d" + b"\x01" * 7),
    "an encoding by rot13": called(ENCODE, text("flfgrz"), text("rot13")),
    "an encoding that is long": called(ENCODE, text("x" * 11), text("latin1")),
    "an encoding of an object": called(ENCODE, DATETIME, text("latin1")),
    "BUILD on a constructor": DATETIME + pickle.EMPTY_DICT + pickle.BUILD,
    "BUILD of a constructor's attribute": (
        DATETIME + pickle.MARK + text("__call__") + ENCODE + pickle.DICT + pickle.BUILD
    ),
    "BUILD of a constructor's class": (
        DATETIME + tuple_of(pickle.NONE, pickle.MARK + text("__class__") + ENCODE + pickle.DICT) + pickle.BUILD
    ),
    "BUILD on a datetime": A_TIME + pickle.MARK + text("year") + ENCODE + pickle.DICT + pickle.BUILD,
    "BUILD on a dictionary": pickle.EMPTY_DICT + pickle.MARK + text("a") + ENCODE + pickle.DICT + pickle.BUILD,
    "NEWOBJ of a constructor": made(DATETIME),
    "NEWOBJ_EX of a constructor": made_ex(DATETIME),
    "OBJ of a datetime": pickle.MARK + A_TIME + pickle.OBJ,
    "a call of a datetime": called(A_TIME),
    "a call of text": called(text("os.system"), text("true")),
    "APPEND to a constructor": DATETIME + ENCODE + pickle.APPEND,
    "SETITEM on a datetime": A_TIME + text("a") + text("b") + pickle.SETITEM,
    "an unhashable key": pickle.EMPTY_DICT + pickle.EMPTY_LIST + pickle.NONE + pickle.SETITEM,
    "a name that is no text": A_TIME + text("datetime") + pickle.STACK_GLOBAL,
    "a persistent id": pickle.PERSID + b"data\n",
    "a persistent object": text("data") + pickle.BINPERSID,
    "an unregistered extension": pickle.EXT1 + b"\xf1",
    "a buffer beside the file": pickle.NEXT_BUFFER,
    "a read-only buffer": pickle.NEXT_BUFFER + pickle.READONLY_BUFFER,
    "an unknown protocol": pickle.PROTO + b"\x06",
    "an unknown opcode": b"\xff",
    "too few objects": pickle.POP,
    "no such memo": pickle.BINGET + b"\x07",
    "more text than there is": pickle.BINUNICODE8 + struct.pack("<Q", 2**62),
    "more bytes than can be": pickle.BINBYTES8 + struct.pack("<Q", 2**63),
    "more memory than there is": pickle.BINBYTES8 + struct.pack("<Q", 2**62),
}


class TestAPickleThatReachesForMore:
    @pytest.mark.parametrize(
        ("module", "name"),
        [
            ("datetime", "sys.modules"),
            ("datetime", "datetime.__class__"),
            ("datetime", "datetime.fromtimestamp"),
            ("datetime", "date"),
            ("datetime", "timezone"),
            ("_codecs", "encode.__self__"),
            ("_codecs", "decode"),
            ("_codecs", "register"),
            ("copyreg", "_reconstructor"),
            ("copy_reg", "_reconstructor"),
            ("builtins", "object"),
            ("__builtin__", "eval"),
            ("perftrack.legacy.pickle_file", "unpickle"),
            ("", ""),
        ],
    )
    def test_than_the_two_names_is_refused(self, module: str, name: str, refused: Refused) -> None:
        assert refused(whole(stack_named(module, name))).startswith(
            f": refused, it refers to {module}.{name}, which "
        )

    @pytest.mark.parametrize("parts", BEYOND.values(), ids=BEYOND)
    def test_than_an_originals_data_holds_is_refused(self, parts: bytes, refused: Refused) -> None:
        assert refused(whole(parts)).startswith((": refused, it ", ": not a readable pickle ("))

    @pytest.mark.parametrize("parts", [DATETIME, ENCODE, A_TIME], ids=["constructor", "encoder", "datetime"])
    def test_but_holds_nothing_more_is_not_the_originals_data(self, parts: bytes, refused: Refused) -> None:
        assert refused(whole(parts)).startswith(": not the original's data: ")

    @pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
    def test_than_a_limit_of_memory_allows_is_refused(self, perftrack: Run, tmp_path: Path, path: str) -> None:
        file = tmp_path / "data.pik"
        file.write_bytes(whole(pickle.NONE, pickle.LONG_BINPUT, b"\xff\xff\xff\x7f"))
        gigabyte = (2**30, 2**30)
        done = perftrack(
            "import", str(file), expect=1, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, gigabyte)
        )
        assert done.stderr.startswith(f"perftrack: {file}: ")
        assert done.stderr.count("\n") == 1
        assert not os.path.exists(path)


class TestADamagedPickle:
    @pytest.mark.parametrize("protocol", range(6))
    def test_is_refused_wherever_it_ends(self, protocol: int) -> None:
        content = data_pik((system(),), (process(), process(pid=8)), protocol)
        assert read_pickle(content, "data.pik")
        for length in range(len(content)):
            with pytest.raises(PerftrackError, match=r"^data\.pik: not a readable pickle \("):
                read_pickle(content[:length], "data.pik")

    @pytest.mark.parametrize("more", [b"\0", b"\n", data_pik()], ids=["NUL", "newline", "another pickle"])
    def test_may_have_something_behind_its_end(self, more: bytes, refused: Refused) -> None:
        assert "behind the end" in refused(data_pik((system(),)) + more)

    @pytest.mark.parametrize("content", [b"", b"\x80", b"hello\n", b"PK\x03\x04", b"\0" * 100, b"SQLite format 3\0"])
    def test_may_be_none_at_all(self, content: bytes, refused: Refused) -> None:
        assert refused(content).startswith(": not a readable pickle (")

    def test_never_raises_anything_else(self) -> None:
        content = data_pik((system(),), (process(),), 4)
        for position in range(len(content)):
            for byte in (0, 1, 0x28, 0x52, 0x62, 0x80, 0x93, 0xFF):
                damaged = content[:position] + bytes([byte]) + content[position + 1 :]
                with suppress(PerftrackError):
                    read_pickle(damaged, "data.pik")


class TestAFileThatCannotBeRead:
    def test_is_named(self, perftrack: Run, tmp_path: Path, path: str) -> None:
        missing = perftrack("import", str(tmp_path / "data.pik"), expect=1)
        folder = perftrack("import", str(tmp_path), expect=1)
        assert missing.stderr == f"perftrack: cannot read {tmp_path}/data.pik: No such file or directory\n"
        assert folder.stderr == f"perftrack: cannot read {tmp_path}: Is a directory\n"
        assert not os.path.exists(path)

    def test_is_one_that_must_be_given(self, perftrack: Run) -> None:
        done = perftrack("import", expect=2)
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)


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
        assert refused(b"datetime,pid\r\n2026-11-20,7\r\n", "process_log.csv").startswith(": not a readable pickle (")

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
