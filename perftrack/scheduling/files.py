"""Files that a scheduler reads: replaced in one step, and told from those that somebody wrote by hand."""

from __future__ import annotations

import os
from contextlib import suppress

from perftrack.errors import PerftrackError
from perftrack.scheduling.schedule import NOTE


def read(path: str) -> str:
    """Return the text of the file at *path*; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(1_000_000)
    except OSError:
        return ""


def replace(path: str, text: str | None) -> None:
    """Let *text* be in the file at *path*, wholly or not at all; None: remove it. Raises: PerftrackError."""
    new = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
    try:
        if text is None:
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(new, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                file.write(text)
            os.chmod(new, 0o644)  # as all of them are; nothing in it is a secret
            os.replace(new, path)
        except OSError:
            with suppress(OSError):
                os.unlink(new)
            raise
    except OSError as error:
        raise PerftrackError(f"{path}: {error.strerror}; nothing was changed") from None


def refuse_what_is_not_ours(*paths: str) -> None:
    """Raise PerftrackError where something that `install` did not write is at one of *paths*."""
    for path in paths:
        if os.path.lexists(path) and NOTE not in read(path):
            raise PerftrackError(f"{path} was not written by `perftrack schedule install`: move it away first")
