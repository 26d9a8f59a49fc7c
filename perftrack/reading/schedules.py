"""Who starts recording on this system: lines of crontabs, and systemd's units, as far as this user may read them."""

from __future__ import annotations

import glob
import os
import re
from typing import NamedTuple

from perftrack.programs import output_of

CRONTABS = ("/etc/crontab", "/etc/cron.d/*")
UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system", "~/.config/systemd/user")
# The original PerformanceTrack's script records too.
_RECORDS = re.compile(r"perftrack['\"]?\s+(-\S+\s+)*record\b|log_current_state_linux\.sh")


class Schedule(NamedTuple):
    """Something that starts recording. *where*: the file, or `crontab -l`. *line*: what it says there."""

    kind: str
    where: str
    line: str


def schedules() -> list[Schedule]:
    """Return the schedules that are found. What cannot be read is passed over."""
    found = [Schedule("crontab", "crontab -l", line) for line in _records(_own_crontab())]
    for path in sorted(path for pattern in CRONTABS for path in glob.glob(pattern)):
        found += [Schedule("crontab", path, line) for line in _records(_read(path))]
    for path in sorted(path for folder in UNITS for path in glob.glob(f"{os.path.expanduser(folder)}/*.service")):
        commands = [line for line in _read(path).splitlines() if line.strip().startswith("ExecStart")]
        for line in _records("\n".join(commands)):
            timer = path.removesuffix(".service") + ".timer"
            is_timed = os.path.exists(timer)
            found.append(
                Schedule("systemd timer" if is_timed else "systemd service", timer if is_timed else path, line)
            )
    return found


def _records(text: str) -> list[str]:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if not line.startswith("#") and _RECORDS.search(line)]


def _own_crontab() -> str:
    return (output_of("crontab", "-l") or b"").decode("utf-8", "replace")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1_000_000)
    except OSError:
        return ""
