"""Which processes of a sample are recorded, and each under which filter string."""

from __future__ import annotations

from perftrack.settings import CGROUP_DEPTH, CGROUP_PATHS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from perftrack.rows import ProcessRow
    from perftrack.settings import Settings


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


class Description:
    """What stays as it is of a process as long as that is the same to the database: its row, as far as it is read."""

    __slots__ = ("denied", "row")

    def __init__(self, row: ProcessRow) -> None:
        self.row = row
        self.denied = False  # some field of it was refused


class Selection:
    """Which processes the settings choose: those whose name contains one of `process_filter` (case-sensitive; the
    first in order counts), the `top` largest by CPU and as many by memory, or `all`.
    """

    __slots__ = ("_settings",)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def text(self) -> str:
        """Return this selection as options of `perftrack record` and, where they are not the usual, settings."""
        settings = self._settings
        words = ["--all"] if settings.all else [f"--filter {text}" for text in settings.process_filter]
        if settings.top and not settings.all:
            words.append(f"--top {settings.top}")
        if not settings.cgroups:
            words.append("cgroups=false")
        elif (settings.cgroup_depth, settings.cgroup_paths) != (CGROUP_DEPTH, list(CGROUP_PATHS)):
            words.append(f"cgroup_depth={settings.cgroup_depth} cgroup_paths={','.join(settings.cgroup_paths)}")
        return " ".join(words)

    def can_choose(self, name: str) -> bool:
        """Return whether a process of this name needs to be measured at all."""
        return self._settings.top > 0 or self.is_certain(name)

    def is_certain(self, name: str) -> bool:
        """Return whether a process of this name is chosen, whatever it uses."""
        return self._settings.all or self.matching_filter(name) is not None

    def matching_filter(self, name: str) -> str | None:
        """Return the first filter string that *name* contains, or None."""
        for text in self._settings.process_filter:
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
        top = self._settings.top
        if self._settings.all:
            extra = others
        elif top:
            everybody = [*chosen.values(), *others]
            by_memory = _largest(top, everybody, lambda candidate: candidate.row["rss_bytes"] or 0)
            extra = _largest(top, everybody, cpu) + by_memory
        else:
            extra = []
        for candidate in extra:
            if candidate.row["pid"] not in chosen:
                candidate.row["filter"] = ""
                chosen[candidate.row["pid"]] = candidate
        return [chosen[pid] for pid in sorted(chosen)]


def _largest(count: int, candidates: list[Candidate], size: Callable[[Candidate], float]) -> list[Candidate]:
    return [candidate for candidate in sorted(candidates, key=size, reverse=True)[:count] if size(candidate) > 0]
