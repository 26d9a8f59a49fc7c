"""What the first `perftrack record` says on a terminal, and what it does not say again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run, on_a_terminal, query

from perftrack.cli import first_record

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudoterminal")


def test_lines() -> None:
    assert first_record.lines(
        "/data/p.db",
        "recorded 9 of 120 processes",
        {"java": 0, "python": 3, "": 6},
        "of the largest",
        ["/bin/p", "schedule", "install"],
        ["/bin/p", "a %"],
    ) == [
        "created the database /data/p.db",
        'recorded 9 of 120 processes: 0 by "java", 3 by "python", 6 of the largest',
        "to record every minute, run `/bin/p schedule install`, or put this line into your crontab (crontab -e):",
        r"* * * * * /bin/p 'a \%'",
    ]


def test_lines_where_nothing_is_chosen_and_there_is_no_cron() -> None:
    said = first_record.lines("/data/p.db", "recorded 0 of 120 processes", {"": 0}, "of the largest", [], [])
    assert said == ["created the database /data/p.db", "recorded 0 of 120 processes"]


class TestTheFirstRecord:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PERFTRACK_CPU_WINDOW", "0")

    def test_says_where_and_what_and_later_ones_keep_to_a_line(self, tmp_path: Path) -> None:
        database = tmp_path / "home/.local/share/perftrack/perftrack.db"
        first, later = (on_a_terminal("record", "--filter", "no such", "--top", "3").splitlines() for _ in range(2))
        assert first[0] == f"created the database {database}"
        assert re.fullmatch(
            r'recorded \d+ of \d+ processes at [-\d]+ [:\d]+: 0 by "no such", \d of the largest', first[1]
        )
        assert len(first) == 4
        (line,) = later
        assert re.fullmatch(rf"recorded \d+ of \d+ processes at [-\d]+ [:\d]+, CPU .* %, in {database}", line)

    def test_counts_processes_by_the_filter_that_selected_them(self, path: str) -> None:
        name = Path("/proc/self/comm").read_text().strip()
        said = on_a_terminal("record", "--all", "--filter", "no such", "--filter", name, "--database", path)
        counts = [query(path, f"SELECT count(*) FROM process_log WHERE filter = '{text}'")[0] for text in (name, "")]
        assert f'0 by "no such", {counts[0]} by "{name}", {counts[1]} others\n' in said
        assert min(counts) > 0

    def test_of_a_loop_is_followed_by_a_line_for_each(self, path: str) -> None:
        said = on_a_terminal(
            "record", "--every", "0.3s", "--count", "3", "--top", "0", "--database", path
        ).splitlines()
        assert [line.split()[0] for line in said] == ["created", "recorded", "to", "*", "recorded", "recorded"]

    def test_says_nothing_where_nobody_looks(self, perftrack: Run) -> None:
        assert perftrack("record").stdout == ""

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ([], "run `{program} schedule install`, or "),
            (["--database", "p.db"], "run `{program} schedule install --database {here}/p.db`, or "),
            (["--top", "3"], ""),  # which a schedule would not know
        ],
    )
    def test_offers_to_install_a_schedule_that_records_the_same(
        self, options: list[str], says: str, tmp_path: Path
    ) -> None:
        line = on_a_terminal("record", *options, folder=tmp_path).splitlines()[2]
        way = says.format(program=f"{sys.executable} -m perftrack", here=tmp_path)
        assert line == f"to record every minute, {way}put this line into your crontab (crontab -e):"

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("options", "environment", "says"),
        [
            ([], {}, ""),
            (["--top", "3", "--filter=a b", "--filter", "c", "--cpu-window", "0.1"], {},
             "--filter 'a b' --filter c --top 3 --cpu-window 0.1"),
            (["--all", "--every", "1.1s", "--count", "1"], {}, "--all"),
            (["--database", "p.db"], {}, "--database {here}/p.db"),
            ([], {"DATABASE": "p.db", "TOP": "2", "ALL": "false", "PROCESS_FILTER": "a,b"},
             "--filter a --filter b --top 2 --database {here}/p.db"),
            (["--config", "c.toml"], {}, "--config {here}/c.toml"),
            ([], {"CONFIG": "c.toml"}, "--config {here}/c.toml"),
        ],
    )  # fmt: skip
    def test_gives_the_crontab_line_that_records_the_same(
        self,
        options: list[str],
        environment: dict[str, str],
        says: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delenv("PERFTRACK_CPU_WINDOW")
        (tmp_path / "c.toml").write_text('cpu_window = 0\ndatabase = "of-config.db"\n')
        variables = {f"PERFTRACK_{name}": value for name, value in environment.items()}
        line = on_a_terminal("record", *options, folder=tmp_path, **variables).splitlines()[3]
        assert line == f"* * * * * {sys.executable} -m perftrack record {says.format(here=tmp_path)}".rstrip()
        (database,) = tmp_path.rglob("*.db")
        subprocess.run(["sh", "-c", line.removeprefix("* * * * * ")], cwd="/", check=True)
        assert query(database, "SELECT count(*) FROM system_sample") == [2]
