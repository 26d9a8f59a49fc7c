"""The table of bars: each row runs perftrack and something real in turn, and gives the ratio of their medians."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import data, machine, peers
from benchmarks.measure import Cost, Ratio, in_turn, ratio, run, take_turns
from perftrack.installation import how_to_install
from perftrack.storage import tick_sql

INTERVAL = "0.2"  # seconds between the samples of a loop
BASE = [sys.executable, "-c", "import psutil, sqlite3"]
READ_STATS = """
import os
for name in os.listdir("/proc"):
    if name.isdigit():
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                file.read()
        except OSError:  # it has ended
            pass
"""
SHELL_EXPORT = (
    "SELECT cpu_usage, datetime, mem_available, mem_percent_used, mem_total, mem_used"
    " FROM system_log ORDER BY taken_at;"
    "SELECT cpu_usage, datetime, filter, name, pid, rss_memory, vms_memory"
    " FROM process_log ORDER BY taken_at, pid, filter;"
)
# What a plot shows of processes, as a person asks for it: by name and hour.
SHELL_COURSE = (
    "SELECT strftime('%Y-%m-%d %H', taken_at) AS hour, name, min(rss_bytes), avg(rss_bytes), max(rss_bytes)"
    " FROM system_sample JOIN process_sample ON sample_id = system_sample.id JOIN process ON process.id = process_id"
    " GROUP BY hour, name;"
)
LOAD_PICKLE = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"


class MissingError(Exception):
    """What a row needs is not on this machine; the message names it."""


class Bar(NamedTuple):
    """A row of the table: *measure* gives ours and theirs in *unit*, their ratio should be *at_most* that."""

    what: str
    against: str
    unit: str
    at_most: float
    measure: Callable[[], Ratio]


class Year(NamedTuple):
    """What a year of one tick a minute costs. *imports_percent*: what starting Python with psutil takes of a tick.

    *condensed_bytes*: on disk, with all but the last quarter condensed.
    """

    disk_bytes: float
    cpu_seconds_per_day: float
    imports_percent: float
    condensed_bytes: float


class Bench:
    """Where things are and how much of everything there is; *quick* makes do with less."""

    def __init__(self, cache: Path, say: Callable[[str], None], *, quick: bool) -> None:
        self._cache = cache
        self._say = say
        self._quick = quick
        self._tick_cost: Ratio | None = None
        self._further_samples: dict[str, list[float]] = {}
        self._repeats = 5 if quick else 21
        self._year = 2_000_000 if quick else 26_000_000
        self._export = 2_000_000
        self._perftrack = str(Path(sys.executable).with_name("perftrack"))

    def bars(self) -> list[Bar]:
        """Return the rows of the table."""
        year, export = f"{self._year / 1e6:.0f} million", f"{self._export / 1e6:.0f} million"
        psutil = "python -c 'import psutil, sqlite3'"
        return [
            Bar(f"CPU of a tick, {year} rows in the database", psutil, "ms", 1.5, self._tick_and_imports),
            Bar("the same", "Procpath record -r 1", "ms", 0.5, self._tick_and_procpath),
            Bar("peak memory of a tick", psutil, "MB", 1.3, self._tick_memory),
            Bar(f"CPU of a tick, {year} rows", "the same, empty database", "ms", 1.05, self._tick_full_and_empty),
            Bar("CPU for 2,000 processes more", "reading their /proc/PID/stat", "ms", 3.0, self._many_processes),
            Bar(f"CPU of a tick, all of {year} rows to condense", "nothing to", "ms", 1.2, self._tick_backlog),
            Bar(f"CPU of a tick, {machine.GROUPS} control groups", "cgroups = false", "ms", 1.15, self._tick_groups),
            Bar("CPU per further sample of these", "cgroups = false", "ms", 1.3, self._further_sample_groups),
            Bar("CPU per further sample, --every", "Procpath", "ms", 0.5, lambda: self._further_sample("Procpath")),
            Bar("the same", "atop -w", "ms", 0.5, lambda: self._further_sample("atop")),
            Bar("the same", "pidstat -u -r -p ALL", "ms", 1.5, lambda: self._further_sample("pidstat")),
            Bar(
                f"wall time of a full export, {export} rows",
                "sqlite3 -csv -header",
                "s",
                1.15,
                self._export_and_shell,
            ),
            Bar(f"export of the last hour of {year} rows", "a database of that hour", "s", 1.1, self._export_hour),
            Bar("peak memory of a full export", "export of an hour", "MB", 1.1, self._export_memory),
            Bar(f"wall time of a plot of {year} rows", "sqlite3: memory by name and hour", "s", 2.0, self._plot),
            Bar(f"`top` over {year} rows, three quarters condensed", "none", "s", 0.2, self._top_condensed),
            Bar("bytes on disk per process row", "Procpath", "B", 0.42, self._disk),
            Bar("importing a pickle", "pickle.load of it", "s", 10.0, self._import),
        ]

    def year(self) -> Year:
        """Return what a year costs with 50 of about 120 processes recorded, by what was measured here."""
        database = self._database(self._year)
        rows = _count(database, "process_sample")
        tick = self._tick_cost or self._tick_and_imports()
        minutes = 365 * 24 * 60
        return Year(
            database.stat().st_size / rows * data.PROCESSES * minutes,
            tick.ours / 1000 * 24 * 60,
            100 * tick.theirs / tick.ours,
            data.used_bytes(self._condensed()) / rows * data.PROCESSES * minutes,
        )

    def groups_day(self) -> float:
        """Return the bytes that control groups add to a database in a day of one tick a minute."""
        fewer, more = (20, 120) if self._quick else (50, 450)

        def size(count: int, cgroups: str) -> int:
            database = self._new("groups.db")
            options = ["--every", "0.2", "--cpu-window", "0", "--top", "0", "--count", str(count)]
            run([self._perftrack, "record", *options, "--database", str(database)], {"PERFTRACK_CGROUPS": cgroups})
            return database.stat().st_size

        with _groups():
            grown = [size(more, cgroups) - size(fewer, cgroups) for cgroups in ("true", "false")]
        return (grown[0] - grown[1]) / (more - fewer) * 24 * 60

    def _tick(
        self, database: Path, cpu_window: str = "0.1", cgroups: str = "true", keep_every_sample: str = "forever"
    ) -> Cost:
        settings = {
            "PERFTRACK_KEEP_EVERY_SAMPLE": keep_every_sample,
            "PERFTRACK_CGROUPS": cgroups,
            "PERFTRACK_DATABASE": str(database),
            "PERFTRACK_PROCESS_FILTER": machine.NAME,
            "PERFTRACK_TOP": "0",
            "PERFTRACK_CPU_WINDOW": cpu_window,
        }
        return run([self._perftrack, "record"], settings)

    def _tick_and_imports(self) -> Ratio:
        year = self._database(self._year)
        with machine.processes():
            self._tick_cost = take_turns(lambda: _cpu_ms(self._tick(year)), lambda: _cpu_ms(run(BASE)), self._repeats)
        return self._tick_cost

    def _tick_and_procpath(self) -> Ratio:
        year, procpath = self._database(self._year), self._procpath(1, "0.1")
        with machine.processes():
            return take_turns(lambda: _cpu_ms(self._tick(year)), lambda: _cpu_ms(procpath()), self._repeats)

    def _tick_memory(self) -> Ratio:
        year = self._database(self._year)
        with machine.processes():
            return take_turns(lambda: _peak_mb(self._tick(year)), lambda: _peak_mb(run(BASE)), self._repeats)

    def _tick_full_and_empty(self) -> Ratio:
        year, empty = self._database(self._year), self._new("empty.db")
        with machine.processes():
            return take_turns(
                lambda: _cpu_ms(self._tick(year)), lambda: _cpu_ms(self._tick(empty)), 2 * self._repeats + 1
            )

    def _tick_backlog(self) -> Ratio:
        year, backlog = self._database(self._year), self._new("backlog.db")
        shutil.copyfile(year, backlog)
        with machine.processes():
            return take_turns(
                lambda: _cpu_ms(self._tick(backlog, keep_every_sample="1d")),
                lambda: _cpu_ms(self._tick(year)),
                2 * self._repeats + 1,
            )

    def _many_processes(self) -> Ratio:
        empty = self._new("many.db")
        with machine.processes():
            few = take_turns(
                lambda: _cpu_ms(self._tick(empty)),
                lambda: _cpu_ms(run([sys.executable, "-c", READ_STATS])),
                self._repeats,
            )
        with machine.processes(machine.TOTAL + 2000):
            many = take_turns(
                lambda: _cpu_ms(self._tick(empty)),
                lambda: _cpu_ms(run([sys.executable, "-c", READ_STATS])),
                self._repeats,
            )
        spread = (few.ours_spread + many.ours_spread, few.theirs_spread + many.theirs_spread)
        return Ratio(many.ours - few.ours, spread[0], many.theirs - few.theirs, spread[1])

    def _tick_groups(self) -> Ratio:
        with_groups, without = self._new("groups.db"), self._new("no-groups.db")
        with machine.processes(), _groups():
            return take_turns(
                lambda: _cpu_ms(self._tick(with_groups)),
                lambda: _cpu_ms(self._tick(without, cgroups="false")),
                2 * self._repeats + 1,
            )

    def _further_sample_groups(self) -> Ratio:
        count = 25 if self._quick else 60
        with machine.processes(), _groups():
            return take_turns(
                lambda: (self._loop(count + 1) - self._loop(1)) / count,
                lambda: (self._loop(count + 1, "false") - self._loop(1, "false")) / count,
                3 if self._quick else 7,
            )

    def _further_sample(self, peer: str) -> Ratio:
        """Compare what a further sample costs: a long run less one of a single sample, by how many more it took.

        All peers take turns in the same rounds, which are made once.
        """
        if not self._further_samples:
            # Of those that take a sample a second at most, fewer, which start cheaply and so vary less.
            often, seldom = (25, 3) if self._quick else (60, 15)
            loops = {
                "perftrack": (self._loop, often),
                "Procpath": (lambda count: _cpu_ms(self._procpath(count, INTERVAL)()), often),
                "atop": (self._atop, seldom),
                "pidstat": (self._pidstat, seldom),
            }
            loops = {
                name: loop for name, loop in loops.items() if name == "perftrack" or peers.found(name, self._cache)
            }
            with machine.processes():
                values = in_turn(
                    [lambda run=run, count=count: (run(count + 1) - run(1)) / count for run, count in loops.values()],
                    2 if self._quick else 5,
                    0 if self._quick else 1,
                )
            self._further_samples = dict(zip(loops, values, strict=True))
        if peer not in self._further_samples:
            raise MissingError(f"{peer} is not installed")
        return ratio(self._further_samples["perftrack"], self._further_samples[peer])

    def _loop(self, count: int, cgroups: str = "true") -> float:
        options = [
            "--every",
            INTERVAL,
            "--cpu-window",
            "0.1",
            "--filter",
            machine.NAME,
            "--top",
            "0",
            "--count",
            str(count),
        ]
        command = [self._perftrack, "record", *options, "--database", str(self._cache / "loop.db")]
        return _cpu_ms(run(command, {"PERFTRACK_CGROUPS": cgroups}))

    def _atop(self, count: int) -> float:
        return _cpu_ms(run([_system("atop"), "-w", str(self._new("atop.raw")), "1", str(count)]))

    def _pidstat(self, count: int) -> float:
        return _cpu_ms(run([_system("pidstat"), "-u", "-r", "-p", "ALL", "1", str(count)]))

    def _export_command(self, database: Path, *options: str) -> Cost:
        for name in ("system_log.csv", "process_log.csv"):  # freeing them is not of it, as it is not of the shell's
            (self._cache / name).unlink(missing_ok=True)
        return run(
            [self._perftrack, "export", "--database", str(database), "--directory", str(self._cache), *options]
        )

    def _export_and_shell(self) -> Ratio:
        database, shell = self._database(self._export), _system("sqlite3")
        target = str(self._cache / "shell.csv")
        return take_turns(
            lambda: self._export_command(database).wall_seconds,
            lambda: run([shell, "-csv", "-header", str(database), SHELL_EXPORT], stdout=target).wall_seconds,
            2 if self._quick else 7,
        )

    def _export_hour(self) -> Ratio:
        year = self._database(self._year)
        since = data.last_hour(year)
        hour = data.one_hour_of(year, since, self._cache / f"hour-of-{year.name}")
        return take_turns(
            lambda: self._export_command(year, "--since", since).wall_seconds,
            lambda: self._export_command(hour, "--since", since).wall_seconds,
            self._repeats,
        )

    def _export_memory(self) -> Ratio:
        whole = self._database(self._export)
        since = data.last_hour(whole)
        return take_turns(
            lambda: _peak_mb(self._export_command(whole)),
            lambda: _peak_mb(self._export_command(whole, "--since", since)),
            1 if self._quick else 3,
        )

    def _plot(self) -> Ratio:
        if importlib.util.find_spec("plotly") is None:
            raise MissingError(f"plotly is not installed: {how_to_install('plotly')}")
        year, shell = self._database(self._year), _system("sqlite3")
        command = [self._perftrack, "plot", "--since", "2026-01-01", "-o", str(self._cache / "year.html")]
        return take_turns(
            lambda: run([*command, "--database", str(year)]).wall_seconds,
            lambda: run([shell, str(year), SHELL_COURSE]).wall_seconds,
            1 if self._quick else 3,
            warm_up=0,
        )

    def _top_condensed(self) -> Ratio:
        def top(database: Path) -> float:
            return run([self._perftrack, "top", "--since", "2026-01-01", "--database", str(database)]).cpu_seconds

        condensed, whole = self._condensed(), self._database(self._year)
        return take_turns(lambda: top(condensed), lambda: top(whole), 1 if self._quick else 2, warm_up=0)

    def _condensed(self) -> Path:
        """Return a database of a year of which all but the last quarter is condensed."""
        whole = self._database(self._year)
        path = self._cache / f"condensed-{whole.name}"
        return data.condensed(whole, path, lambda done: self._say(f"condensing a database: {done:.0%}"))

    def _disk(self) -> Ratio:
        """Record every process as both do it, a transaction a sample; what the first samples take does not count."""
        fewer, more = (20, 120) if self._quick else (50, 450)

        def ours() -> float:
            sizes = []
            for count in (fewer, more):
                database = self._new("disk.db")
                options = ["--all", "--every", "0.05", "--cpu-window", "0", "--count", str(count)]
                run([self._perftrack, "record", *options, "--database", str(database)])
                sizes.append((database.stat().st_size, _count(database, "process_sample")))
            return (sizes[1][0] - sizes[0][0]) / (sizes[1][1] - sizes[0][1])

        def theirs() -> float:
            sizes = []
            for count in (fewer, more):
                self._procpath(count, "0.05")()
                database = self._cache / "procpath.db"
                sizes.append((database.stat().st_size, _count(database, "record")))
            return (sizes[1][0] - sizes[0][0]) / (sizes[1][1] - sizes[0][1])

        self._procpath(1, "0.05")
        with machine.processes():
            return take_turns(ours, theirs, 1, warm_up=0)

    def _import(self) -> Ratio:
        pickle = data.month_of_pickle(self._cache)

        def ours() -> float:
            database = self._new("import.db")
            return run([self._perftrack, "import", str(pickle), "--database", str(database)]).wall_seconds

        load = [sys.executable, "-c", LOAD_PICKLE, str(pickle)]
        return take_turns(ours, lambda: run(load).wall_seconds, 3)

    def _database(self, rows: int) -> Path:
        path = self._cache / f"{tick_sql.REVISION}-{rows}.db"
        return data.recorded(path, rows, lambda done: self._say(f"making a database of {rows:,} rows: {done:.0%}"))

    def _new(self, name: str) -> Path:
        for leftover in self._cache.glob(f"{name}*"):
            leftover.unlink()
        return self._cache / name

    def _procpath(self, count: int, interval: str) -> Callable[[], Cost]:
        program = peers.found("Procpath", self._cache)
        if program is None:
            raise MissingError("Procpath cannot be installed from the package index")

        def record() -> Cost:
            database = str(self._new("procpath.db"))
            return run([program, "record", "-i", interval, "-r", str(count), "-d", database])

        return record


@contextmanager
def _groups() -> Iterator[None]:
    try:
        with machine.groups():
            yield
    except OSError as error:
        raise MissingError(f"control groups cannot be made here: {error}") from None


def _system(name: str) -> str:
    program = peers.found(name, Path())
    if program is None:
        raise MissingError(f"{name} is not installed")
    return program


def _count(database: Path, table: str) -> int:
    with data.closing(data.sqlite3.connect(database)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _cpu_ms(cost: Cost) -> float:
    return cost.cpu_seconds * 1000


def _peak_mb(cost: Cost) -> float:
    return cost.peak_bytes / 1e6
