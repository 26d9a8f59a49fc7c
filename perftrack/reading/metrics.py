"""The metrics, each of them once: what it is made of, its unit, and how answers show it. Report and plot read this.

A counter is taken from the interval views, as what it grew by a second; a gauge is what samples hold.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, FromClause, case, func
from sqlalchemy.dialects import sqlite

from perftrack.storage.intervals import SYSTEM_INTERVAL, largest
from perftrack.storage.models import ProcessSample, SystemSample

SYSTEM_SAMPLE = SystemSample.__table__
_SAMPLE = SYSTEM_SAMPLE.c
_INTERVAL = SYSTEM_INTERVAL.c


class Metric(NamedTuple):
    """A metric of the system. *unit*: %, bytes, bytes/s, ...; of a percentage, of what is said by its panel.

    *source*: the table or view that has *value*, taken_at and, of a view, seconds. *panel*, *label*: where a plot
    draws it, and under which name; *stacked*: on top of those before it; *is_limit*: what the others of its panel
    cannot exceed, drawn when asked for. *report*: its line in a report. Empty: it is not there. *full*: the largest
    value that there can be; None: not known. *largest*: see `peak`.
    """

    name: str
    unit: str
    source: FromClause
    value: ColumnElement[Any]
    panel: str = ""
    label: str = ""
    report: str = ""
    full: float | None = None
    stacked: bool = False
    is_limit: bool = False
    largest: ColumnElement[Any] | None = None

    @property
    def peak(self) -> ColumnElement[Any]:
        """The largest value in the samples that a row stands for; where that is not kept, the value."""
        return self.value if self.largest is None else self.largest

    @property
    def samples(self) -> ColumnElement[Any]:
        """So many samples a row stands for."""
        return func.coalesce(self.source.c.samples, 1)

    @property
    def is_of_intervals(self) -> bool:
        """Whether it is of the time since the sample before, not of an instant."""
        return self.source is SYSTEM_INTERVAL


class ProcessMetric(NamedTuple):
    """A metric of a process, which is added up over the processes of one name, or of a unit.

    *column*: of process_interval. *per_second*: of a counter, what its growth in a second is multiplied with; None:
    it is a gauge. *panel*, *note*: its panel in a plot. *report*: the title of the list of the largest in a report,
    by the total of a counter and the peak of a gauge; *ranking*: the name of that order, see usage/processes.py.
    """

    name: str
    unit: str
    column: str
    per_second: float | None
    panel: str
    note: str
    report: str
    ranking: str

    @property
    def peak_column(self) -> str:
        """The column of the largest value in the samples that a row stands for, in *unit*; NULL: there is none.

        Of a gauge of which that is not kept, its own.
        """
        own = self.column if self.per_second is None else "NULL"
        return _PROCESS_LARGEST.get("cpu_percent" if self.column == "cpu_ms" else self.column, own)


# By what condensing keeps the largest values of, the columns that they are in.
_SYSTEM_LARGEST = {each.info["largest_of"]: each.name for each in largest(SystemSample)}
_PROCESS_LARGEST = {each.info["largest_of"]: each.name for each in largest(ProcessSample)}


def _largest_of_sample(name: str) -> ColumnElement[Any]:
    return func.coalesce(_SAMPLE[_SYSTEM_LARGEST[name]], _SAMPLE[name])


def _gauge(name: str, unit: str, column: str, panel: str, label: str, report: str = "") -> Metric:
    return Metric(
        name, unit, SYSTEM_SAMPLE, _SAMPLE[column], panel, label, report, largest=_largest_of_sample(column)
    )


def _memory(name: str, kind: str) -> Metric:
    total = _SAMPLE[f"{kind}_total_bytes"]
    used = f"{kind}_used_bytes"
    value, peak = (_share(of, total) for of in (_SAMPLE[used], _largest_of_sample(used)))
    return Metric(name, "%", SYSTEM_SAMPLE, value, report=name, full=100.0, largest=peak)


def as_sql(expression: ColumnElement[Any]) -> str:
    """Return a value of a metric as the SQL of SQLite, for what is written as text."""
    return str(expression.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))


def _rate(counter: ColumnElement[Any], scale: float = 1.0) -> ColumnElement[Any]:
    return counter * scale / func.nullif(_INTERVAL.seconds, 0)


def _share(part: ColumnElement[Any], whole: ColumnElement[Any]) -> ColumnElement[Any]:
    return part * 100.0 / func.nullif(whole, 0)


def _of_all_cpu(part: str) -> Metric:
    whole = (
        _INTERVAL.cpu_ms
        + func.coalesce(_INTERVAL.cpu_steal_ms, 0)
        + _INTERVAL.cpu_idle_ms
        + func.coalesce(_INTERVAL.cpu_iowait_ms, 0)
    )
    share = _share(_INTERVAL[f"cpu_{part}_ms"], whole)
    value = case((_INTERVAL.cpu_percent.is_not(None), share))  # it is not known of a very short interval
    return Metric(f"cpu_{part}", "%", SYSTEM_INTERVAL, value, "CPU", part, full=100.0, stacked=True)


def _pressure(resource: str, label: str, report: str) -> Metric:
    counter = f"pressure_{resource}_ms"
    peak = _INTERVAL[_SYSTEM_LARGEST[counter]]
    name, value = f"pressure_{resource}", _rate(_INTERVAL[counter], 0.1)
    return Metric(name, "%", SYSTEM_INTERVAL, value, "Pressure", label, report, largest=peak)


def _bytes(name: str, panel: str, label: str, report: str) -> Metric:
    counter = f"{name}_bytes"
    peak = _INTERVAL[_SYSTEM_LARGEST[counter]]
    value = _rate(_INTERVAL[counter])
    return Metric(name, "bytes/s", SYSTEM_INTERVAL, value, panel, label, report, largest=peak)


SYSTEM_CPU = Metric(
    "cpu", "%", SYSTEM_INTERVAL, _INTERVAL.cpu_percent, "CPU", "busy", "CPU", 100.0, largest=_INTERVAL.cpu_percent_max
)
# In the order in which they are shown.
SYSTEM = (
    *(_of_all_cpu(part) for part in ("user", "system", "iowait", "steal")),
    SYSTEM_CPU,
    _gauge("mem_used", "bytes", "mem_used_bytes", "Memory", "used"),
    _gauge("swap_used", "bytes", "swap_used_bytes", "Memory", "swap used"),
    Metric("mem_total", "bytes", SYSTEM_SAMPLE, _SAMPLE.mem_total_bytes, "Memory", "total", is_limit=True),
    _memory("memory", "mem"),
    _memory("swap", "swap"),
    _gauge("load_1min", "processes", "load_1min", "Load", "1 min", "load"),
    _gauge("load_5min", "processes", "load_5min", "Load", "5 min"),
    _gauge("load_15min", "processes", "load_15min", "Load", "15 min"),
    _pressure("cpu", "CPU", "CPU pressure"),
    _pressure("memory", "memory", "mem pressure"),
    _pressure("io", "I/O", "I/O pressure"),
    Metric(
        "forks",
        "/s",
        SYSTEM_INTERVAL,
        _rate(_INTERVAL.forks),
        "Forks",
        "forks",
        "forks",
        largest=_INTERVAL[_SYSTEM_LARGEST["forks"]],
    ),
    _bytes("disk_read", "Disk", "read", "disk read"),
    _bytes("disk_write", "Disk", "written", "disk written"),
    _bytes("net_received", "Network", "received", "net received"),
    _bytes("net_sent", "Network", "sent", "net sent"),
)
# What cpu is where there are no counters: in imported data the original's cpu_usage, and that of a single sample.
CPU_OF_WINDOWS = SYSTEM_CPU._replace(source=SYSTEM_SAMPLE, value=_SAMPLE.cpu_percent, largest=None)
CPU_OF_IMPORTED = CPU_OF_WINDOWS._replace(value=case((_SAMPLE.uptime_seconds.is_(None), _SAMPLE.cpu_percent)))
RECORDER_CPU = Metric("recorder_cpu", "ms", SYSTEM_SAMPLE, _SAMPLE.recorder_cpu_ms)
# What a panel says beside its title, where that does not say it all.
PANEL_NOTES = {
    "CPU": "percent of all CPUs together",
    "Load": "average of runnable and waiting tasks",
    "Pressure": "percent of time in which some task waited",
    "Forks": "processes and threads started a second",
}

CPU = ProcessMetric("cpu", "%", "cpu_ms", 0.1, "CPU by process", "percent of one CPU", "most CPU (s)", "cpu")
RSS = ProcessMetric("rss", "bytes", "rss_bytes", None, "Memory by process", "resident", "most memory", "rss")
PROCESS = (CPU, RSS)
# Of units, which have no other names in a ranking.
UNIT_CPU = CPU._replace(panel="CPU by unit", report="CPU by unit (s)")
UNIT_MEMORY = RSS._replace(panel="Memory by unit", note="page cache included", report="memory by unit")
UNITS = (UNIT_CPU, UNIT_MEMORY)
