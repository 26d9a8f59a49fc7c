"""Which control groups are added up together, and what is their own: what they used less what those in them did."""

from __future__ import annotations

from typing import NamedTuple

SIGNS = "CROSS JOIN (SELECT 1 AS sign UNION ALL SELECT -1)"


class Groups(NamedTuple):
    """SQL for the *key* of a control group, which those have that are added up together, and for that of the group
    *above*, which it is in. *holding*: from whose share what it holds is taken off, see `Held`.
    """

    key: str
    above: str
    holding: str

    @property
    def both_sides(self) -> str:
        """Joins and the condition behind rows that have a cgroup_id: each counts for its own key with *sign* 1, and
        for the one above, where that is another, with -1. What counts for a key, so added up, is its own.
        """
        return f"""
    JOIN cgroup ON cgroup.id = cgroup_id
    LEFT JOIN cgroup AS parent ON parent.id = cgroup.parent_id
    {SIGNS}
  WHERE {self.key} IS NOT {self.above} AND (sign = 1 OR {self.above} IS NOT NULL)"""

    @property
    def side(self) -> str:
        """The key that such a row counts for."""
        return f"iif(sign = 1, {self.key}, {self.above})"


UNIT = Groups("cgroup.unit", "parent.unit", "parent.unit")
