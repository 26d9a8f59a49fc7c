"""A plot as a picture, drawn by matplotlib."""

from __future__ import annotations

import logging
import textwrap
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from perftrack.errors import PerftrackError
from perftrack.installation import how_to_install
from perftrack.reading.plot.panels import Panel, Plot
from perftrack.text import printable

_LIGHT = ("#2a78d6", "#e0702b", "#2c9a66", "#c23b75", "#7a5bd0", "#a67c00", "#129aa8", "#7d8894")
_DARK = ("#62a6f5", "#f2965a", "#56c48f", "#ef76a8", "#a991f2", "#d8b23c", "#4cc6d4", "#9aa7b5")
_NAME_LENGTH, _MARK_LENGTH = 24, 40
_MESSAGE_LENGTH = 140
# The panel in which marks have labels, and how many of them.
_LABELLED, _LABELS = "Memory", 10
_KILLED = "#d03a1a"
_NOTHING = float("nan")
# Where points are no more than this, all are dots; else those that have none beside them.
_FEW = 60


def write_picture(plot: Plot, stream: TextIO, kind: str, *, dark: bool = False) -> None:
    """Write *plot* as *kind* (.png or .svg). Raises: PerftrackError without matplotlib."""
    # where it keeps its cache without a home folder, and which letters a font draws as a box, is no news to a person
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise PerftrackError(f"a plot as {kind} needs matplotlib: {how_to_install('plotly', 'matplotlib')}") from None

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
    with rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        heights = [1.0 if panel.lines else 0.45 for panel in plot.panels]
        figure = Figure(figsize=(12, 1.1 + 2.1 * sum(heights)), dpi=110, layout="constrained")
        axes = figure.subplots(len(plot.panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, panel in zip(axes, plot.panels, strict=True):
            axis.set_title(panel.title, loc="left", fontsize=9, fontweight="bold")
            axis.set_title(printable(panel.note), loc="right", fontsize=8, alpha=0.75)
            if panel.lines:
                _draw_lines(axis, panel, plot, _DARK if dark else _LIGHT)
                _draw_time(axis, plot, ink)
                if panel.title == _LABELLED:
                    _label_marks(axis, plot)
            else:
                axis.set_axis_off()
            message = textwrap.fill(printable(panel.message), _MESSAGE_LENGTH)
            axis.text(0.005, 0.95, message, va="top", alpha=0.75, transform=axis.transAxes)
        figure.suptitle("\n".join(map(printable, [plot.title, *plot.notes])), ha="left", x=0.01, fontsize=10)
        figure.savefig(stream.buffer, format=kind[1:], metadata={"Date": None} if kind == ".svg" else None)


def _draw_lines(axis: Any, panel: Panel, plot: Plot, colours: tuple[str, ...]) -> None:
    x = _times(plot)
    where = "mid" if plot.is_bucketed else "post"
    below = [0.0] * len(x)
    for line in panel.lines:
        colour = colours[-1] if line.colour < 0 else colours[line.colour % (len(colours) - 1)]
        label = _label(line.name)
        if line.stacked:
            tops = [None if value is None else base + value for base, value in zip(below, line.steps, strict=True)]
            area = _ending(x, below, tops)
            axis.fill_between(*area, step=where, color=colour, alpha=0.55, linewidth=0, label=label)
            below = [base if top is None else top for base, top in zip(below, tops, strict=True)]
        elif not line.hidden:
            low, mean, high = (
                [None if point is None else point[index] for point in line.points] for index in range(3)
            )
            axis.step(*_ending(x, line.steps), where=where, color=colour, linewidth=1, label=label)
            axis.plot(x, _dots(mean), color=colour, linestyle="", marker="o", markersize=3, clip_on=False)
            if plot.is_bucketed:
                axis.fill_between(*_ending(x, low, high), step=where, color=colour, alpha=0.22, linewidth=0)
    axis.set_ylim(0, panel.full)
    if panel.message:  # it stands above the lines
        axis.set_ylim(0, axis.get_ylim()[1] * 1.4)
    axis.grid(linewidth=0.5)
    axis.yaxis.set_major_formatter(f"{{x:.4g}} {panel.unit}".rstrip())
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)


def _draw_time(axis: Any, plot: Plot, ink: str) -> None:
    """Draw the axis of time, and the gaps and boots."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    for gap in plot.coverage.gaps:
        ends = [(end + plot.offset).replace(tzinfo=None) for end in (gap.since, gap.until) if end is not None]
        if len(ends) == 2:
            axis.axvspan(*ends, color=ink, alpha=0.07, linewidth=0)
            if gap.kind == "boot":
                axis.axvline(ends[1], color="#c23b75", linestyle="--", linewidth=1)
    for mark in plot.marks:
        axis.axvline(_local(plot, mark.instant), color=_KILLED, linewidth=0.8)
    locator = AutoDateLocator(minticks=5, maxticks=12)  # type: ignore[no-untyped-call]
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axis.set_xlabel(f"time ({plot.zone})", fontsize=8, loc="left")
    x = _times(plot)
    axis.set_xlim(x[0], x[-1] if len(x) > 1 else None)


def _label_marks(axis: Any, plot: Plot) -> None:
    """Say beside the latest marks what they are about."""
    for mark in plot.marks[-_LABELS:]:
        axis.text(
            _local(plot, mark.instant),
            0.04,
            printable(mark.label)[:_MARK_LENGTH],
            transform=axis.get_xaxis_transform(),
            rotation=90,
            va="bottom",
            ha="right",
            fontsize=6,
            color=_KILLED,
        )


def _times(plot: Plot) -> list[datetime]:
    """Return the instants of the points in local time."""
    return [_local(plot, instant) for instant in plot.instants]


def _local(plot: Plot, instant: float) -> datetime:
    return datetime.fromtimestamp(instant + plot.offset.total_seconds(), UTC).replace(tzinfo=None)


def _ending(x: list[datetime], *columns: Sequence[float | None]) -> list[list[Any]]:
    """Return *x* and *columns* for steps that end with a value before an unknown one, which matplotlib goes on to."""
    rows: list[tuple[Any, ...]] = []
    for instant, *values in zip(x, *columns, strict=True):
        if None in values and rows and _NOTHING not in rows[-1]:
            rows.append((rows[-1][0], *(_NOTHING for _ in values)))
        rows.append((instant, *(_NOTHING if value is None else value for value in values)))
    return [list(column) for column in zip(*rows, strict=True)]


def _dots(values: list[float | None]) -> list[float]:
    padded = [None, *values, None]
    return [
        value if value is not None and (len(values) <= _FEW or before is after is None) else _NOTHING
        for before, value, after in zip(padded, values, padded[2:], strict=False)
    ]


def _label(text: str) -> str:
    name = printable(text)
    label = name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
    # an underscore at its beginning would hide a name from the legend
    return f"\u200b{label}" if label.startswith("_") else label
