"""`perftrack top`: who used most."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from perftrack.cli import options, processes
from perftrack.cli.progress import progress_bar
from perftrack.errors import UsageError
from perftrack.settings import load
from perftrack.timerange import parse_instant

if TYPE_CHECKING:
    from perftrack.reading.top import Ranked, Top

UNATTRIBUTED = "(unattributed)"
Format = Literal["table", "csv", "json"]


def top(
    since: options.Since = None,
    until: options.Until = None,
    by: Annotated[
        Literal["cpu", "rss", "io", "threads"],
        typer.Option(help="Rank by CPU time, peak memory, bytes read and written, or most threads."),
    ] = "cpu",
    group: Annotated[
        Literal["process", "name", "command", "user"],
        typer.Option(help="Add processes up: each on its own, or all of one name, command line or user."),
    ] = "process",
    limit: Annotated[int, typer.Option("-n", min=1, metavar="N", help="How many to show.")] = 15,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="T", help="Show the processes of the sample nearest to this time instead.", show_default=False
        ),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="For people, spreadsheets or programs.")] = "table",
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Show which processes used most over a range of time: by default, in the last 24 hours.

    CPU time is what the counters grew by from sample to sample, so a burst between two samples counts in full.
    The last line is the CPU time that no recorded process explains: of processes that were not recorded, or that
    began and ended between two samples.
    """
    settings = load({"database": database}, config)
    if at is not None:
        if since is not None or until is not None or group != "process":
            raise UsageError("--at shows one sample: leave --since, --until and --group away")
        from perftrack.cli.moment import show_moment

        show_moment(settings.database, parse_instant(at, datetime.now(UTC)), by, limit, output)
        return
    first, last = options.recent(since, until)

    from perftrack.cli import show
    from perftrack.reading import top as reading
    from perftrack.reading.queries import TimeRange

    with progress_bar("reading samples") as progress:
        found = reading.top(
            settings.database, TimeRange(first, last), by=by, group=group, limit=limit, progress=progress
        )
    covered = found.coverage
    if covered.held.samples == 0:
        print(f"perftrack: {show.nothing_in_range(covered.everything, settings.database)}", file=sys.stderr)
    rows = [document(row, group) for row in found.rows]
    if output == "json":
        summary = {
            "system_cpu_seconds": show.seconds(found.system_cpu_ms),
            "recorded_cpu_seconds": show.seconds(found.recorded_cpu_ms),
            "unattributed_cpu_seconds": show.seconds(found.unattributed_cpu_ms),
        }
        print(
            json.dumps(show.coverage_document(covered) | {"by": by, "group": group, "rows": rows} | summary, indent=2)
        )
    elif output == "csv":
        unexplained = {"name": UNATTRIBUTED, "cpu_seconds": show.seconds(found.unattributed_cpu_ms)}
        processes.write_csv(_FIELDS, [*rows, unexplained])
    elif covered.held.samples:
        _print_range(found, by, group)


_FIELDS = (
    *("cpu_seconds", "rss_max_bytes", "rss_mean_bytes", "read_bytes", "write_bytes", "num_threads_max"),
    *("pid", "name", "username", "command", "started_at"),
)
_GROUP_FIELD = {"name": "name", "command": "command", "user": "username"}


def document(ranked: Ranked, group: str) -> dict[str, Any]:
    """Return a row for scripts."""
    from perftrack.cli import show

    used = ranked.used
    figures: dict[str, Any] = {
        "cpu_seconds": show.seconds(used.cpu_ms),
        "rss_max_bytes": used.rss_max_bytes,
        "rss_mean_bytes": used.rss_mean_bytes,
        "read_bytes": used.read_bytes,
        "write_bytes": used.write_bytes,
        "num_threads_max": used.num_threads_max,
    }
    return figures | (
        {_GROUP_FIELD[group]: ranked.key} if ranked.process is None else processes.identity(ranked.process)
    )


def _print_range(found: Top, by: str, group: str) -> None:
    from perftrack.cli import show

    for text in show.coverage_lines(found.coverage):
        show.line(text)
    print()
    lines = []
    for ranked in found.rows:
        row = document(ranked, group)
        shown = {
            "CPU s": show.number(row["cpu_seconds"]),
            "RSS max": show.size(row["rss_max_bytes"]),
            "RSS mean": show.size(row["rss_mean_bytes"]),
            "read": show.size(row["read_bytes"]),
            "written": show.size(row["write_bytes"]),
            "threads": show.number(row["num_threads_max"], 0),
        }
        lines.append(shown | processes.texts(row))
    if not lines:
        print("no process was recorded in it")
    else:
        processes.print_lines(lines, by)
    print()
    show.line(unattributed_line(found))


def unattributed_line(found: Top) -> str:
    """Return the line about what no recorded process explains."""
    from perftrack.cli import show

    if found.system_cpu_ms is None or found.unattributed_cpu_ms is None:
        return f"{UNATTRIBUTED}: not known, no two samples in this range have CPU counters"
    share = 100 * found.unattributed_cpu_ms / found.system_cpu_ms if found.system_cpu_ms else 0.0
    return (
        f"{UNATTRIBUTED} {show.number(found.unattributed_cpu_ms / 1000)} CPU s, "
        f"{share:.0f} % of the {show.number(found.system_cpu_ms / 1000)} s that all CPUs worked"
    )
