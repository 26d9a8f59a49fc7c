"""An agent of a fleet as a process of its own, which ships in small transactions."""

from __future__ import annotations

import os
import subprocess
import sys

from conftest import query

_PROGRAM = "from perftrack.fleet import local; local.ROWS_MAX = 100; from perftrack.__main__ import main; main()"
LATER = 75


def start(path: str, url: str, *options: str) -> subprocess.Popen[str]:
    """Start `perftrack ship` of the database at *path*, as in another hour: it says again what it said before."""
    query(path, "UPDATE source SET ship_failed_at = '2026-11-20 14:30:05.123456' WHERE ship_failure NOTNULL")
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "ship", "--to", url, *options],
        env={**os.environ, "PERFTRACK_DATABASE": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(agent: subprocess.Popen[str]) -> str:
    """Wait for one; return the line with which it asks to be started later, or nothing: all was shipped."""
    try:
        _, said = agent.communicate(timeout=120)
    finally:
        agent.kill()  # nothing that hangs goes on under later tests
    assert agent.returncode in {0, LATER}, (agent.returncode, said)
    assert said.count("\n") == (agent.returncode == LATER), said
    assert "Traceback" not in said
    return said


def ship(path: str, url: str) -> str:
    return end(start(path, url))
