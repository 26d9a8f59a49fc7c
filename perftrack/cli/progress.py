"""A progress bar for long work: on a terminal's stderr, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from perftrack.progress import Progress, no_progress
from perftrack.text import printable


@contextmanager
def progress_bar(what: str, *, shown: bool = True) -> Generator[Progress]:
    """Yield a function that is told how much is done, of how much."""
    if not (shown and sys.stderr.isatty()):
        yield no_progress
        return

    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=console.is_dumb_terminal) as progress:
        task = progress.add_task(escape(printable(what)), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
