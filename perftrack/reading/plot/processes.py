"""The processes of a plot, by name: the view process_interval, added up by SQLite to one point for each place.

Added up is in a temporary table, which SQLite spills to disk: memory does not grow with the number of names. Parts of
the range are added from the latest to the earliest. The interval of a process that is recorded now and then is longer
than its sample's: it counts by its overlap, and what belongs to earlier samples waits until they are added.
"""

from __future__ import annotations

import json
from functools import partial

from sqlalchemy import Connection

from perftrack.reading.metrics import PROCESS, ProcessMetric
from perftrack.reading.queries import OF_HOST, execute

Point = tuple[float | None, float | None, float | None]  # minimum, mean, maximum; not known
UNATTRIBUTED = "(unattributed)"

_NAMES = ", ".join(metric.name for metric in PROCESS)
_PEAKS = ", ".join(f"{metric.name}_peak" for metric in PROCESS)
# A cell is what the processes of one name used in the interval of one sample, on average. Of intervals that reach
# further back, those that are equally long are a row of their own; *seconds* says how long. *_peak*: of condensed
# rows, the largest that one of the processes had.
_CREATE = f"""
CREATE TEMPORARY TABLE place (sample_id INTEGER PRIMARY KEY, place, boot_id, since_seconds, until_seconds, worked);
CREATE INDEX temp.place_of_uptime ON place (boot_id, until_seconds);
CREATE TEMPORARY TABLE cell (sample_id, name, seconds, sample_seconds, {_NAMES}, {_PEAKS});
CREATE TEMPORARY TABLE earlier (boot_id, name, since_seconds, until_seconds, {_NAMES});
CREATE TEMPORARY TABLE point (name, place, samples, {
    ", ".join(f"{metric.name}_{kind}" for metric in PROCESS for kind in ("min", "mean", "max"))
})
"""


def _in_cell(metric: ProcessMetric) -> str:
    if metric.per_second is None:
        return f"sum({metric.column})"
    return f"sum({metric.column} / nullif(max(seconds, sample_seconds), 0)) * {metric.per_second}"


def _of_point(value: str) -> str:
    return f"min({value}), avg({value}), coalesce(max(max({value}), max({value}_peak)), max({value}))"


_PLACES = f"""
INSERT INTO place
SELECT id, iif(:is_bucketed, :place, row_number() OVER (ORDER BY taken_at, id) - 1), boot_id, NULL, uptime_seconds,
  NULL
FROM system_sample WHERE taken_at >= :since AND taken_at < :until AND {OF_HOST}
"""
_INTERVALS = """
UPDATE place SET since_seconds = until_seconds - seconds, worked = cpu_ms / nullif(seconds, 0) / 10
FROM (SELECT sample_id AS id, seconds, cpu_ms FROM system_interval WHERE taken_at >= :since AND taken_at < :until)
WHERE id = sample_id
"""
# The + before sample_id keeps SQLite from reading all samples in the order of their ids, to have them grouped.
_CELLS = f"""
INSERT INTO cell
SELECT sample_id, name, iif(seconds > sample_seconds, seconds, NULL) AS reach, sample_seconds,
  {", ".join(map(_in_cell, PROCESS))},
  {", ".join(f"max(CASE WHEN samples > 1 THEN {metric.peak_column} END)" for metric in PROCESS)}
FROM process_interval
WHERE taken_at >= :since AND taken_at < :until AND (:names IS NULL OR name IN (SELECT value FROM json_each(:names)))
  AND +sample_id IN (SELECT sample_id FROM place)
GROUP BY +sample_id, name, reach
"""
_REACHING = f"""
INSERT INTO earlier
SELECT boot_id, name, until_seconds - seconds, until_seconds - sample_seconds, {_NAMES}
FROM cell JOIN place USING (sample_id) WHERE seconds IS NOT NULL
"""
# Uptimes are in milliseconds: an overlap that is shorter is none.
_OVERLAPS = f"""
INSERT INTO cell
SELECT sample_id, name, NULL, NULL, {
    ", ".join("NULL" if metric.per_second is None else f"{metric.name} * share" for metric in PROCESS)
}, {", ".join("NULL" for _ in PROCESS)}
FROM (SELECT earlier.*, sample_id, (min(earlier.until_seconds, place.until_seconds)
    - max(earlier.since_seconds, place.since_seconds)) / (place.until_seconds - place.since_seconds) AS share
  FROM earlier CROSS JOIN place ON place.boot_id = earlier.boot_id
    AND place.until_seconds > earlier.since_seconds + 0.001 AND place.since_seconds < earlier.until_seconds - 0.001)
WHERE share > 0
"""
_REACHED = """
DELETE FROM earlier WHERE since_seconds + 0.001 >= (
  SELECT min(since_seconds) FROM place WHERE place.boot_id = earlier.boot_id)
"""
_POINTS = f"""
INSERT INTO point
SELECT name, place, count(cpu), {", ".join(_of_point(metric.name) for metric in PROCESS)}
FROM (SELECT sample_id, name, {", ".join(f"sum({metric.name}) AS {metric.name}" for metric in PROCESS)},
    {", ".join(f"max({metric.name}_peak) AS {metric.name}_peak" for metric in PROCESS)}
  FROM cell GROUP BY sample_id, name) JOIN place USING (sample_id)
GROUP BY name, place
"""
# Processes are read a little later than the system: a difference below nothing is none.
_UNATTRIBUTED = """
SELECT place, max(0, min(rest)), max(0, avg(rest)), max(0, max(rest))
FROM (SELECT place, worked - coalesce(sum(cpu), 0) AS rest FROM place LEFT JOIN cell USING (sample_id)
  WHERE worked IS NOT NULL GROUP BY place.sample_id)
GROUP BY place
"""


class ProcessPoints:
    """The points of processes by name; *names*: of those to look at; empty: all. *host*: the machine."""

    def __init__(self, connection: Connection, names: list[str], host: str) -> None:
        self._execute = partial(execute, connection)
        self._names = names
        self._host = host
        self.unattributed: dict[int, Point] = {}
        for statement in _CREATE.split(";\n"):
            self._execute(statement)

    def add(self, since: str, until: str, place: int | None) -> None:
        """Add the samples from *since* to *until*, as the database has instants: to the point *place*, or each as a
        point (None), from 0 on.
        """
        self._read(since, until, place)
        self._execute(_OVERLAPS)
        self._execute(_REACHED)
        self._execute(_POINTS)
        if not self._names:
            for number, low, mean, high in self._execute(_UNATTRIBUTED):
                self.unattributed[number] = (low, mean, high)

    def look_ahead(self, since: str, until: str) -> None:
        """Take those intervals that end from *since* to *until* and began before, for the samples before."""
        self._read(since, until, None)

    def largest(self, metric: ProcessMetric, count: int) -> dict[str, dict[int, Point]]:
        """Return the points of the *count* names that used or held most, those first, by place."""
        name = metric.name
        rank = f"max({name}_max)" if metric.per_second is None else f"sum({name}_mean * samples)"
        ranked = f"""
            SELECT name FROM point WHERE {name}_mean IS NOT NULL
            GROUP BY name ORDER BY {rank} DESC, name LIMIT :count"""
        found: dict[str, dict[int, Point]] = {each.name: {} for each in self._execute(ranked, {"count": count})}
        points = f"""
            SELECT name, place, {name}_min, {name}_mean, {name}_max FROM point
            WHERE {name}_mean IS NOT NULL AND name IN (SELECT value FROM json_each(:names))"""
        for each, place, low, mean, high in self._execute(points, {"names": json.dumps(list(found))}):
            found[each][place] = (low, mean, high)
        return found

    def _read(self, since: str, until: str, place: int | None) -> None:
        part = {"since": since, "until": until, "host": self._host}
        self._execute("DELETE FROM place")
        self._execute("DELETE FROM cell")
        self._execute(_PLACES, part | {"is_bucketed": place is not None, "place": place})
        self._execute(_INTERVALS, part)
        self._execute(_CELLS, part | {"names": json.dumps(self._names) if self._names else None})
        self._execute(_REACHING)
