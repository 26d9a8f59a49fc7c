"""Two ranges of time side by side: what was used an hour in each, and which changes are more than noise."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from math import sqrt
from statistics import fmean, stdev
from statistics import variance as variance_of
from typing import Literal, NamedTuple

from sqlalchemy import Connection

from perftrack.progress import Progress, no_progress
from perftrack.reading.coverage import Coverage, coverage
from perftrack.reading.explain.consumption import SHORT_LOOK_AHEAD, Used, of_machine, usage_by_name, used_by_unit
from perftrack.reading.machines import machines
from perftrack.reading.queries import TimeRange
from perftrack.storage.snapshot import snapshot

HOUR = timedelta(hours=1)
# Of fewer days, or hours of a day, their spread tells nothing.
DAYS_MIN, HOURS_MIN = 3, 4
# A change of so many standard errors is hardly chance: of a hundred that are none, one at most is called one.
ERRORS = 3.0

Compared = Literal["cpu", "memory", "written"]
# What is compared, and where `Used` has it; memory is a mean here.
METRICS: dict[Compared, str] = {"cpu": "cpu_ms", "memory": "memory_bytes", "written": "write_bytes"}
LineKind = Literal["all", "unit", "name"]
KINDS: tuple[LineKind, ...] = ("all", "unit", "name")


class Change(NamedTuple):
    """What was used an hour in both ranges; None: not known. *noise*: by how much *after* less *before* is uncertain,
    from the spread of the hours; None: there are too few. *is_real*: the change is more than that.
    """

    before: float | None
    after: float | None
    noise: float | None

    @property
    def difference(self) -> float | None:
        """How much more it is."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def is_real(self) -> bool:
        """Whether the difference is more than noise."""
        return self.difference is not None and self.noise is not None and abs(self.difference) > self.noise


class Line(NamedTuple):
    """What somebody used in both ranges. *kind*: what *key* is: all of the machine, a unit, or a name."""

    kind: LineKind
    key: str
    changes: dict[Compared, Change]


class Comparison(NamedTuple):
    """A machine in two ranges. *hours*: of the day, those that both have and that are compared; empty: they have none
    in common, and all are. *lines*: that of the machine, units, names; of each kind the largest change first.
    """

    host: str
    before: Coverage
    after: Coverage
    hours: list[int]
    lines: list[Line]


_Key = tuple[LineKind, str]
# By hour of the day, what was used in each such hour of a range, by key.
_ByHour = dict[int, list[dict[_Key, Used]]]


def comparisons(
    database: str,
    before: TimeRange,
    after: TimeRange,
    *,
    by: Compared = "cpu",
    host: str | None = None,
    progress: Progress = no_progress,
) -> list[Comparison]:
    """Return both ranges, which have both ends, side by side, of each machine that has samples of both; or one
    comparison without lines.

    *by*: what the order is by. *host*: see `machines`. Raises: PerftrackError.
    """
    now = datetime.now(UTC)
    with snapshot(database) as connection:
        names = machines(connection, host)
        found = []
        for name in names:
            spans = [each._replace(hosts=(name,)) for each in (before, after)]
            covered = [coverage(connection, span, now) for span in spans]
            if all(each.held.samples for each in covered):
                found.append(_comparison(connection, name, covered, by, progress))
        if found:
            return found
        of_all = [coverage(connection, each._replace(hosts=names), now) for each in (before, after)]
        return [Comparison("", of_all[0], of_all[1], [], [])]


def _comparison(
    connection: Connection, host: str, covered: list[Coverage], by: Compared, progress: Progress
) -> Comparison:
    spans = [list(_hours(each.span)) for each in covered]
    total, done = sum(map(len, spans)), 0
    ranges: list[_ByHour] = []
    for of_range in spans:
        by_hour: _ByHour = defaultdict(list)
        for span in of_range:
            used = _used(connection, span)
            if used:
                by_hour[span.ends[0].astimezone().hour].append(used)
            done += 1
            progress(done, total)
        ranges.append(by_hour)
    common = sorted(set(ranges[0]) & set(ranges[1]))
    keys = {key for by_hour in ranges for hours in by_hour.values() for used in hours for key in used}
    lines = [Line(*key, {metric: _change(ranges, common, key, metric) for metric in METRICS}) for key in keys]
    lines.sort(key=lambda line: (KINDS.index(line.kind), -abs(line.changes[by].difference or 0.0), line.key))
    return Comparison(host, covered[0], covered[1], common, lines)


def _hours(span: TimeRange) -> list[TimeRange]:
    since, until = span.ends
    count = -(-(until - since) // HOUR)
    # an interval that ends with an hour is in it, not in the next
    moment = timedelta(microseconds=1)
    begins = [since + number * HOUR + moment for number in range(count)]
    return [TimeRange(begin, min(begin + HOUR, until + moment), span.hosts) for begin in begins]


def _used(connection: Connection, span: TimeRange) -> dict[_Key, Used]:
    """Return what was used in *span* for each hour; empty: less than half of an hour is known."""
    row = of_machine(connection, span)
    if row.seconds < HOUR.total_seconds() / 2:
        return {}
    factor = HOUR.total_seconds() / row.seconds
    found: dict[_Key, Used] = {("all", "all"): Used(row.cpu_ms, row.memory_mean_bytes, None, row.write_bytes)}
    for unit, used in used_by_unit(connection, span, with_memory=False).items():
        found["unit", unit] = used
    for name, usage in usage_by_name(connection, span, SHORT_LOOK_AHEAD).items():
        found["name", name] = Used(usage.all_cpu_ms, usage.rss_mean_bytes, None, usage.write_bytes)
    return {key: used.in_proportion(factor) for key, used in found.items()}


def _change(ranges: list[_ByHour], common: list[int], key: _Key, metric: Compared) -> Change:
    """Return how *metric* of *key* changed, in the hours of the day that both ranges have."""

    def of(hours: list[dict[_Key, Used]]) -> list[float]:
        """Return the values of *hours*: where it was not there, it used nothing."""
        found = [getattr(used[key], METRICS[metric]) if key in used else 0.0 for used in hours]
        return [value for value in found if value is not None]

    if common:
        pairs = [(of(ranges[0][hour]), of(ranges[1][hour])) for hour in common]
    else:
        before, after = ([used for hours in by_hour.values() for used in hours] for by_hour in ranges)
        pairs = [(of(before), of(after))]
    pairs = [(before, after) for before, after in pairs if before and after]
    if not pairs:
        return Change(None, None, None)
    return Change(
        fmean(fmean(before) for before, _ in pairs), fmean(fmean(after) for _, after in pairs), _noise(pairs)
    )


def _noise(pairs: list[tuple[list[float], list[float]]]) -> float | None:
    """Return by how much the mean of the differences of *pairs*, the same hour in both ranges, is uncertain.

    From how much an hour differs from day to day; or of few days, how much the differences do from hour to hour.
    """
    if all(min(len(before), len(after)) >= DAYS_MIN for before, after in pairs):
        variance = sum(variance_of(each) / len(each) for pair in pairs for each in pair)
        return ERRORS * sqrt(variance) / len(pairs)
    if len(pairs) >= HOURS_MIN:
        return ERRORS * stdev(fmean(after) - fmean(before) for before, after in pairs) / sqrt(len(pairs))
    return None
