"""What the first `perftrack record` says on a terminal: what there is now, and how to go on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from perftrack.installation import program
from perftrack.sample import Sample
from perftrack.settings import Settings, usual_config_file

_OPTIONS = {
    "process_filter": "--filter",
    "all": "--all",
    "top": "--top",
    "cpu_window": "--cpu-window",
    "database": "--database",
}


def first_record(sample: Sample, settings: Settings, summary: str) -> list[str]:
    """Return the lines about *sample*, for which the database was created. *summary*: the line of any sample."""
    counts = dict.fromkeys([*settings.process_filter, ""], 0)
    for row in sample.processes:
        counts[row["filter"]] += 1
    others = "others" if settings.all else "of the largest"
    command = [] if os.name == "nt" else [*program(), "record", *_options(settings)]  # where there is no cron
    return lines(settings.database, summary, counts, others, command)


def lines(database: str, summary: str, counts: Mapping[str, int], others: str, command: Sequence[str]) -> list[str]:
    """Return what to say. *counts*: of processes by the filter that selected them; what those under the empty text
    are, *others* says. *command*: the words to record again.
    """
    chosen = [f'{count} by "{text}"' for text, count in counts.items() if text]
    chosen += [f"{counts['']} {others}"] * bool(counts[""])
    said = [f"created the database {database}", ": ".join([summary, ", ".join(chosen)]) if chosen else summary]
    if command:
        # to cron, an unescaped % ends the command, crontab(5)
        line = "* * * * * " + shlex.join(command).replace("%", r"\%")
        said += ["to record every minute, put this line into your crontab (crontab -e):", line]
    return said


def _options(settings: Settings) -> list[str]:
    """Return the options that let cron, which knows nothing of this environment, record the same."""
    words = []
    for name, option in _OPTIONS.items():
        if settings.origins[name].startswith(("option", "environment")):
            value = getattr(settings, name)
            for each in value if isinstance(value, list) else [value]:
                words += [option] * bool(each) if isinstance(each, bool) else [option, str(each)]
    if settings.config_file != usual_config_file():
        words += ["--config", os.path.abspath(settings.config_file)]
    return words
