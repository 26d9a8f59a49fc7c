"""`perftrack ship`: bring what is new to the centre of a fleet."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from perftrack.cli import options
from perftrack.cli.cron_line import say, tell
from perftrack.cli.progress import progress_bar
from perftrack.errors import PassingError, UsageError
from perftrack.figures import count
from perftrack.settings import load
from perftrack.timerange import parse_duration


def ship(
    to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The centre, instead of what the setting ship_to says: postgresql://ROLE@HOST/DATABASE. The "
            "password is in ~/.pgpass.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Go on shipping, every 10m, 1h, ... until Ctrl-C.", show_default=False),
    ] = None,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Ship what is new to the centre of a fleet, a PostgreSQL database.

    The centre knows how far this database is there: whatever is killed or lost, each sample arrives once. Samples go
    as intervals, about 20,000 rows a transaction. `perftrack fleet` makes the centre. How far it is, and why a ship
    failed, stays in this database as a hint, for `perftrack status`. Where no terminal reads it, a failure that lasts
    is printed once an hour.
    """
    settings = load({"database": database, "ship_to": to}, config)
    if not settings.ship_to:
        raise UsageError("where to? --to postgresql://ROLE@HOST/DATABASE, or set ship_to")
    if every is None:
        raise typer.Exit(_once(settings.database, settings.ship_to))
    seconds = parse_duration(every).total_seconds()

    from perftrack.recording.recorder import stop_event

    with stop_event() as stop:
        while True:
            _once(settings.database, settings.ship_to)
            if stop.wait(seconds):
                return


def _once(database: str, url: str) -> int:
    """Ship, tell what is in the way now, unless cron was told in this hour, and return the exit code.

    Raises: PerftrackError for what does not pass by itself.
    """
    from perftrack.fleet import hint
    from perftrack.fleet.connecting import address
    from perftrack.fleet.ship import ship as ship_to

    before = hint.last_failure(database)
    try:
        with progress_bar("shipping samples") as progress:
            done = ship_to(database, url, progress)
    except PassingError as error:
        if sys.stderr.isatty() or hint.is_news(before, str(error)):
            tell(str(error))
        return error.exit_code
    if done.said:
        tell(done.said)
    what = f"{count(done.samples, 'sample')}, {count(done.rows, 'row')}" if done.samples else "nothing new"
    say(f"{what} to {address(url)}")
    return 0
