"""Inserting the control groups of a sample: a row where something has changed. Standard library only, as the tick."""

from __future__ import annotations

from operator import itemgetter

from perftrack.storage import tick_sql

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from typing import Any

    from perftrack.rows import CgroupRow

_NEWEST_LOOK = """
SELECT uptime_seconds FROM system_sample WHERE boot_id = ? AND cgroups_seen NOTNULL ORDER BY uptime_seconds DESC
"""
_RETURNED = "SELECT id, latest_sample_id FROM cgroup WHERE boot_id = ? AND path = ? AND inode = ?"
_SEEN = "UPDATE cgroup SET latest_sample_id = ?, gone_sample_id = NULL WHERE id = ?"
_GONE = "UPDATE cgroup SET gone_sample_id = ? WHERE id = ?"
_values = itemgetter(*tick_sql.CGROUP_SAMPLE_COLUMNS)


class Living:
    """The control groups of a boot that its newest look at them saw, by path and inode.

    *uptime_seconds*: when that was, as time since boot; 0: there was none. *groups*: the id of each, the sample of
    its newest row and the values of that.
    """

    __slots__ = ("boot_id", "by_path", "groups", "uptime_seconds")

    def __init__(self, connection: sqlite3.Connection, boot_id: int) -> None:
        """Read them."""
        self.boot_id = boot_id
        looked = connection.execute(_NEWEST_LOOK, (boot_id,)).fetchone()
        self.uptime_seconds: float = 0.0 if looked is None else looked[0]
        found = connection.execute(tick_sql.SELECT_LIVING_CGROUPS, {"boot_id": boot_id})
        self.groups: dict[tuple[str, int], tuple[int, int, tuple[Any, ...]]] = {
            (path, inode): (cgroup_id, sample_id, tuple(values))
            for path, inode, cgroup_id, sample_id, *values in found
        }
        self.by_path = {path: cgroup_id for (path, _), (cgroup_id, _, _) in self.groups.items()}

    def innermost(self, path: str | None) -> int | None:
        """Return the id of the innermost recorded group that *path* is in, or None."""
        return None if path is None else _innermost(self.by_path, path)


def insert_cgroups(
    connection: sqlite3.Connection, sample_id: int, uptime_seconds: float, cgroups: list[CgroupRow], living: Living
) -> None:
    """Write the rows of *cgroups* and bring *living* up to date. Raises: sqlite3.Error."""
    by_path: dict[str, int] = {}
    groups = {}
    rows, newest = [], []
    for row in cgroups:
        path = row["path"]
        key = path, row["inode"]
        values = _values(row)
        found = living.groups.get(key)
        if found is not None and found[2] == values:
            groups[key], by_path[path] = found, found[0]
            continue
        if found is None:
            cgroup_id, previous_id = _returned_or_new(connection, living.boot_id, row, sample_id, by_path)
        else:
            cgroup_id, previous_id = found[:2]
        groups[key], by_path[path] = (cgroup_id, sample_id, values), cgroup_id
        rows.append({"sample_id": sample_id, "cgroup_id": cgroup_id, "previous_sample_id": previous_id, **row})
        if previous_id is not None:
            newest.append((sample_id, cgroup_id))
    gone = [(sample_id, cgroup_id) for key, (cgroup_id, _, _) in living.groups.items() if key not in groups]
    connection.executemany(tick_sql.INSERT_CGROUP_SAMPLE, rows)
    connection.executemany(_SEEN, newest)
    connection.executemany(_GONE, gone)
    living.groups, living.by_path, living.uptime_seconds = groups, by_path, uptime_seconds


def _returned_or_new(
    connection: sqlite3.Connection, boot_id: int, row: CgroupRow, sample_id: int, by_path: Mapping[str, int]
) -> tuple[int, int | None]:
    """Return the id of a group that the newest look did not see, and the sample of its newest row."""
    key = boot_id, row["path"], row["inode"]
    found: tuple[int, int] | None = connection.execute(_RETURNED, key).fetchone()
    if found is not None:  # another recorder looks at fewer of them
        return found
    from perftrack.storage.unit_names import unit

    parent_id = _innermost(by_path, _parent(row["path"]))
    values = {
        **row,
        "boot_id": boot_id,
        "unit": unit(row["path"]),
        "parent_id": parent_id,
        "latest_sample_id": sample_id,
        "gone_sample_id": None,
    }
    cgroup_id = connection.execute(tick_sql.INSERT_CGROUP, values).lastrowid
    assert cgroup_id is not None
    return cgroup_id, None


def _innermost(by_path: Mapping[str, int], path: str) -> int | None:
    while path not in by_path:
        if path in {"/", ""}:
            return None
        path = _parent(path)
    return by_path[path]


def _parent(path: str) -> str:
    """Return the path of the group that another is in; of the outermost, nothing."""
    return "" if path == "/" else path.rpartition("/")[0] or "/"
