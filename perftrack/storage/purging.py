"""Purging: removing the oldest recorded samples, and what nothing refers to any more. What was imported stays.

No id is used again: of each table the row of the highest one stays. Standard library only: the tick does this where
the settings say so, a piece at a time.
"""

from __future__ import annotations

from perftrack.storage import tick_sql
from perftrack.storage.condensing import ROWS_MAX, ids_of, unchecked
from perftrack.storage.sqlite_file import transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

# Boots that were recorded, in the order in which they were first seen; of each, the first sample.
_BOOTS = """
SELECT id, (
    SELECT taken_at FROM system_sample WHERE boot_id = boot.id AND uptime_seconds IS NOT NULL
    ORDER BY uptime_seconds, id LIMIT 1)
FROM boot WHERE key IS NOT NULL ORDER BY id
"""
_SAMPLES = """
SELECT id, taken_at, (SELECT count(*) FROM process_sample WHERE sample_id = system_sample.id) FROM system_sample
WHERE boot_id = ? AND uptime_seconds IS NOT NULL ORDER BY uptime_seconds, id
"""
_OF_SAMPLES = "IN (SELECT value FROM json_each(:samples))"
# What a group that is still there has in its newest row, it goes on to have: the row goes to the first sample left.
_VALUES = ", ".join(tick_sql.CGROUP_SAMPLE_COLUMNS)
_MOVE = f"""
INSERT OR IGNORE INTO cgroup_sample (sample_id, cgroup_id, previous_sample_id, samples, {_VALUES})
SELECT :first, cgroup_id, sample_id, 0, {_VALUES}
FROM cgroup_sample JOIN cgroup ON cgroup.id = cgroup_id AND latest_sample_id = sample_id
WHERE sample_id {_OF_SAMPLES} AND :first IS NOT NULL
  AND (gone_sample_id IS NULL OR gone_sample_id NOT {_OF_SAMPLES})
"""
_MOVED = f"""
UPDATE cgroup SET latest_sample_id = iif(
  EXISTS (SELECT 1 FROM cgroup_sample WHERE sample_id = :first AND cgroup_id = cgroup.id), :first, NULL)
WHERE boot_id = :boot_id AND latest_sample_id {_OF_SAMPLES}
"""
_REMOVE = (
    _MOVE,
    _MOVED,
    f"UPDATE cgroup SET gone_sample_id = :first WHERE gone_sample_id {_OF_SAMPLES}",
    f"DELETE FROM process_sample WHERE sample_id {_OF_SAMPLES}",
    f"DELETE FROM cgroup_sample WHERE sample_id {_OF_SAMPLES}",
    f"DELETE FROM system_sample WHERE id {_OF_SAMPLES}",
)
# What belongs to a boot without samples, a piece at a time, and at last the boot.
_OF_BOOT = (
    """
DELETE FROM process WHERE id IN (
  SELECT id FROM process WHERE boot_id = :boot_id AND id < (SELECT max(id) FROM process) LIMIT :rows)
""",
    """
DELETE FROM cgroup WHERE id IN (
  SELECT id FROM cgroup WHERE boot_id = :boot_id AND id < (SELECT max(id) FROM cgroup)
    AND id NOT IN (SELECT cgroup_id FROM process WHERE cgroup_id NOTNULL) LIMIT :rows)
""",
    """
DELETE FROM boot WHERE id = :boot_id AND id < (SELECT max(id) FROM boot)
  AND id NOT IN (SELECT boot_id FROM process) AND id NOT IN (SELECT boot_id FROM cgroup)
""",
)
# What refers to the rows of each table, which go where nothing does: first those that refer to others.
_REFERRED = {
    "process": "id IN (SELECT process_id FROM process_sample)",
    "cgroup": """gone_sample_id IS NULL OR id IN (
  SELECT cgroup_id FROM cgroup_sample UNION SELECT cgroup_id FROM process UNION SELECT parent_id FROM cgroup)""",
    "boot": """id IN (
  SELECT boot_id FROM system_sample UNION SELECT boot_id FROM process UNION SELECT boot_id FROM cgroup)""",
    "host": "id IN (SELECT host_id FROM boot)",
    "name_filter": "id IN (SELECT filter_id FROM process_sample)",
    "recorder": "id IN (SELECT recorder_id FROM system_sample)",
    "device_set": "id IN (SELECT disk_set_id FROM system_sample UNION SELECT net_set_id FROM system_sample)",
}


def purge(connection: sqlite3.Connection, before: str, rows_max: int = ROWS_MAX) -> int | None:
    """Remove a piece of the oldest samples that were taken before *before*, in one transaction.

    *before*: as the database has instants. *rows_max*: of processes, about so many at a time. Return how many samples
    that were; None: there is nothing any more. Raises: sqlite3.Error, and then all is as it was.
    """
    with unchecked(connection), transaction(connection):
        for boot_id, first in connection.execute(_BOOTS).fetchall():
            if first is None:
                values = {"boot_id": boot_id, "rows": rows_max}
                if any(connection.execute(statement, values).rowcount for statement in _OF_BOOT):
                    return 0
            elif first < before:
                samples = _remove(connection, boot_id, before, rows_max)
                if samples:
                    return samples
        return None


def _remove(connection: sqlite3.Connection, boot_id: int, before: str, rows_max: int) -> int:
    (newest,) = connection.execute("SELECT max(id) FROM system_sample").fetchone()
    samples: list[int] = []
    first_left: int | None = None
    rows = 0
    for sample_id, taken_at, count in connection.execute(_SAMPLES, (boot_id,)):
        if taken_at >= before or sample_id == newest or rows > rows_max:
            first_left = sample_id
            break
        samples.append(sample_id)
        rows += 1 + count
    values = {"samples": ids_of(samples), "first": first_left, "boot_id": boot_id}
    for statement in _REMOVE if samples else ():
        connection.execute(statement, values)
    return len(samples)


def sweep(connection: sqlite3.Connection) -> int:
    """Remove what no sample refers to: processes, control groups, boots, machines, filters; return how many rows.

    It reads the whole database. Raises: sqlite3.Error.
    """
    removed = 0
    with unchecked(connection), transaction(connection):
        for table, referred in _REFERRED.items():
            orphans = f"DELETE FROM {table} WHERE id < (SELECT max(id) FROM {table}) AND ({referred}) IS NOT TRUE"
            removed += connection.execute(orphans).rowcount
    return removed
