"""The dashboard of a fleet for Grafana: its queries, as Grafana asks them and a reader may, tell what machines do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from centres import Centre, a_centre
from conftest import Run, cgroup_row, make_database, query
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from machine import Machine, process
from test_dashboards import missing

from perftrack.fleet import dashboard, hours, readers, summing
from perftrack.fleet.connecting import connect
from perftrack.fleet.ship import ship
from perftrack.fleet.sums import fleet_top
from perftrack.reading.queries import TimeRange
from perftrack.reading.usage.top import top
from perftrack.reading.usage.top_units import top_units
from perftrack.storage import opening

pytest.importorskip("psycopg")
DASHBOARD = dashboard.dashboard()
OPEN = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
HOURLY = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row" for panel in panel["panels"]]
PANELS = {panel["title"]: panel for panel in (*OPEN, *HOURLY)}
SQL = {title: panel["targets"][0]["rawSql"] for title, panel in PANELS.items()}
SERIES = [title for title, panel in PANELS.items() if panel["type"] == "timeseries"]
OF_SAMPLES = [title for title, sql in SQL.items() if re.search(r"_sample\b", sql)]
HOSTS = ("web1", "db's")
TICKS, GAP = 200, 1800
# An interval counts for a point of 900 seconds at most.
_WEIGHT = "min(1.0, 900 / seconds)"


class Asked(NamedTuple):
    """What Grafana puts into queries. *hosts*: None is all of them, as the variable says it."""

    since: datetime
    until: datetime
    seconds: int
    hosts: tuple[str, ...] | None = None

    def sql(self, sql: str) -> str:
        """Return *sql* with variables and macros as Grafana's browser, its server and the data source replace them.

        https://grafana.com/docs/grafana/latest/datasources/postgres/query-editor/#macros
        """
        (_, variable) = DASHBOARD["templating"]["list"]
        listed = ",".join("'" + host.replace("'", "''") + "'" for host in self.hosts or ())
        instants = ["'" + each.astimezone(UTC).isoformat().replace("+00:00", "Z") + "'" for each in self[:2]]
        sql = sql.replace("${host:sqlstring}", variable["allValue"] if self.hosts is None else listed)
        for name, instant in (("from", self.since), ("to", self.until)):
            sql = re.sub(rf"\$__{name}\b", str(round(instant.timestamp() * 1000)), sql)
        sql = sql.replace("$__interval_ms", str(self.seconds * 1000)).replace("$__interval", f"{self.seconds}s")

        def expanded(macro: re.Match[str]) -> str:
            name, given = macro[1], [each.strip() for each in macro[2].split(",")]
            if name == "__timeFilter":
                return f"{given[0]} BETWEEN {instants[0]} AND {instants[1]}"
            if name == "__timeGroupAlias":
                seconds = given[1].removesuffix("s")
                return f'floor(extract(epoch from {given[0]})/{seconds})*{seconds} AS "time"'
            return {"__timeFrom": instants[0], "__timeTo": instants[1]}[name]

        sql = re.sub(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)", expanded, sql)
        assert "$" not in sql
        return sql


class Recorded(NamedTuple):
    """A centre, the databases of its machines by host, and from when to when they have samples."""

    centre: Centre
    databases: dict[str, str]
    since: datetime
    until: datetime

    def asked(self, seconds: int = 300, hosts: tuple[str, ...] | None = None) -> Asked:
        """Return what is asked where the range begins and ends in the middle of points, and of intervals."""
        return Asked(self.since + timedelta(seconds=1000), self.until - timedelta(seconds=1234), seconds, hosts)

    def answer(self, title: str, asked: Asked) -> list[dict[str, Any]]:
        with self.centre.server.connect(self.centre.database, "eyes") as connection:
            cursor = connection.execute(asked.sql(SQL[title]).encode())
            assert cursor.description is not None
            names = [each.name for each in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]


def record(path: str, host: str, begin: datetime, every: float, share: int) -> None:
    """Record a machine that does a *share* of what another does, in samples *every* so many seconds."""
    with closing(opening.open_current(path)) as connection:  # not a copy: it has a uuid of its own
        machine = Machine(connection, host=host)
        machine.clock = begin.replace(tzinfo=None)
        java = cron = 0
        end, number = machine.clock + timedelta(minutes=TICKS), 0
        while machine.clock < end - timedelta(seconds=every):
            number += 1
            after = GAP if number == 100 else every
            java += round(after * 200) // share
            cron += (number % 7) * 500 // share
            rows = [process(java, name="java", rss_bytes=java, read_bytes=java * 3)]
            if number % 5 == 0:  # it is recorded now and then
                rows.append(process(cron, name="cron", pid=2, rss_bytes=1000))
            machine.tick(
                *rows,
                cgroups=[
                    cgroup_row("/app.slice", java + 2 * cron, memory_bytes=9000),
                    cgroup_row("/app.slice/java.service", java, memory_bytes=5000),
                ],
                after=after,
                cpu_user_ms=round(after * 300) // share,
                cpu_idle_ms=round(after * 1500),
                cpu_iowait_ms=round(after * 50),
                cpu_steal_ms=round(after * 10 * (number % 3)),
                disk_read_bytes=1000 * number,
                disk_write_bytes=7000,
                net_sent_bytes=300,
                net_received_bytes=100 * number,
                extra={
                    "mem_total_bytes": 1 << 30,
                    "mem_used_bytes": (1 << 20) * (1 + number % 100),
                    "load_1min": 1.5,
                },
            )


@pytest.fixture(scope="module")
def recorded(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Two machines of which the samples are not at the same time, nor equally often, with sums by hour."""
    folder = tmp_path_factory.mktemp("fleet")
    begin = (datetime.now(UTC) - timedelta(hours=6)).replace(minute=7, second=11, microsecond=0)
    databases = {host: str(folder / str(number) / "perftrack.db") for number, host in enumerate(HOSTS)}
    with a_centre(server) as centre:
        for (host, path), every, share in zip(databases.items(), (60, 400), (1, 2), strict=True):
            record(path, host, begin + timedelta(seconds=17 * share), every, share)
            ship(path, centre.url())
        with closing(connect(centre.url("owner"), "test")) as owner:
            hours.close_hours(owner, datetime.now(UTC))
        readers.add(centre.url("owner"), "eyes")
        yield Recorded(centre, databases, begin, begin + timedelta(minutes=TICKS))
        with server.connect(centre.database) as superuser:
            superuser.execute("DROP OWNED BY eyes")
            superuser.execute("DROP ROLE eyes")


@pytest.mark.parametrize("hosts", [None, ("db's",), ("web1", "db's")], ids=["all", "one", "two"])
@pytest.mark.parametrize("title", PANELS)
def test_a_panel_shows_what_was_shipped(recorded: Recorded, title: str, hosts: tuple[str, ...] | None) -> None:
    asked = recorded.asked(3600 if PANELS[title] in HOURLY else 300, hosts)
    rows = recorded.answer(title, asked)
    assert rows
    if title in SERIES:
        times = [float(row["time"]) for row in rows]
        assert times == sorted(times)
        assert asked.since.timestamp() - asked.seconds < times[0] <= times[-1] <= asked.until.timestamp()
        assert all(isinstance(row["name"], str) for row in rows)
        values = [row[name] for row in rows for name in row if name not in {"time", "name"}]
        assert {type(value) for value in values} <= {float, type(None)}
        assert any(value for value in values)
    if title.endswith("by host") or title == "CPU by host, by hour":
        assert {row["name"] for row in rows} == set(hosts or HOSTS)
    assert recorded.answer(title, asked._replace(hosts=("no such",))) == []


@pytest.mark.parametrize("title", OF_SAMPLES)
def test_a_query_reads_the_partitions_of_its_range_alone(recorded: Recorded, title: str) -> None:
    asked = recorded.asked()
    with recorded.centre.server.connect(recorded.centre.database, "owner") as connection:
        plan = connection.execute(f"EXPLAIN {asked.sql(SQL[title])}".encode()).fetchall()
    read = set(re.findall(r"\bon \w+_sample_(\d{8}|default)", "\n".join(line for (line,) in plan)))
    days = {f"{asked.since:%Y%m%d}", f"{asked.until:%Y%m%d}", f"{asked.until + summing.LOOK_AHEAD:%Y%m%d}"}
    assert read - days <= {"default"}  # which may hold samples of any day
    assert f"{asked.since:%Y%m%d}" in read


def test_cpu_by_host_is_the_machines_own(recorded: Recorded) -> None:
    for host, path in recorded.databases.items():
        asked = recorded.asked(900, (host,))
        own = query(
            path,
            f"SELECT strftime('%s', taken_at) / 900 * 900, 100.0 * sum(cpu_ms * {_WEIGHT})"
            f" / sum((cpu_ms + cpu_steal_ms + cpu_idle_ms + cpu_iowait_ms) * {_WEIGHT}) FROM system_interval"
            f" WHERE taken_at BETWEEN '{text(asked.since)}' AND '{text(asked.until)}' GROUP BY 1 ORDER BY 1",
        )
        assert len(own) > 10
        found = [(float(row["time"]), row["busy"]) for row in recorded.answer("CPU by host", asked)]
        assert found == [(time, pytest.approx(busy, rel=1e-6)) for time, busy in own]


def test_disk_and_network_by_host_are_the_machines_own(recorded: Recorded) -> None:
    asked = recorded.asked(900, ("web1",))
    counters = ("disk_write_bytes", "disk_read_bytes", "net_received_bytes", "net_sent_bytes")
    own = query(
        recorded.databases["web1"],
        f"SELECT {', '.join(f'sum({name} * {_WEIGHT}) / sum(seconds * {_WEIGHT})' for name in counters)}"
        " FROM system_interval"
        f" WHERE taken_at BETWEEN '{text(asked.since)}' AND '{text(asked.until)}'"
        " GROUP BY strftime('%s', taken_at) / 900 ORDER BY strftime('%s', taken_at) / 900",
    )
    disk, network = (recorded.answer(f"{what} by host", asked) for what in ("Disk", "Network"))
    found = [
        (one["written"], one["read"], other["received"], other["sent"])
        for one, other in zip(disk, network, strict=True)
    ]
    assert found == [pytest.approx(row) for row in own]


@pytest.mark.parametrize("seconds", [60, 300, 900])
@pytest.mark.parametrize("what", ["process", "unit"])
def test_what_is_used_is_whole_whatever_the_width_of_a_point(recorded: Recorded, seconds: int, what: str) -> None:
    asked = recorded.asked(seconds)
    used: dict[str, float] = {}
    for row in recorded.answer(f"CPU by {what}", asked):
        begin, end = float(row["time"]), float(row["time"]) + seconds
        covered = min(end, asked.until.timestamp()) - max(begin, asked.since.timestamp())
        used[row["name"]] = used.get(row["name"], 0) + row["cpu"] / 100 * covered * 1000
    own = of_machines(recorded, asked, what)
    assert used == {name: pytest.approx(ms, abs=2 * len(recorded.databases)) for name, ms in own.items()}


def test_a_machine_that_records_seldom_is_in_every_point(recorded: Recorded) -> None:
    """Each uses of java as much at any time: their sum is a line without teeth."""
    values = [row["cpu"] for row in recorded.answer("CPU by process", recorded.asked(60)) if row["name"] == "java"]
    assert values == [pytest.approx(20 + 10)] * len(values)
    assert len(values) > 150


@pytest.mark.parametrize(("key", "group"), [("process", "name"), ("unit", "unit")])
def test_the_largest_are_those_of_fleet_top(recorded: Recorded, key: str, group: Any) -> None:
    for hosts, pattern in ((None, None), (("db's",), "db?s")):
        asked = recorded.asked(300, hosts)
        span = TimeRange(asked.since, asked.until)
        url = recorded.centre.url("owner")
        known = fleet_top(url, span, group, "cpu", 100, None, pattern).rows
        rows = recorded.answer(f"Most CPU by {key}", asked)
        assert [(row[group], row["machines"], row["last seen"]) for row in rows] == [
            (row["key"], row["machines"], row["last_seen_at"]) for row in known
        ]
        assert [row["CPU"] for row in rows] == pytest.approx([row["cpu_ms"] / 1000 for row in known])
        own = of_machines(recorded, asked, key)
        assert {row[group]: row["CPU"] for row in rows} == {
            name: pytest.approx(ms / 1000, abs=0.01) for name, ms in own.items()
        }


def of_machines(recorded: Recorded, asked: Asked, what: str) -> dict[str, float]:
    """Return what names, or units, used in the range, as the machines themselves tell it."""
    span, used = TimeRange(asked.since, asked.until), dict[str, float]()
    for host, path in recorded.databases.items():
        if asked.hosts is None or host in asked.hosts:
            given: dict[str, Any] = {"host": "*", "limit": 100, "now": recorded.until}
            rows = (
                [(row.unit, row.cpu_ms) for row in top_units(path, span, **given).rows]
                if what == "unit"
                else [(row.key, row.used.cpu_ms) for row in top(path, span, group="name", **given).rows]
            )
            for name, ms in rows:
                used[name] = used.get(name, 0) + (ms or 0)
    assert len(used) == 2
    return used


def test_memory_of_names_is_that_of_machines_added_up(recorded: Recorded) -> None:
    asked = recorded.asked(900)
    own: dict[int, float] = {}
    for path in recorded.databases.values():
        for time, rss in query(
            path,
            "SELECT strftime('%s', taken_at) / 900 * 900, avg(rss_memory) FROM process_log WHERE name = 'java'"
            f" AND taken_at BETWEEN '{text(asked.since)}' AND '{text(asked.until)}' GROUP BY 1",
        ):
            own[time] = own.get(time, 0) + rss
    rows = recorded.answer("Memory by process", asked)
    assert {float(row["time"]): row["rss"] for row in rows if row["name"] == "java"} == pytest.approx(own)


def test_hours_are_told_where_samples_are_gone(recorded: Recorded) -> None:
    asked = Asked(recorded.since - timedelta(hours=2), recorded.until + timedelta(hours=2), 7200)
    for what, kind, name in (("process", "process", "name"), ("unit", "unit", "unit")):
        known = dict(
            recorded.centre.query(f"SELECT {name}, sum(cpu_ms) FROM perftrack.{kind}_hour GROUP BY 1 ORDER BY 1")
        )
        assert len(known) == 2
        rows = recorded.answer(f"Most CPU by {what}, by hour", asked)
        assert {row[name]: row["CPU"] * 1000 for row in rows} == pytest.approx(known)
        hourly = recorded.answer(f"CPU by {what}, by hour", asked._replace(seconds=3600))
        for each, ms in known.items():
            assert sum(row["cpu"] * 36_000 for row in hourly if row["name"] == each) == pytest.approx(ms)
        # a wider point is the mean of the hours that there are
        of_hours: dict[float, list[float]] = {}
        for row in hourly:
            if row["name"] in {"java", "java.service"}:  # which there are in every hour
                of_hours.setdefault(float(row["time"]) // 7200 * 7200, []).append(row["cpu"])
        wider = {
            float(row["time"]): row["cpu"]
            for row in recorded.answer(f"CPU by {what}, by hour", asked)
            if row["name"] in {"java", "java.service"}
        }
        assert wider == pytest.approx({time: sum(each) / len(each) for time, each in of_hours.items()})


def test_silent_machines_come_first(recorded: Recorded) -> None:
    with recorded.centre.server.connect(recorded.centre.database, "owner") as owner:
        owner.execute(
            "INSERT INTO perftrack.source (uuid, role, host, machine, seen_at, taken_at, skew_seconds)"
            " VALUES (gen_random_uuid(), 'web2', 'web8', 'm', now() - interval '2 h', now() - interval '1 d', -400)"
        )
        rows = recorded.answer("Machines", recorded.asked())
        owner.execute("DELETE FROM perftrack.source WHERE host = 'web8'")
    assert (rows[0]["state"], rows[0]["host"]) == ("silent", "web8")
    assert {(row["state"], row["host"]) for row in rows[1:]} == {("", host) for host in HOSTS}
    assert rows[0]["skew"] == -400
    assert rows[0]["last shipped"] == pytest.approx(7200, abs=120)
    assert rows[0]["lag"] == pytest.approx(86_400 + 400, abs=120)
    assert {"lag", "last shipped", "skew"} <= set(rows[0])


def test_a_host_of_any_name_is_a_value(recorded: Recorded) -> None:
    _, variable = DASHBOARD["templating"]["list"]
    assert recorded.centre.query(variable["query"], "eyes") == sorted(HOSTS)
    assert (variable["multi"], variable["includeAll"]) == (True, True)
    assert all("${host:sqlstring}" in sql for sql in SQL.values())


def test_has_the_form_that_grafana_publishes() -> None:
    register_default_plugins()
    form = {name: value for name, value in dashboard.dashboard().items() if not name.startswith("__")}
    known = json.loads(json.dumps(Dashboard.from_json(form), cls=JSONEncoder))
    assert missing(form, known) == []


def test_can_be_imported() -> None:
    (asked,) = DASHBOARD["__inputs"]
    assert asked["pluginId"] == DASHBOARD["__requires"][0]["id"] == "grafana-postgresql-datasource"
    source, host = DASHBOARD["templating"]["list"]
    assert source["current"]["value"] == f"${{{asked['name']}}}"
    panels = [*OPEN, *HOURLY]
    for user in (*panels, host, *(target for panel in panels for target in panel["targets"])):
        assert user["datasource"] == {"type": source["query"], "uid": f"${{{source['name']}}}"}
    all_panels = [*DASHBOARD["panels"], *HOURLY]
    assert (
        len({panel["id"] for panel in all_panels}) == len(all_panels) == len({each["title"] for each in all_panels})
    )
    for one, other in combinations([panel["gridPos"] for panel in all_panels], 2):
        assert one["x"] + one["w"] <= 24
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_the_command_prints_it_or_writes_it(perftrack: Run, tmp_path: Path, path: str) -> None:
    assert json.loads(perftrack("fleet", "dashboard").stdout) == DASHBOARD
    file = tmp_path / "d.json"
    done = perftrack("fleet", "dashboard", "-o", str(file))
    assert (done.stdout, done.stderr, json.loads(file.read_text())) == ("", "", DASHBOARD)
    make_database(path)
    done = perftrack("fleet", "dashboard", "-o", path, expect=2)
    assert "is the database, which is not to be overwritten" in done.stderr


def text(instant: datetime) -> str:
    """Return an instant as SQLite has it."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
