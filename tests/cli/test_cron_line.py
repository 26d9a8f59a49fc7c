"""`perftrack record` with and without typer: the same options, the same outcome."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import on_a_terminal, query
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perftrack.cli import cron_line
from perftrack.cli.app import app
from perftrack.storage import failures

TYPER_ALONE = """
from perftrack.cli import cron_line
from perftrack.__main__ import main
cron_line.parse = lambda arguments: None
main()
"""
DIRECTLY = (sys.executable, "-m", "perftrack")
BY_TYPER = (sys.executable, "-c", TYPER_ALONE)

texts = st.sampled_from(
    [
        "5",
        "0",
        "05",
        "1_000",
        "-1",
        "+1",
        "1.5",
        ".5",
        "5.",
        "1e3",
        "",
        " ",
        "nan",
        "a",
        "--all",
        "-",
        "a=b",
        "٣",
        "\udcff",
    ]
) | st.text(st.characters(), max_size=3)
options = st.sampled_from([*cron_line.OPTIONS, "--al", "--nothing", "-h", "--help", "--", "something"])
words = st.one_of(
    options.map(lambda option: [option]),
    st.tuples(options, texts).map(list),
    st.tuples(options, texts).map(lambda both: ["=".join(both)]),
)
command_lines = st.lists(words, max_size=4).map(lambda parts: [word for part in parts for word in part])


def read_by_typer(arguments: list[str]) -> dict[str, Any] | None:
    """Return what typer gives record() for *arguments* of it, None where it refuses them or shows the help."""
    names = [name for name, _, _ in cron_line.OPTIONS.values()]
    called: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cron_line, "record", lambda *values: called.append(dict(zip(names, values, strict=True))))
        with suppress(typer.TyperException, typer.Exit):
            app(["record", *arguments], standalone_mode=False)
    return called[0] if called else None


def test_its_options_are_those_of_the_help() -> None:
    command = typer.main.get_command(app).commands["record"]  # type: ignore[attr-defined]
    of_typer = {}
    for parameter in command.params:
        annotation = list if parameter.multiple else parameter.type_descriptor.annotation
        (option,) = parameter.opts
        of_typer[option] = (parameter.name, annotation, parameter.min)
    assert of_typer == cron_line.OPTIONS


@settings(deadline=None)  # the first one imports pydantic
@given(command_lines)
@example(["--database", "/x y/p.db", "--top", "5", "--filter=a", "--filter", "b", "--all", "--cpu-window", "0.5"])
@example(["--every", "10s", "--count", "3", "--top=1", "--top", "2", "--config="])
def test_what_it_understands_typer_reads_as_the_same(arguments: list[str]) -> None:
    given = cron_line.parse(arguments)
    if given is not None:
        nothing = dict.fromkeys(name for name, _, _ in cron_line.OPTIONS.values())
        assert nothing | given == read_by_typer(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--top 5",
        "--top=0",
        "--filter a --filter=b --all",
        "--every 10s --count 1",
        "--cpu-window 0.25",
        "--config x",
    ],
)
def test_it_understands_what_a_crontab_has(arguments: str) -> None:
    assert cron_line.parse(arguments.split()) is not None


@pytest.mark.parametrize(
    "arguments",
    ["-h", "--help", "--top 5 --help", "--top", "--top -1", "--top=-1", "--top many", "--count 0", "--cpu-window nan",
     "--al", "--all=yes", "--filter --all", "-- --all", "something", "--filter \udcff", f"--top {'9' * 5000}"],
)  # fmt: skip
def test_it_leaves_to_typer_what_it_does_not_understand(arguments: str) -> None:
    assert cron_line.parse(arguments.split()) is None


@pytest.mark.skipif(sys.platform != "linux", reason="watches processes by their names")
@pytest.mark.parametrize(
    ("options", "expect"),
    [
        ([], 0),
        (["--top", "3", "--filter", "pytest", "--cpu-window=0"], 0),
        (["--all", "--every", "0.1s", "--count", "2"], 0),
        (["--count", "2"], 2),
        (["--every", "soon"], 2),
        (["--every", "1s", "--cpu-window", "2"], 2),
        (["--filter", ""], 2),
        (["--cpu-window", "5000"], 2),
        (["--database", ""], 2),
        (["--database", "/dev/null/p.db"], 1),
        (["--config", "/nowhere/perftrack.toml"], 2),
        (["--top", "many"], 2),
        (["--nothing"], 2),
        (["--help"], 0),
    ],
    ids=str,
)
class TestBothWays:
    """Exit code, what is said where nobody looks and on a terminal, what is stored, and what is remembered of it."""

    @pytest.fixture(autouse=True)
    def settings(self, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in (("DATABASE", database), ("CPU_WINDOW", "0.05"), ("PROCESS_FILTER", "no such name")):
            monkeypatch.setenv(f"PERFTRACK_{name}", value)

    def test_are_the_same_under_cron(self, options: list[str], expect: int, tmp_path: Path) -> None:
        outcomes = []
        for program in (DIRECTLY, BY_TYPER):
            home = tmp_path / program[1]
            env = {**os.environ, "HOME": str(home)}
            command = [*program, "record", *options]
            done = [subprocess.run(command, env=env, capture_output=True, text=True, check=False) for _ in range(2)]
            remembered = failures.failures(str(home / ".local/share/perftrack/perftrack.db"))
            said = [(each.returncode, each.stdout, each.stderr) for each in done]
            outcomes.append((said, [(failure.message, failure.count) for failure in remembered]))
        assert outcomes[0] == outcomes[1]
        assert outcomes[0][0][0][0] == expect

    def test_say_the_same_on_a_terminal(self, options: list[str], expect: int) -> None:
        said = [on_a_terminal("record", *options, program=program, expect=expect) for program in (DIRECTLY, BY_TYPER)]
        without_figures = ["".join(letter for letter in text if not letter.isdigit()) for text in said]
        assert without_figures[0].replace(", CPU . %", "") == without_figures[1].replace(", CPU . %", "")
        assert said[0] != ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads its own name from /proc")
def test_both_ways_store_the_same(path: str) -> None:
    name = Path("/proc/self/comm").read_text().strip()
    stored = []
    for program in (DIRECTLY, BY_TYPER):
        arguments = ["record", "--filter", name, "--filter=no such", "--top", "0", "--cpu-window", "0.25"]
        subprocess.run([*program, *arguments, "--database", path], check=True)
        stored.append(
            query(
                path,
                "SELECT DISTINCT text, pid, process.name, window_seconds >= 0.25 FROM process_sample"
                " JOIN process ON process.id = process_id JOIN name_filter ON name_filter.id = filter_id"
                f" JOIN system_sample ON system_sample.id = sample_id WHERE pid = {os.getpid()}",
            )
        )
    assert stored[0] == stored[1] == [(name, os.getpid(), name, 1)]
