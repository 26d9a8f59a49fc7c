"""Inserting one sample, and reading what the next is compared with. Standard library only: every tick pays for it."""

from __future__ import annotations

import datetime
import sqlite3
from operator import itemgetter

from perftrack.sample import COMPUTED_BOOT_KEY, CPU_COUNTERS, Baseline
from perftrack.storage import tick_sql
from perftrack.storage.cgroups import Living, insert_cgroups
from perftrack.storage.sqlite_file import data_version, transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from perftrack.rows import BootRow, HostRow, ProcessRow, RecorderRow
    from perftrack.sample import Sample

# Boot times that a system computes from its clock wander by a second or two; two real boots are further apart.
SAME_BOOT_SECONDS = 60
_HOST = "SELECT id FROM host WHERE name = :name"
_HOST_OF_BOOT = "SELECT host.id, name FROM boot JOIN host ON host.id = host_id WHERE boot.id = ?"
_BOOT = "SELECT id FROM boot WHERE key = :key"
# Where its key is made from the boot time, which another machine may have as well.
_BOOT_OF_HOST = """
SELECT id, key, booted_at FROM boot WHERE host_id = :host_id AND (key IS NULL) = (:key IS NULL)
ORDER BY key = :key DESC, id DESC
"""
_RECORDER = "SELECT id FROM recorder WHERE username = :username AND selection = :selection"
_DEVICE_SET = "SELECT id FROM device_set WHERE names = :names"
_NAME_FILTER = "SELECT id FROM name_filter WHERE text = :text AND rank = 0"
_PROCESS = """
SELECT id FROM process
WHERE boot_id = :boot_id AND pid = :pid AND started_ticks IS :started_ticks AND name = :name
"""
_PROCESS_OF_ANY_NAME = """
SELECT max(id) FROM process WHERE boot_id = :boot_id AND pid = :pid AND started_ticks = :started_ticks
"""
_PROCESS_COUNTERS = """
SELECT pid, started_ticks, cpu_user_ms + cpu_system_ms FROM process_sample JOIN process ON process.id = process_id
WHERE sample_id = ? AND cpu_user_ms NOTNULL
"""
_values = itemgetter(*tick_sql.PROCESS_SAMPLE_COLUMNS)


class KnownIds:
    """The ids that the last sample of a loop needed: they hold as long as nobody else writes to the database."""

    __slots__ = ("boots", "cgroups", "data_version", "device_sets", "filters", "processes", "recorders")

    def __init__(self) -> None:
        self.forget()

    def forget(self, data_version: int = -1) -> None:
        """Begin anew, in a database of that *data_version*."""
        self.data_version = data_version
        self.boots: dict[tuple[str, str | None], int] = {}
        self.recorders: dict[tuple[str, str], int] = {}
        self.device_sets: dict[str, int] = {}
        self.cgroups: Living | None = None
        self.filters: dict[str, int] = {}
        self.processes: dict[tuple[Any, ...], int] = {}


def insert_sample(connection: sqlite3.Connection, sample: Sample, known: KnownIds | None = None) -> None:
    """Write one sample in one transaction. Raises: sqlite3.Error, and then nothing is written.

    *known*: what the sample before needed on this connection; brought up to date.
    """
    if known is None:
        with transaction(connection):
            add_sample(connection, sample, KnownIds())
        return
    try:
        with transaction(connection):
            version = data_version(connection)
            if version != known.data_version:
                known.forget(version)
            add_sample(connection, sample, known)
    except BaseException:
        known.forget()
        raise


def add_sample(
    connection: sqlite3.Connection, sample: Sample, known: KnownIds, *, tried_before: bool = False
) -> int | None:
    """Write one sample inside a transaction; return its id, or None: it was there. Raises: sqlite3.Error.

    *tried_before*: it may be there already, and then it is left as it is. One of another tick at the same moment
    cannot be distinguished from it: two that start together can read the same of everything.
    """
    boot = sample.host["name"], sample.boot["key"]
    boot_id = known.boots.get(boot) or _boot_id(connection, sample)
    ids = {
        "boot_id": boot_id,
        "recorder_id": _recorder_id(connection, sample.recorder, known),
        "disk_set_id": _device_set_id(connection, sample.system.get("disk_set"), known),
        "net_set_id": _device_set_id(connection, sample.system.get("net_set"), known),
    }
    living = _living(connection, boot_id, known) if sample.cgroups is not None else None
    system: dict[str, Any] = {**sample.system, **ids}
    is_newest_look = living is not None and system["uptime_seconds"] > living.uptime_seconds
    if not is_newest_look:
        # it was kept, or another recorder was quicker: the newer look has all that this could tell
        system["cgroups_seen"] = None
    sample_id = _insert_system_sample(connection, system, tried_before=tried_before)
    if sample_id is None:
        return None
    known.boots[boot] = boot_id
    if living is not None and sample.cgroups is not None and is_newest_look:
        insert_cgroups(connection, sample_id, system["uptime_seconds"], sample.cgroups, living)
    processes: dict[tuple[Any, ...], int] = {}
    values = []
    for row in sample.processes:
        text = row["filter"]
        if text not in known.filters:
            known.filters[text] = _found_or_new(connection, _NAME_FILTER, tick_sql.INSERT_NAME_FILTER, {"text": text})
        identity = boot_id, row["pid"], row["started_ticks"], row["name"]
        process_id = processes[identity] = known.processes.get(identity) or _process_id(
            connection, boot_id, row, living
        )
        values.append((sample_id, process_id, known.filters[text], *_values(row)))
    known.processes = processes
    connection.executemany(tick_sql.INSERT_PROCESS_SAMPLE, values)
    return sample_id


def _insert_system_sample(connection: sqlite3.Connection, row: dict[str, Any], *, tried_before: bool) -> int | None:
    """Return the id of *row*, which is now in system_sample, or None where *tried_before* and it was there already.

    A clock that was set back, or two ticks that start together, can give two samples of a boot the same microsecond:
    the second gets the next one.
    """
    while True:
        try:
            return _insert(connection, tick_sql.INSERT_SYSTEM_SAMPLE, row)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise
        if tried_before and _id(connection, tick_sql.SELECT_SAME_SAMPLE, row) is not None:
            return None
        row = row | {name: _a_microsecond_later(row[name]) for name in ("taken_at", "taken_at_local")}


def _a_microsecond_later(instant: str) -> str:
    later = datetime.datetime.fromisoformat(instant) + datetime.timedelta(microseconds=1)
    return later.isoformat(" ", "microseconds")


def stored_baseline(
    connection: sqlite3.Connection, host: HostRow, boot: BootRow, recorder: RecorderRow, until_uptime_seconds: float
) -> Baseline | None:
    """Return the counters of a sample of *boot* that is no newer than *until_uptime_seconds*, or None: there is none.

    It is *recorder*'s newest, which has the same processes, or where it has none yet anybody's.
    """
    boot_id = _find_boot(connection, host, boot)
    if boot_id is None:
        return None
    newest = None
    for recorder_id in dict.fromkeys((_id(connection, _RECORDER, recorder), None)):
        values = {"boot_id": boot_id, "until_uptime_seconds": until_uptime_seconds, "recorder_id": recorder_id}
        newest = connection.execute(tick_sql.SELECT_NEWEST_SAMPLE, values).fetchone()
        if newest is not None:
            break
    if newest is None:
        return None
    sample_id, uptime_seconds, *counters = newest
    cpu: Any = dict(zip(CPU_COUNTERS, counters, strict=True))
    processes = connection.execute(_PROCESS_COUNTERS, (sample_id,))
    return Baseline(
        uptime_seconds, cpu, {(pid, started): (cpu_ms, uptime_seconds) for pid, started, cpu_ms in processes}
    )


def _boot_id(connection: sqlite3.Connection, sample: Sample) -> int:
    host, boot = sample.host, sample.boot
    found = _find_boot(connection, host, boot)
    if found is None:
        host_id = _found_or_new(connection, _HOST, tick_sql.INSERT_HOST, host)
        return _insert(connection, tick_sql.INSERT_BOOT, {**boot, "host_id": host_id})
    _rename_host(connection, found, host)
    return found


def _find_boot(connection: sqlite3.Connection, host: HostRow, boot: BootRow) -> int | None:
    """Return the id of *boot*: by its key, or where that is made from the boot time, of *host* and near in time."""
    key, booted_at = boot["key"], boot["booted_at"]
    if key is not None and not str(key).startswith(COMPUTED_BOOT_KEY):
        return _id(connection, _BOOT, boot)
    host_id = _id(connection, _HOST, host)
    newest = connection.execute(_BOOT_OF_HOST, {"host_id": host_id, "key": key}).fetchone()
    if newest is None:
        return None
    boot_id, found_key, found_at = newest
    if found_key != key and (booted_at is None or abs(_seconds(found_at) - _seconds(booted_at)) >= SAME_BOOT_SECONDS):
        return None
    return int(boot_id)


def _rename_host(connection: sqlite3.Connection, boot_id: int, host: HostRow) -> None:
    """Give the machine of the boot the name of *host*, which is another since its last sample; or the boot to the
    machine of that name, where the database knows one.
    """
    host_id, name = connection.execute(_HOST_OF_BOOT, (boot_id,)).fetchone()
    if name == host["name"]:
        return
    other_id = _id(connection, _HOST, host)
    if other_id is None:
        connection.execute("UPDATE host SET name = ? WHERE id = ?", (host["name"], host_id))
    else:
        connection.execute("UPDATE boot SET host_id = ? WHERE id = ?", (other_id, boot_id))


def _seconds(instant: str) -> float:
    return datetime.datetime.fromisoformat(instant + "+00:00").timestamp()


def _living(connection: sqlite3.Connection, boot_id: int, known: KnownIds) -> Living:
    if known.cgroups is None or known.cgroups.boot_id != boot_id:
        known.cgroups = Living(connection, boot_id)
    return known.cgroups


def _process_id(connection: sqlite3.Connection, boot_id: int, row: ProcessRow, living: Living | None) -> int:
    """Return the id of a process, which another program in it makes a new one, but no title that it gives itself."""
    values = {**row, "boot_id": boot_id}
    found = _id(connection, _PROCESS, values)
    if found is None and row.get("named_itself"):
        found = _id(connection, _PROCESS_OF_ANY_NAME, values)
    if found is not None:
        return found
    cgroup_id = None if living is None else living.innermost(row.get("cgroup"))
    return _insert(connection, tick_sql.INSERT_PROCESS, {**values, "cgroup_id": cgroup_id})


def _recorder_id(connection: sqlite3.Connection, recorder: RecorderRow | None, known: KnownIds) -> int | None:
    if recorder is None:
        return None
    key = recorder["username"], recorder["selection"]
    if key not in known.recorders:
        known.recorders[key] = _found_or_new(connection, _RECORDER, tick_sql.INSERT_RECORDER, recorder)
    return known.recorders[key]


def _device_set_id(connection: sqlite3.Connection, names: str | None, known: KnownIds) -> int | None:
    if names is None:
        return None
    if names not in known.device_sets:
        known.device_sets[names] = _found_or_new(
            connection, _DEVICE_SET, tick_sql.INSERT_DEVICE_SET, {"names": names}
        )
    return known.device_sets[names]


def _found_or_new(connection: sqlite3.Connection, select: str, insert: str, row: Mapping[str, Any]) -> int:
    found = _id(connection, select, row)
    return _insert(connection, insert, row) if found is None else found


def _id(connection: sqlite3.Connection, select: str, row: Mapping[str, Any]) -> int | None:
    found: tuple[int | None] | None = connection.execute(select, row).fetchone()
    return None if found is None else found[0]


def _insert(connection: sqlite3.Connection, insert: str, row: Mapping[str, Any]) -> int:
    row_id = connection.execute(insert, row).lastrowid
    assert row_id is not None
    return row_id
