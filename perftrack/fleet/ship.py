"""Shipping: what the centre has not yet goes there, each sample once, whoever is killed in the middle of it.

The centre alone knows how far it is: the position moves in the transaction that brings the samples. psycopg and
sqlite3; an agent never needs SQLAlchemy.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import perftrack
from perftrack.errors import BusyError
from perftrack.fleet import hint, local
from perftrack.fleet.connecting import FORMAT, address, connected
from perftrack.progress import Progress, no_progress
from perftrack.storage.opening import open_current
from perftrack.storage.sqlite_file import readable_errors

# sd_id128_get_machine_app_specific(3): the machine-id itself is never shown to others.
_APPLICATION = UUID("5a1b9b6e-61a4-4a0b-8d92-0a1d3c0f8c55")
_MACHINE_ID = "/etc/machine-id"
_ASKED_AT_ONCE = 1000


class Source(NamedTuple):
    """What this database is in the centre; forked: from which other it begins here."""

    uuid: UUID
    position: int
    fork_position: int = 0
    forked_from: UUID | None = None


class Shipped(NamedTuple):
    """What was done. *samples*: new ones. *said*: what the user is to know, or None."""

    samples: int
    rows: int
    said: str | None


def machine_hash() -> str | None:
    """Return what tells this machine from others, and is nothing else; None: it has no machine-id."""
    try:
        with open(_MACHINE_ID, encoding="ascii") as file:
            machine_id = bytes.fromhex(file.read().strip())
    except (OSError, ValueError):
        return None
    return hmac.new(machine_id, _APPLICATION.bytes, hashlib.sha256).hexdigest()[:32]


def ship(path: str, url: str, progress: Progress = no_progress) -> Shipped:
    """Ship what the database at *path* has and the centre at *url* has not, and leave a hint of it there.

    Raises: PerftrackError; BusyError where somebody else ships it at this moment, or the centre is an older one.
    """
    with (
        hint.noted(path) as acknowledged,
        readable_errors(path),
        closing(open_current(path, read_only=True)) as database,
    ):
        database.execute("BEGIN")  # one snapshot of it, whatever is recorded meanwhile
        with connected(url, "perftrack ship") as centre:
            return _ship(database, centre, url, acknowledged, progress)


def _ship(
    database: sqlite3.Connection, centre: Any, url: str, acknowledged: Callable[[int], None], progress: Progress
) -> Shipped:
    source, said = _settle(database, centre)
    newest = local.newest_id(database)
    if source is None:
        acknowledged(newest)
        return Shipped(0, 0, said)
    (waiting,) = database.execute("SELECT count(*) FROM system_sample WHERE id > ?", (source.position,)).fetchone()
    reader = None
    samples = rows = 0
    for batch in local.batches(database, source.position, source.fork_position):
        with _transaction(centre, source, database, url):
            if reader is None:
                staged = centre.execute("SELECT name, columns FROM perftrack.stage()").fetchall()
                reader = local.Reader(database, dict(staged))
            for name in reader.tables:
                _copy(centre, name, reader, batch.samples)
            position = _take(centre, source, batch, url)
        reader.committed()
        acknowledged(position)
        samples += sum(sample_id > source.position for sample_id in batch.samples)
        rows += batch.rows
        source = source._replace(position=position)
        progress(samples, waiting)
    if not samples:
        with _transaction(centre, source, database, url):
            pass  # it is seen all the same
        # of a database that was restored, the centre may have more, of which other samples will take the ids
        acknowledged(min(source.position, newest))
    return Shipped(samples, rows, said)


@contextmanager
def _transaction(centre: Any, source: Source, database: sqlite3.Connection, url: str) -> Iterator[None]:
    """Begin with the lock of the source, and end with all of it or nothing. Raises: BusyError."""
    with centre.transaction():
        opened = centre.execute(
            "SELECT position, format FROM perftrack.open_source(%s, %s, %s, %s, %s, %s, %s)",
            (
                source.uuid,
                machine_hash(),
                local.host_of(database),
                perftrack.__version__,
                datetime.now(UTC),
                source.forked_from,
                source.fork_position if source.forked_from else None,
            ),
        )
        position, centre_format = opened.fetchone()
        if centre_format < FORMAT:
            raise BusyError(
                f"{address(url)} is of an older perftrack: it waits until `perftrack fleet upgrade` was run"
            )
        if position != source.position:
            raise BusyError(f"{address(url)}: another `perftrack ship` of this database was quicker; try again later")
        yield


def _copy(centre: Any, name: str, reader: local.Reader, samples: list[int]) -> None:
    columns = ", ".join(f'"{each}"' for each in reader.columns(name))
    with centre.cursor() as cursor, cursor.copy(f"COPY pg_temp.stage_{name} ({columns}) FROM STDIN") as copy:
        for row in reader.rows(name, samples):
            copy.write_row(row)


def _take(centre: Any, source: Source, batch: local.Batch, url: str) -> int:
    """Let the centre take what was staged; return the position. Raises: BusyError."""
    from psycopg.errors import UndefinedColumn

    try:
        taken = centre.execute(
            "SELECT perftrack.take(%s, %s, %s::bigint[], %s::double precision[])",
            (source.uuid, source.position, list(batch.boots), list(batch.boots.values())),
        )
    except UndefinedColumn:  # in a staging table, which is as stage() made it before
        raise BusyError(f"{address(url)}: it was upgraded at this moment; try again later") from None
    return int(taken.fetchone()[0])


def _settle(database: sqlite3.Connection, centre: Any) -> tuple[Source | None, str | None]:
    """Return what this database is in the centre, and what is to be said; None: nothing of it is new there.

    A database that was restored, or copied to another machine, differs at a sample from what was shipped under its
    name: from that on it is a source of its own, whose name is made from the other's and that sample.
    """
    uuid = local.uuid_of(database)
    found = centre.execute(
        "SELECT uuid, position, fork_position, is_own FROM perftrack.histories(%s)", (uuid,)
    ).fetchall()
    if not found:
        return Source(uuid, 0), None
    for each, position, fork_position, is_own in found:
        if is_own and _is_the_same(database, centre, each, position):
            return Source(each, position, fork_position), None
    common, forked_from, is_own = max((_last_common(database, centre, each), each, own) for each, _, _, own in found)
    first = local.sample_after(database, common)
    if first is None:
        return None, None
    salt = "" if is_own else f" {centre.info.user}"
    own = uuid5(forked_from, f"{first.fingerprint}{salt}")
    said = (
        f"this database is not what was shipped as {forked_from} before: it was restored, or copied from another "
        f"machine. From its sample {first.id} of {first.taken_at[:19]} UTC on it is a source of its own, {own}"
    )
    return Source(own, common, common, forked_from), said


def _is_the_same(database: sqlite3.Connection, centre: Any, uuid: UUID, position: int) -> bool:
    """Return whether what was shipped as *uuid* up to *position* is what is here; what was purged cannot tell."""
    newest = local.samples_down(database, position, 1)
    if position == 0 or not newest:
        return True
    return _ask(centre, uuid, newest) == newest[0].id


def _last_common(database: sqlite3.Connection, centre: Any, uuid: UUID) -> int:
    """Return the id of the last sample that is here and was shipped as *uuid*; 0: there is none."""
    below: int | None = None
    while samples := local.samples_down(database, below, _ASKED_AT_ONCE):
        found = _ask(centre, uuid, samples)
        if found is not None:
            return found
        below = samples[-1].id - 1
    return 0


def _ask(centre: Any, uuid: UUID, samples: list[local.SampleKey]) -> int | None:
    asked = centre.execute(
        "SELECT perftrack.last_common(%s, %s::bigint[], %s::uuid[])",
        (uuid, [each.id for each in samples], [each.fingerprint for each in samples]),
    )
    found = asked.fetchone()[0]
    return None if found is None else int(found)
