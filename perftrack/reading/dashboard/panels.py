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
        self, uid: str, title: str, description: str, host: dict[str, Any], panels: Sequence[dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the dashboard of *panels*, two beside each other. *host*: the variable, see `hosts`."""
        return {
            "__inputs": [
                {
                    "name": _INPUT,
                    "label": self.name,
                    "description": f"The data source with {self.database}.",
                    "type": "datasource",
                    "pluginId": self.plugin,
                    "pluginName": self.name,
                }
            ],
            "__requires": [{"type": "datasource", "id": self.plugin, "name": self.name, "version": self.version}],
            "uid": uid,
            "title": title,
            "description": description,
            "tags": ["perftrack"],
            "schemaVersion": _SCHEMA_VERSION,
            "editable": True,
            "graphTooltip": 1,  # one crosshair in all panels
            "timezone": "browser",
            "time": {"from": "now-24h", "to": "now"},
            "templating": {"list": [self._source_variable(), host]},
            "panels": _placed(panels),
        }

    def hosts(self, query: str, every: str | None = None) -> dict[str, Any]:
        """Return the variable `host`. *every*: let one choose several, or all, for which this SQL is put in."""
        variable: dict[str, Any] = {
            "type": "query",
            "name": "host",
            "label": "host",
            "datasource": self.reference,
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
        self,
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
        panel = self._panel("timeseries", title, query, note, defaults)
        panel["options"] = {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": _legend()}
        if width:
            panel["interval"] = width
        return panel

    def bars(self, title: str, query: str, note: str = "") -> dict[str, Any]:
        """Return a panel of bars, which count something."""
        custom = {"drawStyle": "bars", "fillOpacity": 100}
        defaults = {"unit": "short", "min": 0, "decimals": 0, "custom": custom}
        panel = self._panel("timeseries", title, query, note, defaults)
        panel["options"] = {"tooltip": {"mode": "multi", "sort": "none"}, "legend": _legend()}
        return panel

    def table(
        self, title: str, query: str, note: str, units: Mapping[str, str], times: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Return a table. *units*: of its columns; *times*: those that are instants."""
        panel = self._panel("table", title, query, note, {}, times=times)
        panel["fieldConfig"]["overrides"] = [
            {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": _UNITS[unit]}]}
            for name, unit in units.items()
        ]
        return panel

    def _panel(
        self,
        kind: str,
        title: str,
        query: str,
        note: str,
        defaults: dict[str, Any],
        times: tuple[str, ...] = ("time",),
    ) -> dict[str, Any]:
        asked = self.query(query, kind == "table", times)
        target = {"refId": "A", "datasource": self.reference, **asked}
        panel: dict[str, Any] = {"type": kind, "title": title, "datasource": self.reference, "targets": [target]}
        if note:
            panel["description"] = note
        panel["fieldConfig"] = {"defaults": defaults, "overrides": []}
        return panel

    def _source_variable(self) -> dict[str, Any]:
        """Let the person choose among the data sources of the plugin; importing asks for it, else it is the first."""
        chosen = {"text": self.name, "value": f"${{{_INPUT}}}", "selected": True}
        return {
            "type": "datasource",
            "name": "source",
            "label": "data source",
            "query": self.plugin,
            "current": chosen,
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


def row(title: str, panels: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a row that is closed: its panels ask nothing until somebody opens it."""
    return {"type": "row", "title": title, "collapsed": True, "panels": panels}


def _legend() -> dict[str, Any]:
    return {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
