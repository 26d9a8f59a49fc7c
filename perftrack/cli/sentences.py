"""What `perftrack explain` found, as sentences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from perftrack import figures
from perftrack.cli import coverage, show
from perftrack.reading.explain.usual import DAYS_MIN, SAMPLES_MIN

if TYPE_CHECKING:
    from perftrack.reading.explain.consumption import Used
    from perftrack.reading.explain.explanations import Explanation, Rebooted, Story
    from perftrack.reading.explain.owners import Excess, Grown, Owner
    from perftrack.reading.explain.stretches import Stretch
    from perftrack.reading.oom_kills import OomKill

# Less memory, or bytes, are not worth a word.
WORTH_BYTES = 100 << 20
# Of a share or a percentage.
WORTH_SHARE = 0.01
COMMAND_LENGTH = 100
_RESOURCES = {"cpu": "CPU time", "memory": "memory", "io": "I/O"}


def told(found: Explanation, *, of_host: bool) -> list[str]:
    """Return sentences, a paragraph each. *of_host*: they say of which machine."""
    of = f"{found.coverage.hosts[0]}: " if of_host else ""
    paragraphs = [f"{of}{text}" for text in (*_nothing(found), *(_story(story, found) for story in found.stories))]
    if found.further and found.at is None:
        paragraphs.append(f"Less unusual: {figures.count(found.further, 'further stretch')}.")
    paragraphs += [_gap(gap.since, gap.until, found) for gap in found.gaps[-coverage.GAPS_SHOWN :]]
    paragraphs += [_reboot(reboot, found) for reboot in found.reboots[-coverage.GAPS_SHOWN :]]
    paragraphs += [_killed(killed, found) for killed in found.killed[-coverage.GAPS_SHOWN :]]
    notes = [*coverage.condensed_lines(found.coverage), *coverage.future_lines(found.coverage)]
    return [*paragraphs, _compared(found), *notes]


def _nothing(found: Explanation) -> list[str]:
    """Return a sentence where nothing unusual is known of what was asked for."""
    first, last = found.coverage.held.first, found.coverage.held.last
    assert first is not None
    assert last is not None
    if found.at is None:
        is_known = found.norm.samples >= SAMPLES_MIN and not found.stories
        return [f"Nothing unusual from {figures.local(first)} to {figures.local(last)}."] if is_known else []
    nearest = " The nearest that is unusual:" if found.stories else ""
    missing = [*found.gaps, *(reboot.gap for reboot in found.reboots)]
    if not first <= found.at <= last or any(gap.since < found.at < (gap.until or found.at) for gap in missing):
        return [f"What was at {figures.local(found.at)} was not recorded.{nearest}"]
    stretches = [stretch for story in found.stories for stretch in story.stretches]
    if found.norm.samples < SAMPLES_MIN or any(each.since <= found.at <= each.until for each in stretches):
        return []
    return [f"Nothing unusual at {figures.local(found.at)}.{nearest}"]


def _story(story: Story, found: Explanation) -> str:
    main = story.stretches[0]
    is_last = found.coverage.is_open and main.until == found.coverage.held.last
    short = main.seconds < 120
    when = (
        f"Since {_time(main.since, found, seconds=short)}"
        if is_last
        else f"From {_time(main.since, found, seconds=short)} to {_time(main.until, found, seconds=short)}"
    )
    shown = [_figure(stretch, is_first=stretch is main) for stretch in story.stretches]
    sentences = [f"{when} {', '.join(shown)}."]
    return " ".join([*sentences, *_who(story.excesses, main)])


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


def _who(excesses: list[Excess], main: Stretch) -> list[str]:
    """Return who used what is unusual, a sentence each, and what has no known owner."""
    shares: dict[str, list[str]] = {}
    sentences: dict[str, str] = {}
    rest = []
    for excess in excesses:
        of = _RESOURCES[excess.resource]
        if excess.usual is None or excess.used is None:
            rest.append(f"Who used the {of} is not known.")
        elif excess.unknown_share is None or excess.others_share is None:
            rest.append(f"No more {of} than usual was used.")
        else:
            for owner in excess.owners:
                shares.setdefault(owner.key, []).append(f"{100 * owner.share:.0f} % of the excess {of}")
                sentences.setdefault(owner.key, _owner(owner, main))
            for share, what in (
                (excess.others_share, "was of others"),
                (excess.unknown_share, "has no known owner"),
            ):
                if share >= WORTH_SHARE:
                    rest.append(f"{100 * share:.0f} % of the excess {of} {what}.")
    return [f"{' and '.join(shares[key])} was {text}." for key, text in sentences.items()] + rest


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
        when = f"started at {started_at.astimezone():%H:%M:%S}" if is_near else f"started {figures.local(started_at)}"
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
            texts.append(text.format(figures.size(more)))
    return f"; {', '.join(texts)}" if texts else ""


def _gap(since: datetime, until: datetime | None, found: Explanation) -> str:
    end = found.coverage.span.until
    if until is None and not found.coverage.is_open and end is not None and end < datetime.now(UTC):
        until = end  # of the range: later there may be samples again
    if until is None:
        return f"No samples since {_time(since, found)}: the machine does not record."
    short = until - since < timedelta(minutes=2)
    first, last = (_time(instant, found, seconds=short) for instant in (since, until))
    return f"No samples between {first} and {last}: the machine did not record."


def _reboot(reboot: Rebooted, found: Explanation) -> str:
    gap = reboot.gap
    at = _time(reboot.booted_at or gap.until or gap.since, found)
    until = "" if gap.until is None else f" and {_time(gap.until, found)}"
    return f"The machine was rebooted at {at}: no samples between {_time(gap.since, found)}{until}."


def _killed(killed: OomKill, found: Explanation) -> str:
    units = f", in {' and '.join(killed.units)}" if killed.units else ""
    when = f"between {_time(killed.since, found)} and {_time(killed.taken_at, found)}"
    return f"The kernel killed {figures.count(killed.killed, 'process')} for want of memory {when}{units}."


def _compared(found: Explanation) -> str:
    """Return what is taken for usual."""
    norm = found.norm
    if found.coverage.without_counters == found.coverage.held.samples:
        return "The samples are imported, without counters: CPU and I/O are not looked at."
    if norm.since is None or found.coverage.held.last is None or norm.samples < SAMPLES_MIN:
        return f"There is nothing to compare with, only {figures.count(norm.samples, 'sample')} recorded."
    recorded = figures.span((found.coverage.held.last - norm.since).total_seconds())
    if norm.days >= DAYS_MIN:
        return f"Usual is what {norm.days} days before were at the same hour."
    if norm.days:
        days = figures.count(norm.days, "day")
        return f"With only {days} before, usual is what all hours of that time were."
    return f"There is little to compare with, only {recorded} recorded: usual is what most of it was."


def _time(instant: datetime, found: Explanation, *, seconds: bool = False) -> str:
    needs_day = show.is_long(found.coverage.span.since, found.coverage.until)
    return f"{instant.astimezone():{'%m-%d ' if needs_day else ''}%H:%M{':%S' if seconds else ''}}"
