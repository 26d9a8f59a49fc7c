"""What a crontab program that is not Debian's may do: refuse, or be beside somebody else who writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from perftrack.scheduling import crontab, job, plan
from perftrack.settings import load


def test_a_crontab_that_refuses_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "crontab"
    program.write_text("#!/bin/sh\necho 'You (alice) are not allowed to use this program (crontab)' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr("perftrack.programs.FOLDERS", (str(tmp_path),))
    with pytest.raises(plan.PerftrackError, match="not allowed to use this program"):
        plan.install(job.job(load({"database": str(tmp_path / "p.db")}), "1m"), "cron")


def test_a_crontab_that_something_else_writes_at_the_same_time_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "crontab"
    program.write_text('#!/bin/sh\n[ "$1" = - ] && cat >/dev/null\n[ "$1" = -l ] && echo "# of somebody else"\n:\n')
    program.chmod(0o755)
    monkeypatch.setattr("perftrack.programs.FOLDERS", (str(tmp_path),))
    with pytest.raises(plan.PerftrackError, match="at the same time"):
        crontab.install(job.job(load({"database": str(tmp_path / "p.db")}), "1m"))
