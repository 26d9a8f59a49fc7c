"""`perftrack top`: who used most."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from perftrack import figures
from perftrack.cli import coverage, options, processes, show, totals
from perftrack.cli.cron_line import tell
from perftrack.cli.progress import progress_bar
from perftrack.errors import PerftrackError, UsageError
from perftrack.settings import load

if TYPE_CHECKING:
    from perftrack.reading.queries import TimeRange
    from perftrack.reading.usage.processes import Ranked
    from perftrack.reading.usage.top import Top
    from perftrack.reading.usage.top_units import TopUnits
    from perftrack.reading.usage.tree import Branch


def top(
    since: options.Since = None,
    until: options.Until = None,
    by: options.Ranking = "cpu",
    group: Annotated[
        Literal["process", "name", "command", "user", "unit"],
        typer.Option(
            help="Add processes up: each on its own, or all of one name, command line or user. unit: what systemd "
            "units, containers and sessions used, by the kernel's control groups, with all that no sample saw."
        ),
    ] = "process",
    tree: Annotated[
        bool,
        typer.Option(
            "--tree", help="Show them as a tree: the N largest processes under their ancestors, or units in slices."
        ),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only processes, or units, whose name contains TEXT.", show_default=False),
    ] = None,
    pid: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, metavar="PID", help="Only the process of this PID.", show_default=False),
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="USER", help="Only processes of this user.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("-n", min=1, max=10**9, metavar="N", help="How many to show.")] = 15,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="T", help="Show the processes of the sample nearest to this time instead.", show_default=False
        ),
    ] = None,
    output: options.TableFormat = "table",
    spreadsheet_safe: options.SpreadsheetSafe = False,
    host: options.Host = None,
    wide: options.Wide = False,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Show which processes used most in a range of time.

    By default, in the last 24 hours. CPU time comes from the kernel's counters, so a burst between two samples counts
    in full. An interval that is partly outside of the range counts by its share of time: ~ marks a figure that is 5 %
    or more such an estimate. "children s" is what ended children of a process used, and theirs, at least: what the
    kernel adds up, less what lines of their own show, and no more than the machine worked at that time. Nothing
    counts twice, and the ranking by CPU is by both together. The last line is the CPU time that neither explains: of
    processes that were not recorded, as far as no recorded one has waited for them. What children have read and
    written counts as their parent's own once they have ended: so does the kernel.

    --group unit shows what the kernel counted for whole systemd units, containers and sessions, so a process that
    lived for milliseconds is in it too. A slice, or a unit with others in it, is shown without these; with --tree,
    each has all that is in it, and its own share. Memory is what is charged to it, its files in the page cache
    included. "/" is what is in no unit: the kernel's threads, interrupts, and processes that nobody put into one.
    """
    settings = load({"database": database}, config)
    options.refuse_spreadsheet_safe(output, is_given=spreadsheet_safe)
    if at is not None:
        if (since, until, name, pid, user, group, tree) != (None, None, None, None, None, "process", False):
            raise UsageError(
                "--at shows one sample: leave --since, --until, --group, --tree, --name, --pid and --user away"
            )
        from perftrack.cli.nearest import show_nearest

        show_nearest(settings.database, at, host, by, limit, output, spreadsheet_safe=spreadsheet_safe, wide=wide)
        return
    if tree and group not in {"process", "unit"}:
        raise UsageError("--tree shows processes under their parents, or units in their slices: --group unit")
    span = options.recent(since, until)
    if group == "unit":
        if (pid, user) != (None, None):
            raise UsageError("--group unit has no PIDs and users: leave --pid and --user away, --name filters units")
        from perftrack.cli.units import print_units

        units = _largest_units(settings.database, span, host, by, name, limit, is_tree=tree)
        print_units(units, by, output, spreadsheet_safe=spreadsheet_safe, wide=wide)
        return

    from perftrack.reading.usage.processes import Filters
    from perftrack.reading.usage.top import top as largest

    with progress_bar("reading samples") as progress:
        found = largest(
            settings.database,
            span,
            host=host,
            by=by,
            group=group,
            filters=Filters(name, pid, user),
            limit=limit,
            is_tree=tree,
            progress=progress,
        )
    coverage.require_samples(found.coverage, settings.database)
    if not found.rows and not found.is_of_all:
        raise PerftrackError("no process that was recorded in this range matches --name, --pid and --user")
    _print(found, by, group, output, is_tree=tree, spreadsheet_safe=spreadsheet_safe, wide=wide)


def _largest_units(
    database: str, span: TimeRange, host: str | None, by: str, name: str | None, limit: int, *, is_tree: bool
) -> TopUnits:
    from perftrack.reading.usage.top_units import top_units

    with progress_bar("reading samples") as progress:
        found = top_units(
            database, span, host=host, by=by, name=name, limit=limit, as_tree=is_tree, progress=progress
        )
    coverage.require_samples(found.coverage, database)
    if not found.rows and not found.groups:
        raise PerftrackError(f"no unit that was recorded in this range has {name} in its name")
    return found


_IDENTITY = ("process_id", "pid", "parent_process_id", "ppid", "name", "username", "unit", "command", "started_at")
_GROUP_FIELD = {"name": "name", "command": "command", "user": "username"}


def _print(
    found: Top, by: str, group: str, output: str, *, is_tree: bool, spreadsheet_safe: bool, wide: bool
) -> None:
    from perftrack.reading.usage.processes import Usage
    from perftrack.reading.usage.tree import Branch, branches

    nothing = "" if found.rows else coverage.nothing_recorded(found.coverage)
    if nothing and output != "table":
        tell(nothing)
    shown = branches(found.rows) if is_tree else [Branch(row, []) for row in found.rows]
    rows = [document(branch.row, group) for branch in shown]
    if output == "json":
        described = coverage.document(found.coverage) | {"by": by, "group": group, "rows": rows}
        print(json.dumps(described | show.for_scripts(found.cpu._asdict()) | totals.parts(found), indent=2))
    elif output == "csv":
        unexplained = {"name": totals.UNATTRIBUTED, "cpu_seconds": show.seconds(found.cpu.unattributed_cpu_ms)}
        of_all = [unexplained] if found.is_of_all else []
        fields = ("host", *show.for_scripts(dict.fromkeys(Usage._fields)), *_IDENTITY)
        processes.write_csv(fields, [*rows, *of_all], spreadsheet_safe=spreadsheet_safe)
    else:
        _print_range(found, shown, by, group, nothing, wide=wide)


def document(ranked: Ranked, group: str) -> dict[str, Any]:
    """Return a row for scripts."""
    fields = {"host": ranked.host} | show.for_scripts(ranked.used._asdict())
    if ranked.process is None:
        return fields | {_GROUP_FIELD[group]: ranked.key}
    ids = {
        "process_id": ranked.process.process_id,
        "parent_process_id": ranked.parent_id,
        "ppid": ranked.process.ppid,
    }
    return fields | ids | processes.identity(ranked.process)


def _print_range(found: Top, branches: list[Branch], by: str, group: str, nothing: str, *, wide: bool) -> None:
    for text in coverage.lines(found.coverage):
        show.line(text, wide=wide)
    print()
    lines = []
    has_children = totals.shows_children(found)
    for ranked, is_last in branches:
        used = ranked.used
        shown = {
            "CPU s": totals.cpu_text(used.cpu_ms, used.cpu_estimated_ms),
            **(totals.children(used) if has_children else {}),
            "CPU %": figures.number(used.cpu_percent_mean),
            "max %": figures.number(used.cpu_percent_max),
            "busiest at": show.short(used.cpu_percent_max_at, found.coverage),
            "last seen": show.short(used.last_seen_at, found.coverage),
            "RSS max": figures.size(used.rss_max_bytes),
            "RSS mean": figures.size(used.rss_mean_bytes),
            "read": figures.size(used.read_bytes),
            "written": figures.size(used.write_bytes),
            "threads": figures.number(used.num_threads_max, 0),
        }
        if by == "io":
            shown |= {
                "own read": figures.size(used.own_read_bytes),
                "own written": figures.size(used.own_write_bytes),
            }
        machine = {"host": ranked.host} if len(found.coverage.hosts) > 1 else {}
        texts = processes.texts(document(ranked, group))
        if "command" in texts and ranked.process is not None and any(branch.is_last for branch in branches):
            texts["command"] = show.tree_lines(is_last) + (ranked.process.command or f"[{ranked.process.name}]")
        lines.append(machine | shown | texts)
    if lines:
        processes.print_lines(lines, by, wide=wide)
    else:
        print(nothing)
    print()
    if by == "io":
        show.line("read and written: with those of its children that have ended; own: certainly its own", wide=wide)
    if found.is_of_all:
        show.paragraph(totals.unattributed_line(found.cpu) + totals.parts_text(found), wide=wide)
