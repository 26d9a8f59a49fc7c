"""`perftrack export --format openmetrics`: what the real promtool takes, and a real Prometheus answers from."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import time
import tracemalloc
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, cgroup_row, on_a_terminal, process_row, query, sample
from exported import ODD_NAMES, minute, record_mixed
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from perftrack.reading.export.openmetrics import export_openmetrics
from perftrack.reading.queries import TimeRange
from perftrack.sample import Sample
from perftrack.storage.insertion import insert_sample

Series = tuple[str, tuple[tuple[str, str], ...]]
Points = dict[Series, list[tuple[float, float]]]
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")


def parsed(text: str) -> Points:
    """Read with the reference parser, which is strict about order, names, units and what is interleaved."""
    found: Points = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            found[each.name, tuple(sorted(each.labels.items()))].append((float(each.timestamp), each.value))
    return found


def exported(path: str, folder: Path, since: datetime | None = None, until: datetime | None = None) -> Points:
    export_openmetrics(path, str(folder / "perftrack.om"), TimeRange(since, until))
    return parsed((folder / "perftrack.om").read_text())


def seconds(taken_at: str) -> float:
    """As Prometheus has it, to the millisecond."""
    return int(datetime.fromisoformat(taken_at).replace(tzinfo=UTC).timestamp() * 1000 + 0.0005) / 1000


def shop(number: int, pids: dict[int, int], boot: str = "boot-1", **system: Any) -> Sample:
    """A sample of some processes called java in a unit, each with so many milliseconds of CPU time."""
    rows = [
        process_row(pid=pid, name="java", started_ticks=pid, cpu_user_ms=ms, cpu_system_ms=0, cgroup="/shop.service")
        for pid, ms in pids.items()
    ]
    groups = [cgroup_row(path, None) for path in ("/", "/shop.service")]
    values = {"uptime_seconds": 1000.0 + 60 * number, "taken_at": minute(number), **system}
    return sample(*rows, cgroups=groups, boot=boot, **values)


CPU = ("perftrack_process_cpu_user_seconds_total", (("host", "here"), ("name", "java"), ("unit", "shop.service")))


class TestACounter:
    def test_goes_on_when_a_process_ends(self, connection: sqlite3.Connection, path: str, tmp_path: Path) -> None:
        """The kernel's counters, added up, would go back by what the one that ended had."""
        for number, pids in enumerate([{7: 5000, 8: 100}, {7: 6000, 8: 200}, {8: 350}, {8: 350, 9: 40}]):
            insert_sample(connection, shop(number, pids))
        points = exported(path, tmp_path)[CPU]
        assert [value for _, value in points] == [0, 1.1, 1.25, 1.25]
        assert [at for at, _ in points] == [seconds(minute(number)) for number in range(4)]

    def test_goes_on_over_a_boot(self, connection: sqlite3.Connection, path: str, tmp_path: Path) -> None:
        for number, (boot, user_ms) in enumerate([("a", 9000), ("a", 9500), ("b", 10), ("b", 2010)]):
            insert_sample(connection, shop(number, {}, boot=boot, cpu_user_ms=user_ms))
        points = exported(path, tmp_path)["perftrack_cpu_user_seconds_total", (("host", "here"),)]
        assert [value for _, value in points] == [0, 0.5, 2.5]

    def test_shows_what_one_that_began_later_used_at_first(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path
    ) -> None:
        insert_sample(connection, shop(0, {}))
        began = process_row(name="backup", started_ticks=103_000, cpu_user_ms=25_000)
        insert_sample(connection, sample(began, uptime_seconds=1060.0, taken_at=minute(1)))
        ((_, points),) = [
            each
            for each in exported(path, tmp_path).items()
            if each[0] == (CPU[0], (("host", "here"), ("name", "backup"), ("unit", "")))
        ]
        assert points == [(seconds(minute(1)) - 30, 0), (seconds(minute(1)), 25)]

    def test_of_ranges_that_fit_together_loses_nothing(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path
    ) -> None:
        """Each range begins with 0, where Prometheus sees a reset."""
        for number in range(6):
            insert_sample(connection, shop(number, {7: 1000 * number * number}))
        middle = datetime.fromisoformat(f"{minute(3)}+00:00")
        first = exported(path, tmp_path, until=middle)[CPU]
        second = exported(path, tmp_path, since=middle)[CPU]
        assert [value for _, value in first] == [0, 1, 4]
        assert second == [(seconds(minute(number)), value) for number, value in [(3, 5), (4, 12), (5, 21)]]

    def test_of_a_range_begins_with_0_where_it_is_not_known_by_then(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path
    ) -> None:
        for number in range(4):
            insert_sample(connection, shop(number, {7: 1000 * number}))
        since = datetime.fromisoformat("2026-11-20 12:01:30+00:00")
        points = exported(path, tmp_path, since=since)[CPU]
        assert points == [(since.timestamp(), 0), (seconds(minute(2)), 1), (seconds(minute(3)), 2)]


def test_a_sum_may_be_larger_than_an_integer(connection: sqlite3.Connection, path: str, tmp_path: Path) -> None:
    insert_sample(connection, sample(*(process_row(pid=pid, vms_bytes=2**63 - 1) for pid in range(2))))
    labels = (("host", "here"), ("name", "python3"), ("unit", ""))
    assert exported(path, tmp_path)["perftrack_process_vms_bytes", labels] == [(seconds(minute(0)), 2.0**64)]


class TestTheText:
    @pytest.fixture
    def text(self, connection: sqlite3.Connection, path: str, tmp_path: Path) -> str:
        record_mixed(connection, 60, ("web1", "web2"))
        connection.execute("UPDATE process_sample SET rss_bytes = rss_bytes >> 20")  # so that the sums are exact
        export_openmetrics(path, str(tmp_path / "perftrack.om"), TimeRange())
        return (tmp_path / "perftrack.om").read_text()

    def test_has_each_gauge_of_each_sample(self, text: str, path: str) -> None:
        found = parsed(text)
        with closing(sqlite3.connect(path)) as database:
            database.row_factory = sqlite3.Row
            for row in database.execute("SELECT * FROM system_log"):
                for name, column, scale in (
                    ("cpu_ratio", "cpu_usage", 100),
                    ("load_1min", "load_1min", 1),
                    ("mem_used_bytes", "mem_used", 1),
                ):
                    points = dict(found.get((f"perftrack_{name}", (("host", row["host"]),)), []))
                    value = row[column]
                    assert points.get(seconds(row["taken_at"])) == (None if value is None else value / scale)
            sums = database.execute(
                "SELECT host, name, coalesce(unit, ''), taken_at, sum(rss_memory) FROM process_log"
                " GROUP BY 1, 2, 3, 4"
            ).fetchall()
        assert len(sums) > 300
        for host, name, unit, taken_at, rss in sums:
            labels = (("host", host), ("name", name), ("unit", unit))
            points = dict(found.get(("perftrack_process_rss_bytes", labels), []))
            assert points.get(seconds(taken_at)) == rss

    def test_has_counters_that_never_go_back_and_end_as_the_intervals_add_up(self, text: str, path: str) -> None:
        found = parsed(text)
        counters = 0
        for (name, _), points in found.items():
            times = [at for at, _ in points]
            assert times == sorted(set(times))
            if name.endswith("_total"):
                counters += 1
                values = [value for _, value in points]
                assert values == sorted(values)
        assert counters > 50
        for host, name, unit, ms in query(
            path,
            "SELECT host, name, coalesce(unit, ''), sum(cpu_system_ms) FROM process_interval GROUP BY 1, 2, 3"
            " HAVING sum(cpu_system_ms) IS NOT NULL",
        ):
            labels = (("host", host), ("name", name), ("unit", unit))
            assert found["perftrack_process_cpu_system_seconds_total", labels][-1][1] == pytest.approx(ms / 1000)
        for host, grown in query(path, "SELECT host, sum(disk_read_bytes) FROM system_interval GROUP BY 1"):
            assert found["perftrack_disk_read_bytes_total", (("host", host),)][-1][1] == grown

    def test_has_labels_of_names_and_units_and_never_a_pid(self, text: str) -> None:
        labels = {label for _, of in parsed(text) for label, _ in of}
        assert labels == {"host", "name", "unit"}
        names = {dict(of)["name"] for _, of in parsed(text) if "name" in dict(of)}
        assert names == set(ODD_NAMES)

    def test_has_units_in_names_and_ends_as_it_should(self, text: str) -> None:
        assert text.endswith("# EOF\n")
        families = [line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE ")]
        assert len(families) == len({name for name, _ in families})
        units = dict(line.split()[2:] for line in text.splitlines() if line.startswith("# UNIT "))
        assert set(units.values()) == {"bytes", "seconds", "ratio"}
        assert [name for name, unit in units.items() if not name.endswith(f"_{unit}")] == []

    @needs_promtool
    def test_is_taken_by_promtool(self, text: str, tmp_path: Path) -> None:
        assert text
        assert taken(tmp_path / "perftrack.om", tmp_path / "blocks") == values_in(tmp_path / "perftrack.om")

    @needs_promtool
    def test_of_samples_a_millisecond_apart_is_taken_too(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path
    ) -> None:
        """Prometheus knows no shorter time, and drops the second value of an instant."""
        for number in range(400):  # two in each millisecond, of a time that times 1000 is often a little less
            instant = f"2038-06-01 12:00:00.{number // 2:03d}{number % 2 * 5}00"
            values = {"taken_at": instant, "uptime_seconds": 1000 + number * 0.0005, "cpu_user_ms": number}
            insert_sample(connection, sample(process_row(cpu_user_ms=number), **values))
        points = exported(path, tmp_path)["perftrack_cpu_user_seconds_total", (("host", "here"),)]
        assert [value for _, value in points] == [(1 + number * 2) / 1000 for number in range(200)]
        assert taken(tmp_path / "perftrack.om", tmp_path / "blocks") == values_in(tmp_path / "perftrack.om")


def taken(file: Path, blocks: Path) -> int:
    """Have promtool make blocks, and return how many values are in them: it drops a second one of an instant."""
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=744h", file, blocks]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows = (re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines())
    return sum(int(row[header.index("NUM SAMPLES")]) for row in rows)


def values_in(file: Path) -> int:
    return sum(not line.startswith("#") for line in file.read_text().split("\n")[:-1])


class TestTheFile:
    def test_is_stdout_by_default(self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path) -> None:
        insert_sample(connection, shop(0, {7: 1}))
        done = perftrack("export", "--format", "openmetrics")
        assert done.stdout.endswith("# EOF\n")
        assert os.listdir(tmp_path / "work") == []
        perftrack("export", "--format", "openmetrics", "--output", "a.om.gz", "--directory", ".")
        file = tmp_path / "work" / "a.om.gz"
        assert gzip.decompress(file.read_bytes()).decode() == done.stdout
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_of_an_empty_range_is_a_valid_one(self, connection: sqlite3.Connection, perftrack: Run) -> None:
        insert_sample(connection, shop(0, {7: 1}))
        done = perftrack("export", "--format", "openmetrics", "--since", "2026-11-21")
        assert done.stdout == "# EOF\n"
        assert "holds 1 sample" in done.stderr

    def test_acts_on_no_terminal(self, connection: sqlite3.Connection, path: str) -> None:
        insert_sample(connection, sample(process_row(name="\x1b[2J\x9b")))
        shown = on_a_terminal("export", "--format", "openmetrics", "--database", path)
        assert 'name="\\\\x1b[2J\\\\x9b"' in shown
        assert all(line.isprintable() for line in shown.splitlines())

    @pytest.mark.usefixtures("connection")
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--format", "openmetrics", "--process-csv", "p"], "writes one file: name it with --output"),
            (["--format", "openmetrics", "--time", "utc"], "has instants of its own"),
            (["--format", "openmetrics", "--new"], "a openmetrics file cannot be made longer"),
            (["--format", "openmetrics", "--spreadsheet-safe"], "--spreadsheet-safe is about CSV"),
            (["--output", "x"], "--output is of --format openmetrics"),
        ],
    )
    def test_takes_no_option_that_is_of_others(self, perftrack: Run, options: list[str], said: str) -> None:
        assert said in perftrack("export", *options, expect=2).stderr

    def test_needs_no_more_memory_for_more_samples(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path
    ) -> None:
        for number in range(400):
            insert_sample(connection, shop(number, dict.fromkeys(range(20), number * 10), cpu_user_ms=number))

        def peak(samples: int) -> int:
            until = datetime.fromisoformat(f"{minute(samples)}+00:00")
            tracemalloc.start()
            export_openmetrics(path, str(tmp_path / "p.om"), TimeRange(until=until))
            try:
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        peak(40)
        few, many = peak(40), peak(400)
        assert many < few * 1.5


@contextmanager
def prometheus(folder: Path, blocks: Path) -> Iterator[str]:
    """A Prometheus that answers from *blocks* and asks nobody; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    options = {
        "config.file": folder / "prometheus.yml",
        "storage.tsdb.path": blocks,
        "storage.tsdb.retention.time": "100y",
        "web.listen-address": address,
    }
    command = ["prometheus", *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"http://{address}/-/ready", timeout=5).close()
                    break
                except OSError:
                    assert server.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < deadline, (folder / "log").read_text()
                    time.sleep(0.05)
            yield address
        finally:
            server.kill()


def answer(address: str, promql: str, at: float) -> dict[str, float]:
    query = urllib.parse.urlencode({"query": promql, "time": at})
    with urllib.request.urlopen(f"http://{address}/api/v1/query?{query}", timeout=30) as response:
        found = json.load(response)
    assert found["status"] == "success"
    return {each["metric"].get("name", ""): float(each["value"][1]) for each in found["data"]["result"]}


@needs_promtool
@needs_prometheus
def test_prometheus_answers_what_the_database_does(
    connection: sqlite3.Connection, path: str, perftrack: Run, tmp_path: Path
) -> None:
    """A night of two hours in two exports that fit together, in the second of which a process ends."""
    for number in range(120):
        pids = {7: 6000 * number, 8: 3000 * number} if number < 90 else {8: 3000 * number}
        values = {"cpu_user_ms": 9000 * number, "cpu_idle_ms": 1000 * number, "cpu_system_ms": 0, "load_1min": 1.5}
        insert_sample(connection, shop(number, pids, **values))
    for options, name in ((["--until", "2026-11-20 13:00"], "1.om"), (["--since", "2026-11-20 13:00"], "2.om")):
        perftrack("export", "--format", "openmetrics", *options, "--output", name)
        file = tmp_path / "work" / name
        assert taken(file, tmp_path / "blocks") == values_in(file)
    end = seconds(minute(119))
    (grown,) = query(path, "SELECT sum(cpu_ms) / 1000.0 FROM process_interval")
    (load,) = query(path, "SELECT max(load_1min) FROM system_log")
    with prometheus(tmp_path, tmp_path / "blocks") as address:
        by_name = answer(address, "sum by (name) (increase(perftrack_process_cpu_user_seconds_total[119m]))", end)
        assert by_name == {"java": pytest.approx(grown, rel=0.02)}
        rate = answer(address, 'rate(perftrack_process_cpu_user_seconds_total{unit="shop.service"}[10m])', end - 3600)
        assert rate == {"java": pytest.approx(0.15)}
        assert answer(address, "perftrack_load_1min", end) == {"": load}
