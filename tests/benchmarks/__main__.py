"""Measure every bar and print the table; --quick in two minutes, with less of everything."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from benchmarks import before
from benchmarks.bars import Bar, Bench, MissingError, Year
from benchmarks.data import PROCESSES
from benchmarks.machine import BUSY_GROUPS, GROUPS
from benchmarks.measure import Ratio

errors = Console(stderr=True)
Measured = TypeVar("Measured")


def main() -> None:
    """Run as `bin/bench [--quick] [--before CLONE] [--only TEXT] [--markdown] [--json FILE] [--cache DIR] [--fleet]`.

    What is measured, and against what, is in bars.py and fleet.py.
    """
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller databases, fewer repeats: under two minutes")
    parser.add_argument(
        "--before",
        metavar="CLONE",
        type=Path,
        help="compare with another checkout of perftrack instead: what has become slower since?",
    )
    parser.add_argument("--only", metavar="TEXT", default="", help="only rows with TEXT in them")
    parser.add_argument("--markdown", action="store_true", help="print the table as the README has it")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    default = Path(tempfile.gettempdir()) / f"perftrack-bench-{os.getuid()}"
    parser.add_argument("--cache", metavar="DIR", type=Path, default=default, help="where the databases are kept")
    parser.add_argument(
        "--fleet",
        metavar="MACHINES",
        nargs="?",
        type=int,
        const=100,
        help="measure so many made-up machines (100) on PostgreSQL and Citus instead; 1,000 take 20 GB on each",
    )
    options = parser.parse_args()
    options.cache.mkdir(mode=0o700, exist_ok=True)
    if options.fleet is not None:
        _fleet(options.cache, options.fleet)
        return

    started = time.monotonic()
    results: list[tuple[Bar, Ratio | str]] = []
    with errors.status("starting") as status:
        bench = Bench(options.cache, status.update, quick=options.quick)
        if options.before is None:
            rows = bench.bars()
        else:
            status.update(f"preparing {options.before}")
            other = measured(lambda: before.another(options.before, options.cache))
            if isinstance(other, str):
                parser.error(f"--before {options.before}: {other}")
            rows = before.bars(other, options.cache, quick=options.quick)
        bars = [bar for bar in rows if options.only in f"{bar.what} {bar.against}"]
        for number, bar in enumerate(bars, 1):
            status.update(f"{number} of {len(bars)}: {bar.what}, against {bar.against}")
            results.append((bar, measured(bar.measure)))
        is_whole = not (options.only or options.before)
        year = measured(bench.year) if is_whole else None
        groups_day = measured(bench.groups_day) if is_whole else None
    if options.markdown:
        print(*(_markdown(bar, ratio) for bar, ratio in results), sep="\n")
    else:
        Console().print(_table(results, time.monotonic() - started))
    if isinstance(year, Year):
        print(
            f"A year of one tick a minute with {PROCESSES} processes: {year.disk_bytes / 1e9:.2f} GB on disk, "
            f"{year.condensed_bytes / 1e9:.2f} GB with three quarters condensed, "
            f"{year.cpu_seconds_per_day:.0f} s of CPU time a day, of which {year.imports_percent:.0f} % start Python"
        )
    elif year is not None:
        print(f"A year of one tick a minute: {year}")
    if isinstance(groups_day, float):
        print(
            f"{GROUPS} control groups, {BUSY_GROUPS} of them busy, add {groups_day / 1e6:.2f} MB "
            "a day of one tick a minute"
        )
    elif groups_day is not None:
        print(f"A day of control groups: {groups_day}")
    figures = {
        "bars": [_figures(bar, ratio) for bar, ratio in results],
        "year": year._asdict() if isinstance(year, Year) else None,
        "bytes_of_groups_a_day": groups_day if isinstance(groups_day, float) else None,
    }
    kept = options.cache / ("before.json" if options.before else "bench.json")
    (options.json or kept).write_text(json.dumps(figures, indent=2) + "\n")


def _fleet(cache: Path, machines: int) -> None:
    from benchmarks import fleet

    with errors.status("starting") as status:
        figures = measured(lambda: fleet.measure(cache, machines, status.update))
    if isinstance(figures, str):
        print(figures)
        return
    for each in fleet.tables(*figures):
        Console().print(each)


def measured(measure: Callable[[], Measured]) -> Measured | str:
    """Return what *measure* gives, or why it cannot: what fails is one row, and takes no other row with it."""
    try:
        return measure()
    except MissingError as missing:
        return str(missing)
    except subprocess.CalledProcessError as failed:
        said = (failed.stderr or "").strip().splitlines() or [f"exit code {failed.returncode}"]
        return f"failed: {said[-1]}"


def _table(results: list[tuple[Bar, Ratio | str]], seconds: float) -> Table:
    table = Table(
        title=f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {seconds:.0f} s"
    )
    for heading in ("what", "against", "perftrack", "that", "ratio", "bar", ""):
        table.add_column(heading, justify="left" if heading in {"what", "against", ""} else "right")
    for bar, ratio in results:
        if isinstance(ratio, str):
            table.add_row(bar.what, bar.against, "", "", "", f"{bar.at_most:g}", ratio)
        else:
            table.add_row(
                bar.what,
                bar.against,
                f"{ratio.ours:.3g} ± {ratio.ours_spread:.2g} {bar.unit}",
                f"{ratio.theirs:.3g} ± {ratio.theirs_spread:.2g} {bar.unit}",
                f"{ratio.value:.2f}",
                f"{bar.at_most:g}",
                "holds" if ratio.value <= bar.at_most else "MISSED",
            )
    return table


def _markdown(bar: Bar, ratio: Ratio | str) -> str:
    if isinstance(ratio, str):
        return f"| {bar.what} | {bar.against} | | | | {bar.at_most:g} |"
    ours, theirs = (f"{value:.3g} {bar.unit}" for value in (ratio.ours, ratio.theirs))
    return f"| {bar.what} | {bar.against} | {ours} | {theirs} | {ratio.value:.2f} | {bar.at_most:g} |"


def _figures(bar: Bar, ratio: Ratio | str) -> dict[str, object]:
    row: dict[str, object] = {"what": bar.what, "against": bar.against, "unit": bar.unit, "bar": bar.at_most}
    if isinstance(ratio, str):
        return row | {"missing": ratio}
    return row | ratio._asdict() | {"ratio": ratio.value, "holds": ratio.value <= bar.at_most}


if __name__ == "__main__":
    main()
