"""The queries of the Grafana dashboard, in the SQL of its SQLite data source.

Grafana puts in the ends of the range ($__from, $__to) and the width of a point ($__interval_ms), all in milliseconds,
and the machine ($host). A point is labelled with where its width begins. The data source takes the type of a column
from its first value, so every value is REAL. https://github.com/fr-ser/grafana-sqlite-datasource
"""

from __future__ import annotations

from collections.abc import Sequence

from perftrack.reading.metrics import SYSTEM_CPU, Metric, as_sql
from perftrack.reading.queries import OF_HOST
from perftrack.reading.usage.groups import UNIT
from perftrack.storage.intervals import SYSTEM_INTERVAL
from perftrack.storage.models import SystemSample

# How many names, or units, are shown of those that used or held most.
NAMES = 10
HOSTS = "SELECT name FROM host ORDER BY name"


def _instant(milliseconds: str) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f', {milliseconds} / 1000.0, 'unixepoch')"


_IN_RANGE = f"taken_at >= {_instant('$__from')} AND taken_at < {_instant('$__to')}"
# As expressions, which no index serves: samples are to be found by time.
_OF_HOST = "host || '' = ${host:sqlstring}"
_OF_BOOTS = OF_HOST.replace(":host", "${host:sqlstring}")
_SHOWN = f"{_IN_RANGE} AND {_OF_HOST}"
_POINT = "strftime('%s', taken_at) * 1000 / $__interval_ms * $__interval_ms / 1000.0"
# The time that the intervals of a point cover.
_COVERED = f"SELECT {_POINT} AS time, sum(seconds) AS seconds FROM system_interval WHERE {_SHOWN} GROUP BY 1"


def system(metrics: Sequence[Metric]) -> str:
    """Return the query for *metrics* of one source, a column each: means, of intervals by their length in a point.

    Behind a gap that is wider than a point comes a row of NULLs, so that no line crosses it.
    """
    values = ", ".join(f'{" ".join(as_sql(metric.value).split())} AS "{metric.label}"' for metric in metrics)
    if metrics[0].is_of_intervals:
        weight = "min(seconds, $__interval_ms / 1000.0) AS weight"
        inner = f"SELECT taken_at, {weight}, cpu_percent_max, {values} FROM {SYSTEM_INTERVAL.name} WHERE {_SHOWN}"
        means = [
            f'sum("{metric.label}" * weight) / sum(weight) FILTER (WHERE "{metric.label}" IS NOT NULL)'
            for metric in metrics
        ]
    else:
        inner = f"SELECT taken_at, {values} FROM {SystemSample.__tablename__} WHERE {_IN_RANGE} AND {_OF_BOOTS}"
        means = [f'avg("{metric.label}")' for metric in metrics]
    columns = [f'{mean} AS "{metric.label}"' for mean, metric in zip(means, metrics, strict=True)]
    if SYSTEM_CPU in metrics:
        columns.append('1.0 * max(cpu_percent_max) AS "busiest"')
    return f"""\
SELECT {_POINT} AS time, {", ".join(columns)}
FROM ({inner})
GROUP BY 1
UNION ALL
SELECT strftime('%s', previous_taken_at) + 1.0, {", ".join(["NULL"] * len(columns))}
FROM gap WHERE {_SHOWN} AND seconds * 500 > $__interval_ms
ORDER BY 1"""


# An interval that reaches back behind the sample before, as of a process that is recorded now and then, counts by its
# share.
PROCESS_CPU = f"""\
WITH used AS (
  SELECT {_POINT} AS time, name, cpu_ms * sample_seconds / nullif(max(seconds, sample_seconds), 0) AS ms
  FROM process_interval WHERE {_SHOWN}),
covered AS ({_COVERED})
SELECT time, name, sum(ms) / seconds / 10 AS cpu
FROM used JOIN covered USING (time)
WHERE name IN (SELECT name FROM used GROUP BY name HAVING sum(ms) > 0 ORDER BY sum(ms) DESC, name LIMIT {NAMES})
GROUP BY time, name
ORDER BY time"""

PROCESS_MEMORY = f"""\
WITH held AS (
  SELECT {_POINT} AS time, name, sum(rss_memory) AS bytes
  FROM process_log WHERE {_SHOWN} AND filter_rank = 0
  GROUP BY +sample_id, name)
SELECT time, name, avg(bytes) AS rss
FROM held
WHERE name IN (SELECT name FROM held GROUP BY name HAVING max(bytes) > 0 ORDER BY max(bytes) DESC, name LIMIT {NAMES})
GROUP BY time, name
ORDER BY time"""

# What groups used counts for their unit, and with the other sign for that of the group around it. A sample without a
# row of a group says that nothing has happened.
UNIT_CPU = f"""\
WITH used AS (
  SELECT {_POINT} AS time, {UNIT.side} AS name, sum(sign * cpu_ms) AS ms
  FROM (SELECT taken_at, cgroup_id, cpu_ms FROM cgroup_interval
      WHERE {_SHOWN} AND cpu_ms IS NOT NULL LIMIT -1){UNIT.both_sides}
  GROUP BY 1, 2),
covered AS ({_COVERED}),
largest AS (
  SELECT name FROM used GROUP BY name HAVING sum(ms) > 0 ORDER BY sum(ms) DESC, name LIMIT {NAMES})
SELECT time, name, max(0, coalesce(ms, 0)) / seconds / 10.0 AS cpu
FROM covered CROSS JOIN largest LEFT JOIN used USING (time, name)
WHERE seconds > 0
ORDER BY time"""

OOM_KILLS = f"""\
SELECT {_POINT} AS time, 1.0 * sum(oom_kills) AS "killed"
FROM system_interval WHERE {_SHOWN}
GROUP BY 1
ORDER BY 1"""

GAPS = f"""\
SELECT strftime('%s', previous_taken_at) + 0 AS "nothing after", strftime('%s', taken_at) + 0 AS until, kind,
  1.0 * seconds AS seconds
FROM gap WHERE {_SHOWN}
ORDER BY 1 DESC"""
