"""CPU percentages from two readings of the counters."""

from __future__ import annotations

from perftrack.sample import CPU_COUNTERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from perftrack.recording.selection import Candidate
    from perftrack.rows import SystemRow
    from perftrack.sample import Baseline

# The kernel rounds start times down to its clock ticks.
_START_PRECISION_SECONDS = 0.01


def of_process(candidate: Candidate, baseline: Baseline | None) -> float | None:
    """Return CPU time since *baseline*, or since its start if that was later, in percent of one CPU."""
    row, started = candidate.row, candidate.started_uptime_seconds
    user_ms, system_ms = row["cpu_user_ms"], row["cpu_system_ms"]
    if baseline is None or candidate.ended or user_ms is None or system_ms is None:
        return None
    counted = baseline.processes.get((row["pid"], row["started_ticks"]))
    if counted is None:
        if started is None or started + _START_PRECISION_SECONDS < baseline.uptime_seconds:
            return None  # it ran at the baseline already, but was not recorded then
        counted = (0, started)
    cpu_ms_before, read_before = counted
    return _percent(user_ms + system_ms - cpu_ms_before, (candidate.read_uptime_seconds - read_before) * 1000)


def of_system(cpu: SystemRow, baseline: Baseline | None) -> float | None:
    """Return busy time since *baseline* in percent of all CPUs; iowait is not busy, steal is (as in psutil)."""
    if baseline is None or None in (cpu["cpu_idle_ms"], baseline.cpu["cpu_idle_ms"]):
        return None
    spent = (after - before for before, after in zip(_cpu_ms(baseline.cpu), _cpu_ms(cpu), strict=True))
    user, system, idle, iowait, steal = spent
    iowait = max(0, iowait)  # the one that may decrease, proc_stat(5)
    if min(user, system, idle, steal) < 0:
        return None
    busy = user + system + steal
    return _percent(busy, busy + idle + iowait)


def _cpu_ms(row: Mapping[str, Any]) -> list[int]:
    return [row[name] or 0 for name in CPU_COUNTERS]


def _percent(share: float, whole: float) -> float | None:
    """Return a percentage to one decimal, as psutil does; None for a counter or a clock that went backwards."""
    return round(100 * share / whole, 1) if whole > 0 and share >= 0 else None
