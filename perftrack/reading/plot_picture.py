"""A plot as a picture, drawn by matplotlib."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, TextIO

from perftrack.errors import PerftrackError
from perftrack.installation import how_to_install
from perftrack.reading.panels import Panel, panels, with_breaks, zone_of
from perftrack.reading.series import Course
from perftrack.text import printable

_LIGHT = ("#2a78d6", "#e0702b", "#2c9a66", "#c23b75", "#7a5bd0", "#a67c00", "#129aa8", "#7d8894")
_DARK = ("#62a6f5", "#f2965a", "#56c48f", "#ef76a8", "#a991f2", "#d8b23c", "#4cc6d4", "#9aa7b5")
_NAME_LENGTH = 24


def write_picture(
    course: Course, title: str, notes: list[str], stream: TextIO, kind: str, *, dark: bool = False
) -> None:
    """Write *course* as *kind* (.png or .svg). Raises: PerftrackError without matplotlib."""
    try:
        from matplotlib import rc_context
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
        from matplotlib.figure import Figure
    except ImportError:
        raise PerftrackError(f"a plot as {kind} needs matplotlib: {how_to_install('plotly', 'matplotlib')}") from None

    shown = panels(course)
    ink, page, grid = ("#dde4ec", "#1a2029", "#37424f") if dark else ("#1d2733", "#ffffff", "#e2e6eb")
    style: Any = {
        "text.color": ink,
        "axes.labelcolor": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "axes.edgecolor": grid,
        "axes.facecolor": page,
        "figure.facecolor": page,
        "grid.color": grid,
        "font.size": 9,
        "svg.fonttype": "none",
        "text.parse_math": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    covered = course.coverage
    assert covered.held.last is not None
    offset, zone = zone_of(covered.held.last)
    instants, places = with_breaks(course)
    x = [datetime.fromtimestamp(instant + offset.total_seconds(), UTC).replace(tzinfo=None) for instant in instants]
    with rc_context(style):
        figure = Figure(figsize=(12, 1.1 + 1.75 * len(shown)), dpi=110, layout="constrained")
        axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axis, panel in zip(axes, shown, strict=True):
            _draw(axis, panel, x, places, course.is_bucketed, _DARK if dark else _LIGHT)
            for gap in covered.gaps:
                ends = [(end + offset).replace(tzinfo=None) for end in (gap.since, gap.until) if end is not None]
                if len(ends) == 2:
                    axis.axvspan(*ends, color=ink, alpha=0.07, linewidth=0)
                    if gap.kind == "boot":
                        axis.axvline(ends[1], color="#c23b75", linestyle="--", linewidth=1)
        locator = AutoDateLocator(minticks=5, maxticks=12)  # type: ignore[no-untyped-call]
        axes[-1].xaxis.set_major_locator(locator)
        axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes[-1].set_xlabel(f"time ({zone})")
        axes[-1].set_xlim(x[0], x[-1] if len(x) > 1 else None)
        figure.suptitle("\n".join(map(printable, [title, *notes])), ha="left", x=0.01, fontsize=10)
        figure.savefig(stream.buffer, format=kind[1:], metadata={"Date": None} if kind == ".svg" else None)


def _draw(
    axis: Any, panel: Panel, x: list[datetime], places: list[int | None], is_bucketed: bool, colours: tuple[str, ...]
) -> None:
    nothing = float("nan")
    below = [0.0] * len(x)
    for series in panel.series:
        colour = colours[series.colour % len(colours)]
        low, mean, high = (
            [nothing if point is None or point[index] is None else point[index] or 0.0 for point in points]
            for points in [[None if place is None else series.points[place] for place in places]]
            for index in range(3)
        )
        name = printable(series.name)
        # an underscore at its beginning would hide a name from the legend
        label = name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
        label = f"\u200b{label}" if label.startswith("_") else label
        if series.stacked:
            above = [base + value for base, value in zip(below, mean, strict=True)]
            axis.fill_between(x, below, above, color=colour, alpha=0.55, linewidth=0, label=label)
            below = [0.0 if math.isnan(value) else value for value in above]
        else:
            axis.plot(x, mean, color=colour, linewidth=1, label=label)
            if is_bucketed:
                axis.fill_between(x, low, high, color=colour, alpha=0.22, linewidth=0)
    axis.set_title(panel.title, loc="left", fontsize=9, fontweight="bold")
    axis.set_ylim(0, panel.full)
    axis.grid(linewidth=0.5)
    axis.yaxis.set_major_formatter(f"{{x:.4g}} {panel.unit}".rstrip())
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
