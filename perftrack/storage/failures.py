"""What went wrong lately with recording, beside the database: for `perftrack status`, and so that cron mails it once.

Not imported by a tick that succeeds and finds no failure that is not over.
"""

from __future__ import annotations

import datetime
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from perftrack import private
from perftrack.errors import PerftrackError, UnusableError
from perftrack.settings import default_database
from perftrack.storage.sqlite_file import failures_file

# A failure that lasts is printed once in this time, and one that comes again within it has not been over.
REPORT_AGAIN_SECONDS = 3600
# One block of a disk: written at once, so never in part, and where it is once, there is room for it for ever.
FILE_BYTES = 4096
MESSAGE_LETTERS = 500
_TYPES = [str, int, int, int, str]


@dataclass(frozen=True)
class Failure:
    """A failure to record, as the user read it. Instants are UTC, in ISO 8601 with an offset."""

    message: str
    first_at: str
    last_at: str
    reported_at: str  # when the line was last printed, which a cron daemon mails
    count: int
    kept: int  # so many samples wait, or waited, beside the database
    lost: int  # so many samples could not be kept either
    database: str | None = None  # that could not be recorded into; None: the one this file is beside; empty: unknown
    recovered_at: str | None = None  # when a sample was recorded again; None: not since (store.py looks for this)


def failures(path: str) -> list[Failure]:
    """Return the newest failures to record into the database at *path*, the newest last."""
    try:
        lines = private.read(failures_file(path), FILE_BYTES).splitlines()
    except OSError:  # there were none, or they are another user's
        return []
    found = []
    for line in lines:
        with suppress(ValueError, TypeError, RecursionError):  # not ours, or of another perftrack
            failure = Failure(**json.loads(line))
            for instant in (failure.first_at, failure.last_at, failure.reported_at, failure.recovered_at):
                _age_seconds(instant or failure.last_at)
            values = failure.message, failure.count, failure.kept, failure.lost, failure.database or ""
            if [type(value) for value in values] == _TYPES:
                found.append(failure)
    return found


def note_error(error: PerftrackError, *, on_a_terminal: bool) -> bool:
    """Note the *error* that `perftrack record` met, and return whether to print it.

    One that came before the database was known, or that is not to be noted beside it, is noted in the user's data
    folder, beside the database that would be used by default, unless somebody has just typed it on a terminal.
    """
    if isinstance(error, UnusableError) and error.database is not None and error.kept is not None:
        return note(error.database, str(error), kept=error.kept) or on_a_terminal
    if on_a_terminal:
        return True
    try:
        path = default_database()
        private.make_folder(os.path.dirname(path))
    except (PerftrackError, OSError):  # this user has no such folder
        return True
    return note(path, str(error), database=None if error.database == path else error.database or "")


def note(path: str, line: str, *, kept: bool | None = None, database: str | None = None) -> bool:
    """Note a failure to record into the database at *path*; return whether it is news, and so to be printed.

    It is no news where the same line, whatever the numbers in it, was printed within the hour. What cannot be noted
    is always news. *kept*: whether a sample was kept, or else lost; None: there was none. Ticks that fail at the very
    same instant may count as one. *database*: as Failure has it.
    """
    noted = failures(path)
    message = line[:MESSAGE_LETTERS]
    same = (
        each
        for each in reversed(noted)
        if (without_numbers(each.message), each.database) == (without_numbers(message), database)
    )
    before = next(same, None)
    now = _now()
    failure = Failure(message, now, now, now, 1, int(kept is True), int(kept is False), database)
    is_news = before is None or not _is_recent(before.reported_at)
    if before is not None:
        if not is_news:
            failure = replace(failure, reported_at=before.reported_at)
        if before.recovered_at is None or _is_recent(before.recovered_at):
            noted.remove(before)
            failure = replace(
                failure,
                first_at=before.first_at,
                count=before.count + 1,
                kept=before.kept + failure.kept,
                lost=before.lost + failure.lost,
            )
    try:
        _write(path, [*noted, failure])
    except OSError:
        return True
    return is_news


def note_success(path: str) -> None:
    """Note that a sample was recorded: whatever failed before is over, and of other databases is soon forgotten."""
    now = _now()
    noted = [
        failure if failure.database else replace(failure, recovered_at=failure.recovered_at or now)
        for failure in failures(path)
        if not failure.database or _is_recent(failure.last_at)
    ]
    with suppress(OSError):
        _write(path, noted)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def without_numbers(message: str) -> str:
    """Return *message* without digits, by which two lines tell of the same failure."""
    return "".join(letter for letter in message if not letter.isdigit())


def _is_recent(instant: str) -> bool:
    return 0 <= _age_seconds(instant) < REPORT_AGAIN_SECONDS


def _age_seconds(instant: str) -> float:
    """Return how long *instant* is ago. Raises: ValueError, TypeError where it is none."""
    return (datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(instant)).total_seconds()


def _write(path: str, noted: list[Failure]) -> None:
    """Write the newest of *noted*, as many as there is room for. Raises: OSError."""
    text = b""
    for failure in reversed(noted):
        line = json.dumps(asdict(failure), ensure_ascii=False).encode(errors="surrogatepass") + b"\n"
        if len(line) + len(text) > FILE_BYTES:
            break
        text = line + text
    file = failures_file(path)
    try:
        descriptor = os.open(file, os.O_WRONLY | private.CAREFULLY)
    except FileNotFoundError:
        descriptor = private.create(file)
        private.give_to_owner_of(path, file)
    try:
        os.write(descriptor, text.ljust(FILE_BYTES, b"\n"))
    finally:
        os.close(descriptor)
