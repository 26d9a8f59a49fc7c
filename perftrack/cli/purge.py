"""`perftrack purge`: condense and remove what is old, now."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import typer

from perftrack.cli import options
from perftrack.cli.progress import progress_bar
from perftrack.cli.show import count, size
from perftrack.errors import UsageError
from perftrack.settings import days_of, is_age, load
from perftrack.text import printable


def purge(
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="AGE",
            help="Remove what was recorded longer ago than 90d, 12w or 2y, instead of what keep_hourly says.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, and do nothing.")] = False,
    vacuum: Annotated[
        bool, typer.Option("--vacuum", help="Give what is free in the file back to the disk. It takes a while.")
    ] = False,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Condense and remove what is old, now.

    Of what is older than the setting keep_every_sample (90d) one sample an hour stays, and what processes ended in it;
    no sum and no peak is lost. What is older than keep_hourly (forever) is removed. Every tick of `perftrack record`
    does a piece of that by itself. What `perftrack import` read is left alone.
    """
    if older_than is not None and (not is_age(older_than) or days_of(older_than) is None):
        raise UsageError(f"--older-than {older_than}: write days, weeks or years, e.g. 90d, 12w or 2y")
    settings = load({"database": database}, config)

    from perftrack.storage import bounds, purge_all, schema
    from perftrack.storage.sqlite_file import connect, explained

    now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    purge_before = bounds.before(now, older_than or settings.keep_hourly)
    condense_before = bounds.before(now, settings.keep_every_sample)
    path = settings.database
    schema.refuse_outdated(path)
    with explained(path), closing(connect(path, read_only=dry_run)) as connection:
        if dry_run:
            due = purge_all.due(connection, condense_before, purge_before)
            print(printable(_would(due.condensed, due.removed)))
            return
        with progress_bar("purging samples") as progress:
            done = purge_all.purge_all(connection, condense_before, purge_before, progress)
        released = purge_all.release(connection) if vacuum else 0
    samples = f"{count(done.samples_before, 'sample')} are {done.samples_after:,} now"
    rows = f"{count(done.process_rows_before, 'process row')} {done.process_rows_after:,}"
    if done.samples_before == done.samples_after and not done.orphans:
        print("nothing is old enough to be condensed or removed" if not vacuum else f"freed {size(released)}")
        return
    free = f"the file is {size(released)} smaller" if vacuum else f"{size(done.free_bytes)} of the file are free"
    hint = "" if vacuum else ", and will be used again; --vacuum gives them back to the disk"
    print(f"{samples}, {rows}; {free}{hint}")


def _would(condensed: int, removed: int) -> str:
    if not (condensed or removed):
        return "nothing is old enough to be condensed or removed"
    parts = [f"condense {count(condensed, 'sample')}"] * bool(condensed)
    parts += [f"remove {count(removed, 'sample')}"] * bool(removed)
    return f"would {' and '.join(parts)}"
