"""`perftrack compare`: two ranges side by side: what got dearer?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from perftrack import figures
from perftrack.cli import coverage, options, processes, show
from perftrack.cli.progress import progress_bar
from perftrack.errors import PerftrackError
from perftrack.settings import load
from perftrack.timerange import parse_range

if TYPE_CHECKING:
    from perftrack.reading.explain.compare import Change, Compared, Comparison, Line

_RANGE = (
    "2026-11-20, yesterday, today (until now), monday; 2026-11-01..2026-11-07, '2026-11-20 14:00..16:00', 3h..now"
)


def compare(
    before: Annotated[str, typer.Argument(metavar="A", help=f"A range: {_RANGE}.", show_default=False)],
    after: Annotated[
        str, typer.Argument(metavar="B", help="The range that is compared with it.", show_default=False)
    ],
    by: Annotated[Literal["cpu", "memory", "written"], typer.Option(help="Order by the change of this.")] = "cpu",
    limit: Annotated[int, typer.Option("-n", min=1, metavar="N", help="How many units and names to show.")] = 15,
    output: options.TableFormat = "table",
    spreadsheet_safe: options.SpreadsheetSafe = False,
    host: options.Host = None,
    wide: options.Wide = False,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Compare what was used an hour in two ranges of time, by unit and by name of processes: what got dearer?

    A single day is all of it, today until now; FROM..TO is from one time to another, and a day at its end is all of
    that day. What is compared are the hours of the day that both ranges have, each with the same one: the morning of
    today with that of yesterday. How much an hour differs from day to day (with fewer than 3 days, how much the
    changes differ from hour to hour) is the noise, three standard errors: a change that is more is marked with *.
    With fewer than 4 hours the noise is not known.

    Behind the line of the whole machine come units, where control groups are recorded, then names; of both the
    largest change first.
    """
    settings = load({"database": database}, config)
    options.refuse_spreadsheet_safe(output, is_given=spreadsheet_safe)
    now = datetime.now(UTC)
    first, second = parse_range(before, now), parse_range(after, now)

    from perftrack.reading.explain import compare as reading
    from perftrack.reading.queries import TimeRange

    with progress_bar("reading hours") as progress:
        found = reading.comparisons(
            settings.database, TimeRange(*first), TimeRange(*second), by=by, host=host, progress=progress
        )
    for name, covered in (("A", found[0].before), ("B", found[0].after)):
        if not covered.held.samples:
            raise PerftrackError(f"{name}: {coverage.nothing_in_range(covered.everything, settings.database)}")
    if not any(each.lines for each in found):
        raise PerftrackError("no machine has half an hour or more with counters in both ranges")
    shown = [each._replace(lines=_largest(each.lines, limit)) for each in found if each.lines]
    if output == "json":
        show.documents([_document(each) for each in shown])
    elif output == "csv":
        rows = [{"host": each.host} | _row(line) for each in shown for line in each.lines]
        processes.write_csv(("host", *_row(shown[0].lines[0])), rows, spreadsheet_safe=spreadsheet_safe)
    else:
        for number, each in enumerate(shown):
            if number:
                print()
            _print(each, by, wide=wide)


def _largest(lines: list[Line], limit: int) -> list[Line]:
    """Return the first *limit* lines of each kind."""
    kinds = dict.fromkeys(line.kind for line in lines)
    return [each for kind in kinds for each in [line for line in lines if line.kind == kind][:limit]]


_TITLES: dict[Compared, str] = {"cpu": "CPU s/h", "memory": "memory", "written": "written/h"}


def _print(found: Comparison, by: Compared, *, wide: bool) -> None:
    for name, covered in (("A", found.before), ("B", found.after)):
        assert covered.span.since is not None
        assert covered.until is not None
        ends = f"{figures.local(covered.span.since)} to {figures.zoned(covered.until)}"
        show.line(f"{name}: {found.host}, {ends}, {figures.count(covered.held.samples, 'sample')}", wide=wide)
    print()
    others = [metric for metric in _TITLES if metric != by]
    header = [
        f"{_TITLES[by]} A",
        "B",
        "change",
        "noise",
        *(f"{_TITLES[each]} change" for each in others),
        "unit or name",
    ]
    rows = []
    for line in found.lines:
        change = line.changes[by]
        rows.append(
            [
                *(_amount(by, value) for value in (change.before, change.after)),
                _difference(by, change),
                _amount(by, change.noise),
                *(_difference(each, line.changes[each]) for each in others),
                {"all": "(the whole machine)", "unit": f"unit {line.key}", "name": line.key}[line.kind],
            ]
        )
    show.table(header, rows, left=("unit or name",), wide=wide)
    print()
    hours = figures.count(len(found.hours), "hour")
    compared = f"the {hours} of the day that both have" if found.hours else "all hours: none is in both"
    show.line(f"compared: {compared}; * a change that is more than noise", wide=wide)


def _amount(metric: str, value: float | None) -> str:
    if value is None:
        return figures.UNKNOWN
    return figures.number(value / 1000) if metric == "cpu" else figures.size(value)


def _difference(metric: str, change: Change) -> str:
    """Return a change with its sign, marked where it is more than noise."""
    if change.difference is None:
        return figures.UNKNOWN
    sign = "+" if change.difference > 0 else "-" if change.difference < 0 else ""
    return f"{sign}{_amount(metric, abs(change.difference))}{'*' if change.is_real else ' '}"


def _row(line: Line) -> dict[str, Any]:
    """Return a line for scripts: CPU in seconds, all else in bytes, for each hour."""
    row: dict[str, Any] = {"kind": line.kind, "key": line.key}
    for metric, change in line.changes.items():
        unit, digits, scale = ("seconds", 3, 1000) if metric == "cpu" else ("bytes", None, 1)
        for name in ("before", "after", "difference", "noise"):
            value = getattr(change, name)
            row[f"{metric}_{name}_{unit}"] = None if value is None else round(value / scale, digits)
        row[f"{metric}_is_more_than_noise"] = change.is_real
    return row


def _document(found: Comparison) -> dict[str, Any]:
    return {
        "host": found.host,
        "before": coverage.document(found.before),
        "after": coverage.document(found.after),
        "hours_of_the_day": found.hours,
        "lines": [_row(line) for line in found.lines],
    }
