"""`perftrack fleet top`: what machines, units and processes of a fleet used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from perftrack import figures
from perftrack.cli import options, processes, show
from perftrack.cli import top as of_machine
from perftrack.cli.fleet_answers import Machines, Url, answer

if TYPE_CHECKING:
    from perftrack.fleet.sums import FleetTop


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
    output: Annotated[options.Format, typer.Option("--format", help="For people, or for programs.")] = "table",
    spreadsheet_safe: options.SpreadsheetSafe = False,
    host: Machines = None,
    whole_hours: Annotated[
        bool,
        typer.Option("--whole-hours", help="Take sums by hour as far as there are some: quick, of whole hours."),
    ] = False,
    wide: options.Wide = False,
) -> None:
    """Show which machines, units or processes of the fleet used most: by default, in the last 24 hours.

    Sums are the server's, of intervals by their overlap with the range, if they end no later than two hours after it.
    What a process used itself counts, not what its ended children did; --group unit has that too. Memory, "max %" and
    threads are those of the largest one on a machine. Of days that `fleet upkeep` has removed there are sums by hour:
    --group host, unit and name. --whole-hours takes these as far as it has added up, which is far quicker over days.

    Where --host names one machine, it is the answer that `perftrack top` gives there, with ended children, and with
    what no process explains.
    """
    options.refuse_spreadsheet_safe(output, is_given=spreadsheet_safe)
    span = options.recent(since, until)

    from perftrack.fleet.sums import fleet_top, kept_of

    there = kept_of(url, host)
    is_of_one = host is not None and group != "host" and len(there.machines) == 1
    if is_of_one and not (whole_hours or there.is_of_hours(span.since)):
        given = {"by": by, "group": group, "name": name, "limit": limit}
        given |= {"output": output, "spreadsheet_safe": spreadsheet_safe, "wide": wide}
        answer(of_machine.top, url, host, there, span, given)
        return
    found = fleet_top(url, span, group, by, limit, name, host, whole_hours=whole_hours)
    rows = [_document(row, group) for row in found.rows]
    described = {
        "since": show.iso(span.since),
        "until": show.iso(span.until),
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
        shown = {"CPU s": figures.number(row["cpu_seconds"])}
        shown |= {
            title: figures.number(row[field], digits) for field, (title, digits) in _NUMBERS.items() if field in row
        }
        shown |= {title: figures.size(row[field]) for field, title in _SIZES.items() if field in row}
        key = _FIELD.get(group, group)
        who = {title: row[field] for title, field in ((group, key), ("host", "host")) if field in row}
        own = processes.texts(row) if group == "process" else {}
        lines.append(
            {title: figures.UNKNOWN if text is None else str(text) for title, text in who.items()} | shown | own
        )
    unknown = {
        title for title in (lines[0] if lines else ()) if all(line[title] == figures.UNKNOWN for line in lines)
    }
    lines = [{title: text for title, text in line.items() if title not in unknown} for line in lines]
    machines = figures.count(described["machines"] or 0, "machine")
    if lines:
        processes.print_lines(lines, by, wide=wide)
    else:
        print(f"nothing in this range, of {machines}")
    print()
    if found.hours_until is not None:
        show.line(f"until {figures.local(found.hours_until)} of sums by hour: whole hours", wide=wide)
    text = f"{machines}: all CPUs worked {figures.span(described['system_cpu_seconds'] or 0)}"
    if found.recorded_cpu_ms is not None:
        text += f", recorded processes themselves {figures.span(found.recorded_cpu_ms / 1000)} of it"
    show.paragraph(text, wide=wide)
