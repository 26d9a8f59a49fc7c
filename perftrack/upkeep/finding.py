"""What `perftrack database check` finds, one line each."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that was looked at. *ok*: None where it could not be looked at, as the *text* says, or needs not be.

    *text*: where it is not as it should be, what is wrong and what to do.
    """

    name: str
    ok: bool | None
    text: str
