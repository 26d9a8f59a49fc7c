"""`perftrack top --at`: the sample nearest to an instant."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from perftrack import figures
from perftrack.cli import processes, show
from perftrack.errors import PerftrackError, UsageError
from perftrack.reading.usage.top import NearestSample, nearest_sample
from perftrack.timerange import other_pass, parse_instant

_FIELDS = (
    *("cpu_percent", "rss_bytes", "vms_bytes", "num_threads", "read_bytes", "write_bytes"),
    *("pid", "name", "username", "unit", "command", "started_at"),
)


def show_nearest(
    database: str,
    at: str,
    host: str | None,
    by: str,
    limit: int,
    output: str,
    *,
    spreadsheet_safe: bool,
    wide: bool,
) -> None:
    """Show the sample nearest to the time that a person wrote as *at*."""
    instant = parse_instant(at, datetime.now(UTC))
    found = nearest_sample(database, instant, host)
    if found is None:
        raise PerftrackError(f"database {database} holds no samples yet")
    rank = {"cpu": "cpu_percent", "rss": "rss_bytes", "threads": "num_threads"}.get(by)
    if rank is None:
        raise UsageError("--at shows one sample, and --by io needs two: use --since and --until")
    rows: list[dict[str, Any]] = [
        {name: getattr(process, name) for name in _FIELDS[:6]} | processes.identity(process)
        for process in sorted(found.processes, key=lambda process: -(getattr(process, rank) or 0))[:limit]
    ]
    if output == "json":
        times = {"host": found.sample.host} | show.for_scripts(found._asdict(), {"sample", "processes"}, decimals=6)
        system = {name: value for name, value in found.sample._mapping.items() if not name.startswith("taken_at")}
        print(json.dumps(times | {"system": system, "rows": rows}, indent=2))
    elif output == "csv":
        processes.write_csv(_FIELDS, rows, spreadsheet_safe=spreadsheet_safe)
    else:
        _print_nearest(found, instant, rows, by, wide=wide)


def _print_nearest(
    found: NearestSample, instant: datetime, rows: list[dict[str, Any]], by: str, *, wide: bool
) -> None:
    side = "after" if found.taken_at > instant else "before"
    away = (
        f"{figures.span(found.away_seconds)} {side} the time asked for"
        if found.away_seconds >= 0.5
        else "as asked for"
    )
    show.line(f"{found.sample.host}: sample of {figures.zoned(found.taken_at)}, {away}")
    other = other_pass(instant)
    if other is not None:
        show.line(
            f"the clock showed that time twice, at {figures.zoned(min(instant, other))} and at "
            f"{figures.zoned(max(instant, other))}: --at @{other.timestamp():.0f} is the other"
        )
    neighbours = (("previous", found.previous_at), ("next", found.next_at))
    show.line(", ".join(f"{name}: {'none' if at is None else figures.local(at)}" for name, at in neighbours))
    sample = found.sample
    used = None if None in (sample.mem_used_bytes, sample.mem_total_bytes) else sample.mem_used_bytes
    show.line(
        f"CPU {figures.number(sample.cpu_percent)} %, load {figures.number(sample.load_1min, 2)}, "
        f"memory {figures.size(used)} of {figures.size(sample.mem_total_bytes)}, "
        f"{len(found.processes)} of {figures.number(sample.processes_seen, 0)} processes recorded"
    )
    print()
    if rows:
        processes.print_lines(
            [
                {
                    "CPU %": figures.number(row["cpu_percent"]),
                    "RSS": figures.size(row["rss_bytes"]),
                    "threads": figures.number(row["num_threads"], 0),
                }
                | processes.texts(row)
                for row in rows
            ],
            by,
            wide=wide,
        )
    else:
        print("no process was recorded in it")
