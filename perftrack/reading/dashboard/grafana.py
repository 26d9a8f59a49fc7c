"""A dashboard for Grafana and its SQLite data source (frser-sqlite-datasource), as the JSON that Grafana imports."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from perftrack.reading.dashboard import queries
from perftrack.reading.metrics import CPU, PANEL_NOTES, RSS, SYSTEM, UNIT_CPU, Metric

PLUGIN = "frser-sqlite-datasource"
# Of Grafana 11; a later one brings it up to date by itself.
_SCHEMA_VERSION = 39
_SOURCE = {"type": PLUGIN, "uid": "${source}"}
_INPUT = "DS_PERFTRACK"
_UNITS = {"%": "percent", "bytes": "bytes", "bytes/s": "binBps", "processes": "short", "/s": "cps"}
_WIDTH, _HEIGHT, _COLUMNS = 12, 8, 2


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    panels = [_system(title, list(metrics)) for title, metrics in groupby(_shown(), lambda metric: metric.panel)]
    recorded_now_and_then = "What a process used while it was not among the recorded ones is not in it."
    panels += [
        _lines(CPU.panel, CPU.unit, queries.PROCESS_CPU, f"{CPU.note}. {recorded_now_and_then}", by_name=True),
        _lines(RSS.panel, RSS.unit, queries.PROCESS_MEMORY, RSS.note, by_name=True),
        _lines(UNIT_CPU.panel, UNIT_CPU.unit, queries.UNIT_CPU, UNIT_CPU.note, by_name=True),
        _bars("OOM kills", queries.OOM_KILLS, "Processes that the kernel killed for want of memory."),
        _table("Gaps", queries.GAPS, "When nothing was recorded. boot: it ended with a start of the machine."),
    ]
    for place, panel in enumerate(panels):
        panel["id"] = place + 1
        position = {"x": place % _COLUMNS * _WIDTH, "y": place // _COLUMNS * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
        panel["gridPos"] = position
    return {
        "__inputs": [
            {
                "name": _INPUT,
                "label": "SQLite",
                "description": "The data source with perftrack's database.",
                "type": "datasource",
                "pluginId": PLUGIN,
                "pluginName": "SQLite",
            }
        ],
        "__requires": [{"type": "datasource", "id": PLUGIN, "name": "SQLite", "version": "3.0.0"}],
        "uid": "perftrack",
        "title": "perftrack",
        "description": "What a machine and its processes were doing.",
        "tags": ["perftrack"],
        "schemaVersion": _SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,  # one crosshair in all panels
        "timezone": "browser",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [_source_variable(), _host_variable()]},
        "panels": panels,
    }


def _shown() -> list[Metric]:
    return [metric for metric in SYSTEM if metric.panel]


def _source_variable() -> dict[str, Any]:
    """Let the person choose among the data sources of the plugin; importing asks for it, else it is the first."""
    chosen = {"text": "SQLite", "value": f"${{{_INPUT}}}", "selected": True}
    return {"type": "datasource", "name": "source", "label": "data source", "query": PLUGIN, "current": chosen}


def _host_variable() -> dict[str, Any]:
    return {
        "type": "query",
        "name": "host",
        "label": "host",
        "datasource": _SOURCE,
        "query": queries.HOSTS,
        "refresh": 1,  # when the dashboard is loaded
        "sort": 0,
        "multi": False,
        "includeAll": False,
    }


def _system(title: str, metrics: list[Metric]) -> dict[str, Any]:
    full = 100.0 if all(metric.full == 100.0 for metric in metrics) else None
    panel = _lines(title, metrics[0].unit, queries.system(metrics), PANEL_NOTES.get(title, ""), full=full)
    stacked = [
        {"id": "custom.stacking", "value": {"mode": "normal", "group": "A"}},
        {"id": "custom.fillOpacity", "value": 40},
    ]
    panel["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byName", "options": metric.label}, "properties": stacked}
        for metric in metrics
        if metric.stacked
    ]
    return panel


def _lines(
    title: str, unit: str, query: str, note: str, *, full: float | None = None, by_name: bool = False
) -> dict[str, Any]:
    """Return a panel of lines. *by_name*: the query has a line for each name, in a column of that name."""
    # a line ends where its column is NULL
    defaults: dict[str, Any] = {"unit": _UNITS[unit], "min": 0, "custom": {"drawStyle": "line", "spanNulls": False}}
    if full is not None:
        defaults["max"] = full
    if by_name:
        defaults["displayName"] = "${__field.labels.name}"
    panel = _panel("timeseries", title, query, note, defaults)
    panel["options"] = {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": _legend()}
    return panel


def _bars(title: str, query: str, note: str) -> dict[str, Any]:
    custom = {"drawStyle": "bars", "fillOpacity": 100}
    panel = _panel("timeseries", title, query, note, {"unit": "short", "min": 0, "decimals": 0, "custom": custom})
    panel["options"] = {"tooltip": {"mode": "multi", "sort": "none"}, "legend": _legend()}
    return panel


def _table(title: str, query: str, note: str) -> dict[str, Any]:
    panel = _panel("table", title, query, note, {}, times=("nothing after", "until"))
    in_seconds = [{"id": "unit", "value": "s"}]
    panel["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byName", "options": "seconds"}, "properties": in_seconds}
    ]
    return panel


def _legend() -> dict[str, Any]:
    return {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}


def _panel(
    kind: str, title: str, query: str, note: str, defaults: dict[str, Any], times: tuple[str, ...] = ("time",)
) -> dict[str, Any]:
    target = {
        "refId": "A",
        "datasource": _SOURCE,
        "queryType": "table" if kind == "table" else "time series",
        "rawQueryText": query,
        "queryText": query,
        "timeColumns": list(times),
    }
    panel: dict[str, Any] = {"type": kind, "title": title, "datasource": _SOURCE, "targets": [target]}
    if note:
        panel["description"] = note
    panel["fieldConfig"] = {"defaults": defaults, "overrides": []}
    return panel
