"""`perftrack top --group unit`: systemd units, containers and sessions, as a list or as a tree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from perftrack.cli import processes, show
from perftrack.cli.totals import UNATTRIBUTED, cpu_text, totals, unattributed_line

if TYPE_CHECKING:
    from perftrack.reading.coverage import Coverage
    from perftrack.reading.top_units import Group, TopUnits
    from perftrack.reading.units import UnitUsage

_UNIT_FIELDS = (
    *("host", "unit", "cpu_seconds", "cpu_estimated_seconds"),
    *("cpu_percent_mean", "cpu_percent_max", "cpu_percent_max_at"),
    *("memory_max_bytes", "read_bytes", "write_bytes", "tasks_max", "oom_kills", "last_active_at"),
)
_GROUP_FIELDS = (
    *("host", "path", "unit", "depth", "cpu_seconds", "cpu_estimated_seconds", "own_cpu_seconds"),
    *("memory_max_bytes", "read_bytes", "write_bytes", "tasks_max", "oom_kills"),
)
_LEFT = ("host", "unit")
# Where there is less room than this, these columns are left out.
_ROOMY = 100
_OF_CONTROLLERS = ("memory", "read", "written", "threads", "OOM")
_GIVE_WAY = ("max %", "last active")


def document(used: UnitUsage) -> dict[str, Any]:
    """Return a row for scripts."""
    return {
        "host": used.host,
        "unit": used.unit,
        "cpu_seconds": show.seconds(used.cpu_ms),
        "cpu_estimated_seconds": show.seconds(used.cpu_estimated_ms),
        "cpu_percent_mean": used.cpu_percent_mean and round(used.cpu_percent_mean, 2),
        "cpu_percent_max": used.cpu_percent_max,
        "cpu_percent_max_at": show.iso(used.cpu_percent_max_at),
        **_further(used),
        "last_active_at": show.iso(used.last_active_at),
    }


def print_units(found: TopUnits, by: str, output: str, *, spreadsheet_safe: bool, wide: bool) -> None:
    """Print what was found in the format *output*."""
    is_tree = bool(found.groups)
    rows = [_group_document(each) for each in found.groups] if is_tree else [document(each) for each in found.rows]
    if output == "json":
        described = show.coverage_document(found.coverage) | {"by": by, "group": "unit", "rows": rows}
        print(json.dumps(described | totals(found), indent=2))
        return
    if output == "csv":
        rest = {"unit": UNATTRIBUTED, "cpu_seconds": show.seconds(found.unattributed_cpu_ms)}
        fields = _GROUP_FIELDS if is_tree else _UNIT_FIELDS
        processes.write_csv(fields, [*rows, rest] if found.is_of_all else rows, spreadsheet_safe=spreadsheet_safe)
        return
    for text in show.coverage_lines(found.coverage):
        show.line(text, wide=wide)
    print()
    machine = len(found.coverage.hosts) > 1
    if is_tree:
        lines = [({"host": each.host} if machine else {}) | _group_texts(each) for each in found.groups]
    else:
        lines = [
            ({"host": each.host} if machine else {}) | _texts(each, found.coverage, wide=wide) for each in found.rows
        ]
    if lines:
        # what no kernel here counts, as memory where that controller is off, takes no room
        names = [
            name
            for name in lines[0]
            if name not in _OF_CONTROLLERS or any(line[name] != show.UNKNOWN for line in lines)
        ]
        show.table(names, ([line[name] for name in names] for line in lines), left=_LEFT, wide=wide)
    print()
    if found.is_of_all:
        show.line(unattributed_line(found), wide=wide)


def _further(used: UnitUsage | Group) -> dict[str, Any]:
    return {
        "memory_max_bytes": used.memory_max_bytes,
        "read_bytes": show.whole(used.read_bytes),
        "write_bytes": show.whole(used.write_bytes),
        "tasks_max": used.tasks_max,
        "oom_kills": used.oom_kills,
    }


def _group_document(group: Group) -> dict[str, Any]:
    return {
        "host": group.host,
        "path": group.path,
        "unit": group.unit,
        "depth": group.depth,
        "cpu_seconds": show.seconds(group.cpu_ms),
        "cpu_estimated_seconds": show.seconds(group.cpu_estimated_ms),
        "own_cpu_seconds": show.seconds(group.own_cpu_ms),
        **_further(group),
    }


def _texts(used: UnitUsage, covered: Coverage, *, wide: bool) -> dict[str, str]:
    busiest = {
        "CPU %": show.number(used.cpu_percent_mean),
        "max %": show.number(used.cpu_percent_max),
        "busiest at": show.short(used.cpu_percent_max_at, covered),
        "last active": show.short(used.last_active_at, covered),
    }
    has_room = show.width(wide=wide) >= _ROOMY
    return (
        {"CPU s": cpu_text(used.cpu_ms, used.cpu_estimated_ms)}
        | {name: shown for name, shown in busiest.items() if has_room or name not in _GIVE_WAY}
        | _further_texts(used)
        | {"unit": used.unit}
    )


def _group_texts(group: Group) -> dict[str, str]:
    return (
        {
            "CPU s": cpu_text(group.cpu_ms, group.cpu_estimated_ms),
            "own CPU s": show.number(show.seconds(group.own_cpu_ms)),
        }
        | _further_texts(group)
        | {"unit": "  " * group.depth + group.label}
    )


def _further_texts(used: UnitUsage | Group) -> dict[str, str]:
    return {
        "memory": show.size(used.memory_max_bytes),
        "read": show.size(used.read_bytes),
        "written": show.size(used.write_bytes),
        "threads": show.number(used.tasks_max, 0),
        "OOM": show.number(used.oom_kills, 0),
    }
