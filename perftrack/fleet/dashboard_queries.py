"""The queries of the Grafana dashboard of a fleet, in the SQL of the centre.

Grafana puts in the range as instants ($__timeFilter, $__timeFrom, $__timeTo) and in milliseconds ($__from, $__to),
the width of a point ($__interval, $__interval_ms), and the machines ($host; for all of them EVERY, as it stands).
Each query finds samples by taken_at, so that it reads the partitions of its range alone, and joins by source_id.
https://grafana.com/docs/grafana/latest/datasources/postgres/
"""

from __future__ import annotations

from collections.abc import Mapping

from perftrack.fleet import ranking, summing
from perftrack.fleet.machines import NEWEST
from perftrack.reading.dashboard.queries import NAMES

# So many machines have a line, or names and units a place in a table.
HOSTS_MAX, TOP = 20, 15
EVERY = "'*'"
HOSTS = "SELECT DISTINCT host FROM perftrack.boot WHERE host IS NOT NULL ORDER BY host"
_IS_CHOSEN = "({every} IN (${{host:sqlstring}}) OR {host} IN (${{host:sqlstring}}))"
_OF_HOST = _IS_CHOSEN.format(every=EVERY, host="boot.host")
_OF_SOURCES = f"source_id IN (SELECT boot.source_id FROM perftrack.boot AS boot WHERE {_OF_HOST})"
_GIVEN = {
    "since": "$__timeFrom()::timestamptz",
    "until": "$__timeTo()::timestamptz",
    "ahead": f"$__timeTo()::timestamptz + interval '{summing.LOOK_AHEAD.seconds} seconds'",
    "since_ms": "$__from",
    "until_ms": "$__to",
}
# An interval counts for at most the width of a point, as after a gap.
_WEIGHT = "least(1, $__interval_ms / 1000.0 / nullif(seconds, 0))"


def _by_host(values: Mapping[str, str]) -> str:
    """Return the query for *values*, a column each, of the machines with the largest of the first one."""
    columns = ", ".join(f'({value})::float8 AS "{label}"' for label, value in values.items())
    return f"""\
WITH found AS MATERIALIZED (
  SELECT $__timeGroupAlias(taken_at, $__interval), boot.host AS name, {columns}
  FROM perftrack.system_sample AS sample
    JOIN perftrack.boot AS boot ON (boot.source_id, boot.boot_id) = (sample.source_id, sample.boot_id)
  WHERE $__timeFilter(taken_at) AND {_OF_HOST}
  GROUP BY 1, 2)
SELECT * FROM found
WHERE name IN (
  SELECT name FROM found GROUP BY name ORDER BY max("{next(iter(values))}") DESC NULLS LAST, name LIMIT {HOSTS_MAX})
ORDER BY 1, 2"""


def _rate(counter: str) -> str:
    return f"sum({counter} * {_WEIGHT}) / nullif(sum(seconds * {_WEIGHT}) FILTER (WHERE {counter} IS NOT NULL), 0)"


_BUSY, _WHOLE = f"sum(cpu_ms * {_WEIGHT})", f"sum({summing.POSSIBLE} * {_WEIGHT}) FILTER (WHERE cpu_ms IS NOT NULL)"
CPU_BY_HOST = _by_host({"busy": f"100 * {_BUSY} / nullif({_WHOLE}, 0)"})
MEMORY_BY_HOST = _by_host({"used": "100 * avg(mem_used_bytes::float8 / nullif(mem_total_bytes, 0))"})
LOAD_BY_HOST = _by_host({"load": "avg(load_1min)"})
DISK_BY_HOST = _by_host({"written": _rate("disk_write_bytes"), "read": _rate("disk_read_bytes")})
NETWORK_BY_HOST = _by_host({"received": _rate("net_received_bytes"), "sent": _rate("net_sent_bytes")})

MACHINES = f"""\
SELECT CASE WHEN silence < interval '1 hour' THEN '' ELSE 'silent' END AS state, host,
  taken_at AS "newest sample", extract(epoch FROM lag)::float8 AS lag,
  extract(epoch FROM silence)::float8 AS "last shipped", skew_seconds AS skew, version, role
FROM ({NEWEST.strip()}) AS newest
WHERE {_IS_CHOSEN.format(every=EVERY, host="newest.host")}
ORDER BY silence DESC, host"""

_PART = """CASE WHEN length > 0 THEN greatest(0, least(ended, (point + 1) * $__interval_ms, $__to)
        - greatest(ended - length, point * $__interval_ms, $__from))::float8 / length ELSE 1 END"""


def _used(table: str, key: str) -> str:
    """Return what each *key* of a source used, by point: an interval counts in each by its overlap with it.

    So it does not matter when in a point the samples of a machine are taken, and sums over machines are whole.
    """
    in_range = ranking.as_text(summing.IN_RANGE, _GIVEN)
    return f"""\
SELECT source_id, {key}, point, sum(cpu_ms * {_PART}) AS ms
    FROM (
      SELECT *, generate_series(first, greatest(first, (least(ended, $__to) - 1) / $__interval_ms)) AS point
      FROM (
        SELECT *, greatest(ended - length, $__from) / $__interval_ms AS first
        FROM (
          SELECT source_id, {key}, cpu_ms, {summing.END_MS}::bigint AS ended,
            coalesce({summing.LENGTH_MS}, 0)::bigint AS length
          FROM perftrack.{table}
          WHERE ({in_range}) AND cpu_ms > 0 AND {_OF_SOURCES}) AS interval) AS begun) AS parts
    GROUP BY source_id, {key}, point"""


_NAMED = f"""\
SELECT process.source_id, process.name, point, sum(ms) AS ms
  FROM ({_used("process_sample", "process_id")}) AS used
    JOIN perftrack.process AS process
      ON (process.source_id, process.process_id) = (used.source_id, used.process_id)
  GROUP BY process.source_id, process.name, point"""
_OF_UNITS = f"""\
SELECT source_id, name, point, greatest(0, sum(ms)) AS ms
  FROM (
    SELECT used.source_id, {summing.UNIT_OF_SIDE} AS name, point, sign * ms AS ms
    FROM ({_used("cgroup_sample", "cgroup_id")}) AS used
{summing.BOTH_SIDES}) AS both_sides
  GROUP BY source_id, name, point"""
# Percent of one CPU. At the ends of the range there is less of a point than its width.
_PERCENT = "100 * ms / (least((point + 1) * $__interval_ms, $__to) - greatest(point * $__interval_ms, $__from))"
_LARGEST = f"SELECT name FROM used GROUP BY name HAVING sum(ms) > 0 ORDER BY sum(ms) DESC, name LIMIT {NAMES}"
_SUMMED = """\
WITH used AS MATERIALIZED (
  SELECT point, name, sum(ms) AS ms FROM ({of_sources}) AS by_source GROUP BY point, name),
largest AS MATERIALIZED ({largest})"""
_TIME = '(point * $__interval_ms / 1000.0)::float8 AS "time"'

CPU_BY_NAME = f"""\
{_SUMMED.format(of_sources=_NAMED, largest=_LARGEST)}
SELECT {_TIME}, name, ({_PERCENT})::float8 AS cpu
FROM used JOIN largest USING (name)
ORDER BY 1, 2"""
# A unit without a row has used nothing.
CPU_BY_UNIT = f"""\
{_SUMMED.format(of_sources=_OF_UNITS, largest=_LARGEST)}
SELECT {_TIME}, name, coalesce({_PERCENT}, 0)::float8 AS cpu
FROM (SELECT DISTINCT point FROM used) AS points CROSS JOIN largest LEFT JOIN used USING (point, name)
ORDER BY 1, 2"""
MEMORY_BY_NAME = f"""\
WITH held AS MATERIALIZED (
  SELECT "time", name, sum(bytes) AS bytes
  FROM (
    SELECT source_id, $__timeGroupAlias(taken_at, $__interval), name, avg(bytes) AS bytes
    FROM (
      SELECT sample.source_id, taken_at, process.name, sum(rss_bytes) AS bytes
      FROM (
        SELECT source_id, taken_at, process_id, rss_bytes FROM perftrack.process_sample
        WHERE $__timeFilter(taken_at) AND {_OF_SOURCES}) AS sample
        JOIN perftrack.process AS process
          ON (process.source_id, process.process_id) = (sample.source_id, sample.process_id)
      GROUP BY sample.source_id, taken_at, process.name) AS by_sample
    GROUP BY 1, 2, 3) AS by_source
  GROUP BY 1, 2)
SELECT "time", name, bytes::float8 AS rss
FROM held
WHERE name IN (SELECT name FROM held GROUP BY name HAVING max(bytes) > 0 ORDER BY max(bytes) DESC, name LIMIT {NAMES})
ORDER BY 1, 2"""


_MACHINES_OF = (
    f"(SELECT count(DISTINCT {ranking.MACHINE}) FROM perftrack.source WHERE id = ANY (sources)) AS machines"
)


def _top(key: ranking.FleetGroup, figures: str) -> str:
    return f"""\
WITH top AS MATERIALIZED ({ranking.top_text(key, TOP, _OF_SOURCES, _GIVEN)})
SELECT key AS {key}, {_MACHINES_OF}, cpu_ms / 1000 AS "CPU", {figures}, last_seen_at AS "last seen"
FROM top
ORDER BY 3 DESC NULLS LAST, 1"""


_READ = "read_bytes AS read, write_bytes AS written"
TOP_NAMES = _top("name", f'cpu_percent_max AS "max %", rss_max_bytes AS "memory max", {_READ}')
TOP_UNITS = _top("unit", f'memory_max_bytes AS "memory max", {_READ}, oom_kills AS "OOM kills"')

# Of the sums by hour, which `fleet upkeep` makes and which stay when samples go.
CPU_BY_HOST_HOURLY = f"""\
WITH found AS MATERIALIZED (
  SELECT $__timeGroupAlias(hour, $__interval), boot.host AS name,
    100 * sum(cpu_ms) / nullif(sum(cpu_possible_ms), 0) AS busy
  FROM perftrack.system_hour AS sums
    JOIN perftrack.boot AS boot ON (boot.source_id, boot.boot_id) = (sums.source_id, sums.boot_id)
  WHERE $__timeFilter(hour) AND {_OF_HOST}
  GROUP BY 1, 2)
SELECT * FROM found
WHERE name IN (SELECT name FROM found GROUP BY name ORDER BY max(busy) DESC NULLS LAST, name LIMIT {HOSTS_MAX})
ORDER BY 1, 2"""


def _hourly(kind: str, key: str) -> str:
    """Return the query for the CPU of the largest of *kind*, in percent of one CPU of the hours that there are."""
    return f"""\
WITH used AS MATERIALIZED (
  SELECT hour, {key} AS name, sum(cpu_ms) AS ms FROM perftrack.{kind}_hour
  WHERE $__timeFilter(hour) AND {_OF_SOURCES}
  GROUP BY 1, 2),
points AS MATERIALIZED (
  SELECT $__timeGroupAlias(hour, $__interval), count(DISTINCT hour) AS hours FROM used GROUP BY 1)
SELECT "time", name, ms / hours / 36000 AS cpu
FROM (SELECT $__timeGroupAlias(hour, $__interval), name, sum(ms) AS ms FROM used GROUP BY 1, 2) AS by_point
  JOIN points USING ("time")
WHERE name IN ({_LARGEST})
ORDER BY 1, 2"""


CPU_BY_NAME_HOURLY = _hourly("process", "name")
CPU_BY_UNIT_HOURLY = _hourly("unit", "unit")


def _top_hourly(kind: str, key: str, peak: str) -> str:
    return f"""\
WITH top AS MATERIALIZED (
  SELECT {key}, array_agg(DISTINCT source_id) AS sources, sum(cpu_ms) / 1000 AS cpu, max({peak}) AS held,
    sum(read_bytes) AS read, sum(write_bytes) AS written, max(hour) AS hour
  FROM perftrack.{kind}_hour
  WHERE $__timeFilter(hour) AND {_OF_SOURCES}
  GROUP BY 1
  ORDER BY cpu DESC NULLS LAST, 1 LIMIT {TOP})
SELECT {key}, {_MACHINES_OF}, cpu AS "CPU", held AS "memory max", read, written, hour AS "last hour"
FROM top
ORDER BY 3 DESC NULLS LAST, 1"""


TOP_NAMES_HOURLY = _top_hourly("process", "name", "rss_max_bytes")
TOP_UNITS_HOURLY = _top_hourly("unit", "unit", "memory_max_bytes")
