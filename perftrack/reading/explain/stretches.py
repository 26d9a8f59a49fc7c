"""Stretches of time in which a machine was not as usual: where one begins and ends, and how unusual it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from statistics import median
from typing import NamedTuple

from sqlalchemy import Connection

from perftrack.reading.explain.usual import PART_SECONDS, Measure, Norm, Usual, values
from perftrack.reading.queries import TimeRange, utc

# A stretch is unusual from this many spreads above the usual maximum: a day's samples do not reach that by chance.
UNUSUAL = 5.0


class Stretch(NamedTuple):
    """A time in which a metric was higher than usual. Instants are UTC; values are percent.

    *since*: of the sample before the first one that is in it. *mean*, *usual*: over the time; *last*: at its end;
    *usual_days*: of how many days that is known. *score*: by how many spreads it was above what is usually the
    highest; *weight*: that times its seconds, by which stretches are compared.
    """

    measure: Measure
    since: datetime
    until: datetime
    samples: int
    mean: float
    last: float
    peak: float
    peak_at: datetime
    usual: float
    usual_days: int
    score: float
    weight: float

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.until - self.since).total_seconds()

    def shares_most_with(self, other: Stretch) -> bool:
        """Return whether both are of about the same time: half of the longer one, or more, is in both."""
        shared = (min(self.until, other.until) - max(self.since, other.since)).total_seconds()
        return shared * 2 >= max(self.seconds, other.seconds)


class _Value(NamedTuple):
    since: datetime
    until: datetime
    value: float
    usual: Usual

    @property
    def seconds(self) -> float:
        return (self.until - self.since).total_seconds()

    @property
    def score(self) -> float:
        return (self.value - self.usual.high) / self.usual.spread

    @property
    def more(self) -> float:
        """How much more it is than usual."""
        return self.value - self.usual.mean


class _Run(NamedTuple):
    """Values from the one at *begin* to the one at *end*, which is in it."""

    begin: int
    end: int


def stretches(connection: Connection, span: TimeRange, norm: Norm) -> list[Stretch]:
    """Return the stretches in *span* of one machine, the most unusual first."""
    found: list[Stretch] = []
    for measures, rows in values(connection, span):
        of_measures: list[list[_Value]] = [[] for _ in measures]
        before: datetime | None = None
        for taken_at, part, seconds, *measured in rows:
            until = utc(datetime.fromisoformat(taken_at))
            # a gauge is of the time since the sample before, where that is not long ago
            since = until - timedelta(seconds=seconds or PART_SECONDS)
            since = max(before or since, since)
            for measure, value, to in zip(measures, measured, of_measures, strict=True):
                usual = norm.of(measure, part)
                if value is not None and usual is not None:
                    to.append(_Value(since, until, value, usual))
            before = until
        for measure, of_measure in zip(measures, of_measures, strict=True):
            found += [_stretch(measure, of_measure[run.begin : run.end + 1]) for run in _runs(measure, of_measure)]
    return sorted(found, key=lambda each: -each.weight)


def _runs(measure: Measure, found: list[_Value]) -> list[_Run]:
    """Return runs of values that are far above what is usual, each from its onset to its end.

    Two are one where no more is between them than the shorter one is long.
    """
    runs: list[_Run] = []
    for place, value in enumerate(found):
        if value.score >= UNUSUAL:
            if runs and runs[-1].end == place - 1:
                runs[-1] = _Run(runs[-1].begin, place)
            else:
                runs.append(_Run(place, place))
    joined: list[_Run] = []
    for run in runs:
        if joined and _between(found, joined[-1], run) <= min(_length(found, joined[-1]), _length(found, run)):
            joined[-1] = _Run(joined[-1].begin, run.end)
        else:
            joined.append(run)
    whole: list[_Run] = []
    for run in (_from_onset_to_end(measure, found, run) for run in joined):
        if whole and run.begin <= whole[-1].end:
            whole[-1] = _Run(min(run.begin, whole[-1].begin), max(run.end, whole[-1].end))
        else:
            whole.append(run)
    return whole


def _from_onset_to_end(measure: Measure, found: list[_Value], run: _Run) -> _Run:
    half = median(value.more for value in found[run.begin : run.end + 1]) / 2

    def belongs(value: _Value) -> bool:
        return value.more >= (value.usual.spread if measure.accumulates else half)

    begin, end = run
    while begin > 0 and belongs(found[begin - 1]):
        begin -= 1
    while end + 1 < len(found) and belongs(found[end + 1]):
        end += 1
    return _Run(begin, end)


def _between(found: list[_Value], earlier: _Run, later: _Run) -> float:
    return (found[later.begin].since - found[earlier.end].until).total_seconds()


def _length(found: list[_Value], run: _Run) -> float:
    return (found[run.end].until - found[run.begin].since).total_seconds()


def _stretch(measure: Measure, found: list[_Value]) -> Stretch:
    weights = [value.seconds or 1 for value in found]
    highest = max(found, key=lambda value: value.value)

    def mean(of: list[float]) -> float:
        return sum(each * weight for each, weight in zip(of, weights, strict=True)) / sum(weights)

    score = mean([value.score for value in found])
    return Stretch(
        measure,
        found[0].since,
        found[-1].until,
        len(found),
        mean([value.value for value in found]),
        found[-1].value,
        highest.value,
        highest.until,
        mean([value.usual.mean for value in found]),
        min(value.usual.days for value in found),
        score,
        max(score, 0.0) * sum(weights),
    )
