"""OpenMetrics text, which promtool makes into blocks of a Prometheus: https://prometheus.io/docs/specs/om/.

The system's metrics by host, and those of processes added up by host, name and unit, never by PID. A counter is the
running sum of what the interval views say it grew by: it goes on when a process ends or the machine boots, and begins
with the range. All points wait in temporary tables, which SQLite spills to disk: a family is written as a whole, a
series of it after the other, each by time.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TextIO

from sqlalchemy import Column, Connection, text

from perftrack.progress import Progress, no_progress
from perftrack.reading import queries
from perftrack.reading.export import compression
from perftrack.reading.export.files import Exported
from perftrack.reading.export.output import output_files
from perftrack.reading.export.spreadsheet import text_of
from perftrack.reading.machines import machines
from perftrack.reading.queries import TimeRange, stored_text
from perftrack.reading.usage.parts import parts_of
from perftrack.storage.models import Base, ProcessSample, SystemSample, columns_of
from perftrack.storage.snapshot import snapshot

# Of a column's unit: the end of its name, the unit of Prometheus that takes its place, how many of the one are one of
# the other. Columns of other units are not exported.
_UNITS = {
    "bytes": ("_bytes", "bytes", 1),
    "ms": ("_ms", "seconds", 1000),
    "%": ("_percent", "ratio", 100),
    "count": ("", "", 1),
    "processes": ("", "", 1),
}
_ROWS_AT_ONCE = 1000
_MS = "CAST(strftime('%s', substr(taken_at, 1, 19)) AS INTEGER) * 1000 + CAST(substr(taken_at, 21, 3) AS INTEGER)"


class Family(NamedTuple):
    """A metric: its name without _total, its unit ('': none), what one unit of it is in *column*."""

    name: str
    unit: str
    scale: int
    column: str
    is_counter: bool
    help: str


class Point(NamedTuple):
    """A value of a series at *ms* since 1970. *labels*: written out."""

    labels: str
    ms: int
    value: float


def _families(model: type[Base], prefix: str, of: str) -> list[Family]:
    found = []
    for column in columns_of(model):
        unit = _UNITS.get(column.info.get("unit", ""))
        # the largest of the samples that a row stands for is no metric of its own
        if unit is not None and not column.foreign_keys and not column.info.get("is_of_condensing"):
            end, name, scale = unit
            stem = f"{prefix}{column.name.removesuffix(end)}"
            help_text = f"{_meaning(column)}{of}"
            is_counter = bool(column.info.get("counter"))
            found.append(Family(f"{stem}_{name}" if name else stem, name, scale, column.name, is_counter, help_text))
    return found


def _meaning(column: Column[Any]) -> str:
    """Return the first sentence of what a column means, as HELP has it."""
    sentence = re.sub(r"^Counter[:,] ", "", (column.doc or "").partition(" NULL:")[0]).partition(". ")[0].rstrip(".")
    return f"{sentence[:1].upper()}{sentence[1:]}".replace("0 to 100", "0 to 1")  # a percentage becomes a ratio


SYSTEM = _families(SystemSample, "perftrack_", ".")
# A percentage of a process is what its seconds of CPU time grow by.
PROCESS = [
    family
    for family in _families(ProcessSample, "perftrack_process_", ", of all processes of the name and unit.")
    if family.column != "cpu_percent"
]


def _columns(families: list[Family]) -> str:
    return ", ".join(family.column for family in families)


def _added(families: list[Family]) -> str:
    """Return SQL for two samples of one millisecond: counters grew by both, and a gauge is the later one."""
    return ", ".join(
        f"{name} = coalesce({name} + excluded.{name}, {name}, excluded.{name})"
        if is_counter
        else f"{name} = excluded.{name}"
        for _, _, _, name, is_counter, _ in families
    )


_SYSTEM_GAUGES = [family for family in SYSTEM if not family.is_counter]
_SYSTEM_COUNTERS = [family for family in SYSTEM if family.is_counter]
_SUMS = ", ".join(f"sum({family.column} + 0.0)" for family in PROCESS)  # of integers it can be too large for one
# *seconds*: how long the interval is that the counters grew in.
_CREATE = f"""
CREATE TEMPORARY TABLE series (id INTEGER PRIMARY KEY, host, name, unit, UNIQUE (host, name, unit));
CREATE TEMPORARY TABLE system_point (series_id, ms, seconds, {_columns(SYSTEM)},
  PRIMARY KEY (series_id, ms)) WITHOUT ROWID;
CREATE TEMPORARY TABLE process_point (series_id, ms, seconds, {_columns(PROCESS)},
  PRIMARY KEY (series_id, ms)) WITHOUT ROWID;
CREATE TEMPORARY TABLE cell (host, name, unit, ms, seconds, {_columns(PROCESS)})
"""
# The + keeps SQLite from finding samples by their machine: they are to be found by time.
_IN_PART = "taken_at >= :since AND taken_at < :until AND +host IN (SELECT value FROM json_each(:hosts))"
# "WHERE true" tells SQLite that ON is not of a join, https://sqlite.org/lang_upsert.html
_ADD = (
    """
INSERT OR IGNORE INTO series (host) SELECT value FROM json_each(:hosts)
WHERE value NOT IN (SELECT host FROM series WHERE name IS NULL)
""",
    f"""
INSERT INTO system_point (series_id, ms, {_columns(_SYSTEM_GAUGES)})
SELECT series.id, {_MS}, {_columns(_SYSTEM_GAUGES)}
FROM system_sample JOIN boot ON boot.id = boot_id JOIN host ON host.id = host_id
  JOIN series ON series.host = host.name AND series.name IS NULL
WHERE taken_at >= :since AND taken_at < :until
ORDER BY taken_at
ON CONFLICT (series_id, ms) DO UPDATE SET {_added(_SYSTEM_GAUGES)}
""",
    f"""
INSERT INTO system_point (series_id, ms, seconds, {_columns(_SYSTEM_COUNTERS)})
SELECT series.id, ms, seconds, {_columns(_SYSTEM_COUNTERS)}
FROM (SELECT host, {_MS} AS ms, seconds, {_columns(_SYSTEM_COUNTERS)} FROM system_interval WHERE {_IN_PART}) AS grown
  JOIN series ON series.host = grown.host AND series.name IS NULL
WHERE true
ON CONFLICT (series_id, ms) DO UPDATE SET seconds = max(coalesce(seconds, 0), excluded.seconds),
  {_added(_SYSTEM_COUNTERS)}
""",
    # the + before sample_id keeps SQLite from reading all samples in the order of their ids, to have them grouped
    f"""
INSERT INTO cell
SELECT host, name, coalesce(unit, ''), {_MS}, max(seconds), {_SUMS}
FROM process_interval WHERE {_IN_PART}
GROUP BY +sample_id, name, unit
""",
    "INSERT OR IGNORE INTO series (host, name, unit) SELECT DISTINCT host, name, unit FROM cell",
    f"""
INSERT INTO process_point
SELECT series.id, ms, seconds, {_columns(PROCESS)} FROM cell JOIN series USING (host, name, unit)
WHERE true
ON CONFLICT (series_id, ms) DO UPDATE SET seconds = max(coalesce(seconds, 0), coalesce(excluded.seconds, 0)),
  {_added(PROCESS)}
""",
    "DELETE FROM cell",
)


def export_openmetrics(
    database: str,
    file: str,
    span: TimeRange,
    *,
    host: str | None = None,
    progress: Progress = no_progress,
) -> Exported:
    """Write all metrics of *span* to *file* ('-': stdout), and return how many values there were, as system_rows.

    *host*: see `machines`. Raises: PerftrackError, ClosedPipeError; then the file is as before.
    """
    compression.require(file)
    with output_files(file) as (stream,), snapshot(database) as connection:
        assert stream is not None
        span = span._replace(hosts=machines(connection, host))
        in_range = queries.extent(connection, span)
        everything = queries.held_at_all(connection, in_range)
        parts = [part for part in parts_of(connection, span) if part.is_seen]
        total = len(parts) + len(SYSTEM) + len(PROCESS)
        for statement in _CREATE.split(";\n"):
            connection.execute(text(statement))
        for number, part in enumerate(parts, 1):
            parameters = {"since": stored_text(part.since), "until": stored_text(part.until)}
            for statement in _ADD:
                connection.execute(text(statement), parameters | {"hosts": json.dumps(span.hosts)})
            progress(number, total)
        values = 0
        since_ms = None if span.since is None else math.ceil(span.since.timestamp() * 1000)
        shown = text_of(stream, spreadsheet_safe=False)
        for number, family in enumerate(SYSTEM + PROCESS, len(parts) + 1):
            table = "system_point" if family in SYSTEM else "process_point"
            values += _write(stream, family, _points(connection, table, family, since_ms, shown))
            progress(number, total)
        stream.write("# EOF\n")
    return Exported(values, None, in_range, everything, span.hosts)


def _points(
    connection: Connection, table: str, family: Family, since_ms: int | None, shown: Callable[[str], str]
) -> Iterator[Point]:
    """Yield the points of a family, series by series. *shown*: what is written of a text.

    A counter's first point is 0 where its first interval begins, so that what it grew by in that is seen too; not
    before the range, that of which is in what an export of the time before has of it.
    """
    statement = text(f"""
        SELECT series_id, host, name, unit, ms, seconds, {family.column}
        FROM series CROSS JOIN {table} ON series_id = series.id
        WHERE {family.column} IS NOT NULL ORDER BY series.id, ms""")
    found = connection.execute(statement, execution_options={"yield_per": _ROWS_AT_ONCE})
    series, labels, total = None, "", 0
    for series_id, host, name, unit, ms, seconds, value in found:
        if not math.isfinite(value):
            continue
        if series_id != series:
            named = {"host": host} | ({} if name is None else {"name": name, "unit": unit})
            labels = ",".join(f'{label}="{_escaped(shown(each))}"' for label, each in named.items())
            if family.is_counter:
                begin = max(ms - round(1000 * (seconds or 0)), since_ms or 0)
                if begin < ms:
                    yield Point(labels, begin, 0)
            series, total = series_id, 0
        if family.is_counter:
            total += value
            yield Point(labels, ms, total)
        else:
            yield Point(labels, ms, value)


def _write(stream: TextIO, family: Family, points: Iterator[Point]) -> int:
    """Write a family, if there is a point of it, and return how many."""
    kind, end = ("counter", "_total") if family.is_counter else ("gauge", "")
    count = 0
    for labels, ms, value in points:
        if count == 0:
            stream.write(f"# TYPE {family.name} {kind}\n")
            if family.unit:
                stream.write(f"# UNIT {family.name} {family.unit}\n")
            stream.write(f"# HELP {family.name} {_escaped(family.help)}\n")
        amount = value if family.scale == 1 else value / family.scale
        stream.write(f"{family.name}{end}{{{labels}}} {amount!r} {_timestamp(ms)}\n")
        count += 1
    return count


def _timestamp(ms: int) -> str:
    """Return *ms* as seconds, so that Prometheus, which multiplies by 1000 and rounds down, has the same again."""
    seconds = f"{ms // 1000}.{ms % 1000:03d}"
    return seconds if int(float(seconds) * 1000) == ms else f"{seconds}1"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
