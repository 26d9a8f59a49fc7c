"""CPU time in rankings, and what is left over of it: as a person reads it, and the same for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perftrack import figures
from perftrack.cli import show

if TYPE_CHECKING:
    from perftrack.reading.usage.processes import CpuTotals, Usage
    from perftrack.reading.usage.top import Top

UNATTRIBUTED = "(unattributed)"
CHILDREN = "children s"
# An estimate that is at least so much of a figure is marked.
_MARKED = 0.05
# What is less than a digit shows is not named.
_LEAST_MS = 50


def parts(found: Top) -> dict[str, Any]:
    """Return which units used what no recorded process explains, for scripts; nothing where that is not known."""
    if found.unexplained is None:
        return {}
    return {
        "unattributed_by_unit": [
            {"host": part.host, "unit": part.unit, "cpu_seconds": show.seconds(part.cpu_ms)}
            for part in found.unexplained.units
        ],
        "unattributed_other_units_cpu_seconds": show.seconds(found.unexplained.other_units_ms),
        "unattributed_no_unit_cpu_seconds": show.seconds(found.unexplained.no_unit_ms),
        "unattributed_unknown_cpu_seconds": show.seconds(found.unexplained.unknown_ms),
    }


def cpu_text(cpu_ms: float | None, estimated_ms: float) -> str:
    """Return CPU seconds as a person reads them, marked where much of them is an estimate."""
    marked = cpu_ms and estimated_ms >= _MARKED * cpu_ms
    return f"{'~' if marked else ''}{figures.number(show.seconds(cpu_ms))}"


def shows_children(found: Top) -> bool:
    """Return whether there is something of ended children to show a person."""
    return any(ranked.used.children_cpu_ms for ranked in found.rows)


def children(used: Usage) -> dict[str, str]:
    """Return the column of what ended children used."""
    return {CHILDREN: cpu_text(used.children_cpu_ms, used.children_cpu_estimated_ms)}


def unattributed_line(cpu: CpuTotals) -> str:
    """Return the line about what no recorded process explains."""
    if cpu.system_cpu_ms is None or cpu.unattributed_cpu_ms is None:
        return f"{UNATTRIBUTED}: not known, no two samples in this range have CPU counters"
    share = 100 * cpu.unattributed_cpu_ms / cpu.system_cpu_ms if cpu.system_cpu_ms else 0.0
    estimated = cpu.system_cpu_estimated_ms
    is_marked = 0 < _MARKED * cpu.system_cpu_ms <= estimated
    about = f", {figures.number(estimated / 1000)} s of that an estimate" if is_marked else ""
    return (
        f"{UNATTRIBUTED} {figures.number(cpu.unattributed_cpu_ms / 1000)} CPU s, "
        f"{share:.0f} % of the {figures.number(cpu.system_cpu_ms / 1000)} s that all CPUs worked{about}"
    )


def parts_text(found: Top) -> str:
    """Return which units used what no recorded process explains, to stand behind that; empty: that is not known."""
    if found.unexplained is None or not found.cpu.unattributed_cpu_ms:
        return ""
    several = len(found.coverage.hosts) > 1
    named = [(f"{part.host} {part.unit}" if several else part.unit, part.cpu_ms) for part in found.unexplained.units]
    named += [
        ("other units", found.unexplained.other_units_ms),
        ("no unit", found.unexplained.no_unit_ms),
        ("not known", found.unexplained.unknown_ms),
    ]
    shown = [f"{name} {figures.number(cpu_ms / 1000)} s" for name, cpu_ms in named if cpu_ms >= _LEAST_MS]
    return f": {', '.join(shown)}" if shown else ""
