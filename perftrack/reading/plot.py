"""A plot of a range: an interactive page (.html), or a picture for a ticket or a mail (.png, .svg)."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from perftrack.errors import UsageError
from perftrack.reading.coverage import Coverage, coverage
from perftrack.reading.output import output_files
from perftrack.reading.plot_html import write_html
from perftrack.reading.queries import TimeRange
from perftrack.reading.series import course
from perftrack.reading.snapshot import snapshot

KINDS = (".html", ".png", ".svg")


class Drawn(NamedTuple):
    """What a plot covers, and which of the names that were asked for no process of it has."""

    coverage: Coverage
    unknown_names: list[str]


def plot(
    database: str,
    span: TimeRange,
    path: str,
    names: list[str],
    describe: Callable[[Coverage], list[str]],
    *,
    dark: bool = False,
    now: datetime | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Drawn:
    """Write a plot of *span* to *path*; without a sample nothing is written.

    *names*: of the processes to show; empty: the largest. *describe* makes lines about the range, the first of which
    is the title. *dark*: of a picture; a page has both. Raises: PerftrackError, also where plotting is not installed.
    """
    kind = os.path.splitext(path)[1].lower() if path != "-" else ".html"
    if kind not in KINDS:
        raise UsageError(f"-o {path}: a plot is an .html, a .png or an .svg file")
    with snapshot(database) as connection:
        covered = coverage(connection, span, now or datetime.now(UTC))
        if not covered.held.samples:
            return Drawn(covered, [])
        found = course(connection, covered, names, progress)
    title, *notes = describe(covered)
    if kind == ".html":
        with output_files(path) as (stream,):
            assert stream is not None
            write_html(found, title, notes, stream)
    else:
        from perftrack.reading.plot_picture import write_picture

        with output_files(path) as (stream,):
            assert stream is not None
            write_picture(found, title, notes, stream, kind, dark=dark)
    return Drawn(covered, [name for name in names if name not in found.rss])
