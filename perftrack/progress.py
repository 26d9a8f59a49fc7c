"""How long work says how far it is: what it is given is told how much is done, of how much."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


def unheard(done: int, total: int) -> None:
    """Be what is told where nobody wants to know."""
