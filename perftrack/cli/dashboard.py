"""`perftrack database dashboard`: what other programs are told of the database, to show it."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Literal

import typer

from perftrack.cli import options
from perftrack.cli.targets import refuse_own_files, target
from perftrack.settings import Settings, load
from perftrack.text import printable

Output = Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="Write it to a file; - is stdout.")]


def dashboard(
    program: Annotated[Literal["grafana", "datasette"], typer.Argument(help="The program that shows it.")],
    output: Output = "-",
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Print a dashboard for Grafana, or for datasette.

    grafana: JSON to import there, for the data source plugin frser-sqlite-datasource (SQLite) with the path of the
    database: CPU, memory, load, pressure, disks, network, processes, units, OOM kills, gaps, by host.

    datasette: metadata with what every column means, and queries: `datasette -m FILE DATABASE`.
    """
    settings = load({"database": database}, config)

    from perftrack.reading.dashboard import datasette, grafana

    made = grafana.dashboard() if program == "grafana" else datasette.metadata(settings.database)
    write(made, program, output, settings)


def write(made: dict[str, Any], program: str, output: str, settings: Settings) -> None:
    """Write what was *made* for *program* to *output*, but over no file that is perftrack's own."""
    path = target(output)
    refuse_own_files(settings, path)

    from perftrack.reading.export.output import output_files

    with output_files(path) as (stream,):
        assert stream is not None
        stream.write(json.dumps(made, indent=2, ensure_ascii=False) + "\n")
    if sys.stdout.isatty() and path != "-":
        print(printable(f"wrote {path}, for {program}"))
