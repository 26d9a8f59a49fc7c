"""`perftrack report`: a range on one screen."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from perftrack.cli import options, processes, show
from perftrack.cli.progress import progress_bar
from perftrack.cli.top import document as process_document
from perftrack.cli.top import unattributed_line
from perftrack.settings import load

if TYPE_CHECKING:
    from perftrack.reading.report import Figures, Report
    from perftrack.reading.top import Top

_LABELS = {
    "cpu": "CPU %",
    "memory": "memory %",
    "swap": "swap %",
    "load_1min": "load",
    "pressure_cpu": "CPU pressure %",
    "pressure_memory": "mem pressure %",
    "pressure_io": "I/O pressure %",
}
_COURSE_TITLE = "largest value"
# Drawn on a scale that ends here, where it has one.
_FULL = {"cpu": 100.0, "memory": 100.0, "swap": 100.0}
# The columns before a course: label, four figures, when; what the screen has more is the course's.
_BEFORE_COURSE = 68
_COURSE = (12, 60)


def report(
    since: options.Since = None,
    until: options.Until = None,
    output: Annotated[
        Literal["text", "json"], typer.Option("--format", help="For people, or for programs.")
    ] = "text",
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Show a range of time on one screen: by default, the last 24 hours.

    What was recorded and what is missing; CPU, memory, swap, load and pressure with mean, median (p50), 95th
    percentile, largest value and its time, and their course; the processes that used most CPU and most memory; and
    what recording itself cost.
    """
    settings = load({"database": database}, config)
    first, last = options.recent(since, until)
    parts = min(max(show.width() - _BEFORE_COURSE, _COURSE[0]), _COURSE[1])

    from perftrack.reading import report as reading
    from perftrack.reading.queries import TimeRange

    with progress_bar("reading samples") as progress:
        found = reading.report(settings.database, TimeRange(first, last), parts=parts, progress=progress)
    if found.coverage.held.samples == 0:
        print(f"perftrack: {show.nothing_in_range(found.coverage.everything, settings.database)}", file=sys.stderr)
    if output == "json":
        print(json.dumps(_document(found), indent=2))
    elif found.coverage.held.samples:
        _print(found)


def _document(found: Report) -> dict[str, Any]:
    top = found.by_cpu
    return show.coverage_document(found.coverage) | {
        "metrics": {each.metric.name: _figures_document(each) for each in found.figures},
        "recorder_cpu": found.cost and _figures_document(found.cost),
        "system_cpu_seconds": show.seconds(top.system_cpu_ms),
        "recorded_cpu_seconds": show.seconds(top.recorded_cpu_ms),
        "unattributed_cpu_seconds": show.seconds(top.unattributed_cpu_ms),
        "top_cpu": [process_document(row, "process") for row in found.by_cpu.rows],
        "top_rss": [process_document(row, "process") for row in found.by_rss.rows],
    }


def _figures_document(figures: Figures) -> dict[str, Any]:
    values = {name: round(getattr(figures, name), 3) for name in ("mean", "p50", "p95", "max")}
    return {"unit": figures.metric.unit, "samples": figures.samples} | values | {"max_at": show.iso(figures.max_at)}


def _print(found: Report) -> None:
    for text in show.coverage_lines(found.coverage):
        show.line(text)
    if found.figures:
        print()
        show.table(
            ["", "mean", "p50", "p95", "max", "at", _COURSE_TITLE],
            [
                [
                    _LABELS[each.metric.name],
                    *(
                        show.number(value, 2 if each.metric.name == "load_1min" else 1)
                        for value in (each.mean, each.p50, each.p95, each.max)
                    ),
                    show.local(each.max_at),
                    show.sparkline(each.course, _FULL.get(each.metric.name)),
                ]
                for each in found.figures
            ],
            left=("", "at", _COURSE_TITLE),
        )
    _print_largest("most CPU", found.by_cpu, "CPU s")
    _print_largest("most memory", found.by_rss, "RSS max")
    print()
    show.line(unattributed_line(found.by_cpu))
    if found.cost is not None:
        cost = found.cost
        show.line(
            f"recording took {show.number(cost.total / 1000)} CPU s: {cost.mean:.0f} ms a sample, "
            f"95 of 100 took {cost.p95:.0f} ms or less"
        )


def _print_largest(title: str, top: Top, by: str) -> None:
    rows = [processes.texts(process_document(row, "process")) for row in top.rows]
    if not rows:
        return
    figures = [
        {"CPU s": show.number(show.seconds(row.used.cpu_ms)), "RSS max": show.size(row.used.rss_max_bytes)}
        for row in top.rows
    ]
    print()
    names = [name for name in rows[0] if name == "user" or processes.has_room(name)]
    lines = [[figure[by], *(row[name] for name in names)] for figure, row in zip(figures, rows, strict=True)]
    show.table([title, *names], lines, left=processes.LEFT)
