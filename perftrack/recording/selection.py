"""Which processes and control groups of a sample are recorded, and a process under which filter string."""

from __future__ import annotations

from perftrack.settings import CGROUP_DEPTH, CGROUP_PATHS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from perftrack.rows import ProcessRow


class Candidate:
    """A process while a sample is taken: its row, as far as it is read, and what only the sampler needs."""

    __slots__ = ("denied", "ended", "read_uptime_seconds", "row", "started_uptime_seconds", "zombie")

    def __init__(
        self,
        row: ProcessRow,
        read_uptime_seconds: float,
        started_uptime_seconds: float | None = None,
        *,
        zombie: bool = False,
    ) -> None:
        """*read_uptime_seconds*: when its counters were read, as time since boot; *started_uptime_seconds*: when it
        started (None: refused).
        """
        self.row = row
        self.read_uptime_seconds = read_uptime_seconds
        self.started_uptime_seconds = started_uptime_seconds
        self.zombie = zombie
        self.denied = False  # some field of it was refused
        self.ended = False  # before its counters could be read once more


class Selection:
    """The processes whose name contains one of *filters* (case-sensitive; the first in order counts), the *top*
    largest by CPU and the *top* largest by memory, or *everything*. And which control groups, see `read_cgroups`.
    """

    __slots__ = ("cgroup_depth", "cgroup_paths", "cgroups", "everything", "filters", "top")

    def __init__(
        self,
        filters: Sequence[str],
        *,
        top: int = 0,
        everything: bool = False,
        cgroups: bool = True,
        cgroup_depth: int = CGROUP_DEPTH,
        cgroup_paths: Sequence[str] = CGROUP_PATHS,
    ) -> None:
        """*top*: how many of each ranking, 0 for none."""
        self.filters = filters
        self.top = top
        self.everything = everything
        self.cgroups = cgroups
        self.cgroup_depth = cgroup_depth
        self.cgroup_paths = cgroup_paths

    def text(self) -> str:
        """Return this selection as options of `perftrack record` and, where they are not the usual, settings."""
        words = ["--all"] if self.everything else [f"--filter {text}" for text in self.filters]
        if self.top and not self.everything:
            words.append(f"--top {self.top}")
        if not self.cgroups:
            words.append("cgroups=false")
        elif (self.cgroup_depth, list(self.cgroup_paths)) != (CGROUP_DEPTH, list(CGROUP_PATHS)):
            words.append(f"cgroup_depth={self.cgroup_depth} cgroup_paths={','.join(self.cgroup_paths)}")
        return " ".join(words)

    def can_choose(self, name: str) -> bool:
        """Return whether a process of this name needs to be measured at all."""
        return bool(self.everything or self.top) or self.matching_filter(name) is not None

    def matching_filter(self, name: str) -> str | None:
        """Return the first filter string that *name* contains, or None."""
        for text in self.filters:
            if text in name:
                return text
        return None

    def choose(self, candidates: Iterable[Candidate], cpu: Callable[[Candidate], float]) -> list[Candidate]:
        """Return the chosen in ascending PID, the row of each with its `filter` (empty: another reason).

        *cpu* gives a process's CPU consumption for the ranking.
        """
        chosen: dict[int, Candidate] = {}
        others: list[Candidate] = []
        for candidate in candidates:
            text = self.matching_filter(candidate.row["name"])
            if text is None:
                others.append(candidate)
            else:
                candidate.row["filter"] = text
                chosen[candidate.row["pid"]] = candidate
        if self.everything:
            extra = others
        elif self.top:
            everybody = [*chosen.values(), *others]
            extra = _largest(self.top, everybody, cpu) + _largest(
                self.top, everybody, lambda candidate: candidate.row["rss_bytes"] or 0
            )
        else:
            extra = []
        for candidate in extra:
            if candidate.row["pid"] not in chosen:
                candidate.row["filter"] = ""
                chosen[candidate.row["pid"]] = candidate
        return [chosen[pid] for pid in sorted(chosen)]


def _largest(count: int, candidates: list[Candidate], size: Callable[[Candidate], float]) -> list[Candidate]:
    return [candidate for candidate in sorted(candidates, key=size, reverse=True)[:count] if size(candidate) > 0]
