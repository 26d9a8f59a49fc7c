"""`perftrack fleet report | export | plot`: what is asked of single machines of a fleet.

The range is brought here and asked by the machine's own commands, so that the answers are the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perftrack import figures
from perftrack.cli import export, options, plot, report
from perftrack.cli.cron_line import tell
from perftrack.cli.progress import progress_bar
from perftrack.errors import UsageError

if TYPE_CHECKING:
    from perftrack.fleet.sums import Kept
    from perftrack.reading.queries import TimeRange

# So many machines are brought here where none is named.
MACHINES_MAX = 20
# What a command of the machine's own has and this has not, or has otherwise.
_OWN = ("host", "database", "config", "new")
Url = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="The database, as its owner: postgresql://OWNER@HOST/DATABASE. The password is in ~/.pgpass.",
        show_default=False,
    ),
]
Machines = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="NAME",
        help="Only machines of this name; * and ? stand for any characters.",
        show_default=False,
    ),
]


def _asked_of_centre(
    command: Callable[..., None], span_of: Callable[..., TimeRange], doc: str
) -> Callable[..., None]:
    """Return *command* of the machine's own for a centre. *span_of*: what it takes --since and --until for."""
    own = inspect.signature(command, eval_str=True)
    kept = [each for name, each in own.parameters.items() if name not in _OWN]
    url, host = (
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
        for name, default, annotation in (("url", inspect.Parameter.empty, Url), ("host", None, Machines))
    )

    def run(url: str, host: str | None, **given: Any) -> None:
        from perftrack.fleet.sums import kept_of

        answer(command, url, host, kept_of(url, host), span_of(given.pop("since"), given.pop("until")), given)

    run.__doc__ = doc
    run.__annotations__ = {each.name: each.annotation for each in (url, *kept, host)}
    run.__signature__ = own.replace(parameters=[url, *kept, host])  # type: ignore[attr-defined]
    return run


def answer(
    command: Callable[..., None],
    url: str,
    host: str | None,
    there: Kept,
    span: TimeRange,
    given: dict[str, Any],
) -> None:
    """Bring *span* of the machines *host* here, and run *command* on it. *there*: what the centre has."""
    from perftrack.fleet.fetching import fetched

    if host is None and len(there.machines) > MACHINES_MAX:
        raise UsageError(
            f"the centre has {len(there.machines):,} machines: name some, --host NAME, or all, --host '*'"
        )
    if there.kept_since is not None and there.is_of_hours(span.since):
        tell(f"before {figures.local(there.kept_since)} there are sums by hour alone: perftrack fleet top")
    since, until = (None if end is None else end.isoformat() for end in (span.since, span.until))
    with progress_bar("fetching samples") as progress, fetched(url, span, host, progress) as database:
        command(since=since, until=until, host="*", database=database, config=None, **given)


_REPORT = """Show a range of time of machines, each on one screen: by default, the last 24 hours.

What `perftrack report` tells on the machine itself. ~ marks what is largely an estimate.
"""
_EXPORT = """Write what was recorded of machines to two files, CSV or other formats.

What `perftrack export` writes on the machine itself. In --wide and the other formats, the counters of processes and
control groups count from the beginning of the range. What was imported there is under its first string alone.
"""
_PLOT = """Plot a range of time of a machine: by default, the last 24 hours.

What `perftrack plot` draws on the machine itself: an .html page, or a .png or .svg picture.
"""


def add_to(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command("report")(_asked_of_centre(report.report, options.recent, _REPORT))
    app.command("export")(_asked_of_centre(export.export, options.time_range, _EXPORT))
    app.command("plot")(_asked_of_centre(plot.plot, options.recent, _PLOT))
