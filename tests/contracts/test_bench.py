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
from benchmarks.bars import Bar, Bench, MissingError, Year
from benchmarks.measure import Ratio, run


def raising(error: Exception) -> Callable[[], Any]:
    def measure() -> Any:
        raise error

    return measure


FAILED = subprocess.CalledProcessError(1, ["perftrack"], stderr="a warning\nperftrack: it is damaged\n")


@pytest.mark.parametrize(
    ("year", "says"), [(lambda: Year(1e9, 90, 80), "1.00 GB on disk"), (raising(FAILED), "failed")]
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
    monkeypatch.setattr(bench, "Bench", Rows)
    monkeypatch.setattr(sys, "argv", ["bin/bench", "--cache", str(tmp_path), *options])
    bench.main()
    out = capsys.readouterr().out
    assert [name for name in measures if name in out] == list(measures)
    assert says in out
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
