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
from perftrack.reading.plot.panels import Line, Panel, Plot
from perftrack.text import printable

# More rectangles than this nobody tells apart, and a browser draws them slowly.
GAPS_DRAWN = 300
_FORMATS = {"%": ".1f", "": ".2f"}


def write_page(plot: Plot, stream: TextIO) -> None:
    """Write *plot* as a page. Raises: PerftrackError without plotly."""
    script = _plotly()
    page = resources.files("perftrack.reading.plot").joinpath("page.html").read_text(encoding="utf-8")
    # within <script>, only "<" could end it
    data = json.dumps(_data(plot), separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    lines = "\n".join(f"<p>{html.escape(printable(note))}</p>" for note in plot.notes)
    parts = {"TITLE": html.escape(printable(plot.title)), "NOTES": lines, "DATA": data, "PLOTLY": script}
    stream.writelines(piece if number % 2 == 0 else parts[piece] for number, piece in enumerate(page.split("@")))


def _plotly() -> str:
    """Return plotly.js as the Python package brings it; importing the package itself takes a second."""
    found = importlib.util.find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise PerftrackError(f"a plot as .html needs plotly: {how_to_install('plotly', 'matplotlib')}")
    path = os.path.join(found.submodule_search_locations[0], "package_data", "plotly.min.js")
    with open(path, encoding="utf-8") as file:
        return file.read()


def _data(plot: Plot) -> dict[str, Any]:
    covered = plot.coverage
    assert covered.held.first is not None
    assert covered.held.last is not None

    def shown(seconds: float) -> str:
        """Return local time as text, which plotly shows as it is, wherever the page is read."""
        local = datetime.fromtimestamp(round(seconds, 3), UTC) + plot.offset
        return local.replace(tzinfo=None).isoformat(" ", "milliseconds")

    gaps = sorted(covered.gaps, key=lambda gap: -gap.seconds)[:GAPS_DRAWN]
    first = covered.span.since or covered.held.first
    last = covered.until or covered.held.last
    slack = max((covered.held.last - covered.held.first) / 200, timedelta(seconds=1))
    first, last = max(first, covered.held.first - slack), min(last, covered.held.last + slack)
    return {
        "x": [shown(instant) for instant in plot.instants],
        "range": [shown(first.timestamp()), shown(last.timestamp())],
        "zone": plot.zone,
        "bucketed": plot.is_bucketed,
        "gaps": [[shown(gap.since.timestamp()), shown(gap.until.timestamp())] for gap in gaps if gap.until],
        "boots": [shown(gap.until.timestamp()) for gap in gaps if gap.kind == "boot" and gap.until],
        "marks": [[shown(mark.instant), printable(mark.label)] for mark in plot.marks],
        "panels": [_panel(panel) for panel in plot.panels],
    }


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "title": panel.title,
        "note": printable(panel.note),
        "message": printable(panel.message),
        "series": [_line(line) for line in panel.lines],
        "full": panel.full,
        "unit": panel.unit and f" {panel.unit}",
        "format": _FORMATS.get(panel.unit, ".4~g"),
    }


def _line(line: Line) -> dict[str, Any]:
    low, mean, high = (
        [None if point is None else _rounded(point[index]) for point in line.points] for index in range(3)
    )
    return {
        "name": printable(line.name),
        "stacked": line.stacked,
        "hidden": line.hidden,
        "colour": line.colour,
        "min": low,
        "mean": mean,
        "max": high,
        "steps": [_rounded(value) for value in line.steps],
    }


def _rounded(value: float | None) -> float | None:
    """Return a value with five significant digits, which is more than a screen shows."""
    return None if value is None else float(f"{value:.5g}")
