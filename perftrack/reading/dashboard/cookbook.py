"""The cookbook: questions and the SQL that answers them. The pages show them, datasette has them as its queries."""

from __future__ import annotations

from typing import NamedTuple


class Recipe(NamedTuple):
    """A *question*, and SQL that answers it in any SQLite. *name*: in an address."""

    name: str
    question: str
    sql: str


COOKBOOK = (
    Recipe(
        "busiest",
        "When was it busiest?",
        """\
SELECT datetime, cpu_usage, load_1min, round(100 * mem_percent_used, 1) AS memory_percent
FROM system_log
WHERE datetime >= datetime('now', 'localtime', '-1 day')
ORDER BY cpu_usage DESC LIMIT 10;
""",
    ),
    Recipe(
        "most_cpu",
        "Which recorded processes used most CPU time?",
        """\
SELECT name, pid, username, sum(cpu_ms) / 1000.0 AS cpu_seconds, max(cpu_percent_max) AS cpu_percent_max,
       max(rss_max_bytes) / 1048576 AS rss_max_mib, command
FROM process_interval
WHERE datetime >= datetime('now', 'localtime', '-1 day')
GROUP BY process_id
ORDER BY cpu_seconds DESC LIMIT 10;
""",
    ),
    Recipe(
        "growing",
        "Which processes grew?",
        """\
SELECT name, pid, min(rss_memory) / 1048576 AS from_mib, max(rss_memory) / 1048576 AS to_mib,
       min(datetime) AS first_seen, max(datetime) AS last_seen
FROM process_log
WHERE datetime >= datetime('now', 'localtime', '-7 days')
GROUP BY process_id
ORDER BY max(rss_memory) - min(rss_memory) DESC LIMIT 10;
""",
    ),
    Recipe(
        "cpu_explained",
        "How much of the CPU time is explained by recorded processes, hour by hour?",
        """\
SELECT hour, cpu_seconds, recorded_seconds, cpu_seconds - recorded_seconds AS unattributed_seconds
FROM (SELECT strftime('%Y-%m-%d %H:00', datetime) AS hour, sum(cpu_ms) / 1000.0 AS cpu_seconds
      FROM system_interval WHERE datetime >= datetime('now', 'localtime', '-1 day') GROUP BY hour)
JOIN (SELECT strftime('%Y-%m-%d %H:00', datetime) AS hour, sum(cpu_ms) / 1000.0 AS recorded_seconds
      FROM process_interval WHERE datetime >= datetime('now', 'localtime', '-1 day') GROUP BY hour) USING (hour);
""",
    ),
    Recipe(
        "services",
        "Which services used most CPU time, with all that ended in them, and what did they hold?",
        """\
SELECT unit, sum(cpu_ms) / 1000.0 AS cpu_seconds, sum(write_bytes) / 1048576 AS written_mib,
       max(memory_bytes) / 1048576 AS memory_max_mib, sum(oom_kills) AS oom_kills
FROM cgroup_interval
WHERE datetime >= datetime('now', 'localtime', '-1 day') AND path LIKE '%.service'
GROUP BY unit
ORDER BY cpu_seconds DESC LIMIT 10;
""",
    ),
    Recipe(
        "units_of_processes",
        "Which unit was a process in?",
        """\
SELECT unit, name, count(DISTINCT process_id) AS processes, sum(cpu_ms) / 1000.0 AS cpu_seconds
FROM process_interval
WHERE datetime >= datetime('now', 'localtime', '-1 day')
GROUP BY unit, name
ORDER BY cpu_seconds DESC LIMIT 10;
""",
    ),
    Recipe(
        "forks_and_oom_kills",
        "When were many programs started, and when did the kernel kill some for want of memory?",
        """\
SELECT datetime, round(forks / seconds, 1) AS forks_per_second,
       round(context_switches / seconds) AS switches_per_second, oom_kills
FROM system_interval
WHERE datetime >= datetime('now', 'localtime', '-1 day') AND seconds > 0
ORDER BY oom_kills > 0 DESC, forks_per_second DESC LIMIT 10;
""",
    ),
    Recipe(
        "gaps",
        "When was nothing recorded?",
        """\
SELECT host, kind, previous_datetime AS nothing_after, datetime AS until, round(seconds / 60, 1) AS minutes
FROM gap
WHERE datetime >= datetime('now', 'localtime', '-7 days');
""",
    ),
)
