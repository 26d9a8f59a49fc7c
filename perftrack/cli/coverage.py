"""What an answer says of its range: its ends, how many samples it holds, what is missing and what was condensed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perftrack import figures
from perftrack.cli import show
from perftrack.errors import PerftrackError

if TYPE_CHECKING:
    from datetime import datetime

    from perftrack.reading.coverage import Coverage, Gap
    from perftrack.reading.queries import Extent

GAPS_SHOWN = 5


def nothing_in_range(held: Extent, database: str) -> str:
    """Return the line that says that a range holds no samples, and what *database* does hold."""
    if held.first is None or held.last is None:
        return f"database {database} holds no samples yet"
    return (
        f"no samples in this range; database {database} holds {figures.count(held.samples, 'sample')}, "
        f"from {figures.local(held.first)} to {figures.local(held.last)}"
    )


def require_samples(covered: Coverage, database: str) -> None:
    """Raise PerftrackError where a range holds no samples: nothing found is no answer."""
    if not covered.held.samples:
        raise PerftrackError(nothing_in_range(covered.everything, database))


def nothing_recorded(covered: Coverage) -> str:
    """Return the line that says that a range holds samples, but no processes, and how others are recorded."""
    recorders = [f"`perftrack record {selection}`" for selection in covered.selections] or ["another program"]
    return (
        f"no process was recorded in this range; it was recorded by {' and '.join(recorders)}. To record others too, "
        "set process_filter, top or all in the config file (`perftrack config init` writes one, `perftrack config "
        "show` tells what is in effect)"
    )


def lines(covered: Coverage) -> list[str]:
    """Return lines about a range that holds samples: its ends, how many there are, and what is missing."""
    held = covered.held
    assert held.first is not None
    assert held.last is not None
    until = covered.until or held.last
    since = _ends(covered.span.since or held.first, until)[0]
    several = f"{len(covered.hosts)} machines, " if len(covered.hosts) > 1 else ""
    said = [
        f"{several}{', '.join(covered.hosts)}: {since} to {figures.zoned(until)}",
        figures.count(held.samples, "sample")
        + ("" if covered.expected == held.samples else f" of {covered.expected:,}")
        + ("" if covered.usual_seconds is None else f", usually every {figures.span(covered.usual_seconds)}"),
    ]
    latest = covered.gaps[-GAPS_SHOWN:]
    if len(covered.gaps) > len(latest):
        said.append(f"{len(covered.gaps)} gaps and boots, the latest:")
    said += [gap_line(gap, of_host=len(covered.hosts) > 1) for gap in latest]
    if covered.without_counters:
        imported = figures.count(covered.without_counters, "sample")
        said.append(f"{imported} imported, without counters: what was used is not known")
    return [*said, *condensed_lines(covered), *future_lines(covered)]


def condensed_lines(covered: Coverage) -> list[str]:
    """Return a line where samples were condensed: of what time no more than an hour is told apart."""
    if covered.held.condensed_until is None:
        return []
    until = figures.local(covered.held.condensed_until)
    return [
        f"until {until} one sample an hour is left: sums and peaks are exact, times are of hours, means of those left"
    ]


def future_lines(covered: Coverage) -> list[str]:
    """Return a line where samples are later than now."""
    future = covered.future
    if future.last is None:
        return []
    verb = "is" if future.samples == 1 else "are"
    samples = f"{figures.count(future.samples, 'sample')} {verb} in the future, up to {figures.local(future.last)}"
    return [f"ERROR: {samples}: the clock was wrong then, or is now"]


def gap_line(gap: Gap, *, of_host: bool = False) -> str:
    """Return a line about a gap. *of_host*: it says of which machine."""
    of = f" of {gap.host}" if gap.host and of_host else ""
    what = f"no samples{of}" if gap.kind == "gap" else f"booted, no samples{of}"
    if gap.until is None:
        return f"{what} since {figures.local(gap.since)} ({figures.span(gap.seconds)})"
    return f"{what} from {' to '.join(_ends(gap.since, gap.until))} ({figures.span(gap.seconds)})"


def _ends(since: datetime, until: datetime) -> tuple[str, str]:
    """Return two instants in local time, with their zones where a clock change is between them."""
    same = since.astimezone().utcoffset() == until.astimezone().utcoffset()
    return (figures.local(since), figures.local(until)) if same else (figures.zoned(since), figures.zoned(until))


def document(covered: Coverage) -> dict[str, Any]:
    """Return what `lines` says for scripts."""
    return {
        "hosts": covered.hosts,
        "since": show.iso(covered.span.since or covered.held.first),
        "until": None if covered.is_open else show.iso(covered.span.until),
        "samples": covered.held.samples,
        "samples_expected": covered.expected,
        "samples_without_counters": covered.without_counters,
        "first_sample_at": show.iso(covered.held.first),
        "last_sample_at": show.iso(covered.held.last),
        "condensed_until": show.iso(covered.held.condensed_until),
        "samples_in_the_future": covered.future.samples,
        "usual_interval_seconds": covered.usual_seconds,
        "gaps": [show.for_scripts(gap._asdict(), {"sample_id", "usual_seconds"}, decimals=3) for gap in covered.gaps],
    }
