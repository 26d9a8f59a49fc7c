"""Pickles that are not the original's: nothing in them is executed, and one line says what is wrong."""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import resource
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from opcodes import (
    A_TIME,
    DATETIME,
    ENCODE,
    EXTENSION,
    called,
    executing,
    made,
    made_ex,
    stack_named,
    text,
    tuple_of,
    whole,
)
from originals import Refused, data_pik, imported, process, refused, system

from perftrack.errors import PerftrackError
from perftrack.legacy import pickle_file

__all__ = ["imported", "refused"]  # the fixtures
DAMAGED = ": a damaged or incomplete pickle"
NEITHER = ": neither a pickle nor one of the original's CSV files"


def unpickle(content: bytes) -> Any:
    """What the process that reads a file makes of a pickle; the errors are what it says behind the file's name."""
    return pickle_file.unpickle(io.BufferedReader(io.BytesIO(content)))


def extracted_csv(content: bytes) -> str:
    """The text of the original's CSV files that the process that reads a file answers with."""
    text = io.StringIO(newline="")
    pickle_file.write_as_csv(unpickle(content), text)
    return text.getvalue()


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
        with pytest.raises(PerftrackError, match=r"^: refused, it refers to .*, which the original's data never"):
            unpickle(whole(executing(tmp_path / "executed")[how]))
        assert not (tmp_path / "executed").exists()

    def test_does_not_in_an_import(self, how: str, refused: Refused, tmp_path: Path) -> None:
        said = refused(whole(executing(tmp_path / "executed")[how]))
        # nobody has registered an extension where the file is read
        assert said.startswith(DAMAGED if how.startswith("EXT") else ": refused, it refers to ")
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
        assert refused(whole(parts)).startswith((": refused, it ", DAMAGED))

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
        assert extracted_csv(content)
        for length in range(1, len(content)):
            with pytest.raises(PerftrackError, match=DAMAGED if length > 1 or protocol > 1 else NEITHER):
                extracted_csv(content[:length])

    @pytest.mark.parametrize("more", [b"\0", b"\n", data_pik()], ids=["NUL", "newline", "another pickle"])
    def test_may_have_something_behind_its_end(self, more: bytes, refused: Refused) -> None:
        assert "behind the end" in refused(data_pik((system(),)) + more)

    @pytest.mark.parametrize("content", [b"", b"\x80", b"hello\n", b"PK\x03\x04", b"\0" * 100, b"SQLite format 3\0"])
    def test_may_be_none_at_all(self, content: bytes, refused: Refused) -> None:
        assert refused(content) == (DAMAGED if content == b"\x80" else NEITHER)

    def test_may_be_any_other_file(self, perftrack: Run) -> None:
        done = perftrack("import", "/etc/passwd", expect=1)
        assert done.stderr == f"perftrack: /etc/passwd{NEITHER}\n"

    @pytest.mark.parametrize(
        "content",
        [
            b"This is no pickle at all",
            b"config\nfile\nof mine\n",
            b"Xylophones\n",
            b"Bring it\n",
            b"N.",
            b"x,y\n1,2\n",
        ],
    )
    def test_of_text_is_no_pickle_whatever_an_unpickler_would_make_of_it(
        self, refused: Refused, content: bytes
    ) -> None:
        assert refused(content) == NEITHER

    def test_never_raises_anything_else(self) -> None:
        content = data_pik((system(),), (process(),), 4)
        for position in range(len(content)):
            for byte in (0, 1, 0x28, 0x52, 0x62, 0x80, 0x93, 0xFF):
                damaged = content[:position] + bytes([byte]) + content[position + 1 :]
                with suppress(PerftrackError, MemoryError):
                    extracted_csv(damaged)


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
