"""What a plot shows: the panels, from top to bottom, with the lines in them. Nothing of how they are drawn."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import NamedTuple

from perftrack.reading.coverage import Coverage
from perftrack.reading.metrics import CPU, PANEL_NOTES, PROCESS, SYSTEM, UNITS, Metric, ProcessMetric
from perftrack.reading.plot.processes import UNATTRIBUTED, Point
from perftrack.reading.plot.series import AllSeries
from perftrack.reading.plot.units import OTHER_UNITS

GREY = -1
_UNITS = {"bytes": "B", "bytes/s": "B/s", "processes": ""}
_NOT_KNOWN = "not known: it takes two samples with counters, and processes that the recorder may read"
# Panels that are not there where nothing is known: older samples have none of it.
_IF_KNOWN = ("Forks",)
_PREFIXES = ("", "Ki", "Mi", "Gi", "Ti")


class Line(NamedTuple):
    """A line: its name and its points, one for each of the plot's instants. *colour*: which of the colours; GREY:
    that of the rest. *steps*: the mean again, from the instant on from which it holds until the next, to draw it by.
    *stacked*: on top of those before it. *hidden*: drawn when asked for.
    """

    name: str
    points: list[Point | None]
    steps: list[float | None]
    colour: int
    stacked: bool = False
    hidden: bool = False


class Panel(NamedTuple):
    """Some lines of one unit: %, KiB, MiB/s, ... or empty (a number). *full*: the axis's end; None: the largest.

    *message*: what stands in the place of lines that are missing; empty: none is.
    """

    title: str
    note: str
    unit: str
    lines: list[Line]
    full: float | None
    message: str


class Mark(NamedTuple):
    """Something that happened at an instant, in seconds since 1970, and what it was."""

    instant: float
    label: str


class Plot(NamedTuple):
    """A plot. *instants*: of the points, in seconds since 1970; those of no point are gaps and boots, which no line
    crosses. *offset*: what local time is ahead of UTC, *zone*: its name; one from end to end, for an axis on which an
    hour comes twice could not be read. *is_bucketed*: a point is of several samples, and drawn around its instant,
    not from it on. *messages*: of the panels of processes that show nothing, or not all that was asked for.
    """

    title: str
    notes: list[str]
    coverage: Coverage
    instants: list[float]
    offset: timedelta
    zone: str
    panels: list[Panel]
    is_bucketed: bool
    messages: list[str]
    marks: list[Mark]


def plot_of(found: AllSeries, names: list[str], nothing_recorded: str, title: str, *notes: str) -> Plot:
    """Return the plot of *found*. *names*: of the processes that were asked for; empty: the largest.

    *nothing_recorded*: says why there are no processes.
    """
    instants, places = _with_breaks(found)
    missing = [name for name in names if not any(name in by_name for by_name in found.processes.values())]
    messages = [f"no process named {name} was recorded in this range" for name in missing]
    if not any(found.processes.values()) and not names:
        messages = [nothing_recorded]
    shown = [
        *_system_panels(found, places),
        *_unit_panels(found, places),
        *_process_panels(found, places, "; ".join(messages)),
    ]
    marks = [
        Mark(
            kill.taken_at.timestamp(),
            ": ".join([_killed(kill.killed), *([", ".join(kill.units)] * bool(kill.units))]),
        )
        for kill in found.kills
    ]
    assert found.coverage.held.last is not None
    zone = _zone_of(found.coverage.held.last)
    return Plot(title, list(notes), found.coverage, instants, *zone, shown, found.is_bucketed, messages, marks)


def _zone_of(instant: datetime) -> tuple[timedelta, str]:
    """Return what local time at *instant* is ahead of UTC, and its name: CET, UTC+01:00."""
    local = instant.astimezone()
    offset = local.utcoffset() or timedelta()
    name, numeric = local.tzname() or "", f"UTC{local:%z}"
    return offset, "UTC" if not offset else f"{name}, {numeric[:6]}:{numeric[6:8]}"


def _system_panels(found: AllSeries, places: list[int | None]) -> list[Panel]:
    panels = []
    for title in dict.fromkeys(metric.panel for metric in SYSTEM if metric.panel):
        metrics = [metric for metric in SYSTEM if metric.panel == title]
        lines = [
            _line(metric.label, found.system[metric.name], places, colour, is_step=_is_step(found, metric))._replace(
                stacked=metric.stacked, hidden=metric.is_limit
            )
            for colour, metric in enumerate(metrics)
            if metric.name in found.system
        ]
        if not lines and title in _IF_KNOWN:
            continue
        note = PANEL_NOTES.get(title, "")
        if title == "CPU" and found.is_cpu_of_windows:
            note += ", each measured in its sample's window: there are no counters to take it from"
        elif title == "CPU" and found.coverage.without_counters:
            note += ", busy of imported samples as the original measured it"
        unit = _UNITS.get(metrics[0].unit, metrics[0].unit)
        full = metrics[0].full
        panels.append(_scaled(Panel(title, note, unit, lines, full, "" if lines else _why_not(found, metrics))))
    return panels


def _process_panels(found: AllSeries, places: list[int | None], message: str) -> list[Panel]:
    panels = []
    colours: dict[str, int] = {}
    for metric in PROCESS:
        lines = _named_lines(found, metric, found.processes[metric.name], colours, places)
        is_step = metric.per_second is not None and not found.is_bucketed
        if metric is CPU and found.unattributed:
            lines.append(_line(UNATTRIBUTED, found.unattributed, places, GREY, is_step=is_step))
        note = f"{metric.note}; recorded processes, those of one name together"
        why = message or ("" if lines else _NOT_KNOWN)
        panels.append(_scaled(Panel(metric.panel, note, _UNITS.get(metric.unit, metric.unit), lines, None, why)))
    return panels


def _unit_panels(found: AllSeries, places: list[int | None]) -> list[Panel]:
    panels = []
    colours = {OTHER_UNITS: GREY}
    for metric in UNITS:
        lines = _named_lines(found, metric, found.units.get(metric.name, {}), colours, places)
        if lines:
            note = f"{metric.note}; each without other units in it"
            panels.append(_scaled(Panel(metric.panel, note, _UNITS.get(metric.unit, metric.unit), lines, None, "")))
    return panels


def _named_lines(
    found: AllSeries,
    metric: ProcessMetric,
    by_name: dict[str, list[Point | None]],
    colours: dict[str, int],
    places: list[int | None],
) -> list[Line]:
    """Return the lines of *by_name*. *colours*: of the panels before, in which a name has the same one."""
    free = (colour for colour in count() if colour not in {colours.get(name) for name in by_name})
    colours |= {name: next(free) for name in by_name if name not in colours}
    is_step = metric.per_second is not None and not found.is_bucketed
    return [_line(name, points, places, colours[name], is_step=is_step) for name, points in by_name.items()]


def _killed(count: int) -> str:
    return "OOM kill" if count == 1 else f"{count} OOM kills"


def _why_not(found: AllSeries, metrics: list[Metric]) -> str:
    """Return why a panel of the system is empty."""
    if found.coverage.without_counters == found.coverage.held.samples:
        return "not in imported data"
    if found.coverage.held.samples < 2 and metrics[0].is_of_intervals:
        return "it takes two samples to know"
    return "not available on this system"


def _is_step(found: AllSeries, metric: Metric) -> bool:
    return metric.is_of_intervals and not found.is_bucketed and not (metric.name == "cpu" and found.is_cpu_of_windows)


def _line(name: str, points: list[Point | None], places: list[int | None], colour: int, *, is_step: bool) -> Line:
    """Return a line of *points* at *places*, see `_with_breaks`. *is_step*: a point is what its interval was like on
    average, which ends at its instant.
    """
    shown = [None if place is None else points[place] for place in places]
    steps = [None if point is None else point[1] for point in shown]
    if is_step:
        following = [*steps[1:], None]
        steps = [
            None if place is None else own if after is None else after
            for own, after, place in zip(steps, following, places, strict=True)
        ]
    return Line(name, shown, steps, colour)


def _scaled(panel: Panel) -> Panel:
    """Return *panel* with bytes in the unit in which its largest value is read best, as the other commands do.

    Of what cannot be exceeded, its note says how much there is.
    """
    if not panel.unit.startswith("B"):
        return panel
    known = [line for line in panel.lines if not line.hidden] or panel.lines
    largest = max((point[2] or 0 for line in known for point in line.points if point is not None), default=0)
    power = min(max(int(largest).bit_length() - 1, 0) // 10, len(_PREFIXES) - 1)
    divisor = 1024**power

    def scaled(values: tuple[float | None, ...]) -> tuple[float | None, ...]:
        return tuple(None if value is None else value / divisor for value in values)

    unit = _PREFIXES[power] + panel.unit
    lines = [
        line._replace(
            points=[point and scaled(point) for point in line.points],  # type: ignore[misc]
            steps=list(scaled(tuple(line.steps))),
        )
        for line in panel.lines
    ]
    limits = [
        f"{line.name} {max(point[2] or 0 for point in line.points if point):.4g} {unit}"
        for line in lines
        if line.hidden
    ]
    return panel._replace(unit=unit, lines=lines, note=", ".join([panel.note, *limits] if panel.note else limits))


def _with_breaks(found: AllSeries) -> tuple[list[float], list[int | None]]:
    """Return instants, and for each which point is there; None: a gap or a boot, over which no line goes."""
    instants: list[float] = []
    places: list[int | None] = []
    breaks = sorted(gap.until.timestamp() for gap in found.coverage.gaps if gap.until is not None)
    number = 0
    for place, instant in enumerate(found.instants):
        while number < len(breaks) and breaks[number] <= instant + 0.001:
            if place and breaks[number] > found.instants[place - 1] + 0.001 and places[-1] is not None:
                instants.append((found.instants[place - 1] + instant) / 2)
                places.append(None)
            number += 1
        instants.append(instant)
        places.append(place)
    return instants, places
