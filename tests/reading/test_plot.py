"""`perftrack plot`: a page that a real browser opens without a network, and pictures."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import LEGACY, Run
from machine import NOON, Machine, process
from plotted import HOSTILE, a_night

from perftrack.reading.plot import series

NIGHT = ("--since", "2026-11-20", "--until", "2026-11-23")


@pytest.fixture
def machine(connection: sqlite3.Connection) -> Machine:
    return Machine(connection)


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    parsed: dict[str, Any] = json.loads(found[1])
    return parsed


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


class TestThePage:
    def test_breaks_lines_at_gaps_and_boots(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        a_night(path, 100)
        perftrack("plot", *NIGHT)
        page = data_of(tmp_path / "work" / "perftrack.html")
        memory = page["panels"][1]["series"][0]["mean"]
        breaks = [page["x"][at] for at, value in enumerate(memory) if value is None]
        length = timedelta(hours=1)
        (gap,) = [gap for gap in page["gaps"] if instant(gap[1]) - instant(gap[0]) > length]
        assert len(breaks) == 2
        assert gap[0] < breaks[0] < gap[1]
        assert len(page["boots"]) == 1
        assert instant(page["boots"][0]) - timedelta(minutes=1) < instant(breaks[1]) < instant(page["boots"][0])

    def test_shows_local_time_and_names_the_zone(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        a_night(path, 5)
        perftrack("plot", *NIGHT, env={"TZ": "Europe/Berlin"})
        page = data_of(tmp_path / "work" / "perftrack.html")
        assert page["zone"] == "CET, UTC+01:00"
        assert instant(page["x"][0]) == NOON + timedelta(hours=1, minutes=1)

    def test_has_bytes_in_units_that_are_read_well_and_a_colour_for_each_name(
        self, machine: Machine, perftrack: Run, tmp_path: Path
    ) -> None:
        for number in range(3):
            machine.tick(
                process(number * 9000, name="burns", pid=1),
                process(number * 6000, name="both", pid=2, rss_bytes=3 << 29),
                process(0, name="holds", pid=3, rss_bytes=5 << 28),
                *(process(number, name=f"idle{pid}", pid=pid, rss_bytes=1 << 20) for pid in range(4, 9)),
                disk_read_bytes=60 * 3 * 1024,
            )
        perftrack("plot", *NIGHT)
        panels = {panel["title"]: panel for panel in data_of(tmp_path / "work" / "perftrack.html")["panels"]}
        disk, memory = panels["Disk"], panels["Memory by process"]
        assert (disk["unit"], disk["series"][0]["max"][-1]) == (" KiB/s", 3)
        assert (memory["unit"], [each["max"][0] for each in memory["series"][:2]]) == (" GiB", [1.5, 1.25])
        colours = {
            title: {each["name"]: each["colour"] for each in panels[title]["series"]}
            for title in ("CPU by process", "Memory by process")
        }
        assert colours["CPU by process"]["both"] == colours["Memory by process"]["both"]
        assert "holds" not in colours["CPU by process"]
        for each in colours.values():
            assert len(set(each.values())) == len(each)
            assert len(each.keys() - {"(unattributed)"}) == series.NAMES

    def test_is_one_private_file_that_fetches_nothing(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        a_night(path, 5)
        perftrack("plot", *NIGHT, "-o", "night.html")
        page = tmp_path / "work" / "night.html"
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
        text = page.read_text()
        own = text[: text.index("<script>")] + text[text.rindex("<script>") :]
        assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", own)
        assert "default-src 'none'" in own
        assert HOSTILE not in text

    def test_may_go_to_stdout(self, perftrack: Run, path: str) -> None:
        a_night(path, 5)
        assert perftrack("plot", *NIGHT, "-o", "-").stdout.startswith("<!DOCTYPE html>")

    def test_of_imported_data_shows_what_there_is(self, perftrack: Run, tmp_path: Path) -> None:
        perftrack("import", str(LEGACY / "data.pik"), "--timezone", "UTC")
        perftrack("plot", "--since", "2000-01-01")
        panels = {panel["title"]: panel for panel in data_of(tmp_path / "work" / "perftrack.html")["panels"]}
        assert [title for title, panel in panels.items() if panel["series"]] == ["CPU", "Memory", "Memory by process"]
        assert "measured in its sample's window" in panels["CPU"]["note"]
        assert {panels[title]["message"] for title in ("Load", "Pressure", "Disk", "Network")} == {
            "not in imported data"
        }

    def test_says_in_the_place_of_processes_why_there_are_none(
        self, machine: Machine, perftrack: Run, tmp_path: Path
    ) -> None:
        for _ in range(2):
            machine.tick(cpu_user_ms=6000, cpu_idle_ms=114_000, recorder="--filter java")
        done = perftrack("plot", *NIGHT)
        assert done.stderr.startswith("perftrack: no process was recorded in this range; it was recorded by")
        assert "--filter java" in done.stderr
        panels = {panel["title"]: panel for panel in data_of(tmp_path / "work" / "perftrack.html")["panels"]}
        assert panels["Memory by process"]["series"] == []
        assert f"perftrack: {panels['Memory by process']['message']}\n" == done.stderr
        # what all CPUs worked, no process explains
        (rest,) = panels["CPU by process"]["series"]
        assert (rest["name"], rest["mean"]) == ("(unattributed)", [None, 10.0])

    def test_holds_a_value_over_its_interval(self, machine: Machine, perftrack: Run, tmp_path: Path) -> None:
        for number in range(4):
            machine.tick(
                process(6000 * number, name="steady", pid=1),
                *([process(600, name="short", pid=2, started_ticks=114_000)] if number == 2 else []),
                extra={"load_1min": number},
            )
        perftrack("plot", *NIGHT)
        panels = {panel["title"]: panel for panel in data_of(tmp_path / "work" / "perftrack.html")["panels"]}
        series = {each["name"]: each for each in panels["CPU by process"]["series"]}
        # what a process used up to a sample is drawn from the sample before on; a load from its own sample on
        assert (series["steady"]["mean"], series["steady"]["steps"]) == ([None, 10, 10, 10], [10, 10, 10, 10])
        assert (series["short"]["mean"], series["short"]["steps"]) == ([None, None, 1, None], [None, 1, 1, None])
        load = panels["Load"]["series"][0]
        assert load["mean"] == load["steps"] == [0, 1, 2, 3]

    def test_shows_what_is_used_of_memory_at_its_own_scale(
        self, machine: Machine, perftrack: Run, tmp_path: Path
    ) -> None:
        machine.tick(extra={"mem_used_bytes": 3 << 29, "mem_total_bytes": 64 << 30})
        perftrack("plot", *NIGHT)
        panel = data_of(tmp_path / "work" / "perftrack.html")["panels"][1]
        assert [(each["name"], each["hidden"]) for each in panel["series"]] == [("used", False), ("total", True)]
        assert (panel["unit"], panel["note"]) == (" GiB", "total 64 GiB")


class TestAPicture:
    def test_is_a_png(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        a_night(path, 60)
        for options in ((), ("--dark",)):
            perftrack("plot", *NIGHT, "-o", "night.png", *options)
            raw = (tmp_path / "work" / "night.png").read_bytes()
            assert raw[:8] == b"\x89PNG\r\n\x1a\n"
            assert min(struct.unpack(">II", raw[16:24])) > 1000

    @pytest.mark.parametrize("name", ["java", "日本🐍"])
    def test_is_drawn_in_silence_without_a_home_folder_or_a_letter(
        self, machine: Machine, perftrack: Run, name: str
    ) -> None:
        for number in range(3):
            machine.tick(process(number * 1000, name=name))
        nowhere = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), "/proc/nowhere")
        done = perftrack("plot", *NIGHT, "-o", "night.png", env=nowhere)
        assert done.stderr == ""

    def test_is_an_svg_in_which_names_are_text(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        a_night(path, 60)
        perftrack("plot", *NIGHT, "-o", "night.svg")
        root = ElementTree.fromstring((tmp_path / "work" / "night.svg").read_text())
        texts = "".join(root.itertext())
        assert "java" in texts
        assert HOSTILE[:20] in texts
        assert not [each for each in root.iter() if each.tag.endswith(("}script", "}img"))]


class TestWhatCannotBe:
    def test_a_kind_of_file_that_it_does_not_know(self, perftrack: Run, path: str) -> None:
        a_night(path, 5)
        assert "an .html, a .png or an .svg" in perftrack("plot", *NIGHT, "-o", "night.pdf", expect=2).stderr

    @pytest.mark.parametrize(("kind", "library"), [("html", "plotly"), ("png", "matplotlib")])
    def test_without_the_extra_one_line_says_how_to_install_it(
        self, path: str, tmp_path: Path, kind: str, library: str
    ) -> None:
        a_night(path, 5)
        program = (
            f"import sys; sys.modules[{library!r}] = None\n"
            "import importlib.util as util; find = util.find_spec\n"
            f"util.find_spec = lambda name, *rest: None if name == {library!r} else find(name, *rest)\n"
            "from perftrack.__main__ import main; main()"
        )
        target = tmp_path / f"night.{kind}"
        command = [sys.executable, "-c", program, "plot", *NIGHT, "-o", str(target), "--database", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert done.stderr.endswith(f"needs {library}: {sys.executable} -m pip install plotly matplotlib\n")
        assert not target.exists()

    def test_a_name_that_no_process_has(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        a_night(path, 5)
        done = perftrack("plot", *NIGHT, "--process", "java", "--process", "jav")
        assert done.stderr == "perftrack: no process named jav was recorded in this range\n"
        panels = {panel["title"]: panel for panel in data_of(tmp_path / "work" / "perftrack.html")["panels"]}
        assert [each["name"] for each in panels["CPU by process"]["series"]] == ["java"]
        assert "no process named jav was recorded" in panels["CPU by process"]["message"]

    def test_a_range_without_samples(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        a_night(path, 5)
        for output in ("night.html", "night.png", "-"):
            done = perftrack("plot", "--since", "2020-01-01", "--until", "2020-01-02", "-o", output, expect=1)
            assert "no samples in this range" in done.stderr
            assert done.stdout == ""
        assert list((tmp_path / "work").iterdir()) == []


BROWSER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A real browser without a network."""
    program, driver = BROWSER
    if program is None or driver is None:
        pytest.skip("chromium or chromium-driver is not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"):
        options.add_argument(f"--{flag}")
    for flag in ("disable-background-networking", "disable-component-update", "disable-dev-shm-usage"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path / 'chromium'}")
    options.add_argument("--window-size=1200,2400")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        started.set_network_conditions(offline=True, latency=0, throughput=0)
        yield started
    finally:
        started.quit()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
class TestInABrowser:
    def test_it_opens_zooms_and_takes_names_for_text(
        self, perftrack: Run, path: str, tmp_path: Path, browser: Any
    ) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.support.ui import WebDriverWait

        a_night(path, 600)
        perftrack("plot", *NIGHT)
        browser.get((tmp_path / "work" / "perftrack.html").as_uri())

        def script(text: str) -> Any:
            return browser.execute_script(text)

        WebDriverWait(browser, 60).until(lambda _: script("return document.body.dataset.ready") == "yes")
        plots = "return [...document.querySelectorAll('.plot')]"
        ranges = f"{plots}.map(plot => plot.layout.xaxis.range.map(end => +new Date(end)))"
        before = script(ranges)
        titles = [panel["title"] for panel in data_of(tmp_path / "work" / "perftrack.html")["panels"]]
        assert len(before) == len(titles)
        assert len({tuple(each) for each in before}) == 1
        drawn = script(f"{plots}.map(plot => plot.querySelectorAll('.scatterlayer .trace').length)")
        assert min(drawn) >= 2

        # names are text: in the legend as they are, and nothing of them ran or became an element
        legend = script(f"{plots}[{titles.index('CPU by process')}].querySelector('.legend').textContent")
        assert HOSTILE[:27] in legend
        assert script("return document.querySelectorAll('.plot img, .plot b, .plot script').length") == 0
        assert "pwned" not in browser.title

        # dragged in one, zoomed in all
        area = browser.find_elements("css selector", ".plot .nsewdrag")[1]
        ActionChains(browser).move_to_element_with_offset(area, -200, 0).click_and_hold().move_by_offset(
            300, 0
        ).release().perform()
        WebDriverWait(browser, 20).until(
            lambda _: len({tuple(each) for each in script(ranges)} - {tuple(before[0])}) == 1
        )
        WebDriverWait(browser, 20).until(lambda _: len({tuple(each) for each in script(ranges)}) == 1)
        zoomed = script(ranges)[0]
        assert before[0][0] < zoomed[0] < zoomed[1] < before[0][1]

        # a click in a legend hides a line, or shows one: the total, which would flatten the others
        hidden = """return [...new Set(document.querySelectorAll('.plot')[1].data
            .filter(trace => trace.visible === 'legendonly').map(trace => trace.name))]"""
        assert script(hidden) == ["total"]
        for clicked, left in ((0, ["used", "total"]), (2, ["used"])):
            legend = browser.find_elements("css selector", ".plot")[1].find_elements("css selector", ".legendtoggle")
            legend[clicked].click()
            WebDriverWait(browser, 20).until(lambda _, left=left: script(hidden) == left)

        theme = "return document.documentElement.dataset.theme"
        was = script(theme)
        browser.find_element("id", "theme").click()
        assert script(theme) != was
        assert script(ranges)[0] == zoomed
        browser.find_element("id", "whole").click()
        WebDriverWait(browser, 20).until(lambda _: script(ranges) == before)
        assert [entry for entry in browser.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}] == []

    def test_it_shows_the_times_of_the_machine_in_another_zone_too(
        self, perftrack: Run, path: str, tmp_path: Path, browser: Any
    ) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.support.ui import WebDriverWait

        a_night(path, 5)
        perftrack("plot", *NIGHT, env={"TZ": "Europe/Berlin"})
        browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "America/New_York"})
        browser.get((tmp_path / "work" / "perftrack.html").as_uri())
        WebDriverWait(browser, 60).until(
            lambda _: browser.execute_script("return document.body.dataset.ready") == "yes"
        )
        area = browser.find_elements("css selector", ".plot .nsewdrag")[1]
        ActionChains(browser).move_to_element_with_offset(area, 5 - area.size["width"] // 2, 0).perform()
        hover = "return document.querySelectorAll('.plot')[1].querySelector('.hoverlayer').textContent"
        WebDriverWait(browser, 20).until(lambda _: browser.execute_script(hover))
        assert "2026-11-20 13:01:00 CET, UTC+01:00" in browser.execute_script(hover)
        assert "Times are CET, UTC+01:00." in browser.find_element("tag name", "header").text

    @pytest.mark.parametrize("width", [360, 900, 1600])
    def test_it_fits_the_window(self, perftrack: Run, path: str, tmp_path: Path, browser: Any, width: int) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        a_night(path, 100)
        perftrack("plot", *NIGHT)
        browser.set_window_size(width, 1500)
        browser.get((tmp_path / "work" / "perftrack.html").as_uri())
        WebDriverWait(browser, 60).until(
            lambda _: browser.execute_script("return document.body.dataset.ready") == "yes"
        )
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        # a legend of many rows leaves the chart its room, and no tick's text stands on another's
        areas = browser.find_elements("css selector", ".plot .nsewdrag")
        assert min(area.size["height"] for area in areas) > 150
        ticks = """return [...document.querySelectorAll('.plot')].map(plot =>
            [...plot.querySelectorAll('.xtick text')].map(text => text.getBoundingClientRect())
            .some((box, at, boxes) => at && box.left < boxes[at - 1].right))"""
        assert not any(browser.execute_script(ticks))


@pytest.mark.slow
def test_a_year_takes_little_memory_and_1500_points(tmp_path: Path) -> None:
    """26 million rows of processes; the memory is that of the whole program.

    Not ru_maxrss, which begins with what the process that forked had.
    """
    from benchmarks.data import recorded

    database = recorded(tmp_path / "year.db", 26_000_000, lambda _: None)
    target = tmp_path / "year.html"
    program = (
        "import sys\nfrom perftrack.cli.app import run\nrun()\n"
        "print(*(line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line), file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, "plot", "--since", "2026-01-01", "--until", "2027-01-01"]
    command += ["-o", str(target), "--database", str(database)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    database.unlink()  # pytest would keep its 1.3 GB
    assert int(done.stderr) < 200 * 1024
    assert len(data_of(target)["x"]) == 1500
