"""What control groups held of memory and threads at each look at them: cgroup_sample, carried on where it has no row.

A group without a row in a sample holds what its row before says, until it is gone. Added up is in temporary tables,
a part of the range after the other: memory does not grow with the number of groups.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy import Connection

from perftrack.reading.queries import OF_HOST, execute
from perftrack.reading.usage.groups import SIGNS
from perftrack.storage.intervals import SECONDS_SINCE_LOOK

# A group whose last row before the range is older, and that has one after the range: what it held is not looked for.
LOOK_BACK_SECONDS = 86_400

# look: the samples of the part that looked at control groups. holding: what each living group holds before the part.
# value: what groups hold from a sample on, by turn: 0 it began to, 1 a row, 2 it is gone. held: the same of all that
# are one key, less what those below them hold. around: the keys that others are in. peak: of condensed rows of those
# that none is in, the most in the samples that they stand for. *above*: the key of the group that a group is in.
_CREATE = """
CREATE TEMPORARY TABLE look (sample_id INTEGER PRIMARY KEY, boot_id, number, place, seconds);
CREATE INDEX temp.look_of_boot ON look (boot_id, number);
CREATE TEMPORARY TABLE holding (
  cgroup_id INTEGER PRIMARY KEY, boot_id, key, above, memory_bytes, tasks);
CREATE TEMPORARY TABLE value (sample_id, turn, cgroup_id, boot_id, key, above, memory_bytes, tasks);
CREATE TEMPORARY TABLE held (key, boot_id, sample_id, memory_bytes, tasks);
CREATE TEMPORARY TABLE peak (key, memory_bytes, tasks)
"""
_AROUND = """
CREATE TEMPORARY TABLE around AS
SELECT DISTINCT {above} AS key FROM cgroup JOIN cgroup AS parent ON parent.id = cgroup.parent_id
WHERE {key} IS NOT {above} AND {above} IS NOT NULL
"""
_LOOKS = f"""
INSERT INTO look
SELECT id, boot_id, row_number() OVER (ORDER BY id), place, {SECONDS_SINCE_LOOK}
FROM (SELECT id, boot_id, uptime_seconds, cgroups_seen,
    row_number() OVER (ORDER BY taken_at, id) - 1 AS place
  FROM system_sample
  WHERE taken_at >= :since AND taken_at < :until
    AND {OF_HOST}) AS later
WHERE cgroups_seen IS NOT NULL
"""
_FIRST = "(SELECT boot_id, min(sample_id) AS sample_id FROM look GROUP BY boot_id)"
_OF_GROUP = "cgroup.id, cgroup.boot_id, {key}, {above}"
_PARENT = "LEFT JOIN cgroup AS parent ON parent.id = cgroup.parent_id"
# What groups hold that were there before the first look of their boot in the range: of their last row before it.
_BEGIN = f"""
INSERT OR REPLACE INTO holding
SELECT {_OF_GROUP}, own.memory_bytes, own.tasks
FROM {_FIRST} AS first
  CROSS JOIN cgroup ON cgroup.boot_id = first.boot_id
    AND cgroup.latest_sample_id < first.sample_id AND ifnull(cgroup.gone_sample_id > first.sample_id, 1)
  CROSS JOIN cgroup_sample AS own ON own.sample_id = cgroup.latest_sample_id AND own.cgroup_id = cgroup.id
  {_PARENT}
WHERE {{is_counted}} AND first.boot_id NOT IN (SELECT boot_id FROM begun)
UNION ALL
SELECT {_OF_GROUP}, own.memory_bytes, own.tasks
FROM (
  SELECT own.cgroup_id, first.sample_id, max(own.sample_id) AS last_id
  FROM {_FIRST} AS first
    CROSS JOIN system_sample AS later ON later.id = first.sample_id
    CROSS JOIN system_sample AS sample ON sample.boot_id = first.boot_id AND sample.id < first.sample_id
      AND sample.uptime_seconds BETWEEN later.uptime_seconds - {LOOK_BACK_SECONDS} AND later.uptime_seconds
    CROSS JOIN cgroup_sample AS own ON own.sample_id = sample.id
  WHERE first.boot_id NOT IN (SELECT boot_id FROM begun)
  GROUP BY +own.cgroup_id) AS last
  CROSS JOIN cgroup_sample AS own ON own.sample_id = last.last_id AND own.cgroup_id = last.cgroup_id
  CROSS JOIN cgroup ON cgroup.id = last.cgroup_id AND ifnull(cgroup.gone_sample_id > last.sample_id, 1)
  {_PARENT}
WHERE {{is_counted}}
"""
_VALUES = f"""
INSERT INTO value
SELECT first.sample_id, 0, cgroup_id, boot_id, key, above, memory_bytes, tasks
FROM holding JOIN {_FIRST} AS first USING (boot_id)
UNION ALL
SELECT own.sample_id, 1, {_OF_GROUP}, own.memory_bytes, own.tasks
FROM look CROSS JOIN cgroup_sample AS own ON own.sample_id = look.sample_id
  JOIN cgroup ON cgroup.id = own.cgroup_id
  {_PARENT}
WHERE {{is_counted}}
"""
_GONE = """
INSERT INTO value
SELECT cgroup.gone_sample_id, 2, cgroup_id, value.boot_id, key, above, NULL, NULL
FROM value CROSS JOIN cgroup ON cgroup.id = cgroup_id
  JOIN look ON look.sample_id = cgroup.gone_sample_id
GROUP BY cgroup_id
"""
_PEAKS = f"""
INSERT INTO peak
SELECT {{key}}, max(own.memory_max_bytes), max(own.tasks_max)
FROM look CROSS JOIN cgroup_sample AS own ON own.sample_id = look.sample_id
  JOIN cgroup ON cgroup.id = own.cgroup_id
  {_PARENT}
WHERE {{is_counted}} AND own.samples IS NOT NULL AND {{key}} NOT IN (SELECT key FROM around)
GROUP BY 1
"""
# A change is added for the group and taken off for the one that it is in, if that knows what it holds.
_HELD = f"""
INSERT INTO held
SELECT key, boot_id, sample_id,
  CASE WHEN sum(knows_memory) OVER course > 0 THEN max(0, sum(memory) OVER course) END,
  CASE WHEN sum(knows_tasks) OVER course > 0 THEN max(0, sum(tasks) OVER course) END
FROM (
  SELECT iif(sign = 1, key, above) AS key, boot_id, sample_id, sum(sign * memory) AS memory,
    sum(sign * tasks) AS tasks, sum(knows_memory * (sign = 1)) AS knows_memory,
    sum(knows_tasks * (sign = 1)) AS knows_tasks
  FROM (
    SELECT key, above, boot_id, sample_id,
      ifnull(memory_bytes, 0) - ifnull(lag(memory_bytes) OVER own, 0) AS memory,
      ifnull(tasks, 0) - ifnull(lag(tasks) OVER own, 0) AS tasks,
      (memory_bytes IS NOT NULL) - ifnull(lag(memory_bytes IS NOT NULL) OVER own, 0) AS knows_memory,
      (tasks IS NOT NULL) - ifnull(lag(tasks IS NOT NULL) OVER own, 0) AS knows_tasks
    FROM value WINDOW own AS (PARTITION BY cgroup_id ORDER BY sample_id, turn))
    {SIGNS}
  WHERE sign = 1 OR above IS NOT NULL
  GROUP BY 1, boot_id, sample_id)
WINDOW course AS (PARTITION BY key, boot_id ORDER BY sample_id)
"""
_CARRY_ON = (
    "INSERT OR IGNORE INTO begun SELECT DISTINCT boot_id FROM look",
    """
INSERT OR REPLACE INTO holding
SELECT cgroup_id, boot_id, key, above, memory_bytes, tasks
FROM (SELECT *, max(sample_id << 2 | turn) FROM value GROUP BY cgroup_id)
""",
    "DELETE FROM holding WHERE cgroup_id IN (SELECT cgroup_id FROM value WHERE turn = 2)",
)
# Where a clock was set, a range need not hold all samples between two of its own.
_GONE_BETWEEN = f"""
DELETE FROM holding WHERE EXISTS (SELECT 1 FROM cgroup JOIN {_FIRST} AS first USING (boot_id)
  WHERE cgroup.id = holding.cgroup_id AND cgroup.gone_sample_id <= first.sample_id)
"""


class Held:
    """What is held by all groups of one key together, a part of the range after the other, the earliest first.

    After `read`, the temporary table look has the samples of the part that looked at control groups, numbered from 1
    on, with the *place* of each among all samples, from 0 on, and the *seconds* since the look before. held has what
    each key holds from a sample on until its next row, the end of its boot or of the part: memory_bytes, tasks; NULL:
    not known, or no group is left. peak has the most of it in condensed samples, where that is known.
    """

    def __init__(self, connection: Connection, key: str, above: str) -> None:
        """*key*, *above*: SQL for the key of a group, and of the one around it, from whose share it is taken off."""
        self._execute = partial(execute, connection)
        names = {"key": key, "above": above, "is_counted": f"{key} IS NOT {above}"}
        self._begin, self._values, self._peaks = (each.format(**names) for each in (_BEGIN, _VALUES, _PEAKS))
        for name in ("look", "holding", "value", "held", "peak", "around", "begun"):
            self._execute(f"DROP TABLE IF EXISTS temp.{name}")
        for statement in _CREATE.split(";\n"):
            self._execute(statement)
        self._execute(_AROUND.format(**names))
        self._execute("CREATE TEMPORARY TABLE begun (boot_id INTEGER PRIMARY KEY)")

    def read(self, host: str, since: str, until: str) -> None:
        """Read the samples of *host* from *since* to *until*, as the database has instants."""
        for name in ("look", "value", "held", "peak"):
            self._execute(f"DELETE FROM temp.{name}")
        self._execute(_LOOKS, {"host": host, "since": since, "until": until})
        for statement in (_GONE_BETWEEN, self._begin, self._values, _GONE, _HELD, self._peaks, *_CARRY_ON):
            self._execute(statement)
