"""A plot as one self-contained page: data and plotly.js are inside, nothing is fetched."""

from __future__ import annotations

import html
import importlib.util
import json
import os
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, TextIO

from perftrack.errors import PerftrackError
from perftrack.installation import how_to_install
from perftrack.reading.panels import Panel, panels, with_breaks, zone_of
from perftrack.reading.series import Course
from perftrack.text import printable

# More rectangles than this nobody tells apart, and a browser draws them slowly.
GAPS_DRAWN = 300
_FORMATS = {"%": ".1f", "": ".2f"}


def write_html(course: Course, title: str, notes: list[str], stream: TextIO) -> None:
    """Write *course* as a page. Raises: PerftrackError without plotly."""
    script = _plotly()
    page = resources.files("perftrack.reading").joinpath("plot_page.html").read_text(encoding="utf-8")
    # within <script>, only "<" could end it
    data = json.dumps(_data(course), separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    lines = "\n".join(f"<p>{html.escape(printable(note))}</p>" for note in notes)
    parts = {"TITLE": html.escape(printable(title)), "NOTES": lines, "DATA": data, "PLOTLY": script}
    stream.writelines(piece if number % 2 == 0 else parts[piece] for number, piece in enumerate(page.split("@")))


def _plotly() -> str:
    """Return plotly.js as the Python package brings it; importing the package itself takes a second."""
    found = importlib.util.find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise PerftrackError(f"a plot as .html needs plotly: {how_to_install('plotly', 'matplotlib')}")
    path = os.path.join(found.submodule_search_locations[0], "package_data", "plotly.min.js")
    with open(path, encoding="utf-8") as file:
        return file.read()


def _data(course: Course) -> dict[str, Any]:
    covered = course.coverage
    assert covered.held.first is not None
    assert covered.held.last is not None
    offset, zone = zone_of(covered.held.last)
    instants, places = with_breaks(course)

    def shown(seconds: float) -> str:
        """Return local time as text, which plotly shows as it is, wherever the page is read."""
        local = datetime.fromtimestamp(round(seconds, 3), UTC) + offset
        return local.replace(tzinfo=None).isoformat(" ", "milliseconds")

    gaps = sorted(covered.gaps, key=lambda gap: -gap.seconds)[:GAPS_DRAWN]
    first = covered.span.since or covered.held.first
    last = covered.span.until or covered.held.last
    slack = max((covered.held.last - covered.held.first) / 200, timedelta(seconds=1))
    first, last = max(first, covered.held.first - slack), min(last, covered.held.last + slack)
    return {
        "x": [shown(instant) for instant in instants],
        "range": [shown(first.timestamp()), shown(last.timestamp())],
        "zone": zone,
        "bucketed": course.is_bucketed,
        "gaps": [[shown(gap.since.timestamp()), shown(gap.until.timestamp())] for gap in gaps if gap.until],
        "boots": [shown(gap.until.timestamp()) for gap in gaps if gap.kind == "boot" and gap.until],
        "panels": [_panel(panel, places) for panel in panels(course)],
    }


def _panel(panel: Panel, places: list[int | None]) -> dict[str, Any]:
    series = [
        {
            "name": printable(each.name),
            "stacked": each.stacked,
            "colour": each.colour,
            **{
                label: [_rounded(each.points[place], index) if place is not None else None for place in places]
                for index, label in enumerate(("min", "mean", "max"))
            },
        }
        for each in panel.series
    ]
    stacked = any(each.stacked for each in panel.series)
    unit = panel.unit and f" {panel.unit}"
    figures = {"full": panel.full, "unit": unit, "format": _FORMATS.get(panel.unit, ".4~g")}
    return {"title": panel.title, "note": panel.note, "stacked": stacked, "series": series} | figures


def _rounded(point: tuple[float | None, ...] | None, index: int) -> float | None:
    """Return a value with five significant digits, which is more than a screen shows."""
    value = None if point is None else point[index]
    return None if value is None else float(f"{value:.5g}")
