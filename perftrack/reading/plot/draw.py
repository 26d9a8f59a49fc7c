"""A plot of a range: an interactive page (.html), or a picture for a ticket or a mail (.png, .svg)."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from perftrack.errors import UsageError
from perftrack.progress import Progress, no_progress
from perftrack.reading.coverage import of_each_machine
from perftrack.reading.export.output import output_files
from perftrack.reading.machines import machines
from perftrack.reading.plot.page import write_page
from perftrack.reading.plot.panels import Plot
from perftrack.reading.plot.series import AllSeries, read_series
from perftrack.reading.queries import TimeRange
from perftrack.storage.snapshot import snapshot

KINDS = (".html", ".png", ".svg")


def kind_of(path: str) -> str:
    """Return which of KINDS a plot at *path* is; - is a page. Raises: UsageError."""
    kind = os.path.splitext(path)[1].lower() if path != "-" else ".html"
    if kind not in KINDS:
        raise UsageError(f"-o {path}: a plot is an .html, a .png or an .svg file")
    return kind


def read_plot(
    database: str, span: TimeRange, names: list[str], *, host: str | None = None, progress: Progress = no_progress
) -> AllSeries:
    """Return the series of *span* that a plot is made of.

    *host*: see `machines`; a plot is of one. *names*: of the processes to show; empty: the largest. Raises:
    PerftrackError.
    """
    with snapshot(database) as connection:
        span = span._replace(hosts=machines(connection, host))
        covered, *others = of_each_machine(connection, span, datetime.now(UTC))
        if others:
            hosts = ", ".join(each.hosts[0] for each in (covered, *others))
            raise UsageError(f"the range holds {hosts}: choose with --host, a plot is of one machine")
        return read_series(connection, covered, names, progress)


def write_plot(plot: Plot, path: str, kind: str, *, dark: bool) -> None:
    """Write *plot* to *path*. *kind*: see `kind_of`. *dark*: of a picture; a page has both. Raises: PerftrackError,
    also where plotting is not installed.
    """
    with output_files(path) as (stream,):
        assert stream is not None
        if kind == ".html":
            write_page(plot, stream)
        else:
            from perftrack.reading.plot.picture import write_picture

            write_picture(plot, stream, kind, dark=dark)
