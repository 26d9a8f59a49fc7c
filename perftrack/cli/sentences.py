"""What `perftrack explain` found, in sentences, and the same for scripts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from perftrack.cli import show
from perftrack.cli.processes import identity

if TYPE_CHECKING:
    from perftrack.reading.consumption import Used
    from perftrack.reading.explain import Explanation, Rebooted, Story
    from perftrack.reading.owners import Excess, Grown, Owner
    from perftrack.reading.stretches import Stretch

# Less memory, or bytes, are not worth a word.
WORTH_BYTES = 100 << 20
# Of a share or a percentage.
WORTH_SHARE = 0.01
COMMAND_LENGTH = 100
_RESOURCES = {"cpu": "CPU time", "memory": "memory", "io": "I/O"}


def told(found: Explanation, *, of_host: bool) -> list[str]:
    """Return sentences, a paragraph each. *of_host*: they say of which machine."""
    of = f"{found.coverage.hosts[0]}: " if of_host else ""
    paragraphs = [f"{of}{_story(story, found)}" for story in found.stories]
    if found.at is not None and not any(_holds(story, found.at) for story in found.stories):
        nearest = " The nearest that was:" if found.stories else ""
        paragraphs.insert(0, f"{of}Nothing unusual at {show.local(found.at)}.{nearest}")
    elif not found.stories:
        paragraphs.append(f"{of}{_nothing(found)}")
    elif found.further:
        paragraphs.append(f"Less unusual: {show.count(found.further, 'further stretch')}.")
    paragraphs += [_gap(gap.since, gap.until, found) for gap in found.gaps[-show.GAPS_SHOWN :]]
    paragraphs += [_reboot(reboot, found) for reboot in found.reboots[-show.GAPS_SHOWN :]]
    return [*paragraphs, _compared(found), *show.future_lines(found.coverage)]


def _holds(story: Story, at: datetime) -> bool:
    return any(stretch.since <= at <= stretch.until for stretch in story.stretches)


def _nothing(found: Explanation) -> str:
    first, last = found.coverage.held.first, found.coverage.held.last
    assert first is not None
    assert last is not None
    return f"Nothing unusual from {show.local(first)} to {show.local(last)}."


def _story(story: Story, found: Explanation) -> str:
    main = story.stretches[0]
    is_last = found.coverage.is_open and main.until == found.coverage.held.last
    short = main.seconds < 120
    when = (
        f"Since {_time(main.since, found, seconds=short)}"
        if is_last
        else f"From {_time(main.since, found, seconds=short)} to {_time(main.until, found, seconds=short)}"
    )
    figures = [_figure(stretch, is_first=stretch is main) for stretch in story.stretches]
    sentences = [f"{when} {', '.join(figures)}."]
    for excess in story.excesses:
        sentences += _who(excess, main)
    return " ".join(sentences)


def _figure(stretch: Stretch, *, is_first: bool) -> str:
    measure = stretch.measure
    of_hour = " at this hour" if is_first and stretch.usual_days else ""
    usually = f"(usually {_value(stretch, stretch.usual)}{of_hour})"
    if measure.accumulates:
        return f"{measure.title} rose to {_value(stretch, stretch.peak)} {usually}"
    return f"{measure.title} {'was ' if is_first else ''}{_value(stretch, stretch.mean)} {usually}"


def _value(stretch: Stretch, value: float) -> str:
    if stretch.measure.metric.unit == "%":
        return f"{_percent(value)} %"
    return f"{value / 100:.1f}"  # load of each CPU


def _percent(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 or value < 0.05 else f"{value:.1f}"


def _who(excess: Excess, main: Stretch) -> list[str]:
    of = _RESOURCES[excess.resource]
    if excess.used is None:
        return [f"Who used the {of} is not known: it was not counted."]
    if excess.usual is None:
        return [f"Who used more {of} than usual is not known: there is nothing to compare with."]
    if excess.unknown_share is None or excess.others_share is None:
        return [f"No more {of} than usual was used."]
    sentences = [
        f"{100 * owner.share:.0f} % of the excess {of} was {_owner(owner, main)}." for owner in excess.owners
    ]
    if excess.others_share >= WORTH_SHARE:
        sentences.append(f"{100 * excess.others_share:.0f} % was of others.")
    if excess.unknown_share >= WORTH_SHARE:
        sentences.append(f"{100 * excess.unknown_share:.0f} % of the excess {of} has no known owner.")
    return sentences


def _owner(owner: Owner, main: Stretch) -> str:
    text = owner.key
    largest = owner.largest
    if largest is not None:
        process = largest.process
        command = process.command or ""
        if len(command) > COMMAND_LENGTH:
            command = f"{command[: COMMAND_LENGTH - 1]}…"
        who = ", ".join([f"PID {process.pid}", *([process.username] if process.username else [])])
        shown = f": {command}" if command and command != owner.key else ""
        if owner.processes > 1:
            text += f", {owner.processes} processes, most of all PID {process.pid}{shown} ({process.username or '?'})"
        else:
            text += f"{shown} ({who})"
        text += f", {_started(largest, main)}"
    of = largest if largest is not None and owner.processes == 1 else owner
    return f"{text}{_also(of.used, of.usual)}"


def _started(grown: Grown, main: Stretch) -> str:
    started_at = grown.process.started_at
    when = "started"
    if started_at is not None:
        started_at = started_at.replace(tzinfo=UTC)
        is_near = main.since - started_at < timedelta(hours=12)
        when = f"started at {started_at.astimezone():%H:%M:%S}" if is_near else f"started {show.local(started_at)}"
    names = [parent.name for parent in grown.parents]
    names = [name for number, name in enumerate(names) if names[number - 1 : number] != [name]]
    if not names:
        return f"{when} by PID {grown.unknown_parent}, which was not recorded" if grown.unknown_parent else when
    through = f" through {' and '.join(reversed(names[:-1]))}" if len(names) > 1 else ""
    return f"{when} by {names[-1]}{through}"


def _also(used: Used, usual: Used) -> str:
    """Return what else is remarkable of somebody."""
    texts = []
    for text, now, then in (
        ("memory rose by {}", used.memory_bytes, usual.memory_bytes),
        ("{} were read", used.read_bytes, usual.read_bytes),
        ("{} were written", used.write_bytes, usual.write_bytes),
    ):
        more = (now or 0) - (then or 0)
        if more >= WORTH_BYTES:
            texts.append(text.format(show.size(more)))
    return f"; {', '.join(texts)}" if texts else ""


def _gap(since: datetime, until: datetime | None, found: Explanation) -> str:
    if until is None:
        return f"No samples since {_time(since, found)}: the machine does not record."
    return f"No samples between {_time(since, found)} and {_time(until, found)}: the machine did not record."


def _reboot(reboot: Rebooted, found: Explanation) -> str:
    gap = reboot.gap
    at = _time(reboot.booted_at or gap.until or gap.since, found)
    until = "" if gap.until is None else f" and {_time(gap.until, found)}"
    return f"The machine was rebooted at {at}: no samples between {_time(gap.since, found)}{until}."


def _compared(found: Explanation) -> str:
    """Return what is taken for usual."""
    norm = found.norm
    if found.coverage.without_counters == found.coverage.held.samples:
        return "The samples are imported, without counters: CPU and I/O are not looked at."
    if norm.since is None or found.coverage.held.last is None:
        return "There is nothing to compare with."
    recorded = show.span((found.coverage.held.last - norm.since).total_seconds())
    from perftrack.reading.usual import DAYS_MIN

    if norm.days >= DAYS_MIN:
        return f"Usual is what {norm.days} days before were at the same hour."
    if norm.days:
        days = show.count(norm.days, "day")
        return f"Usual is what all hours were: of {days} before, nobody knows what is usual at this hour."
    return f"There is little to compare with, only {recorded} recorded: usual is what most of it was."


def _time(instant: datetime, found: Explanation, *, seconds: bool = False) -> str:
    since, until = found.coverage.span.since, found.coverage.until
    is_long = since is None or until is None or until - since > timedelta(days=1, minutes=2)
    return f"{instant.astimezone():{'%m-%d ' if is_long else ''}%H:%M{':%S' if seconds else ''}}"


def document(found: Explanation) -> dict[str, Any]:
    """Return everything for scripts."""
    return show.coverage_document(found.coverage) | {
        "at": show.iso(found.at),
        "usual": {
            "days": found.norm.days,
            "since": show.iso(found.norm.since),
            "samples": found.norm.samples,
        },
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
    return {
        "metric": stretch.measure.metric.name,
        "unit": stretch.measure.metric.unit,
        "resource": stretch.measure.resource,
        "since": show.iso(stretch.since),
        "until": show.iso(stretch.until),
        "samples": stretch.samples,
        "mean": round(stretch.mean, 3),
        "last": round(stretch.last, 3),
        "peak": round(stretch.peak, 3),
        "peak_at": show.iso(stretch.peak_at),
        "usual": round(stretch.usual, 3),
        "usual_days": stretch.usual_days,
        "score": round(stretch.score, 3),
    }


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
            "grown": round(largest.grown),
            "parents": [{"pid": each.pid, "name": each.name, "command": each.command} for each in largest.parents],
            "unknown_parent_pid": largest.unknown_parent,
        },
    }


def _rounded(used: Used) -> dict[str, int | None]:
    return {name: None if value is None else round(value) for name, value in used._asdict().items()}
