"""A plot of a range: an interactive page (.html), or a picture for a ticket or a mail (.png, .svg)."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from perftrack.errors import UsageError
from perftrack.progress import Progress, unheard
from perftrack.reading.coverage import Coverage, of_each_machine
from perftrack.reading.export.output import output_files
from perftrack.reading.machines import machines
from perftrack.reading.plot.page import write_page
from perftrack.reading.plot.panels import Plot, plot_of
from perftrack.reading.plot.series import read_series
from perftrack.reading.queries import TimeRange
from perftrack.storage.snapshot import snapshot

KINDS = (".html", ".png", ".svg")


class Drawn(NamedTuple):
    """What a plot covers, and *messages*: what stands in the place of panels of processes that show nothing, or not
    all that was asked for.
    """

    coverage: Coverage
    messages: list[str]


def draw(
    database: str,
    span: TimeRange,
    path: str,
    names: list[str],
    describe: Callable[[Coverage], list[str]],
    nothing_recorded: Callable[[Coverage], str],
    *,
    host: str | None = None,
    dark: bool = False,
    progress: Progress = unheard,
) -> Drawn:
    """Write a plot of *span* to *path*; without a sample nothing is written.

    *host*: see `machines`; a plot is of one. *names*: of the processes to show; empty: the largest. *describe* makes
    lines about the range, the first of which is the title; *nothing_recorded* one that says why a range holds no
    processes. *dark*: of a picture; a page has both. Raises: PerftrackError, also where plotting is not installed.
    """
    kind = os.path.splitext(path)[1].lower() if path != "-" else ".html"
    if kind not in KINDS:
        raise UsageError(f"-o {path}: a plot is an .html, a .png or an .svg file")
    with snapshot(database) as connection:
        span = span._replace(hosts=tuple(machines(connection, host)))
        covered, *others = of_each_machine(connection, span, datetime.now(UTC))
        if others:
            hosts = ", ".join(each.hosts[0] for each in (covered, *others))
            raise UsageError(f"the range holds {hosts}: choose with --host, a plot is of one machine")
        if not covered.held.samples:
            return Drawn(covered, [])
        found = read_series(connection, covered, names, progress)
    shown = plot_of(found, names, nothing_recorded(covered), *describe(covered))
    _write(shown, path, kind, dark=dark)
    return Drawn(covered, shown.messages)


def _write(shown: Plot, path: str, kind: str, *, dark: bool) -> None:
    with output_files(path) as (stream,):
        assert stream is not None
        if kind == ".html":
            write_page(shown, stream)
        else:
            from perftrack.reading.plot.picture import write_picture

            write_picture(shown, stream, kind, dark=dark)
