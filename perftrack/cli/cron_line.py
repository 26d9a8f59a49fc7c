"""`perftrack record` without typer: its options, as a crontab has them, and what it does. A tick imports this."""

from __future__ import annotations

import os
import sys

from perftrack.errors import PassingError, PerftrackError, UsageError
from perftrack.settings import load
from perftrack.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from perftrack.sample import Sample
    from perftrack.settings import Settings

# Each option's name as an argument of record(), its type (a bool takes no value, a list may be repeated), and the
# least that it may be. record.py has the same for typer, with the help; a test compares them.
OPTIONS: dict[str, tuple[str, type, int | None]] = {
    "--every": ("every", str, None),
    "--count": ("count", int, 1),
    "--filter": ("process_filter", list, None),
    "--all": ("everything", bool, None),
    "--top": ("top", int, 0),
    "--cpu-window": ("cpu_window", float, None),
    "--database": ("database", str, None),
    "--config": ("config", str, None),
}


def parse(arguments: list[str]) -> dict[str, Any] | None:
    """Return *arguments* of `perftrack record` as those of record(), None where typer is to judge them.

    That is whatever is not beyond doubt well-formed, and all that asks for help.
    """
    given: dict[str, Any] = {}
    rest = iter(arguments)
    for argument in rest:
        option, equals, text = argument.partition("=")
        if option not in OPTIONS:
            return None
        name, kind, least = OPTIONS[option]
        if kind is not bool and not equals:
            text = next(rest, "-")
        value = _value(kind, text, is_given=bool(equals))
        if value is None or (least is not None and value < least):
            return None
        given[name] = given.get(name, []) + value if kind is list else value
    return given


def _value(kind: type, text: str, *, is_given: bool) -> Any:
    """Return *text* as a *kind* of value; None where that may be wrong. *is_given*: behind an equals sign."""
    if kind is bool:
        return None if is_given else True
    if not text.isprintable() or (text.startswith("-") and not is_given):  # no valid text maybe; the next option
        return None
    if kind in {int, float}:
        digits = text.replace(".", "", 1) if kind is float else text
        return kind(text) if digits.isascii() and digits.isdigit() and len(digits) < 16 else None
    return [text] if kind is list else text


def record(
    every: str | None = None,
    count: int | None = None,
    process_filter: list[str] | None = None,
    everything: bool | None = None,
    top: int | None = None,
    cpu_window: float | None = None,
    database: str | None = None,
    config: str | None = None,
) -> None:
    """Record one sample, or one *every* so often; say on a terminal what was done. Raises: PerftrackError."""
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
    is_shown = sys.stdout.isatty()
    is_first = is_shown and not os.path.lexists(settings.database)
    try:
        for outcome in _outcomes(settings, every, count):
            if isinstance(outcome, PassingError):
                from perftrack.storage import failures

                if failures.note_error(outcome, on_a_terminal=sys.stderr.isatty()):
                    tell(str(outcome))
            elif is_shown:
                for line in _lines(outcome, settings, is_first=is_first):
                    print(printable(line))
                is_first = False
    except PerftrackError as error:
        error.database = settings.database
        raise


def tell(line: str) -> None:
    """Print a line about what is being done, where output would be in the way."""
    print(f"perftrack: {printable(line)}", file=sys.stderr)


def say(line: str) -> None:
    """Print what was done, on a terminal: a success under cron prints nothing."""
    if sys.stdout.isatty():
        print(printable(line))


def _outcomes(settings: Settings, every: str | None, count: int | None) -> Iterable[Sample | PassingError]:
    from perftrack.recording.recorder import record_every, record_one

    if every is None:
        if count is not None:
            raise UsageError("--count needs --every")
        return [record_one(settings, tell)]

    from perftrack.timerange import parse_duration, require_time

    seconds = parse_duration(every).total_seconds()
    require_time(every, seconds, settings.cpu_window, "--cpu-window")
    return record_every(settings, seconds, count, tell)


def _lines(sample: Sample, settings: Settings, *, is_first: bool) -> list[str]:
    cpu = sample.system["cpu_percent"]
    summary = (
        f"recorded {len(sample.processes)} of {sample.system['processes_seen']} processes"
        f" at {sample.system['taken_at_local'][:19]}{'' if cpu is None else f', CPU {cpu} %'}"
    )
    if not is_first:
        return [f"{summary}, in {settings.database}"]

    from perftrack.cli.first_record import first_record

    return first_record(sample, settings, summary)
