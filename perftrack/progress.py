"""What long work tells how far it is: how much is done, of how much."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


def unheard(done: int, total: int) -> None:
    """Take what is told, where nobody wants to know it."""
