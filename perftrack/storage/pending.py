"""Samples that the database could not take, kept beside it until it can. Not imported by a tick that meets none.

They are in the folder PATH-pending, one JSON file each, numbered as they came: the parameters of the tick's INSERTs,
by column name, so reading one runs nothing and a later perftrack understands it.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from contextlib import suppress
from typing import Any

from perftrack import private
from perftrack.errors import UnusableError
from perftrack.sample import Sample
from perftrack.storage import inserts
from perftrack.storage.database import KnownIds, add_sample, explained, pending_folder, transaction

# A day of a tick a minute, and what that may take of a disk that is nearly full.
SAMPLES_MAX = 1440
BYTES_MAX = 16 * 1024 * 1024
_SUFFIX = ".json"
_UNFINISHED_SECONDS = 600


def count(path: str) -> int:
    """Return how many samples wait for the database at *path*; 0 too where this user may not look."""
    try:
        return len(_names(pending_folder(path)))
    except OSError:
        return 0


def keep(path: str, sample: Sample, problem: UnusableError) -> UnusableError:
    """Keep *sample* for the next tick that can write; return *problem* with that (or that it fails) added."""
    folder = pending_folder(path)
    kept = False
    try:
        make_folder(path)
        _write(folder, _text(sample))
    except OSError as error:
        outcome = f"the sample is lost, for it cannot be kept in {folder} either: {error.strerror}"
    else:
        kept = True
        outcome = f"the sample is kept in {folder} until then"
    told = type(problem)(f"{problem}; {outcome}")
    told.kept = kept
    return told


def insert(connection: sqlite3.Connection, path: str) -> None:
    """Insert all samples that wait for the database at *path*, in order and each once, and remove their files.

    They are removed when they are safely in the database. A tick that is killed in between leaves the next one
    samples that are there already, which `add_sample` recognises. Raises: UnusableError, and then all stay.
    """
    folder = pending_folder(path)
    done, refused = [], []
    try:
        if not _names(folder):
            return
        with explained(path), transaction(connection):
            for name in _names(folder):
                try:
                    sample = _sample(_read(os.path.join(folder, name)))
                    connection.execute("SAVEPOINT pending")
                    add_sample(connection, sample, KnownIds(), tried_before=True)
                    connection.execute("RELEASE pending")
                except FileNotFoundError:  # another tick was quicker
                    continue
                except (ValueError, OverflowError, RecursionError, sqlite3.IntegrityError, sqlite3.ProgrammingError):
                    with suppress(sqlite3.OperationalError):  # there is no savepoint yet where the text was wrong
                        connection.execute("ROLLBACK TO pending")
                    refused.append(name)
                else:
                    done.append(name)
    except PermissionError:  # they are another user's, who will insert them
        return
    with suppress(OSError):  # it is the same if they are found once more
        for name in done:
            os.unlink(os.path.join(folder, name))
        for name in refused:  # not ours to throw away: it stays for a person to look at
            os.rename(os.path.join(folder, name), os.path.join(folder, f"{name}.refused"))
        _clean(folder)


def make_folder(path: str) -> None:
    """Make the folder for what cannot be in the database, the same user's as that. Raises: OSError."""
    folder = pending_folder(path)
    private.make_folder(folder)
    if os.path.islink(folder) or not os.path.isdir(folder):
        raise NotADirectoryError(20, "it is no folder", folder)
    private.give_to_owner_of(path, folder)


def _names(folder: str) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(_SUFFIX) and name[:1].isdigit())


def _write(folder: str, text: bytes) -> None:
    """Write one sample, whole or not at all, and durably. Raises: OSError, also where there are too many."""
    files = list(os.scandir(folder))
    if len(files) >= SAMPLES_MAX or sum(file.stat().st_size for file in files) + len(text) > BYTES_MAX:
        raise OSError(28, f"{len(files)} are there already, which is the limit")
    names = _names(folder)
    number = int(names[-1].partition("-")[0]) + 1 if names else 1
    final = os.path.join(folder, f"{number:08d}-{os.urandom(4).hex()}{_SUFFIX}")
    unfinished = f"{final}.new"
    descriptor = private.create(unfinished)
    try:
        try:
            while text:
                text = text[os.write(descriptor, text) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        private.give_to_owner_of(folder, unfinished)
        os.rename(unfinished, final)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(file: str) -> bytes:
    """Return what is in *file*, which is a file and not too large. Raises: ValueError, OSError."""
    if os.path.islink(file) or not os.path.isfile(file):
        raise ValueError("not a file")
    with open(file, "rb") as opened:
        return opened.read(BYTES_MAX)


def _clean(folder: str) -> None:
    """Remove what killed ticks left unfinished."""
    for file in os.scandir(folder):
        if file.name.endswith(".new") and abs(time.time() - file.stat().st_mtime) > _UNFINISHED_SECONDS:
            os.unlink(file.path)


def _columns(statement: str) -> list[str]:
    return re.findall(r":(\w+)", statement)


_PARTS = {
    "host": _columns(inserts.INSERT_HOST),
    "boot": _columns(inserts.INSERT_BOOT),
    "recorder": _columns(inserts.INSERT_RECORDER),
    "system": _columns(inserts.INSERT_SYSTEM_SAMPLE),
    "processes": ["filter", *_columns(inserts.INSERT_PROCESS), *inserts.PROCESS_SAMPLE_COLUMNS],
}
_IDS = {"host_id", "boot_id", "recorder_id", "sample_id", "process_id", "filter_id"}


def _text(sample: Sample) -> bytes:
    rows = {
        "host": _part("host", sample.host),
        "boot": _part("boot", sample.boot),
        "recorder": sample.recorder and _part("recorder", sample.recorder),
        "system": _part("system", sample.system),
        "processes": [_part("processes", row) for row in sample.processes],
    }
    return json.dumps(rows, ensure_ascii=False, allow_nan=False).encode()


def _sample(text: bytes) -> Sample:
    """Return the sample that `_text` made *text* of. Raises: ValueError where it is none."""
    rows = json.loads(text)
    if not isinstance(rows, dict) or not isinstance(rows.get("processes"), list):
        raise ValueError("no sample")
    return Sample(
        _part("host", rows.get("host")),
        _part("boot", rows.get("boot")),
        _part("recorder", rows["recorder"]) if rows.get("recorder") else None,
        _part("system", rows.get("system")),
        [_part("processes", row) for row in rows["processes"]],
    )


def _part(name: str, row: Any) -> dict[str, Any]:
    """Return the columns of *row* that an INSERT needs; None for one that an earlier perftrack did not have."""
    if not isinstance(row, dict):
        raise ValueError("no row")
    found = {column: row.get(column) for column in _PARTS[name] if column not in _IDS}
    if any(isinstance(value, dict | list) for value in found.values()):
        raise ValueError("no value of a column")
    return found
