"""Progress of long work: how much is done, of how much."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Ignore progress, where nobody watches."""
