"""Samples that the database could not take, kept beside it until it can. Not imported by a tick that meets none.

They are in the folder PATH-pending, which is there as long as some wait: one JSON file each, numbered as they came,
of rows by column name, so that reading one runs nothing and a later perftrack understands it.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, get_args, get_type_hints

from perftrack import private, rows
from perftrack.errors import UnusableError
from perftrack.sample import Sample
from perftrack.storage.insertion import KnownIds, add_sample
from perftrack.storage.sqlite_file import pending_folder, readable_errors, transaction

# A day of a tick a minute, and what that may take of a disk that is nearly full.
SAMPLES_MAX = 1440
BYTES_MAX = 16 * 1024 * 1024
_SUFFIX = ".json"
_NAME = re.compile(r"(\d{8,})-\w+\.json", re.ASCII)
_UNFINISHED_SECONDS = 600
# What a file raises that holds no sample, or one that no database takes.
_REFUSED = (OSError, ValueError, OverflowError, RecursionError, sqlite3.IntegrityError, sqlite3.ProgrammingError)

# A condensed row knows its own row before: that may be one that came so late.
_TELL_CONDENSED = """
UPDATE process_sample SET previous_sample_id = late.id
FROM system_sample AS late
  JOIN system_sample AS later ON later.boot_id = late.boot_id AND later.uptime_seconds > late.uptime_seconds
    AND later.samples NOTNULL
WHERE late.id = :sample_id AND process_sample.sample_id = later.id AND process_sample.samples NOTNULL
  AND process_id IN (SELECT process_id FROM process_sample WHERE sample_id = late.id)
  AND late.uptime_seconds > coalesce(
    (SELECT uptime_seconds FROM system_sample WHERE id = process_sample.previous_sample_id), 0)
"""

# What each column may hold: in JSON, a float may have no decimals.
_TYPES: dict[type, dict[str, Any]] = {
    kind: {column: types | int if isinstance(1.0, types) else types for column, types in get_type_hints(kind).items()}
    for kind in (rows.HostRow, rows.BootRow, rows.RecorderRow, rows.SystemRow, rows.CgroupRow, rows.ProcessRow)
}


def count(path: str) -> int:
    """Return how many samples wait for the database at *path*; 0 too where this user may not look."""
    try:
        return len(_names(pending_folder(path)))
    except OSError:
        return 0


def keep(path: str, sample: Sample, problem: UnusableError) -> UnusableError:
    """Keep *sample* for the next tick that can write; return *problem* with that (or that it fails) added."""
    folder = pending_folder(path)
    try:
        try:
            _write(path, folder, _text(sample))
        except FileNotFoundError:  # another tick has just inserted the last one and removed the folder
            _write(path, folder, _text(sample))
    except OSError as error:
        kept = False
        outcome = f"the sample is lost, for it cannot be kept in {folder} either: {error.strerror}"
    else:
        kept = True
        outcome = f"the sample is kept in {folder} until then"
    return type(problem)(f"{problem}; {outcome}", database=path, kept=kept)


def insert(connection: sqlite3.Connection, path: str, tell: Callable[[str], None] = lambda line: None) -> None:
    """Insert all samples that wait for the database at *path*, in order and each once, and remove their files.

    They are removed when they are safely in the database. A tick that is killed in between leaves the next one
    samples that are there already, which `add_sample` recognises. *tell* is given a line for each file that holds no
    sample, which is set aside. Raises: UnusableError, and then all stay.
    """
    folder = pending_folder(path)
    done = []
    try:
        refused = [name for name in os.listdir(folder) if name.endswith(_SUFFIX) and not _NAME.fullmatch(name)]
        if _names(folder):
            with readable_errors(path), transaction(connection):
                for name in _names(folder):
                    try:
                        _insert(connection, os.path.join(folder, name))
                    except FileNotFoundError:  # another tick was quicker
                        continue
                    except PermissionError:
                        raise
                    except _REFUSED:
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
            tell(f"{os.path.join(folder, name)} holds no sample, and is set aside as {name}.refused")
        _clean(folder)
        os.rmdir(folder)  # unless something is in it


def _insert(connection: sqlite3.Connection, file: str) -> None:
    sample = _sample(private.read(file, BYTES_MAX))
    connection.execute("SAVEPOINT pending")
    try:
        sample_id = add_sample(connection, sample, KnownIds(), tried_before=True)
        connection.execute(_TELL_CONDENSED, {"sample_id": sample_id})
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO pending")
        raise
    connection.execute("RELEASE pending")


def _names(folder: str) -> list[str]:
    """Return the names of the samples, in order."""
    return sorted(filter(_NAME.fullmatch, os.listdir(folder)), key=lambda name: (_number(name), name))


def _number(name: str) -> int:
    return int(name.partition("-")[0])


def _write(path: str, folder: str, text: bytes) -> None:
    """Write one sample, whole or not at all, and durably. Raises: OSError, also where there are too many."""
    private.make_folder(folder)
    if os.path.islink(folder) or not os.path.isdir(folder):
        raise NotADirectoryError(20, "it is no folder", folder)
    private.give_to_owner_of(path, folder)
    files = list(os.scandir(folder))
    if len(files) >= SAMPLES_MAX or sum(file.stat().st_size for file in files) + len(text) > BYTES_MAX:
        raise OSError(28, f"{len(files)} are there already, which is the limit")
    names = _names(folder)
    number = _number(names[-1]) + 1 if names else 1
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
    private.sync_folder(folder)
    if not names:  # the folder itself may be new
        with suppress(OSError):  # the one it is in may be one that this user may not list
            private.sync_folder(os.path.dirname(folder))


def _clean(folder: str) -> None:
    """Remove what killed ticks left unfinished."""
    for file in os.scandir(folder):
        if file.name.endswith(".new") and abs(time.time() - file.stat().st_mtime) > _UNFINISHED_SECONDS:
            os.unlink(file.path)


def _text(sample: Sample) -> bytes:
    held = {name: getattr(sample, name) for name in Sample.__slots__}
    return json.dumps(held, ensure_ascii=False, allow_nan=False).encode()


def _sample(text: bytes) -> Sample:
    """Return the sample that `_text` made *text* of. Raises: ValueError where it is none."""
    held = json.loads(text, parse_constant=_no_number)
    if not isinstance(held, dict) or not isinstance(held.get("processes"), list):
        raise ValueError("no sample")
    recorder, cgroups = held.get("recorder"), held.get("cgroups")
    if cgroups is not None and not isinstance(cgroups, list):
        raise ValueError("no control groups")
    return Sample(
        _row(held.get("host"), rows.HostRow),
        _row(held.get("boot"), rows.BootRow),
        None if recorder is None else _row(recorder, rows.RecorderRow),
        _row(held.get("system"), rows.SystemRow),
        [_row(row, rows.ProcessRow) for row in held["processes"]],
        None if cgroups is None else [_row(row, rows.CgroupRow) for row in cgroups],
    )


def _row(row: Any, kind: type) -> Any:
    """Return the columns of a *kind* of row, None for one that an earlier perftrack lacked. Raises: ValueError."""
    if not isinstance(row, dict):
        raise ValueError("no row")
    found = {}
    for column, types in _TYPES[kind].items():
        value = found[column] = row.get(column)
        if (isinstance(value, bool) and bool not in get_args(types)) or not isinstance(value, types):
            raise ValueError(f"no value of {column}")
        if isinstance(value, str) and column.endswith(("_at", "_at_local")):
            _refuse_other_instant(value)
    return found


def _refuse_other_instant(text: str) -> None:
    """Raise ValueError where *text* is not as the database keeps an instant."""
    if datetime.fromisoformat(text).isoformat(" ", "microseconds") != text:
        raise ValueError("no instant")


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
