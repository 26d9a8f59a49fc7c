"""What the first `perftrack record` says on a terminal: what there is now, and how to go on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from perftrack.installation import program
from perftrack.sample import Sample
from perftrack.scheduling.job import options, where_options
from perftrack.settings import Settings


def first_record(sample: Sample, settings: Settings, summary: str) -> list[str]:
    """Return the lines about *sample*, for which the database was created. *summary*: the line of any sample."""
    counts = dict.fromkeys([*settings.process_filter, ""], 0)
    for row in sample.processes:
        counts[row["filter"]] += 1
    others = "others" if settings.all else "of the largest"
    command = [] if os.name == "nt" else [*program(), "record", *options(settings)]  # where there is no cron
    # of what is chosen by options alone, a schedule that is installed knows nothing
    is_chosen_here = any(
        settings.origins[name] == "option" for name in ("process_filter", "all", "top", "cpu_window")
    )
    install = [] if is_chosen_here else [*program(), "schedule", "install", *where_options(settings)]
    return lines(settings.database, summary, counts, others, install, command)


def lines(
    database: str,
    summary: str,
    counts: Mapping[str, int],
    others: str,
    install: Sequence[str],
    command: Sequence[str],
) -> list[str]:
    """Return what to say. *counts*: of processes by the filter that selected them; what those under the empty text
    are, *others* says. *install*: the words to have it recorded; *command*: the words to record again.
    """
    chosen = [f'{count} by "{text}"' for text, count in counts.items() if text]
    chosen += [f"{counts['']} {others}"] * bool(counts[""])
    said = [f"created the database {database}", ": ".join([summary, ", ".join(chosen)]) if chosen else summary]
    ways = [f"run `{shlex.join(install)}`"] * bool(install)
    ways += ["put this line into your crontab (crontab -e):"] * bool(command)
    if ways:
        said.append(f"to record every minute, {', or '.join(ways)}")
    if command:
        # to cron, an unescaped % ends the command, crontab(5)
        said.append("* * * * * " + shlex.join(command).replace("%", r"\%"))
    return said
