"""bin/bench keeps what it measured: a row that cannot be is said and left out, and the others stay."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks import __main__ as bench
from benchmarks import before
from benchmarks.bars import Bar, Bench, MissingError, Year
from benchmarks.measure import Ratio, run


def raising(error: Exception) -> Callable[[], Any]:
    def measure() -> Any:
        raise error

    return measure


FAILED = subprocess.CalledProcessError(1, ["perftrack"], stderr="a warning\nperftrack: it is damaged\n")


@pytest.mark.parametrize(
    ("year", "says"), [(lambda: Year(1e9, 90, 80, 3e8), "1.00 GB on disk"), (raising(FAILED), "failed")]
)
@pytest.mark.parametrize("options", [[], ["--markdown"]])
def test_a_row_that_cannot_be_measured_takes_no_other_with_it(
    year: Callable[[], Year],
    says: str,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measures = {
        "one": lambda: Ratio(1, 0, 2, 0),
        "two": raising(MissingError("atop is not installed")),
        "three": raising(FAILED),
        "four": lambda: Ratio(3, 0, 4, 0),
    }

    class Rows(Bench):
        def bars(self) -> list[Bar]:
            return [Bar(name, "that", "s", 1.0, measure) for name, measure in measures.items()]

    monkeypatch.setattr(Rows, "year", lambda self: year())
    monkeypatch.setattr(Rows, "groups_day", lambda self: 590_000.0)
    monkeypatch.setattr(bench, "Bench", Rows)
    monkeypatch.setattr(sys, "argv", ["bin/bench", "--cache", str(tmp_path), *options])
    bench.main()
    out = capsys.readouterr().out
    assert [name for name in measures if name in out] == list(measures)
    assert says in out
    assert "add 0.59 MB" in " ".join(out.split())
    bars = json.loads((tmp_path / "bench.json").read_text())["bars"]
    assert [bar.get("ratio") for bar in bars] == [0.5, None, None, 0.75]
    assert [bar.get("missing") for bar in bars] == [
        None,
        "atop is not installed",
        "failed: perftrack: it is damaged",
        None,
    ]


def test_a_plot_is_left_out_where_its_library_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a database is made for it."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "plotly" else find(name))
    (plot,) = [bar for bar in Bench(tmp_path, print, quick=True).bars() if "plot" in bar.what]
    with pytest.raises(MissingError, match=r"plotly is not installed: .* install plotly"):
        plot.measure()
    assert list(tmp_path.iterdir()) == []


def test_a_program_is_measured_however_many_files_are_open() -> None:
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
    try:
        cost = run([sys.executable, "-c", "sum(range(10**6)); b'x' * 50_000_000"])
        with pytest.raises(subprocess.CalledProcessError, match="sleep"):
            run(["sleep", "long"])
    finally:
        for descriptor in opened:
            os.close(descriptor)
    assert 0 < cost.cpu_seconds < 60
    assert cost.wall_seconds > 0
    assert cost.peak_bytes > 50_000_000


def test_another_checkout_is_measured_by_its_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each runs the program of its own environment, on what its own data.py made."""

    def clone(name: str) -> Path:
        programs = tmp_path / name / ".venv" / "bin"
        benchmarks = tmp_path / name / "tests" / "benchmarks"
        for folder in (programs, benchmarks):
            folder.mkdir(parents=True)
        script = f'#!/bin/sh\nsleep 0.1; echo {name} $1 "$(cat $PERFTRACK_DATABASE)" >>{tmp_path}/ran\n'
        for program, text in (("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n'), ("perftrack", script)):
            (programs / program).write_text(text)
            (programs / program).chmod(0o700)
        (benchmarks / "__init__.py").touch()
        (benchmarks / "data.py").write_text(
            f"def recorded(path, rows, progress):\n    path.write_text(f'by {name}: {{rows}}')\n"
        )
        return tmp_path / name

    monkeypatch.setattr(before, "ROOT", clone("now"))
    other = before.Checkout(clone("then"), "then", tmp_path)
    (export,) = [bar for bar in before.bars(other, tmp_path, quick=True) if "export" in bar.what]
    ratio = export.measure()
    assert min(ratio.ours, ratio.theirs) >= 0.1
    ran = (tmp_path / "ran").read_text().splitlines()
    assert set(ran) == {"now export by now: 2000000", "then export by then: 2000000"}
    assert ran[0::2] == [ran[0]] * (len(ran) // 2)
    assert ran[0] != ran[1]  # in turn


def test_what_is_no_checkout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bin/bench", "--cache", str(tmp_path), "--before", str(tmp_path)])
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(SystemExit, match="2"):
        bench.main()
    assert f"--before {tmp_path}: failed: fatal: not a git repository" in capsys.readouterr().err
