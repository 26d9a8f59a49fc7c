"""`perftrack report`: a range on one screen."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perftrack import figures
from perftrack.cli import coverage, options, processes, show, totals
from perftrack.cli.cron_line import tell
from perftrack.cli.progress import progress_bar
from perftrack.cli.top import document as process_document
from perftrack.cli.units import document as unit_document
from perftrack.settings import load

if TYPE_CHECKING:
    from perftrack.reading.coverage import Coverage
    from perftrack.reading.metrics import Metric, ProcessMetric
    from perftrack.reading.oom_kills import OomKills
    from perftrack.reading.report import Report, Statistics
    from perftrack.reading.usage.processes import Ranked
    from perftrack.reading.usage.top import Top
    from perftrack.reading.usage.units import UnitUsage

_BARS_TITLE = "largest value"
# The columns before the bars: label, statistics and when. What the screen has more is the bars'.
_LABEL, _STATISTIC, _WHEN = 16, 10, 13
_BARS = (12, 60)
_NARROW = 84
# 1 %, 1 task of load, 1 byte a second: with full bars of less, a machine that does nothing would look busy.
_LEAST_FULL = 1.0
_ROOMY = 110  # for the units of processes
_UNITS = {"%": " %", "bytes/s": "/s", "/s": "/s", "bytes": "", "processes": ""}


def report(
    since: options.Since = None,
    until: options.Until = None,
    output: options.TextFormat = "text",
    host: options.Host = None,
    wide: options.Wide = False,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Show a range of time on one screen: by default, the last 24 hours.

    What was recorded and what is missing; CPU, memory, swap, load, pressure, forks, disks and network with mean,
    median (p50), 95th percentile, largest value and its time, and bars of the largest values over time; the
    processes and the units that used most CPU and most memory; when and in which units the kernel killed processes
    for want of memory (OOM kills); and what recording itself cost. ~ marks what is largely an estimate, as in
    `perftrack top`. Of several machines, each has its own; with --format json they are a list, "machines".
    """
    settings = load({"database": database}, config)
    span = options.recent(since, until)
    shown = ("mean", "p50", "p95", "max") if show.width(wide=wide) >= _NARROW else ("mean", "p95", "max")
    taken = _LABEL + _STATISTIC * len(shown) + _WHEN
    parts = min(max(show.width(wide=wide) - taken, _BARS[0]), _BARS[1])

    from perftrack.reading import report as reading

    with progress_bar("reading samples") as progress:
        found = reading.reports(settings.database, span, host=host, parts=parts, progress=progress)
    coverage.require_samples(found[0].coverage, settings.database)
    if output == "json":
        for each in found:
            if not _has_processes(each):
                tell(coverage.nothing_recorded(each.coverage))
        documents = [_document(each) for each in found]
        show.documents(documents)
    else:
        for number, each in enumerate(found):
            if number:
                print("\n")
            _print(each, shown, wide=wide)


def _has_processes(found: Report) -> bool:
    return any(top.rows for _, top in found.largest)


def _document(found: Report) -> dict[str, Any]:
    return (
        coverage.document(found.coverage)
        | {
            "metrics": {each.metric.name: _statistics_document(each) for each in found.statistics},
            "cpu_is_of_windows": found.is_cpu_of_windows,
            "recorder_cpu": found.cost and _statistics_document(found.cost),
        }
        | show.for_scripts(found.largest[0][1].cpu._asdict())
        | totals.parts(found.largest[0][1])
        | {
            f"top_{metric.name}": [process_document(row, "process") | row.further for row in top.rows]
            for metric, top in found.largest
        }
        | {f"top_units_{metric.name}": [unit_document(row) for row in rows] for metric, rows in found.units}
        | {
            "oom_kills": found.kills.total,
            "oom_kills_latest": [show.for_scripts(each._asdict(), {"since"}) for each in found.kills.latest],
        }
    )


def _statistics_document(of: Statistics) -> dict[str, Any]:
    fields = show.for_scripts(of._asdict(), {"metric", "total", "maxima"}, decimals=3)
    return {"unit": of.metric.unit} | fields


def _print(found: Report, shown: tuple[str, ...], *, wide: bool) -> None:
    covered = found.coverage
    for text in coverage.lines(covered):
        show.line(text, wide=wide)
    if found.statistics:
        print()
        rows = [
            [
                f"{each.metric.report}{_UNITS.get(each.metric.unit, f' {each.metric.unit}')}",
                *(_value(each.metric, getattr(each, name)) for name in shown),
                show.short(each.max_at, covered),
                show.sparkline(each.maxima, each.metric.full or max(each.max, _LEAST_FULL)),
            ]
            for each in found.statistics
        ]
        times = ["", *("" for _ in shown), "", _time_axis(covered, len(found.statistics[0].maxima))]
        show.table(["", *shown, "at", _BARS_TITLE], [*rows, times], left=("", "at", _BARS_TITLE), wide=wide)
        if found.is_cpu_of_windows:
            show.line("CPU is that of each sample's window: there are no counters to take it from", wide=wide)
        elif covered.without_counters:
            show.line("CPU of imported samples is what the original measured in each", wide=wide)
    if _has_processes(found):
        for metric, top in found.largest:
            _print_largest(metric, top, wide=wide)
    else:
        print()
        print(coverage.nothing_recorded(covered))
    for metric, units in found.units:
        _print_units(metric, units, wide=wide)
    print()
    if found.kills.total:
        show.paragraph(_kills_text(found.kills, covered), wide=wide)
    unexplained = found.largest[0][1]
    show.paragraph(totals.unattributed_line(unexplained.cpu) + totals.parts_text(unexplained), wide=wide)
    if found.cost is not None:
        cost = found.cost
        show.line(
            f"recording took {figures.number(cost.total / 1000)} CPU s: {cost.mean:.0f} ms a sample, "
            f"95 of 100 took {cost.p95:.0f} ms or less",
            wide=wide,
        )


def _value(metric: Metric, value: float) -> str:
    if metric.unit.startswith("bytes"):
        return figures.size(value)
    return figures.number(value, 2 if metric.unit == "processes" else 1)


def _time_axis(covered: Coverage, width: int) -> str:
    """Return the first, middle and last time of what is held, to stand under bars of *width*."""
    first, last = covered.held.first, covered.held.last
    if first is None or last is None or first == last:
        return ""
    if show.is_long(first, last):
        form = "%m-%d %H:%M" if width >= 24 else "%m-%d"
    else:
        form = "%H:%M:%S" if last - first < timedelta(minutes=5) and width >= 16 else "%H:%M"
    begin, middle, end = (f"{each.astimezone():{form}}" for each in (first, first + (last - first) / 2, last))
    room = width - len(begin) - len(end)
    return begin + (middle if room >= len(middle) + 4 else "").center(room) + end


def _print_largest(metric: ProcessMetric, top: Top, *, wide: bool) -> None:
    has_children = metric.name == "cpu" and totals.shows_children(top)
    lines = [
        {metric.report: _used(metric, row)}
        | (totals.children(row.used) if has_children else {})
        | processes.texts(process_document(row, "process"))
        for row in top.rows
    ]
    lines = [line for line in lines if line[metric.report] != figures.UNKNOWN]
    if not lines:
        return
    print()
    shown = processes.columns(lines, metric.ranking, wide=wide)
    has_room = show.width(wide=wide) >= _ROOMY
    names = [name for name in lines[0] if name in {"user", totals.CHILDREN} or name in shown]
    names = [name for name in names if name != "unit" or has_room]
    show.table(names, [[line[name] for name in names] for line in lines], left=processes.LEFT, wide=wide)


def _used(metric: ProcessMetric, ranked: Ranked) -> str:
    """Return what a list is ordered by; of CPU without that of ended children, which has a column as in `top`."""
    used = ranked.used
    if metric.name == "cpu":
        return totals.cpu_text(used.cpu_ms, used.cpu_estimated_ms)
    if metric.name == "rss":
        return figures.size(used.rss_max_bytes)
    value = ranked.further[metric.name]
    return figures.size(value) if metric.unit.startswith("bytes") else figures.number(value, 0)


def _print_units(metric: ProcessMetric, rows: list[UnitUsage], *, wide: bool) -> None:
    if metric.name == "cpu":
        lines = [[totals.cpu_text(row.cpu_ms, row.cpu_estimated_ms), row.unit] for row in rows if row.cpu_ms]
    else:
        lines = [[figures.size(row.memory_max_bytes), row.unit] for row in rows if row.memory_max_bytes]
    if lines:
        print()
        show.table([metric.report, "unit"], lines, left=("unit",), wide=wide)


def _kills_text(kills: OomKills, covered: Coverage) -> str:
    """Return how many processes were killed for want of memory, when, and in which units."""
    times = [
        " ".join([show.short(each.taken_at, covered), *([f"({', '.join(each.units)})"] if each.units else [])])
        for each in kills.latest
    ]
    before = "the latest by " if kills.total > sum(each.killed for each in kills.latest) else "by "
    return f"{figures.count(kills.total, 'OOM kill')}, {before}{', '.join(times)}"
