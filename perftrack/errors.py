"""The errors that a user sees: one line each, with what to do, and an exit code. Imported by every stage."""

from __future__ import annotations

import sqlite3


class PerftrackError(Exception):
    """Something failed; the message is the whole line that the user sees."""

    exit_code = 1
    database: str | None = None  # the path of the one that was not recorded into, once it is known


class UsageError(PerftrackError):
    """A wrong option, argument, setting or environment variable."""

    exit_code = 2


class UnusableError(PerftrackError):
    """The database takes no sample as it is; one that was taken is kept beside it (storage/pending.py)."""

    def __init__(self, message: str, *, database: str | None = None, kept: bool | None = None) -> None:
        """*kept*: whether the sample that was taken for the *database* is kept, or else lost; None: none was."""
        super().__init__(message)
        self.database = database
        self.kept = kept


class PassingError(UnusableError):
    """Something outside is in the way now, and may be gone at the next sample: a loop goes on."""


class ClosedPipeError(Exception):
    """Whoever reads stdout has seen enough (`| head`)."""


class BusyError(PassingError):
    """What is needed is held by others, or away; the same command can succeed later (EX_TEMPFAIL of sysexits.h)."""

    exit_code = 75


# SQLite's primary result codes (https://sqlite.org/rescode.html) and what to do about each.
_BUSY = (5, 6)
_PASSING = (10, 13)
_UNUSABLE = (3, 8, 11, 14, 26)
_ADVICE = {
    3: "permission denied: run as its owner or change its permissions",
    8: "it is read-only for this user: run as its owner or change the permissions of the file and its folder",
    10: "the disk reported an error: check the disk and the system log",
    # not every shell can: that of Debian 12 is built without what .recover needs
    11: "it is damaged: keep it, and restore a copy, or move it away to start a new one; `sqlite3 FILE .recover | "
    "sqlite3 NEW` may save what is in it, where that shell can",
    13: "the disk is full: make room and run again",
    14: "it cannot be opened: check that its folder exists and that this user may read and write there",
    26: "it is not a SQLite database: name another file, or move this one away",
}


def explain(error: sqlite3.Error, database: str) -> PerftrackError:
    """Return *error* of SQLite as the error that a user of *database* sees."""
    code = getattr(error, "sqlite_errorcode", 1) & 0xFF
    if code in _BUSY:
        return BusyError(f"database {database} is locked by another program; try again later")
    advice = _ADVICE.get(code, error)
    kind = PassingError if code in _PASSING else UnusableError if code in _UNUSABLE else PerftrackError
    return kind(f"database {database}: {advice}")
