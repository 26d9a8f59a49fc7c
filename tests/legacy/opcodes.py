"""Pickles put together by hand, opcode by opcode, as somebody does who means ill."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from pathlib import Path


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
