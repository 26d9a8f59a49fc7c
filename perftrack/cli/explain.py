"""`perftrack explain`: what was unusual, and who did it, in a few sentences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perftrack.cli import coverage, options, show
from perftrack.cli.processes import identity
from perftrack.cli.progress import progress_bar
from perftrack.errors import UsageError
from perftrack.settings import load
from perftrack.timerange import parse_instant

if TYPE_CHECKING:
    from perftrack.reading.explain.consumption import Used
    from perftrack.reading.explain.explanations import Explanation, Story
    from perftrack.reading.explain.owners import Excess, Owner
    from perftrack.reading.explain.stretches import Stretch
    from perftrack.reading.queries import TimeRange


def explain(
    since: options.Since = None,
    until: options.Until = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            help="Explain the stretch that contains this time, or is nearest to it: of 12 hours before and after.",
            show_default=False,
        ),
    ] = None,
    output: options.TextFormat = "text",
    host: options.Host = None,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Explain what was unusual, and who did it: by default, in the last 24 hours.

    Usual is what the same machine did at the same time of day in the two weeks before, so that a job of every night
    is not unusual; with fewer than 3 days, what it did at all hours that were recorded. The answer says which.
    Looked at are CPU, memory, pressure on I/O and on CPUs (where there is none, iowait and load). A stretch is
    unusual when it is far above the highest value that is usual at that time, and by some percent of the machine.

    Who did it: whose use grew most over what they usually use in the same time, with their share of the excess: by
    unit where control groups are recorded, else by the name of processes, and which of them. What nobody that is
    known used has no known owner: other processes than those that were recorded, or the kernel.
    The three most unusual stretches are told; with --format json, every figure is there too.
    """
    settings = load({"database": database}, config)
    span, instant = _range(since, until, at)

    from perftrack.cli.sentences import told
    from perftrack.reading.explain import explanations as reading

    with progress_bar("comparing with other days") as progress:
        found = reading.explanations(settings.database, span, at=instant, host=host, progress=progress)
    coverage.require_samples(found[0].coverage, settings.database)
    if output == "json":
        show.documents([_document(each) for each in found])
        return
    for number, each in enumerate(found):
        if number:
            print()
        for text in told(each, of_host=len(found) > 1):
            show.paragraph(text)


def _range(since: str | None, until: str | None, at: str | None) -> tuple[TimeRange, datetime | None]:
    """Return the range that is looked at, and the instant that is asked for. Raises: UsageError."""
    from perftrack.reading.explain.explanations import AROUND
    from perftrack.reading.explain.usual import HISTORY
    from perftrack.reading.queries import TimeRange

    now = datetime.now(UTC)
    if at is not None:
        if since is not None or until is not None:
            raise UsageError("--at looks at the hours around that time: leave --since and --until away")
        instant = parse_instant(at, now)
        return TimeRange(instant - AROUND, instant + AROUND), instant
    span = options.recent(since, until)
    length = (span.until or now) - (span.since or now)
    if length > HISTORY + timedelta(hours=1):  # of a clock change
        raise UsageError(
            f"explain compares with the {HISTORY.days} days before, and looks at no more than as many; "
            "for a longer range see perftrack report, top and compare"
        )
    return span, None


def _document(found: Explanation) -> dict[str, Any]:
    """Return everything for scripts."""
    return coverage.document(found.coverage) | {
        "at": show.iso(found.at),
        "usual": show.for_scripts(found.norm._asdict(), {"by_part"}),
        "killed_for_want_of_memory": [
            {
                "since": show.iso(each.since),
                "until": show.iso(each.taken_at),
                "kills": each.killed,
                "units": each.units,
            }
            for each in found.killed
        ],
        "stories": [_story_document(story) for story in found.stories],
        "further_stretches": found.further,
        "reboots": [
            {
                "booted_at": show.iso(each.booted_at),
                "since": show.iso(each.gap.since),
                "until": show.iso(each.gap.until),
            }
            for each in found.reboots
        ],
    }


def _story_document(story: Story) -> dict[str, Any]:
    return {
        "since": show.iso(story.stretches[0].since),
        "until": show.iso(story.stretches[0].until),
        "stretches": [_stretch_document(stretch) for stretch in story.stretches],
        "excesses": [_excess_document(excess) for excess in story.excesses],
    }


def _stretch_document(stretch: Stretch) -> dict[str, Any]:
    measure = stretch.measure
    of = {"metric": measure.metric.name, "unit": measure.metric.unit, "resource": measure.resource}
    return of | show.for_scripts(stretch._asdict(), {"measure", "weight"}, decimals=3)


def _excess_document(excess: Excess) -> dict[str, Any]:
    return {
        "resource": excess.resource,
        "used": excess.used,
        "usual": excess.usual,
        "unit": "ms" if excess.resource == "cpu" else "bytes",
        "compared_with": excess.compared,
        "compared_at_the_same_hour": excess.is_of_hour,
        "owners": [_owner_document(owner) for owner in excess.owners],
        "others_share": excess.others_share and round(excess.others_share, 4),
        "unknown_share": excess.unknown_share and round(excess.unknown_share, 4),
    }


def _owner_document(owner: Owner) -> dict[str, Any]:
    largest = owner.largest
    return {
        "kind": owner.kind,
        "key": owner.key,
        "share": round(owner.share, 4),
        "used": _rounded(owner.used),
        "usual": _rounded(owner.usual),
        "processes": owner.processes,
        "largest": largest
        and identity(largest.process)
        | {
            "unit": largest.unit,
            "grown": round(largest.grown),
            "parents": [{"pid": each.pid, "name": each.name, "command": each.command} for each in largest.parents],
            "unknown_parent_pid": largest.unknown_parent,
        },
    }


def _rounded(used: Used) -> dict[str, int | None]:
    return {name: None if value is None else round(value) for name, value in used._asdict().items()}
