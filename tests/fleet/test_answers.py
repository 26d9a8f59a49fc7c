"""The centre answers of a machine what the machine itself does, and of many the sum of what each does."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from centres import Centre
from conftest import Run, cgroup_row, query, seeds
from machine import Machine, process
from test_condensing import Restless, condense_all

from perftrack.fleet.machines import machines as machines_seen
from perftrack.fleet.ship import ship
from perftrack.fleet.sums import fleet_top
from perftrack.reading.export.files import export
from perftrack.reading.export.logs import Form
from perftrack.reading.queries import TimeRange
from perftrack.reading.report import reports
from perftrack.reading.usage.top import top
from perftrack.reading.usage.top_units import top_units
from perftrack.storage import opening, tick_sql

pytest.importorskip("psycopg")
NOW = datetime(2027, 1, 1, tzinfo=UTC)


class Fleet:
    """Machines, each with its database, that have shipped all they have."""

    def __init__(self, folder: Path, centre: Centre) -> None:
        self.folder, self.centre = folder, centre
        self.databases: dict[str, str] = {}

    def add(self, host: str, seed: int, ticks: int = 150, *, is_condensed: bool = False) -> str:
        path = self.databases[host] = str(self.folder / f"{host}.db")
        with closing(opening.open_current(path)) as connection:
            simulation = Restless(connection, seed)
            simulation.machine.names["host"] = host
            while ticks > 0:
                part = simulation.chance.randrange(1, 60)
                simulation.run(min(part, ticks))
                ticks -= part
                if is_condensed:
                    condense_all(connection)
                ship(path, self.centre.url())
        return path

    def span(self, host: str, chance: Any) -> TimeRange:
        """Return a range that begins and ends within intervals of *host*."""
        with closing(sqlite3.connect(self.databases[host])) as connection:
            first, last = query(connection, "SELECT min(taken_at), max(taken_at) FROM system_sample")[0]
        begin, end = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (first, last))
        one, other = sorted(begin + (end - begin) * chance.random() for _ in range(2))
        return TimeRange(one, other)


@pytest.fixture
def fleet(tmp_path: Path, centre: Centre) -> Fleet:
    return Fleet(tmp_path, centre)


# The centre does not tell a sample that was condensed, but stands for itself alone, from an ordinary one.
_OF_ONE_DATABASE = (
    "condensed_until",
    "everything",
    "selections",
    "process_id",
    "sample_id",
    "parent_id",
    "cgroup_id",
    "newest",
    "peak",
)


def plain(value: Any) -> Any:
    """Return an answer without what is of one database alone: ids, and what else there is in it."""
    if hasattr(value, "_mapping"):
        value = dict(value._mapping)
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if name not in (*_OF_ONE_DATABASE, "key")}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float, str, datetime)) else str(value)


def assert_alike(one: Any, other: Any, place: str = "") -> None:
    """Compare two answers: figures to a millisecond, or to seven digits."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_alike(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), (place, one, other)
        for number, (each, its) in enumerate(zip(one, other, strict=True)):
            assert_alike(each, its, f"{place}[{number}]")
    elif isinstance(one, float) and other is not None:
        assert one == pytest.approx(other, rel=1e-6, abs=1 if place.endswith("_ms") else 0.011), place
    else:
        assert one == other, place


def same(fleet: Fleet, host: str, span: TimeRange, ask: Callable[[str], Any]) -> Any:
    """Return what *ask* answers of the machine's own database; of the centre it is the same."""
    from perftrack.fleet.fetching import fetched

    own = plain(ask(fleet.databases[host]))
    with fetched(fleet.centre.url("owner"), span, host) as brought:
        assert_alike(plain(ask(brought)), own)
    return own


@pytest.mark.parametrize("seed", seeds(12, 2))
def test_a_machine_is_told_as_it_tells_itself(fleet: Fleet, seed: int) -> None:
    fleet.add("web1", seed, is_condensed=seed % 2 == 1)
    fleet.add("web2", seed + 100, 40)
    chance = random.Random(seed)
    for _ in range(3):
        assert_told_alike(fleet, fleet.span("web1", chance))


def assert_told_alike(fleet: Fleet, span: TimeRange) -> None:
    one: dict[str, Any] = {"host": "web1", "now": NOW}
    if not top(fleet.databases["web1"], span, **one).rows:
        return
    same(fleet, "web1", span, lambda path: top(path, span, **one, limit=1000))
    same(fleet, "web1", span, lambda path: top(path, span, **one, limit=5, is_tree=True))
    same(fleet, "web1", span, lambda path: top(path, span, **one, group="name", by="io", limit=1000))
    same(fleet, "web1", span, lambda path: top_units(path, span, **one, limit=1000))
    same(fleet, "web1", span, lambda path: reports(path, span, **one))


def everything(fleet: Fleet, host: str) -> TimeRange:
    """Return a range that begins before and ends after all samples of *host*."""
    return TimeRange(NOW - timedelta(days=365), NOW)


@pytest.mark.parametrize("seed", seeds(6, 1))
def test_files_of_a_machine_are_its_own(fleet: Fleet, tmp_path: Path, seed: int) -> None:
    from perftrack.fleet.fetching import fetched

    path = fleet.add("web1", seed)
    span = everything(fleet, "web1")

    def files(database: str, form: Form) -> tuple[bytes, bytes]:
        names = [str(tmp_path / name) for name in ("system", "process")]
        export(database, *names, span, host="web1", form=form)
        return Path(names[0]).read_bytes(), Path(names[1]).read_bytes()

    def rows(text: bytes) -> list[Any]:
        counted = {*tick_sql.SYSTEM_SAMPLE_COUNTERS, *tick_sql.PROCESS_SAMPLE_COUNTERS}
        ids = {"sample_id", "process_id", "previous_sample_id"}
        documents = [json.loads(line) for line in text.splitlines()]
        return [{name: each for name, each in row.items() if name not in counted | ids} for row in documents]

    with fetched(fleet.centre.url("owner"), span, None) as brought:
        own = files(path, Form())
        assert own[0].count(b"\n") > 100
        assert files(brought, Form()) == own
        for one, other in zip(*(files(each, Form("jsonl")) for each in (brought, path)), strict=True):
            assert_alike(rows(one), rows(other))
        grown = "SELECT sum(grown) FROM (SELECT max({0}) - min({0}) AS grown FROM system_sample GROUP BY boot_id)"
        for name in tick_sql.SYSTEM_SAMPLE_COUNTERS:
            known = query(path, f"SELECT sum({name}) FROM system_interval")
            assert query(brought, grown.format(name)) == known


@pytest.mark.slow
def test_a_plot_of_a_machine_is_its_own(fleet: Fleet, perftrack: Run, tmp_path: Path) -> None:
    from test_plot import data_of

    pytest.importorskip("plotly")
    path = fleet.add("web1", 3)
    fleet.add("web2", 4)
    ends = ("--since", "2026-11-20", "--until", "2027-01-01")
    perftrack("plot", *ends, "--database", path, "-o", "own.html")
    perftrack("fleet", "plot", fleet.centre.url("owner"), *ends, "--host", "web1", "-o", "brought.html")
    own, brought = (data_of(tmp_path / "work" / f"{name}.html") for name in ("own", "brought"))
    assert len(own["panels"]) > 5
    assert_alike(brought, own)


def test_sums_are_those_of_all_machines(fleet: Fleet) -> None:
    for number, host in enumerate(("web1", "web2", "db1")):
        fleet.add(host, number + 20)
    url = fleet.centre.url("owner")
    span = fleet.span("web1", random.Random(12))

    def of_machines(ask: Callable[[str, str], list[Any]]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for host, path in fleet.databases.items():
            for row in ask(host, path):
                found.setdefault(row[0], []).append(row[1:])
        return found

    def names(host: str, path: str) -> list[Any]:
        rows = top(path, span, host=host, group="name", limit=100, now=NOW).rows
        return [(row.key, row.used.cpu_ms, row.used.read_bytes, row.used.last_seen_at) for row in rows]

    def units(host: str, path: str) -> list[Any]:
        rows = top_units(path, span, host=host, limit=100, now=NOW).rows
        return [(row.unit, row.cpu_ms, row.read_bytes, row.last_active_at) for row in rows]

    for group, ask in (("name", names), ("unit", units)):
        own = of_machines(ask)
        found = fleet_top(url, span, group, "cpu", 100, None, None).rows  # type: ignore[arg-type]
        assert len(found) > 2
        assert [row["cpu_ms"] for row in found] == sorted((row["cpu_ms"] for row in found), reverse=True)
        if group == "name":  # a unit that held memory and did nothing is a row of the machine's alone
            assert {row["key"]: row["machines"] for row in found} == {key: len(rows) for key, rows in own.items()}
        assert {key for key, rows in own.items() if any(row[0] for row in rows)} <= {row["key"] for row in found}
        for row in found:
            its = own[row["key"]]
            assert row["cpu_ms"] == pytest.approx(sum(each[0] or 0 for each in its), abs=1)
            assert row["read_bytes"] == pytest.approx(sum(each[1] or 0 for each in its), abs=2)
            assert row["last_seen_at"] == max(each[2] for each in its if each[2])
    found = fleet_top(url, span, "host", "cpu", 100, None, None).rows
    its = {host: top(path, span, host=host, now=NOW).cpu.system_cpu_ms for host, path in fleet.databases.items()}
    assert {row["key"]: row["cpu_ms"] for row in found} == {key: pytest.approx(ms, abs=1) for key, ms in its.items()}
    processes = fleet_top(url, span, "process", "rss", 5, "b", "web*").rows
    assert {row["name"] for row in processes} == {"b"}
    assert {row["host"] for row in processes} <= {"web1", "web2"}


@pytest.mark.slow
def test_a_restored_machine_is_one_and_two_of_one_name_are_two(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, perftrack: Run
) -> None:
    url = fleet.centre.url("owner")

    def go_on(path: str, seed: int, role: str = "web1") -> str | None:
        with closing(opening.open_current(path)) as connection:
            simulation = Restless(connection, seed)
            simulation.machine.names |= {"host": "web1", "boot": f"boot-of-{seed}"}
            simulation.run(10)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return ship(path, fleet.centre.url(role)).said

    def machines() -> dict[str, int]:
        options = ("--since", "2026-11-20", "--until", "2027-01-01", "--format", "json")
        found = json.loads(perftrack("fleet", "report", url, *options).stdout)
        return {each["hosts"][0]: each["samples"] for each in found.get("machines", [found])}

    monkeypatch.setattr("perftrack.fleet.ship.machine_hash", lambda: "one")
    path = str(tmp_path / "web1.db")
    go_on(path, 1)
    shutil.copy(path, tmp_path / "backup.db")
    go_on(path, 2)
    shutil.copy(tmp_path / "backup.db", path)
    assert "is a source of its own" in str(go_on(path, 3))
    in_all = fleet.centre.query("SELECT count(*) FROM perftrack.system_sample")[0]
    assert machines() == {"web1": in_all}
    assert fleet_top(url, TimeRange(), "host", "cpu", 9, None, None).system["machines"] == 1
    assert in_all > 30
    monkeypatch.setattr("perftrack.fleet.ship.machine_hash", lambda: "another")
    go_on(str(tmp_path / "other.db"), 4, "web2")
    own = fleet.centre.query("SELECT count(*) FROM perftrack.system_sample")[0] - in_all
    assert machines() == {"web1 (web1)": in_all, "web1 (web2)": own}
    for host, count in (("web1", in_all + own), ("web1 (web2)", own), ("web1 (*", in_all + own)):
        options = ("--since", "2026-11-20", "--until", "2027-01-01", "--format", "json", "--host", host)
        found = json.loads(perftrack("fleet", "top", url, *options).stdout)
        assert sum(row["samples"] for row in found["rows"]) == count
        assert {row["host"] for row in found["rows"]} <= {"web1 (web1)", "web1 (web2)"}
        found = json.loads(perftrack("fleet", "report", url, *options).stdout)
        assert sum(each["samples"] for each in found.get("machines", [found])) == count
    # who is silent is not hidden by another role of the same name and machine
    monkeypatch.setattr("perftrack.fleet.ship.machine_hash", lambda: "one")
    go_on(str(tmp_path / "third.db"), 5, "web2")
    assert len(machines_seen(url, timedelta(hours=1))) == 3


def test_a_machine_that_was_renamed_counts_under_the_name_that_it_had(
    fleet: Fleet, perftrack: Run, connection: sqlite3.Connection, path: str
) -> None:
    machine = Machine(connection, host="web1")
    used = 0
    for host, boot in (("web1", "boot-1"), ("db1", "boot-2")):
        machine.names, machine.uptime_seconds = {"host": host, "boot": boot}, 5.0
        for _ in range(4):
            used += 1000
            machine.tick(
                process(used, name=f"{host}d"), cgroups=[cgroup_row(f"/{host}.service", used)], cpu_user_ms=2000
            )
    ship(path, fleet.centre.url())
    for group, names in (("host", ["web1"]), ("name", ["web1d"]), ("unit", ["web1.service"])):
        found = fleet_top(fleet.centre.url("owner"), TimeRange(), group, "cpu", 9, None, "web*")  # type: ignore[arg-type]
        assert [row["key"] for row in found.rows] == names
        assert found.system["cpu_ms"] == 6000
    assert found.recorded_cpu_ms is None
    assert fleet_top(fleet.centre.url("owner"), TimeRange(), "name", "cpu", 9, None, "web*").recorded_cpu_ms == 3000


@pytest.mark.slow
def test_a_machine_of_one_sample_is_no_obstacle(fleet: Fleet, perftrack: Run) -> None:
    fleet.add("web1", 1, 1)
    options = ("fleet", "top", fleet.centre.url("owner"), "--since", "2026-11-20", "--until", "2027-01-01")
    assert "web1" in perftrack(*options).stdout
    fleet.add("web2", 2, 30)
    lines = perftrack(*options, "--format", "csv").stdout.splitlines()
    assert len(lines) == 3
    assert "cpu_percent_mean" in lines[0]
    for group in ("unit", "name", "process", "user", "command"):
        assert perftrack(*options, "--group", group).stdout
    refused = perftrack(*options, "--by", "threads", expect=2).stderr
    assert "--group host has no --by threads" in refused
    assert perftrack(*options, "-n", "9" * 20, expect=2).stderr.count("Traceback") == 0


def test_a_full_disk_here_is_said(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    from perftrack.errors import PerftrackError
    from perftrack.fleet import bringing, fetching

    fleet.add("web1", 1, 5)
    monkeypatch.setattr(bringing, "STATEMENTS", ["PRAGMA max_page_count = 1", "CREATE TABLE more (a)"])
    with (
        pytest.raises(PerftrackError, match="cannot be brought to"),
        fetching.fetched(fleet.centre.url("owner"), TimeRange(), None),
    ):
        pass


def test_what_is_not_there_is_said(fleet: Fleet, perftrack: Run) -> None:
    url = fleet.centre.url("owner")
    for command in ("top", "report", "export", "plot"):
        assert "no machine has shipped yet" in perftrack("fleet", command, url, expect=1).stderr
    fleet.add("web1", 1, 5)
    for command in ("top", "report", "export", "plot"):
        assert "is called db*" in perftrack("fleet", command, url, "--host", "db*", expect=1).stderr
    for command in ("report", "export", "plot"):
        done = perftrack("fleet", command, url, "--since", "2020-01-01", "--until", "2020-01-02", expect=1)
        assert "has no sample of that range" in done.stderr
        assert "it has some from 2026-11-20" in done.stderr
        assert done.stdout == ""
    done = perftrack("fleet", "top", url, "--since", "2020-01-01", "--until", "2020-01-02")
    assert "nothing in this range" in done.stdout
    assert "is no address" in perftrack("fleet", "top", "nonsense", expect=2).stderr
    assert "is no address" in perftrack("fleet", "top", "postgresql://\udcff@/fleet", expect=2).stderr
    assert "UTF-8" in perftrack("fleet", "top", url, "--name", "\udcff", expect=2).stderr


def test_many_machines_are_named_before_they_are_brought(
    fleet: Fleet, perftrack: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perftrack.cli import fleet_answers
    from perftrack.errors import UsageError

    for number in range(3):
        fleet.add(f"web{number}", number, 3)
    monkeypatch.setattr(fleet_answers, "MACHINES_MAX", 2)
    report = fleet_answers._asked_of_centre(fleet_answers.report.report, fleet_answers.options.recent, "")
    with pytest.raises(UsageError, match="has 3 machines"):
        report(fleet.centre.url("owner"), None, since="2026-11-20", until=None)
