"""Options that several commands share, and what every command does with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from perftrack.errors import UsageError
from perftrack.settings import days_of, is_age
from perftrack.timerange import is_dated, parse_instant

if TYPE_CHECKING:
    from perftrack.reading.queries import TimeRange

Database = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="The database, instead of the configured one.", show_default=False),
]
Config = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="The config file, instead of the usual one.", show_default=False),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="T",
        help="Only samples from this time on: 2026-11-20, '2026-11-20 14:30', 14:30 (the latest), monday, "
        "'yesterday 14:30', 2h, now-10m, '2 hours ago', 'last 10 minutes', @1790000000, ISO 8601. Local time unless "
        "it says otherwise.",
        show_default=False,
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        metavar="T",
        help="Only samples before this time. 14:30 is the latest; but the first after --since where that comes later "
        "or names a day.",
        show_default=False,
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Only machines of this name; * and ? stand for any characters. By default this machine, or where the "
        "database holds nothing of it, all.",
        show_default=False,
    ),
]
Wide = Annotated[bool, typer.Option("--wide", help="Do not cut lines and columns to the width of the screen.")]
TextFormat = Annotated[Literal["text", "json"], typer.Option("--format", help="For people, or for programs.")]
Format = Literal["table", "csv", "json"]
TableFormat = Annotated[Format, typer.Option("--format", help="For people, spreadsheets or programs.")]
SpreadsheetSafe = Annotated[
    bool,
    typer.Option(
        "--spreadsheet-safe",
        help="Put an apostrophe before text that a spreadsheet would take for a formula (= + - @ tab CR first).",
    ),
]


def refuse_spreadsheet_safe(output: str, *, is_given: bool) -> None:
    """Raise UsageError where --spreadsheet-safe *is_given* and the *output* is no CSV."""
    if is_given and output != "csv":
        raise UsageError("--spreadsheet-safe is about CSV: add --format csv, or leave it away")


RANKINGS = ("cpu", "rss", "io", "threads")


def ranking(text: str) -> str:
    """Return what `--by` *text* ranks by, of RANKINGS; memory and mem are rss. Raises: ValueError, for typer."""
    name = "rss" if text in {"memory", "mem"} else text
    if name not in RANKINGS:
        raise ValueError(f"{text!r} is not one of {', '.join(map(repr, RANKINGS))}.")
    return name


Ranking = Annotated[
    str,
    typer.Option(
        "--by",
        parser=ranking,
        metavar=f"<{'|'.join(RANKINGS)}>",
        help="Rank by CPU time, peak memory, bytes read and written, or most threads.",
    ),
]


def days(option: str, age: str, *, may_be_forever: bool = True) -> int | None:
    """Return the days of an *age* that a person gave for *option*; None: forever. Raises: UsageError."""
    found = days_of(age) if is_age(age) else 0
    if found == 0 or (found is None and not may_be_forever):
        or_forever = ", or forever" if may_be_forever else ""
        raise UsageError(f"{option} {age}: write days, weeks or years, e.g. 90d, 12w or 2y{or_forever}")
    return found


def time_range(since: str | None, until: str | None) -> TimeRange:
    """Return the range of --since and --until. Raises: UsageError."""
    now = datetime.now(UTC)
    first = None if since is None else parse_instant(since, now)
    last = None if until is None else parse_instant(until, now, first, after_is_dated=is_dated(since or ""))
    if first is not None and last is not None and first > last:
        raise UsageError(f"--since {since} is later than --until {until}")

    from perftrack.reading.queries import TimeRange

    return TimeRange(first, last)


def recent(since: str | None, until: str | None) -> TimeRange:
    """Return the range of --since and --until; without --since it is of 24 hours. Raises: UsageError."""
    span = time_range(since, until)
    return span._replace(since=span.since or (span.until or datetime.now(UTC)) - timedelta(days=1))
