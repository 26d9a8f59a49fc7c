"""The dashboards for Grafana and datasette: on a database that was recorded, each query answers, by the index."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, query
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from perftrack.reading.dashboard import datasette, grafana, queries
from perftrack.reading.dashboard.cookbook import COOKBOOK
from perftrack.recording import cgroups
from perftrack.storage.intervals import VIEWS
from perftrack.storage.models import Base

DASHBOARD = grafana.dashboard()
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"]}
TABLES = [*VIEWS, *Base.metadata.tables]
RECORD = [sys.executable, "-m", "perftrack", "record", "--cpu-window", "0"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database of real ticks: three, nothing for a while, and three more."""
    path = str(tmp_path_factory.mktemp("recorded") / "web, 1.db")
    command = [*RECORD, "--all", "--every", "1s", "--count", "3", "--database", path]
    subprocess.run(command, check=True, timeout=60)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            """UPDATE system_sample SET uptime_seconds = uptime_seconds - 100,
              listed_uptime_seconds = listed_uptime_seconds - 100, read_uptime_seconds = read_uptime_seconds - 100,
              taken_at = strftime('%Y-%m-%d %H:%M:%f000', taken_at, '-100 seconds'),
              taken_at_local = strftime('%Y-%m-%d %H:%M:%f000', taken_at_local, '-100 seconds')"""
        )
    subprocess.run(command, check=True, timeout=60)
    return path


def as_grafana_asks(sql: str, interval_seconds: float = 1) -> str:
    """Put into a query what Grafana does for the last hour of this machine."""
    now = time.time()
    host = "'" + socket.gethostname().replace("'", "''") + "'"
    values = {
        "${host:sqlstring}": host,
        "$__from": str(int((now - 3600) * 1000)),
        "$__to": str(int((now + 60) * 1000)),
        "$__interval_ms": str(int(interval_seconds * 1000)),
    }
    for name, value in values.items():
        sql = sql.replace(name, value)
    assert "$" not in sql
    return sql


def sql_of(title: str) -> str:
    (target,) = PANELS[title]["targets"]
    return str(target["rawQueryText"])


def answer(path: str, title: str, interval_seconds: float = 1) -> list[dict[str, Any]]:
    """Return the rows of a panel. A machine without control groups has none of units."""
    if "unit" in title and cgroups.mount() is None:
        pytest.skip("no control groups of version 2 are mounted here")
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(as_grafana_asks(sql_of(title), interval_seconds))]


class TestGrafana:
    def test_has_every_panel(self) -> None:
        assert list(PANELS) == [
            *("CPU", "Memory", "Load", "Pressure", "Forks", "Disk", "Network"),
            *("CPU by process", "Memory by process", "CPU by unit", "OOM kills", "Gaps"),
        ]
        assert re.findall(r'AS "(\w+)"\n?', sql_of("CPU").partition("\nFROM")[0]) == [
            *("user", "system", "iowait", "steal", "busy", "busiest")
        ]

    @pytest.mark.parametrize("interval_seconds", [1, 60])
    @pytest.mark.parametrize("title", PANELS)
    def test_a_panel_shows_what_was_recorded(self, recorded: str, title: str, interval_seconds: float) -> None:
        rows = answer(recorded, title, interval_seconds)
        assert rows, title
        (target,) = PANELS[title]["targets"]
        assert set(target["timeColumns"]) <= set(rows[0])
        is_table = target["queryType"] == "table"
        times = [row[name] for name in target["timeColumns"] for row in rows]
        assert all(time.time() - 3600 < instant < time.time() + 60 for instant in times)
        assert times == sorted(times) or is_table
        values = [row[name] for row in rows for name in row if name not in {*target["timeColumns"], "name", "kind"}]
        # the type of a column is that of its first value
        assert {type(value) for value in values} <= {float, type(None)}
        if title not in {"Pressure", "Disk"}:  # which not every machine knows
            assert any(value is not None for value in values)

    @pytest.mark.parametrize("title", PANELS)
    def test_a_panel_finds_samples_by_their_time(self, recorded: str, title: str) -> None:
        with closing(sqlite3.connect(recorded)) as connection:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {as_grafana_asks(sql_of(title))}")]
        found = "\n".join(plan)
        assert re.search(r"SEARCH (system_sample|later) USING (COVERING )?INDEX ix_system_sample_taken_at \(", found)
        assert not re.search(r"SCAN (own|system_sample|later|process_sample|cgroup_sample|process)\b", found), plan

    def test_no_line_crosses_a_gap(self, recorded: str) -> None:
        rows = answer(recorded, "Load")
        places = [number for number, row in enumerate(rows) if row["1 min"] is None]
        (broken,) = places
        assert rows[broken + 1]["time"] - rows[broken]["time"] > 90
        assert all(row["1 min"] is not None for row in answer(recorded, "Load", 600))

    def test_the_cpu_of_processes_is_what_their_counters_grew_by(self, recorded: str) -> None:
        """Of those that were in each sample: of an interval over several, a point has its share."""
        ((covered, name, used),) = query(
            recorded,
            "SELECT (SELECT sum(seconds) FROM system_interval), name, sum(cpu_ms) FROM process_interval "
            "WHERE sample_seconds IS NOT NULL GROUP BY name HAVING max(seconds - sample_seconds) < 0.001 "
            "ORDER BY sum(cpu_ms) DESC LIMIT 1",
        )
        shown = {row["name"]: row["cpu"] for row in answer(recorded, "CPU by process", 1e9)}  # one point
        assert used > 0
        assert shown[name] == pytest.approx(used / covered / 10, rel=0.02)

    def test_a_host_of_any_name_is_a_value(self, recorded: str) -> None:
        assert query(recorded, queries.HOSTS) == [socket.gethostname()]
        for panel in PANELS.values():
            assert "host:sqlstring" in panel["targets"][0]["rawQueryText"]

    def test_has_the_form_that_grafana_publishes(self) -> None:
        """What Grafana's own types do not know, they drop: of panels and their options too."""
        register_default_plugins()
        form = {name: value for name, value in grafana.dashboard().items() if not name.startswith("__")}
        known = json.loads(json.dumps(Dashboard.from_json(form), cls=JSONEncoder))
        assert missing(form, known) == []
        assert missing({"no such": 1} | form, known) == ["/no such"]
        form["panels"][0]["options"]["legend"]["no such"] = 1
        known = json.loads(json.dumps(Dashboard.from_json(form), cls=JSONEncoder))
        assert missing(form, known) == ["/panels[]/options/legend/no such"]

    def test_can_be_imported(self) -> None:
        (asked,) = DASHBOARD["__inputs"]
        assert asked["pluginId"] == DASHBOARD["__requires"][0]["id"] == "frser-sqlite-datasource"
        source, host = DASHBOARD["templating"]["list"]
        assert source["current"]["value"] == f"${{{asked['name']}}}"
        assert DASHBOARD["schemaVersion"] >= 39
        panels = DASHBOARD["panels"]
        for user in (*panels, host, *(target for panel in panels for target in panel["targets"])):
            assert user["datasource"] == {"type": source["query"], "uid": f"${{{source['name']}}}"}
        assert len({panel["id"] for panel in panels}) == len(panels)
        for panel in panels:
            assert [target["refId"] for target in panel["targets"]] == ["A"]
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for one, other in combinations([panel["gridPos"] for panel in panels], 2):
            beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]

    def test_the_command_prints_it_or_writes_it(self, perftrack: Run, tmp_path: Path) -> None:
        assert json.loads(perftrack("database", "dashboard", "grafana").stdout) == DASHBOARD
        file = tmp_path / "d.json"
        done = perftrack("database", "dashboard", "grafana", "-o", str(file))
        assert (done.stdout, done.stderr, json.loads(file.read_text())) == ("", "", DASHBOARD)

    def test_the_command_overwrites_no_file_of_perftracks(self, perftrack: Run, path: str) -> None:
        done = perftrack("database", "dashboard", "datasette", "-o", path, expect=2)
        assert "is the database, which is not to be overwritten" in done.stderr


def missing(form: Any, known: Any, where: str = "") -> list[str]:
    """Return what of *form* is not in *known*."""
    if isinstance(form, dict):
        if not isinstance(known, dict):
            return [where]
        return [
            each
            for name, value in form.items()
            for each in (missing(value, known[name], f"{where}/{name}") if name in known else [f"{where}/{name}"])
        ]
    if isinstance(form, list) and isinstance(known, list) and len(form) == len(known):
        return [each for pair in zip(form, known, strict=True) for each in missing(*pair, f"{where}[]")]
    return [] if form == known else [where]


@pytest.fixture(scope="module")
def get(recorded: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The real datasette, with the metadata that the command prints."""
    made = [sys.executable, "-m", "perftrack", "database", "dashboard", "datasette", "--database", recorded]
    file = tmp_path_factory.mktemp("datasette") / "metadata.json"
    file.write_bytes(subprocess.run(made, check=True, capture_output=True).stdout)
    command = [sys.executable, "-m", "datasette", recorded, "-m", str(file), "--port", "0"]
    with subprocess.Popen(
        [*command, "--setting", "sql_time_limit_ms", "60000"], stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        told = ""
        while (running := re.search(r"running on (http://127\.0\.0\.1:\d+)", told)) is None:
            line = server.stderr.readline()
            assert line, told
            told += line

        def get(address: str) -> str:
            with urllib.request.urlopen(f"{running[1]}/{address}", timeout=60) as response:
                assert response.status == 200
                return str(response.read().decode())

        yield get
        server.terminate()
        server.stderr.close()


@pytest.fixture(scope="module")
def address(get: Callable[[str], str]) -> str:
    """The address of the database."""
    (database,) = json.loads(get("-/databases.json"))
    (known,) = datasette.metadata("/a folder/web, 1.db")["databases"]
    assert database["name"] == known == "web, 1"
    return str(json.loads(get(".json"))["web, 1"]["path"]).strip("/")


class TestDatasette:
    @pytest.mark.parametrize("table", TABLES)
    def test_shows_what_every_column_means(self, get: Callable[[str], str], address: str, table: str) -> None:
        page = get(f"{address}/{table}")
        about = datasette.metadata("web, 1.db")["databases"]["web, 1"]["tables"][table]
        listed = re.findall(r"<dt>(.*?)</dt><dd>", page)
        assert listed == list(about["columns"]) == query_columns(table)
        assert all(about["columns"].values())

    @pytest.mark.parametrize("recipe", COOKBOOK, ids=[recipe.name for recipe in COOKBOOK])
    def test_answers_a_question_of_the_cookbook(self, get: Callable[[str], str], address: str, recipe: Any) -> None:
        if recipe.name == "services":
            assert json.loads(get(f"{address}/{recipe.name}.json"))["ok"]  # a container has no services
        else:
            assert json.loads(get(f"{address}/{recipe.name}.json?_shape=array"))
        assert recipe.question in get(f"{address}/{recipe.name}")
        assert recipe.question in get(address)

    def test_tells_of_the_tables_in_the_same_order_each_time(self) -> None:
        assert [*datasette.metadata("perftrack.db")["databases"]["perftrack"]["tables"]] == TABLES

    def test_says_the_unit_of_a_column(self) -> None:
        tables = datasette.metadata("perftrack.db")["databases"]["perftrack"]["tables"]
        assert tables["system_log"]["columns"]["mem_total"] == "bytes: Physical memory. NULL: not known."
        assert tables["process_interval"]["columns"]["cpu_ms"].startswith("ms: CPU time")
        assert tables["system_sample"]["columns"]["load_1min"].startswith("processes: Load average")
        assert tables["host"]["columns"]["name"].startswith("Host name")


def query_columns(table: str) -> list[str]:
    return list((VIEWS.get(table) if table in VIEWS else Base.metadata.tables[table]).columns.keys())
