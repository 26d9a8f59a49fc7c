"""What went wrong lately with recording, beside the database: for `perftrack status`, and so that cron mails it once.

Not imported by a tick that succeeds and finds no trace of a failure that is not over.
"""

from __future__ import annotations

import datetime
import json
import os
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from perftrack import private
from perftrack.errors import PerftrackError
from perftrack.settings import default_database
from perftrack.storage import pending
from perftrack.storage.database import failures_file, pending_folder

# A failure that lasts is told once in this time, and one that comes again within it has not been over.
REPORT_AGAIN_SECONDS = 3600
# One block of a disk: written at once, so never in part, and where it is once, there is room for it for ever.
FILE_BYTES = 4096
MESSAGE_LETTERS = 500
_TYPES = [str, int, int, int]
# No link that another user may have put there is followed, and no named pipe is waited for.
_CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True)
class Failure:
    """A failure to record, as the user was told it. Instants are UTC, in ISO 8601 with an offset."""

    message: str
    first_at: str
    last_at: str
    reported_at: str  # when the line was last printed, which a cron daemon mails
    count: int
    kept: int  # so many samples wait, or waited, beside the database
    lost: int  # so many samples could not be kept either
    recovered_at: str | None = None  # when a sample was recorded again; None: not since, or nobody can tell


def failures(path: str) -> list[Failure]:
    """Return the newest failures to record into the database at *path*, the newest last."""
    try:
        descriptor = os.open(failures_file(path), os.O_RDONLY | _CAREFULLY)
    except OSError:  # there were none, or they are another user's
        return []
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return []
        lines = os.read(descriptor, FILE_BYTES).splitlines()
    finally:
        os.close(descriptor)
    found = []
    for line in lines:
        with suppress(ValueError, TypeError, RecursionError):  # not ours, or of another perftrack
            failure = Failure(**json.loads(line))
            for instant in (failure.first_at, failure.last_at, failure.reported_at, failure.recovered_at):
                _age_seconds(instant or failure.last_at)
            if [type(value) for value in (failure.message, failure.count, failure.kept, failure.lost)] == _TYPES:
                found.append(failure)
    return found


def note(path: str, error: PerftrackError) -> PerftrackError:
    """Remember *error*, and return it: muted where the same was reported within the hour.

    The same: whatever the figures in its text. Where it cannot be remembered, it is never muted. Ticks that fail at
    the very same moment may count as one.
    """
    _note(path, error)
    with suppress(OSError):
        pending.make_folder(path)  # by which the next tick that succeeds knows that there is something to end
    return error


def note_no_database(error: PerftrackError) -> None:
    """Do the same with an *error* that came before the database was known, or that is not to be noted beside it.

    It is remembered in the user's data folder, beside the database that would be used by default.
    """
    with suppress(PerftrackError, OSError):  # this user has no such folder
        path = default_database()
        private.make_folder(os.path.dirname(path))
        _note(path, error)


def note_success(path: str) -> None:
    """Remember that a sample was recorded, and remove the trace that later ticks would look after."""
    found = failures(path)
    with suppress(OSError):
        if any(failure.recovered_at is None for failure in found):
            _write(path, [replace(failure, recovered_at=failure.recovered_at or _now()) for failure in found])
        os.rmdir(pending_folder(path))  # unless something is in it


def _note(path: str, error: PerftrackError) -> None:
    found = failures(path)
    message = str(error)[:MESSAGE_LETTERS]
    before = next((failure for failure in reversed(found) if _words(failure.message) == _words(message)), None)
    now = _now()
    failure = Failure(message, now, now, now, 1, int(error.kept is True), int(error.kept is False))
    muted = False
    if before is not None:
        muted = _is_recent(before.reported_at)
        if muted:
            failure = replace(failure, reported_at=before.reported_at)
        if before.recovered_at is None or _is_recent(before.recovered_at):
            found.remove(before)
            failure = replace(
                failure,
                first_at=before.first_at,
                count=before.count + 1,
                kept=before.kept + failure.kept,
                lost=before.lost + failure.lost,
            )
    with suppress(OSError):
        _write(path, [*found, failure])
        error.noted, error.muted = True, muted


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _words(message: str) -> str:
    return "".join(letter for letter in message if not letter.isdigit())


def _is_recent(instant: str) -> bool:
    return 0 <= _age_seconds(instant) < REPORT_AGAIN_SECONDS


def _age_seconds(instant: str) -> float:
    """Return how long *instant* is ago. Raises: ValueError, TypeError where it is none."""
    return (datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(instant)).total_seconds()


def _write(path: str, found: list[Failure]) -> None:
    """Write the newest of *found*, as many as there is room for. Raises: OSError."""
    text = b""
    for failure in reversed(found):
        line = json.dumps(asdict(failure), ensure_ascii=False).encode(errors="surrogatepass") + b"\n"
        if len(line) + len(text) > FILE_BYTES:
            break
        text = line + text
    file = failures_file(path)
    try:
        descriptor = os.open(file, os.O_WRONLY | _CAREFULLY)
    except FileNotFoundError:
        descriptor = private.create(file)
        private.give_to_owner_of(path, file)
    try:
        os.write(descriptor, text.ljust(FILE_BYTES, b"\n"))
    finally:
        os.close(descriptor)
