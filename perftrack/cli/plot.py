"""`perftrack plot`: a range to look at."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from perftrack import figures
from perftrack.cli import coverage, options
from perftrack.cli.cron_line import tell
from perftrack.cli.progress import progress_bar
from perftrack.cli.targets import refuse_own_files, target
from perftrack.settings import load


def plot(
    since: options.Since = None,
    until: options.Until = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--process",
            metavar="NAME",
            help="Show the processes of this name, instead of the largest; may be repeated.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="FILE", help="An .html page, or a .png or .svg picture; - is stdout."),
    ] = "perftrack.html",
    dark: Annotated[bool, typer.Option("--dark", help="Draw a picture on dark ground; a page has both.")] = False,
    host: options.Host = None,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Plot a range of time: by default, the last 24 hours.

    CPU, memory, load, pressure, disks, network, and CPU and memory of the largest processes. The page is one file
    that needs no network: zoom, hover and legend work in any browser. Of a long range each point is of several
    samples, and shows their minimum, mean and maximum. A page needs plotly and a picture matplotlib; where that is
    missing, the error is the command that installs it.
    """
    settings = load({"database": database}, config)
    span = options.recent(since, until)
    path = target(output)
    refuse_own_files(settings, path)

    from perftrack.reading.plot.draw import kind_of, read_plot, write_plot
    from perftrack.reading.plot.panels import plot_of

    kind = kind_of(path)
    with progress_bar("reading", shown=output != "-") as progress:
        found = read_plot(settings.database, span, names or [], host=host, progress=progress)
        covered = found.coverage
        coverage.require_samples(covered, settings.database)
        drawn = plot_of(found, names or [], coverage.nothing_recorded(covered), *coverage.lines(covered))
        write_plot(drawn, path, kind, dark=dark)
    for message in drawn.messages:
        tell(message)
    if sys.stdout.isatty() and output != "-":
        print(f"wrote {path}, of {figures.count(covered.held.samples, 'sample')}")
