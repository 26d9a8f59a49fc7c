"""Which processes of a sample are recorded, and under which filter string."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from perftrack.sample import Row


class Selection:
    """The processes whose name contains one of *filters* (case-sensitive; the first in order counts), the *top*
    largest by CPU and the *top* largest by memory, or *everything*.
    """

    __slots__ = ("everything", "filters", "top")

    def __init__(self, filters: Sequence[str], *, top: int = 0, everything: bool = False) -> None:
        """*top*: how many of each ranking, 0 for none."""
        self.filters = filters
        self.top = top
        self.everything = everything

    def options(self) -> str:
        """Return this selection as options of `perftrack record`."""
        if self.everything:
            return "--all"
        parts = [f"--filter {text}" for text in self.filters]
        return " ".join([*parts, f"--top {self.top}"] if self.top else parts)

    def can_choose(self, name: str) -> bool:
        """Return whether a process of this name needs to be measured at all."""
        return bool(self.everything or self.top) or self.matching_filter(name) is not None

    def matching_filter(self, name: str) -> str | None:
        """Return the first filter string that *name* contains, or None."""
        for text in self.filters:
            if text in name:
                return text
        return None

    def choose(self, rows: Iterable[Row], cpu: Callable[[Row], float]) -> list[Row]:
        """Return the chosen of *rows* in ascending PID, each marked with its `filter` (empty: another reason).

        *cpu* tells a process's CPU consumption for the ranking.
        """
        chosen: dict[int, Row] = {}
        others: list[Row] = []
        for row in rows:
            text = self.matching_filter(row["name"])
            if text is None:
                others.append(row)
            else:
                row["filter"] = text
                chosen[row["pid"]] = row
        if self.everything:
            extra = others
        elif self.top:
            everybody = [*chosen.values(), *others]
            extra = _largest(self.top, everybody, cpu) + _largest(
                self.top, everybody, lambda row: row["rss_bytes"] or 0
            )
        else:
            extra = []
        for row in extra:
            if row["pid"] not in chosen:
                row["filter"] = ""
                chosen[row["pid"]] = row
        return [chosen[pid] for pid in sorted(chosen)]


def _largest(count: int, rows: list[Row], size: Callable[[Row], float]) -> list[Row]:
    return [row for row in sorted(rows, key=size, reverse=True)[:count] if size(row) > 0]
