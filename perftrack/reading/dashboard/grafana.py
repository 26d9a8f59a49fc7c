"""A dashboard for Grafana and its SQLite data source (frser-sqlite-datasource)."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from perftrack.reading.dashboard import panels, queries
from perftrack.reading.metrics import CPU, PANEL_NOTES, RSS, SYSTEM, UNIT_CPU, Metric, ProcessMetric


def _query(sql: str, is_table: bool, times: tuple[str, ...]) -> dict[str, Any]:
    kind = "table" if is_table else "time series"
    return {"queryType": kind, "rawQueryText": sql, "queryText": sql, "timeColumns": list(times)}


SOURCE = panels.Source("frser-sqlite-datasource", "SQLite", "3.0.0", "perftrack's database", _query)


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    recorded_now_and_then = "What a process used while it was not among the recorded ones is not in it."
    of_panels = groupby((metric for metric in SYSTEM if metric.panel), lambda metric: metric.panel)
    shown = [
        *(_system(title, list(metrics)) for title, metrics in of_panels),
        _by_name(CPU, queries.PROCESS_CPU, f"{CPU.note}. {recorded_now_and_then}"),
        _by_name(RSS, queries.PROCESS_MEMORY, RSS.note),
        _by_name(UNIT_CPU, queries.UNIT_CPU, UNIT_CPU.note),
        SOURCE.bars("OOM kills", queries.OOM_KILLS, "Processes that the kernel killed for want of memory."),
        SOURCE.table(
            "Gaps",
            queries.GAPS,
            "When nothing was recorded. boot: it ended with a start of the machine.",
            {"seconds": "s"},
            times=("nothing after", "until"),
        ),
    ]
    about = "What a machine and its processes were doing."
    return SOURCE.dashboard("perftrack", "perftrack", about, SOURCE.hosts(queries.HOSTS), shown)


def _system(title: str, metrics: list[Metric]) -> dict[str, Any]:
    full = 100.0 if all(metric.full == 100.0 for metric in metrics) else None
    query, note = queries.system(metrics), PANEL_NOTES.get(title, "")
    panel = SOURCE.lines(title, metrics[0].unit, query, note, full=full)
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


def _by_name(metric: ProcessMetric, query: str, note: str) -> dict[str, Any]:
    """Return a panel whose query has a line for each name, in a column of that name."""
    return SOURCE.lines(metric.panel, metric.unit, query, note, display="${__field.labels.name}")
