"""`perftrack status`: how recording is doing."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

from perftrack import figures
from perftrack.cli import coverage, options, show
from perftrack.errors import PerftrackError
from perftrack.settings import SETTINGS, Settings, days_of, load
from perftrack.storage.sqlite_file import LOG_BYTES_MAX

if TYPE_CHECKING:
    from perftrack.reading.shipping import Shipping
    from perftrack.reading.status import Status
    from perftrack.storage.failures import Failure

DAYS_AHEAD = (30, 365)
FAILURES_SHOWN = 5
# Releases before 3.51.3 that have its mending too.
MENDED = ((3, 44, 6), (3, 50, 7))


def status(
    output: options.TextFormat = "text",
    host: options.Host = None,
    database: options.Database = None,
    config: options.Config = None,
) -> None:
    """Tell how recording is doing.

    The database and its growth, the newest sample, gaps, cost, errors, the schedule and the settings. Errors are the
    newest failures to record, also when they are over: since when, until when, how often, and how many samples were
    kept meanwhile, or lost. Where ship_to is set: when the centre last acknowledged samples, how many wait and since
    when, and why the last ship failed. The network is not asked.

    Exit code 0 when the newest sample that this machine recorded is younger than three usual intervals, 1 otherwise:
    a monitor can call it. Neither imported samples count for that nor any that are in the future. 1 also when samples
    wait to be shipped and none was acknowledged for two hours.
    """
    settings = load({"database": database}, config)
    from perftrack.reading.status import failures_of
    from perftrack.reading.status import status as read_status

    try:
        found = read_status(settings, host)
    except PerftrackError as error:  # its failures are known all the same
        failures = failures_of(settings.database)
        if output == "json":
            document = {"ok": False, "database": settings.database, "problem": str(error)}
            print(json.dumps(document | {"failures": _failures_document(failures)}, indent=2))
        else:
            _print(_failure_lines(failures))
        raise
    if output == "json":
        print(json.dumps(_document(found, settings), indent=2))
    else:
        _print(_lines(found, settings))
    if not found.is_ok:
        raise typer.Exit(1)


def _document(found: Status, settings: Settings) -> dict[str, Any]:
    cost = found.cost
    return {
        "ok": found.is_ok,
        "database": found.database,
        "revision": found.revision,
        "sqlite_version": sqlite3.sqlite_version,
        "size_bytes": found.size_bytes,
        "log_bytes": found.log_bytes,
        "log_opened_by": [opener._asdict() for opener in found.log_openers],
        "free_bytes": found.forecast.free_bytes,
        "growth_bytes_per_day": show.whole(found.forecast.day_bytes),
        "condensed_bytes_per_day": show.whole(found.forecast.condensed_day_bytes),
        "condensed_until": show.iso(found.held.condensed_until),
        "condensing_at": show.iso(found.forecast.condensing_at),
        "rows": found.rows,
        "process_rows_estimated": found.rows_estimated,
        "first_sample_at": show.iso(found.held.first),
        "last_sample_at": show.iso(found.held.last),
        "hosts": found.hosts,
        "newest_recorded_at": show.iso(found.newest_at),
        "samples_in_the_future": found.day.future.samples,
        "age_seconds": found.age_seconds,
        "usual_interval_seconds": found.usual_seconds,
        "last_day": coverage.document(found.day),
        "recorder_cpu_ms": cost and {"mean": round(cost.mean, 3), "p95": cost.p95, "max": cost.max},
        "pending_samples": found.pending_samples,
        "failures": _failures_document(found.failures),
        "shipping": found.shipping and show.for_scripts(found.shipping._asdict()),
        "schedules": [schedule._asdict() for schedule in found.schedules],
        "settings": {name: {"value": getattr(settings, name), "origin": settings.origins[name]} for name in SETTINGS},
    }


def _failures_document(failures: list[Failure]) -> list[dict[str, Any]]:
    return [
        {
            "message": failure.message,
            "first_at": show.iso(datetime.fromisoformat(failure.first_at)),
            "last_at": show.iso(datetime.fromisoformat(failure.last_at)),
            "count": failure.count,
            "samples_kept": failure.kept,
            "samples_lost": failure.lost,
            "recovered_at": failure.recovered_at and show.iso(datetime.fromisoformat(failure.recovered_at)),
        }
        for failure in failures
    ]


def _print(lines: list[tuple[str, str]]) -> None:
    for label, text in lines:
        show.entry(label, text)


def _lines(found: Status, settings: Settings) -> list[tuple[str, str]]:
    held, about = found.held, "about " if found.rows_estimated else ""
    samples, rows = figures.count(held.samples, "sample"), figures.count(found.rows["process_sample"], "process row")
    processes, boots = figures.count(found.rows["process"], "process"), figures.count(found.rows["boot"], "boot")
    lines = [
        ("database", f"{found.database}, revision {found.revision}"),
        ("size", f"{figures.size(found.size_bytes)}{_forecast(found, settings)}"),
        ("rows", f"{samples}, {about}{rows}, {processes}, {boots}"),
    ]
    if kept := _kept(found, settings):
        lines.append(("kept", kept))
    if found.log_bytes:
        lines.insert(2, ("log", _log(found)))
    if _may_damage(sqlite3.sqlite_version_info):
        what = "may, very rarely, damage a database that several programs write at once, unless your system mended it"
        lines.append(("sqlite", f"{sqlite3.sqlite_version}: {what}; see https://sqlite.org/wal.html#walresetbug"))
    if held.first is None or held.last is None:
        lines.append(("samples", "none yet"))
    else:
        usual = "" if found.usual_seconds is None else f", usually every {figures.span(found.usual_seconds)}"
        lines.append(("samples", f"from {figures.local(held.first)} to {figures.zoned(held.last)}{usual}"))
        of = ", ".join(found.hosts)
        if found.age_seconds is None:
            lines.append(("newest", f"none that was recorded of {of}: all are imported, or in the future"))
        else:
            late = "LATE: " if found.is_late else ""
            lines.append(("newest", f"{late}{figures.span(max(0, found.age_seconds))} old, of {of}"))
    lines += [("clock", text) for text in coverage.future_lines(found.day)]
    gaps = found.day.gaps
    of_day = figures.count(found.day.held.samples, "sample")
    lines.append(("last day", f"{of_day} of {found.day.expected:,}, gaps and boots: {len(gaps)}"))
    lines += [("", coverage.gap_line(gap)) for gap in gaps[-coverage.GAPS_SHOWN :]]
    if found.cost is not None:
        cost = found.cost
        lines.append(("cost", f"{cost.mean:.0f} ms of CPU a sample, 95 of 100 took {cost.p95:.0f} ms or less"))
    if found.pending_samples:
        waiting = figures.count(found.pending_samples, "sample")
        lines.append(("pending", f"{waiting}, to be inserted by the next tick"))
    lines += _failure_lines(found.failures)
    lines += _shipping_lines(found.shipping)
    for schedule in found.schedules:
        lines.append(("schedule", f"{schedule.kind}, {schedule.where}: {schedule.line}"))
    if not any(schedule.task == "record" for schedule in found.schedules):
        lines.append(("schedule", "none found: `perftrack schedule install` makes one"))
    for number, name in enumerate(SETTINGS):
        value = json.dumps(getattr(settings, name), ensure_ascii=False)
        lines.append(("settings" if number == 0 else "", f"{name} = {value}  # {settings.origins[name]}"))
    return lines


def _may_damage(version: tuple[int, ...]) -> bool:
    """Return whether SQLite of that *version* has the bug of resetting a write-ahead log while it is checkpointed."""
    return version < (3, 51, 3) and not any(line <= version < (*line[:2], 99) for line in MENDED)


def _log(found: Status) -> str:
    """Return how long the write-ahead log is, and why it may be."""
    text = f"{figures.size(found.log_bytes)} of it are the write-ahead log"
    if found.log_openers:
        text += f", open in {', '.join(f'{opener.name} ({opener.pid})' for opener in found.log_openers)}"
    if found.log_bytes > LOG_BYTES_MAX:
        text += "; it cannot be emptied as long as a program goes on reading: end that"
    return text


def _forecast(found: Status, settings: Settings) -> str:
    forecast = found.forecast
    free = f", {figures.size(forecast.free_bytes)} of it free" if forecast.free_bytes * 10 > found.size_bytes else ""
    sizes = [(days, forecast.in_days(days, settings)) for days in DAYS_AHEAD]
    if forecast.day_bytes is None or any(size is None for _, size in sizes):
        return free
    ahead = ", ".join(f"in {days} days {figures.size(size)}" for days, size in sizes)
    return f"{free}, grows by {figures.size(forecast.day_bytes)} a day: {ahead}"


def _kept(found: Status, settings: Settings) -> str:
    """Return what is condensed, what is not, and when more will be."""
    forecast = found.forecast
    parts = []
    if found.held.condensed_until is not None:
        parts.append(f"one sample an hour until {figures.local(found.held.condensed_until)}")
    if forecast.ordinary_since is not None:
        parts.append(f"every sample since {figures.local(forecast.ordinary_since)}")
    if forecast.condensing_at is not None:
        is_due = forecast.condensing_at < datetime.now(UTC)
        when = "is due, a piece in each tick" if is_due else f"begins {figures.local(forecast.condensing_at)}"
        held = ", but for what waits to be shipped" if is_due and _is_held(found, settings) else ""
        parts.append(f"condensing what is older than {settings.keep_every_sample} {when}{held}")
    return "; ".join(parts)


def _is_held(found: Status, settings: Settings) -> bool:
    """Return whether some of what is old enough to be condensed waits to be shipped."""
    days, since = days_of(settings.keep_every_sample), found.shipping and found.shipping.waiting_since
    return bool(days and since and since < datetime.now(UTC) - timedelta(days=days))


def _failure_lines(failures: list[Failure]) -> list[tuple[str, str]]:
    """Return lines for each of the newest failures: when and how often, what became of the samples, what it was."""
    lines = []
    for failure in failures[:FAILURES_SHOWN]:
        first, last = (figures.local(datetime.fromisoformat(at)) for at in (failure.first_at, failure.last_at))
        lines.append(last if failure.count == 1 else f"{first} to {last}, {failure.count:,} times")
        outcome = [f"{figures.count(failure.kept, 'sample')} kept"] * bool(failure.kept)
        outcome += [f"{figures.count(failure.lost, 'sample')} LOST"] * bool(failure.lost)
        if failure.recovered_at is not None:
            outcome.append(f"recording again since {figures.local(datetime.fromisoformat(failure.recovered_at))}")
        if outcome:
            lines.append(f"  {', '.join(outcome)}")
        lines.append(f"  {failure.message}")
    if len(failures) > FAILURES_SHOWN:
        lines.append(f"and {len(failures) - FAILURES_SHOWN} older, which --format json has too")
    return [("" if number else "errors", text) for number, text in enumerate(lines or ["none"])]


def _shipping_lines(found: Shipping | None) -> list[tuple[str, str]]:
    """Return lines about how far shipping is, what it missed, and why it failed last."""
    if found is None:
        return []
    at = found.acknowledged_at
    since = "never acknowledged" if at is None else f"acknowledged {figures.span(_age_seconds(at))} ago"
    waits = "nothing waits"
    if found.waiting_since is not None:
        waits = f"{figures.count(found.waiting_samples, 'sample')} {'wait' if found.waiting_samples > 1 else 'waits'}"
        waits += f", since {figures.local(found.waiting_since)}"
    texts = [f"{'LATE: ' if found.is_late else ''}to {found.to or 'the centre'}, {since}; {waits}"]
    lost = (("condensed to one an hour", found.condensed_samples), ("removed", found.removed_samples))
    missed = [f"{how}: {figures.count(samples, 'sample')}" for how, samples in lost if samples]
    if missed:
        texts.append(f"before they were shipped, {', '.join(missed)}")
    if found.failure is not None:
        texts.append("it failed" + (f" {figures.local(found.failed_at)}" if found.failed_at else ""))
        texts.append(f"  {found.failure}")
    return [("" if number else "shipping", text) for number, text in enumerate(texts)]


def _age_seconds(instant: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - instant).total_seconds())
