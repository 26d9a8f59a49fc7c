"""What ended children used that no sample shows: CPU time that only the counter of who waited for them has.

The growth of a process's children counter has the whole life of each child that it has waited for, with what those
had waited for. What samples of a recorded one have shown is its debt: it is taken off the growth that can have it,
once. What is left is no more than the machine worked in that interval beyond what recorded processes used themselves,
for it may be of before. All is in temporary tables of SQLite, which spills them to disk.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, text

from perftrack.reading.queries import OF_HOST
from perftrack.reading.usage.parts import IN_PART, SHARE
from perftrack.storage.intervals import ROUNDING_MS, TICKS_OF_A_BOOT

CHILDREN_MS = "children_user_ms + children_system_ms"
# A process that was last seen so long before the range may be waited for in it.
_LOOK_BACK = "-1 hour"
# A sample of all processes proves within so many seconds that one has ended; and where an ancestor is not recorded,
# a debt is looked for in all growths of so many.
_PROOF_SECONDS, _GUESS_SECONDS = 3600, 600
_ALWAYS = 1e15  # seconds
_DEEPEST = 100  # generations: damaged data may have a process among its own ancestors
_BATCH = 1000

# A process of several names is one: that with the lowest id.
ONE_PROCESS = """coalesce((SELECT min(same.id) FROM process AS this CROSS JOIN process AS same
    ON same.boot_id = this.boot_id AND same.pid = this.pid AND same.started_ticks = this.started_ticks
    WHERE this.id = {id}), {id})"""
# Its parent is the youngest process of that PID that is not younger than itself.
PARENT = """(SELECT parent.id FROM process AS parent
    WHERE parent.boot_id = {of}.boot_id AND parent.pid = {of}.ppid AND parent.started_ticks <= {of}.started_ticks
    ORDER BY parent.started_ticks DESC, parent.id LIMIT 1)"""
# Where it is not counted from the boot, it is not known.
_STARTED_SECONDS = f"iif({{of}}.started_ticks < {TICKS_OF_A_BOOT}, {{of}}.started_ticks / 100.0, NULL)"

# present: processes, their first and newest samples. worked: what all CPUs did in the interval of a sample;
# recorded: what processes show themselves, in intervals of that length, NULL: no longer than that of the sample.
# event: a growth. relative: a process, or an ancestor of one; parent_id 0: not recorded, -1: it has none; gone_by:
# proved to have ended. piece: what of an event is in the interval of a sample.
TABLES = {
    "present": "process_id INTEGER PRIMARY KEY, sample_id, first_sample_id, children_ms",
    "worked": "sample_id INTEGER PRIMARY KEY, boot_id, since_seconds, until_seconds, cpu_ms, share, own_ms DEFAULT 0",
    "recorded": "sample_id, seconds, cpu_ms",
    "event": "id INTEGER PRIMARY KEY, process_id, key, is_asked, boot_id, sample_id, started_ticks, since_seconds, "
    "until_seconds, share, is_long, grown_ms",
    "relative": "process_id INTEGER PRIMARY KEY, boot_id, pid, started_ticks, ppid, parent_id, last_seconds, "
    "gone_by, debt_ms",
    "piece": "event_id, sample_id, share, ms",
}
_INDEXES = (
    "worked (boot_id, until_seconds)",
    "event (boot_id, until_seconds)",
    "event (process_id, until_seconds)",
    "relative (parent_id)",
)

_PRESENT = f"""
INSERT INTO present
SELECT process_id, max(sample_id), min(sample_id), max({CHILDREN_MS})
FROM system_sample CROSS JOIN process_sample ON sample_id = system_sample.id
WHERE taken_at >= datetime(:since, '{_LOOK_BACK}') AND taken_at < :until
  AND {OF_HOST}
GROUP BY process_id
"""
_WORKED = f"""
INSERT INTO worked (sample_id, boot_id, since_seconds, until_seconds, cpu_ms, share)
SELECT sample_id, boot_id, uptime_seconds - seconds, uptime_seconds, cpu_ms, share
FROM (SELECT sample_id, seconds, cpu_ms, {SHARE} AS share FROM system_interval WHERE {IN_PART})
  JOIN system_sample ON system_sample.id = sample_id
WHERE :is_seen OR share > 0
"""
# Times since boot are in milliseconds: what is less is none. The + and LIMIT -1: see processes.py.
_IS_LONG = "seconds > sample_seconds + 0.001"
_OWN = f"""
INSERT INTO recorded
SELECT sample_id, iif({_IS_LONG}, seconds, NULL) AS long_seconds, sum(cpu_ms)
FROM process_interval WHERE {IN_PART} AND (:is_seen OR {SHARE} > 0)
GROUP BY +sample_id, long_seconds
"""
_EVENT_KEY = {"process_id": "one"}
_EVENTS = f"""
INSERT INTO event
SELECT NULL, one, {{event_key}}, is_asked, boot_id, sample_id, started_ticks, uptime_seconds - seconds,
  uptime_seconds, share, is_long, grown_ms
FROM (
  SELECT growth.*, {ONE_PROCESS.format(id="process_id")} AS one, system_sample.boot_id, uptime_seconds, started_ticks
  FROM (
    SELECT sample_id, process_id, seconds, {_IS_LONG} AS is_long, {CHILDREN_MS} AS grown_ms, {{key}} AS key,
      {{asked}} AS is_asked, {SHARE} AS share
    FROM process_interval
    WHERE {IN_PART} AND process_id IN (SELECT process_id FROM present WHERE children_ms > 0) AND {CHILDREN_MS} > 0
    LIMIT -1) AS growth
    JOIN system_sample ON system_sample.id = sample_id
    JOIN process ON process.id = process_id
  WHERE (:is_seen OR share > 0) AND started_ticks IS NOT NULL)
"""
# What it was when it was read last. One that ended in the window of its last sample has no percentage there; who
# waited for it was read after that.
_USED = """coalesce({row}.cpu_user_ms + {row}.cpu_system_ms, 0)
    + coalesce({row}.children_user_ms + {row}.children_system_ms, 0)"""
_ALL = "SELECT id FROM recorder WHERE selection = '--all'"
_RELATIVES = f"""
INSERT INTO relative
SELECT one, newest.boot_id, pid, started_ticks, ppid, NULL,
  iif(own.cpu_percent IS NULL AND window_seconds > 0, coalesce(listed_uptime_seconds, uptime_seconds),
    uptime_seconds),
  coalesce(CASE WHEN EXISTS ({_ALL}) THEN (
    SELECT later.uptime_seconds FROM system_sample AS later
    WHERE later.boot_id = newest.boot_id AND later.uptime_seconds > system_sample.uptime_seconds
      AND later.uptime_seconds <= system_sample.uptime_seconds + {_PROOF_SECONDS} AND later.recorder_id IN ({_ALL})
    ORDER BY later.uptime_seconds LIMIT 1) END, iif(taken_at < :since, uptime_seconds + 0.001, NULL)),
  {_USED.format(row="own")}
FROM (
  SELECT {ONE_PROCESS.format(id="process_id")} AS one, boot_id, pid, started_ticks, ppid, max(sample_id) AS sample_id,
    process_id
  FROM present JOIN process ON process.id = process_id
  WHERE started_ticks IS NOT NULL AND boot_id IN (SELECT boot_id FROM event)
  GROUP BY one) AS newest
  JOIN system_sample ON system_sample.id = newest.sample_id
  JOIN process_sample AS own ON (own.sample_id, own.process_id) = (newest.sample_id, newest.process_id)
WHERE true
GROUP BY one
"""
# What a process had used before its first sample, where it began in the range and that sample shows nothing of it:
# not a debt. LIMIT -1 has SQLite ask the view of such alone.
_LATE = f"""
UPDATE relative SET debt_ms = debt_ms - late.ms
FROM (
  SELECT process_id, ms
  FROM (
    SELECT relative.process_id, first_sample_id, {_USED.format(row="first")} AS ms
    FROM relative
      CROSS JOIN process ON process.id = relative.process_id
      CROSS JOIN present ON present.process_id = relative.process_id
      CROSS JOIN system_sample AS of_first ON of_first.id = first_sample_id
      CROSS JOIN process_sample AS first ON (first.sample_id, first.process_id) = (of_first.id, relative.process_id)
    WHERE started_at >= :since AND {_STARTED_SECONDS.format(of="relative")} BETWEEN (
      SELECT since_seconds FROM worked WHERE worked.boot_id = relative.boot_id ORDER BY until_seconds LIMIT 1) AND (
      SELECT before.uptime_seconds FROM system_sample AS before
      WHERE before.boot_id = relative.boot_id AND before.uptime_seconds < of_first.uptime_seconds
      ORDER BY before.uptime_seconds DESC LIMIT 1)
    LIMIT -1) AS begun
  WHERE (SELECT seconds FROM process_interval AS shown
    WHERE shown.sample_id = first_sample_id AND shown.process_id = begun.process_id) IS NULL) AS late
WHERE late.process_id = relative.process_id
"""
_PARENTS = f"""
UPDATE relative SET parent_id = iif(ppid = 0, -1, coalesce({PARENT.format(of="relative")}, 0)) WHERE parent_id IS NULL
"""
_ANCESTORS = """
INSERT OR IGNORE INTO relative (process_id, boot_id, pid, started_ticks, ppid)
SELECT id, boot_id, pid, started_ticks, ppid FROM process WHERE id IN (SELECT parent_id FROM relative)
"""
# Where one of that PID is proved to have ended before, the parent is another, which is not recorded.
_REUSED = f"""
UPDATE relative SET parent_id = 0 FROM relative AS parent
WHERE parent.process_id = relative.parent_id
  AND parent.gone_by <= {_STARTED_SECONDS.format(of="relative")}
"""
# A debt goes up to an ancestor where those between may have ended by the time that its process is proved to have: so
# it is with all that end in one interval. passed_seconds: when the last of them was still seen. Where an ancestor is
# not recorded, it may be any process that began before, and its growth at that time. `after` is for speed alone: the
# growths of a process follow one another.
_CANDIDATES = f"""
WITH RECURSIVE up AS (
  SELECT process_id AS debtor_id, debt_ms, coalesce(gone_by, {_ALWAYS}) AS gone_by, boot_id, started_ticks, parent_id,
    last_seconds AS passed_seconds, 1 AS distance
  FROM relative WHERE debt_ms > 0
  UNION ALL
  SELECT debtor_id, up.debt_ms, up.gone_by, up.boot_id, parent.started_ticks, parent.parent_id,
    max(passed_seconds, coalesce(parent.last_seconds, 0)), distance + 1
  FROM up CROSS JOIN relative AS parent ON parent.process_id = up.parent_id
  WHERE coalesce(parent.last_seconds, 0) < up.gone_by AND distance < {_DEEPEST})
SELECT event.id AS event_id, grown_ms, event.boot_id, until_seconds, event.started_ticks, distance, debtor_id, debt_ms
FROM up CROSS JOIN event ON event.process_id = up.parent_id
  AND until_seconds > passed_seconds AND until_seconds <= coalesce((
    SELECT after.until_seconds FROM event AS after
    WHERE after.process_id = up.parent_id AND after.until_seconds >= up.gone_by
    ORDER BY after.until_seconds LIMIT 1), {_ALWAYS})
  AND since_seconds < gone_by AND grown_ms + {ROUNDING_MS} >= debt_ms
UNION ALL
SELECT event.id, grown_ms, event.boot_id, until_seconds, event.started_ticks, distance, debtor_id, debt_ms
FROM up CROSS JOIN event ON up.parent_id = 0 AND event.boot_id = up.boot_id
  AND until_seconds > passed_seconds AND until_seconds <= passed_seconds + {_GUESS_SECONDS}
  AND since_seconds <= passed_seconds AND since_seconds < gone_by AND event.process_id <> debtor_id
  AND event.started_ticks <= up.started_ticks AND grown_ms + {ROUNDING_MS} >= debt_ms
ORDER BY 3, 4, 5 DESC, 1, distance, debt_ms DESC
"""
# What of an interval that is longer than that of its sample is in that of another.
_LONG_PIECES = """
SELECT {id} AS id, worked.sample_id, worked.share, long.ms
  * (worked.until_seconds - max(long.since_seconds, worked.since_seconds))
  / (long.until_seconds - long.since_seconds) AS ms
FROM ({long}) AS long
  CROSS JOIN worked ON worked.boot_id = long.boot_id
    AND worked.until_seconds > long.since_seconds + 0.001 AND worked.until_seconds <= long.until_seconds
"""
# A growth over several is of where the machine worked most that recorded processes do not show themselves.
_PIECES = f"""
INSERT INTO piece
SELECT id, sample_id, share, grown_ms FROM event WHERE NOT is_long
UNION ALL
SELECT id, sample_id, share, coalesce(
  sum(ms) OVER of_event * room_ms / nullif(sum(room_ms) OVER of_event, 0), ms)
FROM (
  SELECT long.*, max(0, worked.cpu_ms - worked.own_ms) * 1.0 AS room_ms
  FROM ({_LONG_PIECES.format(id="id", long="SELECT event.*, grown_ms AS ms FROM event WHERE is_long")}) AS long
    JOIN worked USING (sample_id))
WINDOW of_event AS (PARTITION BY id)
"""
_LONG_OWN = """
  SELECT boot_id, uptime_seconds - seconds AS since_seconds, uptime_seconds AS until_seconds, cpu_ms AS ms
  FROM recorded JOIN system_sample ON system_sample.id = sample_id WHERE seconds IS NOT NULL"""
_OWN_OF_WORKED = f"""
UPDATE worked SET own_ms = found.ms
FROM (
  SELECT sample_id, sum(ms) AS ms
  FROM (
    SELECT sample_id, cpu_ms AS ms FROM recorded WHERE seconds IS NULL
    UNION ALL
    SELECT sample_id, ms FROM ({_LONG_PIECES.format(id="NULL", long=_LONG_OWN)}))
  GROUP BY sample_id) AS found
WHERE found.ms > 0 AND found.sample_id = worked.sample_id
"""
_NOTHING = "UPDATE used SET children_cpu_ms = 0 WHERE children_cpu_ms > 0"
_ADD_TO_USED = """
UPDATE used SET children_cpu_ms = found.ms, children_estimated_ms = found.estimated_ms
FROM (
  SELECT key, sum(ms) AS ms, sum(iif(event.share < 1, ms, 0)) AS estimated_ms
  FROM (
    SELECT event_id, piece.share * ms * coalesce(
      max(0, min(1, (cpu_ms - own_ms) * 1.0 / sum(ms) OVER (PARTITION BY piece.sample_id))), 1) AS ms
    FROM piece LEFT JOIN worked ON worked.sample_id = piece.sample_id WHERE ms > 0)
    JOIN event ON event.id = event_id
  WHERE is_asked GROUP BY key) AS found
WHERE used.key = found.key
"""


def add_children(
    connection: Connection, parts: list[dict[str, Any]], key: str, asked: str, progress: Callable[[int], None]
) -> None:
    """Put what ended children used into `used`, where processes.py has added up what their counters grew by.

    *parts*: of the range, each the parameters of *asked*. *key*, *asked*: SQL for the key there of a row of
    process_interval, and whether it counts. *progress* is told how many parts are done.
    """
    if not connection.execute(text("SELECT max(children_cpu_ms) FROM used")).scalar():
        return
    _create(connection)
    bounds = {"since": parts[0]["part_since"], "until": parts[-1]["part_until"], "host": parts[0]["host"]}
    connection.execute(text(_PRESENT), bounds)
    events = _EVENTS.format(key=key, event_key=_EVENT_KEY.get(key, "key"), asked=asked)
    statements = [text(each) for each in (_WORKED, _OWN, events)]
    for number, parameters in enumerate(parts, 1):
        for statement in statements:
            connection.execute(statement, parameters)
        progress(number)
    connection.execute(text(_RELATIVES), bounds)
    connection.execute(text(_LATE), bounds)
    while connection.execute(text(_PARENTS)).rowcount:
        connection.execute(text(_ANCESTORS))
    connection.execute(text(_REUSED))
    _take_debts_off(connection)
    for each in (_OWN_OF_WORKED, _PIECES, _NOTHING, _ADD_TO_USED):
        connection.execute(text(each))


def _create(connection: Connection) -> None:
    for name, columns in TABLES.items():
        connection.execute(text(f"DROP TABLE IF EXISTS temp.{name}"))
        connection.execute(text(f"CREATE TEMPORARY TABLE {name} ({columns})"))
    for number, index in enumerate(_INDEXES):
        connection.execute(text(f"CREATE INDEX temp.children_{number} ON {index}"))


def _take_debts_off(connection: Connection) -> None:
    """Take each debt off the first growth that can have it, of the nearest ancestor first."""
    largest_id = connection.execute(text("SELECT coalesce(max(process_id), 0) FROM relative")).scalar_one()
    is_settled = bytearray(largest_id + 1)  # one for each process, not more
    left: list[dict[str, float]] = []

    def store() -> None:
        if left:
            connection.execute(text("UPDATE event SET grown_ms = max(0, grown_ms - :debts_ms) WHERE id = :id"), left)
            left.clear()

    for event_id, candidates in groupby(connection.execute(text(_CANDIDATES)), attrgetter("event_id")):
        debts_ms = 0
        for debt in candidates:
            if not is_settled[debt.debtor_id] and debts_ms + debt.debt_ms <= debt.grown_ms + ROUNDING_MS:
                is_settled[debt.debtor_id] = True
                debts_ms += debt.debt_ms
        left.append({"id": event_id, "debts_ms": debts_ms})
        if len(left) == _BATCH:
            store()
    store()
