"""`perftrack top --group unit`: systemd units, containers and sessions, as a list or as a tree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from perftrack import figures
from perftrack.cli import coverage, processes, show, totals

if TYPE_CHECKING:
    from perftrack.reading.coverage import Coverage
    from perftrack.reading.usage.top_units import Group, TopUnits
    from perftrack.reading.usage.units import UnitUsage

_LEFT = ("host", "unit")
# Where there is less room than this, these columns are left out.
_ROOMY = 100
_OF_CONTROLLERS = ("memory", "read", "written", "threads", "OOM")
_GIVE_WAY = ("max %", "last active")


def document(used: UnitUsage | Group) -> dict[str, Any]:
    """Return a row for scripts."""
    return show.for_scripts(used._asdict(), {"label", "rank"})


def print_units(found: TopUnits, by: str, output: str, *, spreadsheet_safe: bool, wide: bool) -> None:
    """Print what was found in the format *output*."""
    rows = [document(each) for each in found.groups or found.rows]
    if output == "json":
        described = coverage.document(found.coverage) | {"by": by, "group": "unit", "rows": rows}
        print(json.dumps(described | show.for_scripts(found.cpu._asdict()), indent=2))
        return
    if output == "csv":
        rest = {"unit": totals.UNATTRIBUTED, "cpu_seconds": show.seconds(found.cpu.unattributed_cpu_ms)}
        lines = [*rows, rest] if found.is_of_all else rows
        processes.write_csv(tuple(rows[0]), lines, spreadsheet_safe=spreadsheet_safe)
        return
    for text in coverage.lines(found.coverage):
        show.line(text, wide=wide)
    print()
    texts = [_group_texts(each) for each in found.groups]
    texts = texts or [_texts(each, found.coverage, wide=wide) for each in found.rows]
    if len(found.coverage.hosts) > 1:
        texts = [{"host": row["host"]} | shown for row, shown in zip(rows, texts, strict=True)]
    # what no kernel here counts, as memory where that controller is off, takes no room
    names = [
        name
        for name in texts[0]
        if name not in _OF_CONTROLLERS or any(each[name] != figures.UNKNOWN for each in texts)
    ]
    show.table(names, ([each[name] for name in names] for each in texts), left=_LEFT, wide=wide)
    print()
    if found.is_of_all:
        show.line(totals.unattributed_line(found.cpu), wide=wide)


def _texts(used: UnitUsage, covered: Coverage, *, wide: bool) -> dict[str, str]:
    busiest = {
        "CPU %": figures.number(used.cpu_percent_mean),
        "max %": figures.number(used.cpu_percent_max),
        "busiest at": show.short(used.cpu_percent_max_at, covered),
        "last active": show.short(used.last_active_at, covered),
    }
    has_room = show.width(wide=wide) >= _ROOMY
    return (
        {"CPU s": totals.cpu_text(used.cpu_ms, used.cpu_estimated_ms)}
        | {name: shown for name, shown in busiest.items() if has_room or name not in _GIVE_WAY}
        | _further_texts(used)
        | {"unit": used.unit}
    )


def _group_texts(group: Group) -> dict[str, str]:
    return (
        {
            "CPU s": totals.cpu_text(group.cpu_ms, group.cpu_estimated_ms),
            "own CPU s": figures.number(show.seconds(group.own_cpu_ms)),
        }
        | _further_texts(group)
        | {"unit": "  " * group.depth + group.label}
    )


def _further_texts(used: UnitUsage | Group) -> dict[str, str]:
    return {
        "memory": figures.size(used.memory_max_bytes),
        "read": figures.size(used.read_bytes),
        "written": figures.size(used.write_bytes),
        "threads": figures.number(used.tasks_max, 0),
        "OOM": figures.number(used.oom_kills, 0),
    }
