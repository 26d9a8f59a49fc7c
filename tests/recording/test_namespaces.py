"""A recorder in a container shares the ID of the boot, but neither the time since boot nor the processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import Run, query

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="root makes namespaces, of Linux"
)
RECORD = f"exec {sys.executable} -m perftrack record"


@pytest.mark.parametrize(
    ("options", "inside", "boots"),
    [
        (["--time", "--boottime", "1000000"], RECORD, {2}),
        (["--pid", "--fork", "--mount-proc"], RECORD, {2, 3}),  # the second container may be another
        (["--uts"], f"hostname in-a-container; {RECORD}", {1}),
    ],
    ids=["another time since boot", "other processes", "another name"],
)
def test_samples_from_inside_and_outside_are_no_interval_of_each_other(
    perftrack: Run, path: str, options: list[str], inside: str, boots: set[int]
) -> None:
    """11 days of another time since boot are no gap, and make no window that is negative."""
    for number in range(4):
        if number % 2 == 0:
            perftrack("record", "--cpu-window", "0")
            continue
        env = {**os.environ, "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"}
        command = ["unshare", *options, "sh", "-c", inside]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if "unshare" in done.stderr:
            pytest.skip(f"not allowed here: {done.stderr}")
        assert (done.returncode, done.stderr) == (0, "")
    (found,) = query(path, "SELECT count(*) FROM boot")
    assert found in boots
    assert query(path, "SELECT count(*) FROM system_sample") == [4]
    assert query(path, "SELECT count(*) FROM gap WHERE kind = 'gap'") == [0]
    assert query(path, "SELECT count(*) FROM system_sample WHERE window_seconds < 0") == [0]
    seconds = query(path, "SELECT seconds FROM system_interval")
    assert len(seconds) == 4 - found
    assert all(0 < each < 100 for each in seconds)
