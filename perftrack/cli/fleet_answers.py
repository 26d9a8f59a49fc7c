"""`perftrack fleet top | report | export | plot`: what is asked of the centre.

Of single machines the range is brought here and asked by the machine's own commands, so that the answers are the
same; sums over many are the server's.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from perftrack.cli import export, options, plot, processes, report, show
from perftrack.cli import top as of_machine
from perftrack.cli.cron_line import tell
from perftrack.cli.progress import progress_bar
from perftrack.cli.totals import cpu_text
from perftrack.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from perftrack.fleet.sums import FleetTop, Held

Range = tuple["datetime | None", "datetime | None"]
Ends = Callable[[str | None, str | None], Range]
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


def _asked_of_centre(command: Callable[..., None], ends: Ends, doc: str) -> Callable[..., None]:
    """Return *command* of the machine's own for a centre. *ends*: what it takes --since and --until for."""
    own = inspect.signature(command, eval_str=True)
    kept = [each for name, each in own.parameters.items() if name not in _OWN]
    url, host = (
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
        for name, default, annotation in (("url", inspect.Parameter.empty, Url), ("host", None, Machines))
    )

    def run(url: str, host: str | None, **given: Any) -> None:
        from perftrack.fleet.sums import held

        _answer(command, url, host, held(url, host), ends(given.pop("since"), given.pop("until")), given)

    run.__doc__ = doc
    run.__annotations__ = {each.name: each.annotation for each in (url, *kept, host)}
    run.__signature__ = own.replace(parameters=[url, *kept, host])  # type: ignore[attr-defined]
    return run


def _answer(
    command: Callable[..., None],
    url: str,
    host: str | None,
    there: Held,
    ends: Range,
    given: dict[str, Any],
) -> None:
    """Bring the range *ends* of the machines *host* here, and run *command* on it. *there*: what the centre has."""
    from perftrack.fleet.fetching import fetched
    from perftrack.reading.queries import TimeRange

    if host is None and len(there.machines) > MACHINES_MAX:
        raise UsageError(
            f"the centre has {len(there.machines):,} machines: name some, --host NAME, or all, --host '*'"
        )
    if there.kept_since is not None and there.is_of_hours(ends[0]):
        tell(f"before {show.local(there.kept_since)} there are sums by hour alone: perftrack fleet top")
    since, until = (None if end is None else end.isoformat() for end in ends)
    with progress_bar("fetching samples") as progress, fetched(url, TimeRange(*ends), host, progress) as database:
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
    app.command()(top)
    app.command("report")(_asked_of_centre(report.report, options.recent, _REPORT))
    app.command("export")(_asked_of_centre(export.export, options.instants, _EXPORT))
    app.command("plot")(_asked_of_centre(plot.plot, options.recent, _PLOT))


def top(
    url: Url,
    since: options.Since = None,
    until: options.Until = None,
    by: options.Ranking = "cpu",
    group: Annotated[
        Literal["host", "unit", "name", "command", "user", "process"],
        typer.Option(help="Add up by machine, or over all machines by unit, or by processes' names, ..."),
    ] = "host",
    name: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only what has TEXT in its name.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("-n", min=1, max=10**9, metavar="N", help="How many to show.")] = 15,
    output: Annotated[of_machine.Format, typer.Option("--format", help="For people, or for programs.")] = "table",
    spreadsheet_safe: options.SpreadsheetSafe = False,
    host: Machines = None,
    wide: options.Wide = False,
) -> None:
    """Show which machines, units or processes of the fleet used most: by default, in the last 24 hours.

    Sums are the server's, of intervals by their overlap with the range, if they end no later than two hours after it.
    What a process used itself counts, not what its ended children did; --group unit has that too. Memory, "max %" and
    threads are those of the largest one on a machine. Of days that `fleet upkeep` has removed there are sums by hour:
    --group host, unit and name.

    Where --host names one machine, it is the answer that `perftrack top` gives there, with ended children, and with
    what no process explains.
    """
    options.refuse_spreadsheet_safe(output, is_given=spreadsheet_safe)
    first, last = options.recent(since, until)

    from perftrack.fleet.sums import fleet_top, held
    from perftrack.reading.queries import TimeRange

    there = held(url, host)
    if host is not None and group != "host" and len(there.machines) == 1 and not there.is_of_hours(first):
        given = {"by": by, "group": group, "name": name, "limit": limit}
        given |= {"output": output, "spreadsheet_safe": spreadsheet_safe, "wide": wide}
        _answer(of_machine.top, url, host, there, (first, last), given)
        return
    found = fleet_top(url, TimeRange(first, last), group, by, limit, name, host)
    rows = [_document(row, group) for row in found.rows]
    described = {
        "since": show.iso(first),
        "until": show.iso(last),
        "by": by,
        "group": group,
        "hours_until": show.iso(found.hours_until),
        "machines": found.system["machines"],
        "system_cpu_seconds": show.seconds(found.system["cpu_ms"]),
        "recorded_cpu_seconds": show.seconds(found.recorded_cpu_ms),
        "rows": rows,
    }
    if output == "json":
        print(json.dumps(described, indent=2))
    elif output == "csv":
        fields = tuple(rows[0]) if rows else ("host",)
        processes.write_csv(fields, rows, spreadsheet_safe=spreadsheet_safe)
    else:
        _print(found, rows, group, by, described, wide=wide)


_FIELD = {"user": "username"}
_OTHER = ("key", "machines", "cpu_ms", "cpu_possible_ms", "last_seen_at", "started_at")


def _document(row: dict[str, Any], group: str) -> dict[str, Any]:
    """Return a row for scripts."""
    who = {_FIELD.get(group, group): row["key"], "machines": row["machines"]} if "key" in row else {}
    if group == "host":
        del who["machines"]
    figures: dict[str, Any] = {"cpu_seconds": show.seconds(row["cpu_ms"])}
    if "cpu_possible_ms" in row:
        possible = row["cpu_possible_ms"]
        figures["cpu_percent_mean"] = round(100 * row["cpu_ms"] / possible, 2) if possible else None
    for field, value in row.items():
        if field not in _OTHER:
            figures[field] = round(value) if isinstance(value, float) and field.endswith("_bytes") else value
    figures |= {field: show.iso(row[field]) for field in ("last_seen_at", "started_at") if field in row}
    return who | figures


_SIZES = {
    "mem_used_max_bytes": "memory max",
    "memory_max_bytes": "memory max",
    "rss_max_bytes": "RSS max",
    "disk_read_bytes": "read",
    "disk_write_bytes": "written",
    "read_bytes": "read",
    "write_bytes": "written",
    "net_received_bytes": "received",
    "net_sent_bytes": "sent",
}
_NUMBERS = {
    "cpu_percent_mean": ("CPU %", 1),
    "cpu_percent_max": ("max %", 1),
    "load_1min_max": ("load max", 1),
    "oom_kills": ("OOM kills", 0),
    "num_threads_max": ("threads", 0),
    "tasks_max": ("threads", 0),
    "machines": ("machines", 0),
}


def _print(
    found: FleetTop, rows: list[dict[str, Any]], group: str, by: str, described: dict[str, Any], *, wide: bool
) -> None:
    lines = []
    for row in rows:
        shown = {"CPU s": cpu_text(row["cpu_seconds"] and row["cpu_seconds"] * 1000, 0)}
        shown |= {
            title: show.number(row[field], digits) for field, (title, digits) in _NUMBERS.items() if field in row
        }
        shown |= {title: show.size(row[field]) for field, title in _SIZES.items() if field in row}
        key = _FIELD.get(group, group)
        who = {title: row[field] for title, field in ((group, key), ("host", "host")) if field in row}
        own = processes.texts(row) if group == "process" else {}
        lines.append(
            {title: show.UNKNOWN if text is None else str(text) for title, text in who.items()} | shown | own
        )
    unknown = {title for title in (lines[0] if lines else ()) if all(line[title] == show.UNKNOWN for line in lines)}
    lines = [{title: text for title, text in line.items() if title not in unknown} for line in lines]
    machines = show.count(described["machines"] or 0, "machine")
    if lines:
        processes.print_lines(lines, by, wide=wide)
    else:
        print(f"nothing in this range, of {machines}")
    print()
    if found.hours_until is not None:
        show.line(f"until {show.local(found.hours_until)} of sums by hour: whole hours", wide=wide)
    text = f"{machines}: all CPUs worked {show.span(described['system_cpu_seconds'] or 0)}"
    if found.recorded_cpu_ms is not None:
        text += f", recorded processes themselves {show.span(found.recorded_cpu_ms / 1000)} of it"
    show.paragraph(text, wide=wide)
