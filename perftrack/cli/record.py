"""`perftrack record` with options; without any, the cron line, __main__ goes straight to the recorder."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from perftrack.cli import options
from perftrack.errors import UsageError
from perftrack.settings import load
from perftrack.text import printable
from perftrack.timerange import parse_duration


def record(
    every: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Go on recording, a sample every 10s, 1m, ... until Ctrl-C or SIGTERM.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="With --every: end after N samples.", show_default=False),
    ] = None,
    process_filter: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="TEXT",
            help="Record processes whose name contains TEXT, instead of the configured ones; may be repeated.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[
        bool | None, typer.Option("--all", help="Record every process.", show_default=False)
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Also record the N largest processes by CPU and by memory, whatever their names. With "
            "--cpu-window 0, CPU is compared over 0.2 s.",
            show_default=False,
        ),
    ] = None,
    cpu_window: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long to measure CPU percentages. 0: do not wait, measure since the previous sample.",
            show_default=False,
        ),
    ] = None,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Record one sample of this machine and of its chosen processes.

    Made for a crontab: `* * * * * perftrack record` prints nothing when it succeeds. The first run creates the
    database. What is recorded by default is set in the config file; see `perftrack config show`.
    """
    settings = load(
        {
            "database": database,
            "process_filter": process_filter or None,
            "all": everything,
            "top": top,
            "cpu_window": cpu_window,
        },
        config,
    )
    from perftrack.recording.recorder import record_every, record_one

    if every is None:
        if count is not None:
            raise UsageError("--count needs --every")
        _report(record_one(settings))
        return
    seconds = parse_duration(every).total_seconds()
    if seconds <= settings.cpu_window:
        raise UsageError(
            f"--every {every} leaves no time between samples that take {settings.cpu_window:g} s each; "
            "make it longer, or --cpu-window shorter"
        )
    for outcome in record_every(settings, seconds, count):
        if isinstance(outcome, str):
            _report(outcome)
        else:
            from perftrack.storage import failures

            if failures.note_error(outcome, on_a_terminal=sys.stderr.isatty()):
                print(f"perftrack: {printable(str(outcome))}", file=sys.stderr)


def _report(line: str) -> None:
    if sys.stdout.isatty():
        print(printable(line))
