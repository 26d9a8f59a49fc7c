"""What went wrong last with recording, beside the database: for `perftrack status`, and so that cron mails it once.

Not imported by a tick that succeeds and finds no such trace.
"""

from __future__ import annotations

import datetime
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass

from perftrack.errors import PerftrackError
from perftrack.private import create
from perftrack.storage.database import pending_folder
from perftrack.storage.pending import make_folder

# A failure that lasts is told once in this time.
REPORT_AGAIN_SECONDS = 3600


@dataclass(frozen=True)
class Failure:
    """The last failure to record, as the user was told it. Instants are UTC, in ISO 8601 with an offset."""

    message: str
    first_at: str  # of an unbroken series of the same failure
    last_at: str
    reported_at: str  # when the line was last printed, which a cron daemon mails
    count: int  # of that series
    recovered_at: str | None = None  # when a sample was recorded again; None: not since


def last_failure(path: str) -> Failure | None:
    """Return the last failure to record into the database at *path*; None: none, or it is long over."""
    try:
        with open(_file(path), encoding="utf-8") as file:
            return Failure(**json.load(file))
    except (OSError, ValueError, TypeError):  # there is none, it is another user's, or half written
        return None


def note(path: str, error: PerftrackError) -> PerftrackError:
    """Remember *error*, and return it: muted where the same was reported within the hour.

    The same: whatever the figures in its text. Where it cannot be remembered, it is never muted.
    """
    now = datetime.datetime.now(datetime.UTC)
    instant = now.isoformat(timespec="seconds")
    before = last_failure(path)
    failure = Failure(str(error), instant, instant, instant, 1)
    if before is not None and _words(before.message) == _words(failure.message):
        muted = _is_recent(before.reported_at, now)
        failure = Failure(
            message=failure.message,
            first_at=before.first_at if before.recovered_at is None else instant,
            last_at=instant,
            reported_at=before.reported_at if muted else instant,
            count=before.count + 1 if before.recovered_at is None else 1,
        )
        error.muted = muted
    try:
        make_folder(path)
        _write(path, failure)
    except OSError:
        error.muted = False
    return error


def note_success(path: str) -> None:
    """Remember that a sample was recorded. A failure that comes and goes is told once an hour too."""
    failure = last_failure(path)
    now = datetime.datetime.now(datetime.UTC)
    with suppress(OSError):
        if failure is None or not _is_recent(failure.reported_at, now):
            with suppress(FileNotFoundError):
                os.unlink(_file(path))
            os.rmdir(pending_folder(path))  # unless samples are in it
        elif failure.recovered_at is None:
            _write(path, Failure(**asdict(failure) | {"recovered_at": now.isoformat(timespec="seconds")}))


def _file(path: str) -> str:
    return os.path.join(pending_folder(path), "failure.json")


def _words(message: str) -> str:
    return "".join(letter for letter in message if not letter.isdigit())


def _is_recent(instant: str, now: datetime.datetime) -> bool:
    try:
        age = (now - datetime.datetime.fromisoformat(instant)).total_seconds()
    except (ValueError, TypeError):
        return False
    return 0 <= age < REPORT_AGAIN_SECONDS


def _write(path: str, failure: Failure) -> None:
    """Write in place, which needs no room on a full disk; what is half written is no failure. Raises: OSError."""
    text = json.dumps(asdict(failure), ensure_ascii=False, indent=1).encode() + b"\n"
    try:
        descriptor = os.open(_file(path), os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        descriptor = create(_file(path))
    try:
        os.write(descriptor, text)
        os.ftruncate(descriptor, len(text))
    finally:
        os.close(descriptor)
