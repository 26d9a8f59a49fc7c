"""A dashboard for Grafana and its PostgreSQL data source, of all machines of a fleet."""

from __future__ import annotations

from typing import Any

from perftrack.fleet import dashboard_queries as queries
from perftrack.reading.dashboard import panels
from perftrack.reading.metrics import CPU, PANEL_NOTES, RSS, UNIT_CPU


def _query(sql: str, is_table: bool, _times: tuple[str, ...]) -> dict[str, Any]:
    return {"format": "table" if is_table else "time_series", "rawQuery": True, "editorMode": "code", "rawSql": sql}


SOURCE = panels.Source(
    "grafana-postgresql-datasource",
    "PostgreSQL",
    "1.0.0",
    "a fleet, as a role of `perftrack fleet add-reader`",
    _query,
)
_NAME = "${__field.labels.name}"
_NAME_AND_COLUMN = "${__field.labels.name} ${__field.name}"
# A machine's samples are between those of others: its line goes on over that, and ends where it is silent.
_CONNECTED_MS = 30 * 60 * 1000
_SIZES = {"CPU": "s", "memory max": "bytes", "read": "bytes", "written": "bytes"}
_LARGEST_HOSTS = f"The {queries.HOSTS_MAX} largest of the chosen machines"
_SUMS = "added up over the chosen machines. At the end of the range, not all of them have shipped yet"


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    shown = [
        SOURCE.table(
            "Machines",
            queries.MACHINES,
            "Those that have not shipped for longest first; silent: for an hour. Lag: how old the newest sample is. "
            "Skew: how far the machine's clock is behind that of the centre.",
            {"lag": "s", "last shipped": "s", "skew": "s"},
        ),
        _of_hosts("CPU by host", "%", queries.CPU_BY_HOST, PANEL_NOTES["CPU"], full=100.0),
        _of_hosts("Memory by host", "%", queries.MEMORY_BY_HOST, "percent of all memory", full=100.0),
        _of_hosts("Load by host", "processes", queries.LOAD_BY_HOST, PANEL_NOTES["Load"]),
        _of_hosts("Disk by host", "bytes/s", queries.DISK_BY_HOST, "by what they wrote", display=_NAME_AND_COLUMN),
        _of_hosts(
            "Network by host", "bytes/s", queries.NETWORK_BY_HOST, "by what they received", display=_NAME_AND_COLUMN
        ),
        _summed(CPU.panel, CPU.unit, queries.CPU_BY_NAME, f"{CPU.note}, {_SUMS}."),
        _summed(UNIT_CPU.panel, CPU.unit, queries.CPU_BY_UNIT, f"{CPU.note}, without other units in it, {_SUMS}."),
        _summed(
            RSS.panel,
            RSS.unit,
            queries.MEMORY_BY_NAME,
            f"{RSS.note}, {_SUMS}; where one takes samples less often than every 5 minutes, it is not in each point.",
        ),
        SOURCE.table(
            "Most CPU by process",
            queries.TOP_NAMES,
            "What `perftrack fleet top --group name` tells. For a longer range, see By hour.",
            {**_SIZES, "max %": "%"},
            times=("last seen",),
        ),
        SOURCE.table(
            "Most CPU by unit",
            queries.TOP_UNITS,
            "What `perftrack fleet top --group unit` tells. For a longer range, see By hour.",
            _SIZES,
            times=("last seen",),
        ),
        panels.row("By hour: for ranges of more than a few days, and for samples that are not kept", _by_hour()),
    ]
    about = "What the machines of a fleet and their processes were doing."
    host = SOURCE.hosts(queries.HOSTS, every=queries.EVERY)
    return SOURCE.dashboard("perftrack-fleet", "perftrack: a fleet", about, host, shown)


def _of_hosts(
    title: str, unit: str, query: str, note: str, *, full: float | None = None, display: str = _NAME
) -> dict[str, Any]:
    """Return a panel of a line for each machine, or some."""
    about = f"{_LARGEST_HOSTS}, {note}."
    return SOURCE.lines(title, unit, query, about, full=full, display=display, connected_ms=_CONNECTED_MS, width="1m")


def _summed(title: str, unit: str, query: str, note: str) -> dict[str, Any]:
    """Return a panel of a line for each name, or unit."""
    return SOURCE.lines(title, unit, query, note, display=_NAME, connected_ms=_CONNECTED_MS, width="5m")


def _by_hour() -> list[dict[str, Any]]:
    note = "Sums by hour, which `perftrack fleet upkeep` makes and keeps."

    def of_hours(title: str, query: str, about: str, full: float | None = None) -> dict[str, Any]:
        return SOURCE.lines(title, "%", query, f"{about}. {note}", full=full, display=_NAME, width="1h")

    def top(title: str, query: str) -> dict[str, Any]:
        return SOURCE.table(title, query, note, _SIZES, times=("last hour",))

    return [
        of_hours(
            "CPU by host, by hour", queries.CPU_BY_HOST_HOURLY, f"{_LARGEST_HOSTS}, {PANEL_NOTES['CPU']}", full=100.0
        ),
        of_hours("CPU by process, by hour", queries.CPU_BY_NAME_HOURLY, CPU.note),
        of_hours("CPU by unit, by hour", queries.CPU_BY_UNIT_HOURLY, f"{CPU.note}, without other units in it"),
        top("Most CPU by process, by hour", queries.TOP_NAMES_HOURLY),
        top("Most CPU by unit, by hour", queries.TOP_UNITS_HOURLY),
    ]
