"""What a plot shows: the panels, from top to bottom, with their series of a Course. Nothing of how it is drawn."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import NamedTuple

from perftrack.reading.process_series import Point
from perftrack.reading.series import Course


class Series(NamedTuple):
    """A line: its name and its points. *colour*: which of the colours. *stacked*: on top of the ones before it."""

    name: str
    points: list[Point | None]
    colour: int
    stacked: bool = False


class Panel(NamedTuple):
    """Some series of one unit: %, KiB, MiB/s, ... or empty (a number). *full*: the axis's end; None: the largest."""

    title: str
    note: str
    unit: str
    series: list[Series]
    full: float | None = None


_SYSTEM = (
    (
        "CPU",
        "of all CPUs together",
        "%",
        100.0,
        (
            ("cpu_user", "user"),
            ("cpu_system", "system"),
            ("cpu_iowait", "iowait"),
            ("cpu_steal", "steal"),
            ("cpu", "busy"),
        ),
    ),
    ("Memory", "", "B", None, (("mem_used", "used"), ("swap_used", "swap used"), ("mem_total", "total"))),
    (
        "Load",
        "average of runnable and waiting tasks",
        "",
        None,
        (("load_1min", "1 min"), ("load_5min", "5 min"), ("load_15min", "15 min")),
    ),
    (
        "Pressure",
        "share of time in which some task waited",
        "%",
        None,
        (("pressure_cpu", "CPU"), ("pressure_memory", "memory"), ("pressure_io", "I/O")),
    ),
    ("Disk", "", "B/s", None, (("disk_read", "read"), ("disk_write", "written"))),
    ("Network", "", "B/s", None, (("net_received", "received"), ("net_sent", "sent"))),
)
_PREFIXES = ("", "Ki", "Mi", "Gi", "Ti")
_STACKED = {"cpu_user", "cpu_system", "cpu_iowait", "cpu_steal"}


def panels(course: Course) -> list[Panel]:
    """Return the panels that have something to show."""
    system = dict(course.system)
    if "cpu" not in system and "cpu_of_window" in system:  # imported data has no counters
        system["cpu"] = system["cpu_of_window"]
    found = [
        Panel(
            title,
            note,
            unit,
            [
                Series(label, system[name], colour, name in _STACKED)
                for colour, (name, label) in enumerate(members)
                if name in system
            ],
            full,
        )
        for title, note, unit, full, members in _SYSTEM
    ]
    of_a_name = "recorded processes, those of one name together"
    # a name has one colour in both
    colours = {name: colour for colour, name in enumerate(course.cpu)}
    free = (colour for colour in count() if colour not in {colours.get(name) for name in course.rss})
    colours |= {name: next(free) for name in course.rss if name not in colours}
    for title, note, unit, processes in (
        ("CPU by process", "percent of one CPU", "%", course.cpu),
        ("Memory by process", "resident", "B", course.rss),
    ):
        series = [Series(name, points, colours[name]) for name, points in processes.items()]
        found.append(Panel(title, f"{note}; {of_a_name}", unit, series))
    return [_scaled(panel) for panel in found if panel.series]


def _scaled(panel: Panel) -> Panel:
    """Return *panel* with bytes in the unit in which its largest value is read best, as the other commands do."""
    if not panel.unit.startswith("B"):
        return panel
    largest = max(point[2] or 0 for series in panel.series for point in series.points if point is not None)
    power = min(max(int(largest).bit_length() - 1, 0) // 10, len(_PREFIXES) - 1)
    divisor = 1024**power
    series = [
        each._replace(
            points=[
                point and tuple(None if value is None else value / divisor for value in point)  # type: ignore[misc]
                for point in each.points
            ]
        )
        for each in panel.series
    ]
    return panel._replace(unit=_PREFIXES[power] + panel.unit, series=series)


def zone_of(instant: datetime) -> tuple[timedelta, str]:
    """Return what local time at *instant* is ahead of UTC, and its name: CET, UTC+01:00.

    A plot has one zone from end to end: an axis on which an hour comes twice could not be read.
    """
    local = instant.astimezone()
    offset = local.utcoffset() or timedelta()
    name, numeric = local.tzname() or "", f"UTC{local:%z}"
    return offset, "UTC" if not offset else f"{name}, {numeric[:6]}:{numeric[6:8]}"


def with_breaks(course: Course) -> tuple[list[float], list[int | None]]:
    """Return instants, and for each which point is there; None: a gap or a boot, over which no line goes."""
    instants: list[float] = []
    places: list[int | None] = []
    breaks = sorted(gap.until.timestamp() for gap in course.coverage.gaps if gap.until is not None)
    number = 0
    for place, instant in enumerate(course.instants):
        while number < len(breaks) and breaks[number] <= instant + 0.001:
            if place and breaks[number] > course.instants[place - 1] + 0.001 and places[-1] is not None:
                instants.append((course.instants[place - 1] + instant) / 2)
                places.append(None)
            number += 1
        instants.append(instant)
        places.append(place)
    return instants, places
