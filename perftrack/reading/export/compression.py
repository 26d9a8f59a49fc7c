"""Files that are compressed because of their names: .gz by the standard library, .zst by Python's or its backport.

A compressed file may be several, one behind the other, which gzip and zstd read as one: so it can be appended to.
"""

from __future__ import annotations

import gzip
import importlib
import io
import sys
from typing import IO, Any, TextIO

from perftrack.errors import PerftrackError
from perftrack.installation import how_to_install

SUFFIXES = (".gz", ".zst")
# That of the gzip program; 9, which Python takes by itself, is three times slower for a hundredth less.
_GZIP_LEVEL = 6


def is_compressed(path: str) -> bool:
    """Return whether what is written to *path* is compressed."""
    return path.endswith(SUFFIXES)


def compressing(path: str, file: IO[bytes]) -> TextIO:
    """Return a text stream that is compressed into *file* as the name *path* says; closing it leaves *file* open.

    The same text gives the same bytes: no time and no name is in them. Raises: PerftrackError without zstd.
    """
    into: Any
    if path.endswith(".gz"):
        into = gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0)
    else:
        into = _zstd(path).ZstdFile(file, "w")
    return io.TextIOWrapper(into, encoding="utf-8", newline="")


def require(*paths: str | None) -> None:
    """Raise PerftrackError where one of *paths* is to be compressed by what is not installed."""
    for path in paths:
        if path is not None and path.endswith(".zst"):
            _zstd(path)


def _zstd(path: str) -> Any:
    # https://docs.python.org/3.14/library/compression.zstd.html, and the same for Pythons before it
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    try:
        return importlib.import_module(name)
    except ImportError:
        how = "a Python that is built with zstd" if sys.version_info >= (3, 14) else how_to_install("backports.zstd")
        raise PerftrackError(f"{path} needs zstd: {how}") from None
