"""`perftrack record` for typer, which gives help and errors: what is well-formed goes straight to cron_line.py."""

from __future__ import annotations

from typing import Annotated

import typer

from perftrack.cli import cron_line, options


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
    cron_line.record(every, count, process_filter, everything, top, cpu_window, database, config)
