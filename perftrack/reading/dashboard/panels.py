"""Panels, variables and dashboards as the JSON that Grafana imports, for any data source that is asked in SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

# Of Grafana 11; a later one brings it up to date by itself.
_SCHEMA_VERSION = 39
_INPUT = "DS_PERFTRACK"
_UNITS = {"%": "percent", "bytes": "bytes", "bytes/s": "binBps", "processes": "short", "/s": "cps", "s": "s"}
_WIDTH, _HEIGHT, _ALL = 12, 8, 24


class Source(NamedTuple):
    """A data source plugin, as Grafana knows it. *database*: which one is to be chosen, for people.

    *query*: what it is asked, by the SQL, whether the answer is a table, and which columns are instants.
    """

    plugin: str
    name: str
    version: str
    database: str
    query: Callable[[str, bool, tuple[str, ...]], dict[str, Any]]

    @property
    def reference(self) -> dict[str, str]:
        """What a panel says of it: it is the one that the dashboard's variable names."""
        return {"type": self.plugin, "uid": "${source}"}


def dashboard(
    source: Source, uid: str, title: str, description: str, host: dict[str, Any], panels: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the dashboard of *panels*, two beside each other. *host*: the variable, see `hosts`."""
    return {
        "__inputs": [
            {
                "name": _INPUT,
                "label": source.name,
                "description": f"The data source with {source.database}.",
                "type": "datasource",
                "pluginId": source.plugin,
                "pluginName": source.name,
            }
        ],
        "__requires": [{"type": "datasource", "id": source.plugin, "name": source.name, "version": source.version}],
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["perftrack"],
        "schemaVersion": _SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,  # one crosshair in all panels
        "timezone": "browser",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [_source_variable(source), host]},
        "panels": _placed(panels),
    }


def _placed(panels: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give *panels*, and those in rows, their numbers and places."""
    number, x, y = 0, 0, 0
    for panel in panels:
        is_row = panel["type"] == "row"
        if is_row and x:
            x, y = 0, y + _HEIGHT
        for each in (panel, *panel.get("panels", ())):
            number += 1
            each["id"] = number
            width, height = (_ALL, 1) if each["type"] == "row" else (_WIDTH, _HEIGHT)
            each["gridPos"] = {"x": x, "y": y, "w": width, "h": height}
            x = (x + width) % _ALL
            y += 0 if x else height
    return list(panels)


def _source_variable(source: Source) -> dict[str, Any]:
    """Let the person choose among the data sources of the plugin; importing asks for it, else it is the first."""
    chosen = {"text": source.name, "value": f"${{{_INPUT}}}", "selected": True}
    return {"type": "datasource", "name": "source", "label": "data source", "query": source.plugin, "current": chosen}


def hosts(source: Source, query: str, every: str | None = None) -> dict[str, Any]:
    """Return the variable `host`. *every*: let the person choose several, or all, for which this SQL is put in."""
    variable: dict[str, Any] = {
        "type": "query",
        "name": "host",
        "label": "host",
        "datasource": source.reference,
        "query": query,
        "refresh": 1,  # when the dashboard is loaded
        "sort": 0,
        "multi": every is not None,
        "includeAll": every is not None,
    }
    if every is not None:
        variable |= {"allValue": every, "current": {"text": ["All"], "value": ["$__all"], "selected": True}}
    return variable


def lines(
    source: Source,
    title: str,
    unit: str,
    query: str,
    note: str = "",
    *,
    full: float | None = None,
    display: str = "",
    connected_ms: int = 0,
    width: str = "",
) -> dict[str, Any]:
    """Return a panel of lines, which end where their column is NULL for longer than *connected_ms*.

    *display*: what a line is called, in Grafana's words; empty: as its column. *width*: the least of a point.
    """
    custom = {"drawStyle": "line", "spanNulls": connected_ms or False}
    defaults: dict[str, Any] = {"unit": _UNITS[unit], "min": 0, "custom": custom}
    if full is not None:
        defaults["max"] = full
    if display:
        defaults["displayName"] = display
    panel = _panel(source, "timeseries", title, query, note, defaults)
    panel["options"] = {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": _legend()}
    if width:
        panel["interval"] = width
    return panel


def bars(source: Source, title: str, query: str, note: str = "") -> dict[str, Any]:
    """Return a panel of bars, which count something."""
    custom = {"drawStyle": "bars", "fillOpacity": 100}
    defaults = {"unit": "short", "min": 0, "decimals": 0, "custom": custom}
    panel = _panel(source, "timeseries", title, query, note, defaults)
    panel["options"] = {"tooltip": {"mode": "multi", "sort": "none"}, "legend": _legend()}
    return panel


def table(
    source: Source, title: str, query: str, note: str, units: Mapping[str, str], times: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return a table. *units*: of its columns; *times*: those that are instants."""
    panel = _panel(source, "table", title, query, note, {}, times=times)
    panel["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": _UNITS[unit]}]}
        for name, unit in units.items()
    ]
    return panel


def row(title: str, panels: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a row that is closed: its panels ask nothing until somebody opens it."""
    return {"type": "row", "title": title, "collapsed": True, "panels": panels}


def _legend() -> dict[str, Any]:
    return {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}


def _panel(
    source: Source,
    kind: str,
    title: str,
    query: str,
    note: str,
    defaults: dict[str, Any],
    times: tuple[str, ...] = ("time",),
) -> dict[str, Any]:
    asked = source.query(query, kind == "table", times)
    target = {"refId": "A", "datasource": source.reference, **asked}
    panel: dict[str, Any] = {"type": kind, "title": title, "datasource": source.reference, "targets": [target]}
    if note:
        panel["description"] = note
    panel["fieldConfig"] = {"defaults": defaults, "overrides": []}
    return panel
