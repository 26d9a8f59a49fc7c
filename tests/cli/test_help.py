"""What `--help` shows at the width of any terminal."""

from __future__ import annotations

import pytest
from conftest import Run


@pytest.mark.parametrize("group", [[], ["config"], ["database"], ["schedule"]])
def test_no_summary_of_a_command_is_cut(perftrack: Run, group: list[str]) -> None:
    out = perftrack(*group, "--help", env={"COLUMNS": "80"}).stdout
    summaries = [line for line in out.partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines() if line]
    assert len(summaries) >= 2
    assert [line for line in summaries if not line.endswith(".")] == []
    assert [line for line in summaries if line.endswith("...")] == []
