"""The units of a plot: what control groups used and held, added up by SQLite to one point for each place.

As of processes, what is added up is in temporary tables. Parts of the range are added from the earliest to the
latest, since a group that has no row in a sample holds what it did before. A unit that has none used nothing.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from sqlalchemy import Connection

from perftrack.reading.metrics import UNIT_CPU, ProcessMetric
from perftrack.reading.plot.processes import Point
from perftrack.reading.queries import OF_HOST, execute
from perftrack.reading.usage.groups import UNIT
from perftrack.reading.usage.held import Held

OTHER_UNITS = "other units"

# cpu_*: percent of one CPU, but for cpu_sum: ms. rss_sum: of all looks, of which there were so many. least, most: of
# the looks that have a row.
_CREATE = """
CREATE TEMPORARY TABLE unit_point (metric, unit, place, looks, least, sum, most)
"""
_CPU = f"""
INSERT INTO unit_point
SELECT 'cpu', key, place, count(*), min(cpu_ms / seconds / 10), sum(cpu_ms), max(max(cpu_ms / seconds / 10, peak))
FROM (
  SELECT {UNIT.side} AS key, coalesce(:place, place) AS place, look.seconds, max(0, sum(sign * cpu_ms)) AS cpu_ms,
    coalesce(max(iif(sign = 1 AND {UNIT.key} NOT IN (SELECT key FROM around), cpu_percent_max, 0)), 0) AS peak
  FROM (SELECT * FROM cgroup_interval WHERE taken_at >= :since AND taken_at < :until LIMIT -1) AS interval
    JOIN look ON look.sample_id = interval.sample_id {UNIT.both_sides} AND cpu_ms IS NOT NULL AND look.seconds > 0
  GROUP BY +look.sample_id, 1)
GROUP BY key, place
"""
# From which look on it is held, and for how many.
_STEPS = """
SELECT key, held.boot_id, number, memory_bytes,
  lead(number, 1, last.last_number + 1) OVER (PARTITION BY key, held.boot_id ORDER BY number) - number AS looks
FROM held JOIN look USING (sample_id)
  JOIN (SELECT boot_id, max(number) AS last_number FROM look GROUP BY boot_id) AS last ON last.boot_id = held.boot_id
"""
_MEMORY_OF_PART = f"""
INSERT INTO unit_point
SELECT 'rss', key, :place, sum(looks), min(memory_bytes), sum(memory_bytes * looks), max(memory_bytes)
FROM ({_STEPS}) WHERE memory_bytes IS NOT NULL GROUP BY key
"""
_PEAK_OF_PART = """
UPDATE unit_point SET most = max(most, peak.memory_bytes) FROM peak
WHERE metric = 'rss' AND place = :place AND peak.key = unit AND peak.memory_bytes IS NOT NULL
"""
_MEMORY_OF_LOOKS = f"""
INSERT INTO unit_point
SELECT 'rss', key, place, 1, memory_bytes, memory_bytes, memory_bytes
FROM ({_STEPS}) AS step JOIN look ON look.boot_id = step.boot_id AND look.number >= step.number
  AND look.number < step.number + step.looks
WHERE memory_bytes IS NOT NULL
"""
_LOOKED = """
SELECT coalesce(:place, place) AS place, count(*) AS looks, count(seconds) AS intervals, sum(seconds) AS seconds
FROM look GROUP BY 1
"""
_BOOTS = f"""
SELECT boot_id FROM system_sample
WHERE taken_at >= :since AND taken_at < :until
  AND {OF_HOST}
ORDER BY taken_at, id
"""
_RANKED = """
SELECT unit FROM unit_point WHERE metric = :metric
GROUP BY unit ORDER BY {rank} DESC, unit LIMIT :count
"""
_SHOWN = """
SELECT unit, place, looks, least, sum, most FROM unit_point
WHERE metric = :metric AND unit IN (SELECT value FROM json_each(:units))
"""
_OTHERS = """
SELECT place, sum(sum) FROM unit_point
WHERE metric = :metric AND unit NOT IN (SELECT value FROM json_each(:units)) GROUP BY place
"""


class UnitPoints:
    """The points of units by name, of one machine."""

    def __init__(self, connection: Connection, host: str) -> None:
        self._execute = partial(execute, connection)
        self._host = host
        self._held = Held(connection, UNIT.key, UNIT.holding)
        self._looked: dict[int, Any] = {}  # by place: how many looks, intervals and seconds
        self._boots: list[int] = []  # of each place, where a sample is one
        self._execute("DROP TABLE IF EXISTS temp.unit_point")
        self._execute(_CREATE)

    def add(self, since: str, until: str, place: int | None) -> None:
        """Add the samples from *since* to *until*, as the database has instants: to the point *place*, or each as a
        point (None), from 0 on.
        """
        part: dict[str, Any] = {"since": since, "until": until}
        self._held.read(self._host, since, until)
        self._execute(_CPU, part | {"place": place})
        if place is None:
            self._execute(_MEMORY_OF_LOOKS)
            self._boots = [boot_id for (boot_id,) in self._execute(_BOOTS, part | {"host": self._host})]
        else:
            self._execute(_MEMORY_OF_PART, {"place": place})
            self._execute(_PEAK_OF_PART, {"place": place})
        self._looked |= {row.place: row for row in self._execute(_LOOKED, {"place": place})}

    def series(self, metric: ProcessMetric, count: int, places: list[int]) -> dict[str, list[Point | None]]:
        """Return the points of the *count* units that used or held most, those first, and of all others together."""
        rank = "sum(sum)" if metric is UNIT_CPU else "max(most)"
        ranked = self._execute(_RANKED.format(rank=rank), {"metric": metric.name, "count": count})
        names = [unit for (unit,) in ranked]
        shown = {"metric": metric.name, "units": json.dumps(names)}
        points: dict[str, dict[int, Point]] = {name: {} for name in names}
        for unit, place, looks, least, total, most in self._execute(_SHOWN, shown):
            looked = self._looked[place]
            if metric is UNIT_CPU:
                points[unit][place] = (0.0 if looks < looked.intervals else least, total / looked.seconds / 10, most)
            else:
                points[unit][place] = (least, total / looks, most)
        others: dict[int, Point] = {}
        for place, total in self._execute(_OTHERS, shown):
            looked = self._looked[place]
            mean = total / looked.seconds / 10 if metric is UNIT_CPU else total / looked.looks
            others[place] = (mean, mean, mean)
        if others:
            points[OTHER_UNITS] = others
        fill = self._used_all_along if metric is UNIT_CPU else self._held_on
        return {name: fill(by_place, places) for name, by_place in points.items()}

    def _used_all_along(self, points: dict[int, Point], places: list[int]) -> list[Point | None]:
        """Return a point for each of *places*: nothing where a look found no change; before a look, what it found."""
        filled: list[Point | None] = []
        following: Point | None = None
        boot = None
        for place in reversed(places):
            looked = self._looked.get(place)
            if looked is not None:
                following = points.get(place, (0.0, 0.0, 0.0)) if looked.intervals else None
                boot = self._boot(place)
            elif boot != self._boot(place):
                following = None
            filled.append(following)
        return filled[::-1]

    def _held_on(self, points: dict[int, Point], places: list[int]) -> list[Point | None]:
        """Return a point for each of *places*: after a look, what it found until the next."""
        filled: list[Point | None] = []
        latest: Point | None = None
        boot = None
        for place in places:
            if place in self._looked:
                latest, boot = points.get(place), self._boot(place)
            elif boot != self._boot(place):
                latest = None
            filled.append(latest)
        return filled

    def _boot(self, place: int) -> int | None:
        return self._boots[place] if self._boots else place
