"""What was unusual in a range of time and who did it: stretches that differ from what is usual, told as stories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, select

from perftrack.progress import Progress, no_progress
from perftrack.reading.coverage import Coverage, Gap, of_each_machine
from perftrack.reading.explain.owners import Excess, excess
from perftrack.reading.explain.stretches import Stretch, stretches
from perftrack.reading.explain.usual import Norm, norm
from perftrack.reading.machines import machines
from perftrack.reading.oom_kills import OomKill, oom_kills
from perftrack.reading.queries import TimeRange, utc
from perftrack.storage.models import Boot, SystemSample
from perftrack.storage.snapshot import snapshot

# So many are told; of a restless day there may be many more.
STORIES = 3
# What is looked at around an instant.
AROUND = timedelta(hours=12)


class Story(NamedTuple):
    """What happened in a stretch of time. *stretches*: the most unusual first, all of about the same time.

    *excesses*: who used what is unusual, one for each resource.
    """

    stretches: list[Stretch]
    excesses: list[Excess]


class Rebooted(NamedTuple):
    """A start of the machine, and the time without samples before it. *booted_at*: UTC; None: not known."""

    booted_at: datetime | None
    gap: Gap


class Explanation(NamedTuple):
    """What was unusual on a machine. *at*: the instant that was asked for. *stories*: the most unusual first, or with
    *at*, the nearest one alone. *further*: how many more stretches there are. *gaps*: without samples, no reboots.
    """

    coverage: Coverage
    at: datetime | None
    norm: Norm
    stories: list[Story]
    further: int
    gaps: list[Gap]
    reboots: list[Rebooted]
    killed: list[OomKill]


def explanations(
    database: str,
    span: TimeRange,
    *,
    at: datetime | None = None,
    host: str | None = None,
    progress: Progress = no_progress,
) -> list[Explanation]:
    """Return what was unusual in *span*, of each machine that it holds samples of, or one that has none.

    *at*: tell of the stretch that contains this instant, or is nearest to it. *host*: see `machines`.
    Raises: PerftrackError.
    """
    with snapshot(database) as connection:
        span = span._replace(hosts=machines(connection, host))
        covered = of_each_machine(connection, span, datetime.now(UTC))
        return [_explanation(connection, each, at, progress) for each in covered]


def _explanation(connection: Connection, covered: Coverage, at: datetime | None, progress: Progress) -> Explanation:
    gaps = [gap for gap in covered.gaps if gap.kind == "gap"]
    reboots = [_rebooted(connection, gap) for gap in covered.gaps if gap.kind == "boot"]
    if not covered.held.samples:
        return Explanation(covered, at, Norm(0, None, 0, {}), [], 0, gaps, reboots, [])
    usual = norm(connection, covered.span)
    progress(1, STORIES + 1)
    groups = _grouped(stretches(connection, covered.span, usual))
    if at is not None:
        groups.sort(key=lambda group: max(group[0].since - at, at - group[0].until, timedelta(0)))
    told = groups[: 1 if at is not None else STORIES]
    stories = []
    for number, group in enumerate(told, 2):
        stories.append(_story(connection, group, covered.span))
        progress(number, STORIES + 1)
    return Explanation(
        covered,
        at,
        usual,
        stories,
        len(groups) - len(told),
        gaps,
        reboots,
        oom_kills(connection, covered.span).latest,
    )


def _grouped(found: list[Stretch]) -> list[list[Stretch]]:
    """Return stretches of about the same time together, the most unusual first."""
    groups: list[list[Stretch]] = []
    for stretch in found:
        for group in groups:
            if stretch.shares_most_with(group[0]):
                group.append(stretch)
                break
        else:
            groups.append([stretch])
    return groups


def _story(connection: Connection, group: list[Stretch], within: TimeRange) -> Story:
    excesses = []
    for resource in dict.fromkeys(stretch.measure.resource for stretch in group):
        stretch = next(each for each in group if each.measure.resource == resource)
        # intervals that end with it are in it, those that end where it begins are not
        moment = timedelta(microseconds=1)
        span = TimeRange(stretch.since + moment, stretch.until + moment, within.hosts)
        excesses.append(excess(connection, span, resource, within))
    return Story(group, excesses)


def _rebooted(connection: Connection, gap: Gap) -> Rebooted:
    booted = select(Boot.booted_at).join(SystemSample, SystemSample.boot_id == Boot.id)
    booted_at = connection.execute(booted.where(SystemSample.id == gap.sample_id)).scalar()
    return Rebooted(utc(booted_at), gap)
