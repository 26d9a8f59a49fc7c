"""`perftrack purge`: condense and remove what is old, now."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import typer

from perftrack.cli import options
from perftrack.cli.progress import progress_bar
from perftrack.figures import count, size
from perftrack.settings import load


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

    Of what is older than the setting keep_every_sample (90d) one sample an hour stays, and what processes ended in
    it; no sum and no peak is lost. What is older than keep_hourly (forever) is removed. Every tick of `perftrack
    record` does a piece of that by itself. What `perftrack import` read is left alone. Where ship_to is set, what was
    not shipped yet is left for 30 days longer.
    """
    if older_than is not None:
        options.days("--older-than", older_than, may_be_forever=False)
    settings = load({"database": database}, config)

    from perftrack.reading.queries import stored_text
    from perftrack.storage import retention, schema
    from perftrack.storage.sqlite_file import connect, readable_errors
    from perftrack.upkeep.purge import due, purge_all, release

    now = stored_text(datetime.now(UTC))
    ages = settings.keep_every_sample, older_than or settings.keep_hourly
    path = settings.database
    schema.refuse_outdated(path)
    with readable_errors(path), closing(connect(path, read_only=dry_run)) as connection:
        unshipped = retention.oldest_unshipped(connection, settings)
        condense_before, purge_before = (retention.before(now, age, unshipped) for age in ages)
        waiting = 0
        if unshipped is not None:
            of_age = due(connection, *(retention.before(now, age) for age in ages))
            waiting = sum(of_age) - sum(due(connection, condense_before, purge_before))
        if dry_run:
            print(_would(*due(connection, condense_before, purge_before)))
            _tell_waiting(waiting)
            return
        with progress_bar("purging samples") as progress:
            done = purge_all(connection, condense_before, purge_before, progress)
    released = release(path) if vacuum else 0
    if done.is_nothing:
        print("nothing is old enough to be condensed or removed")
    else:
        print(f"{count(done.samples_before, 'sample')} became {done.samples_after:,}, ", end="")
        print(f"{count(done.process_rows_before, 'process row')} {done.process_rows_after:,}")
    _tell_waiting(waiting)
    if vacuum:
        print(f"the file is {size(released)} smaller")
    elif done.free_bytes:
        print(f"{size(done.free_bytes)} of the file are free, and will be used again; --vacuum gives them back")


def _tell_waiting(samples: int) -> None:
    if samples > 0:
        from perftrack.storage.retention import UNSHIPPED_DAYS

        print(f"not shipped yet, and left for {UNSHIPPED_DAYS} days longer: {count(samples, 'sample')}")


def _would(condensed: int, removed: int) -> str:
    if not (condensed or removed):
        return "nothing is old enough to be condensed or removed"
    parts = [f"condense {count(condensed, 'sample')}"] * bool(condensed)
    parts += [f"remove {count(removed, 'sample')}"] * bool(removed)
    return f"would {' and '.join(parts)}"
