"""The programs that perftrack is measured against: found here, or installed into an environment of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PROCPATH = "procpath==1.15"


def procpath(cache: Path) -> str | None:
    """Return Procpath's program, installed from the package index if need be; None where that fails."""
    program = cache / "procpath" / "bin" / "procpath"
    if not program.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", str(cache / "procpath")], check=True, capture_output=True)
            pip = [str(program.with_name("python")), "-m", "pip", "install", "--quiet", PROCPATH]
            subprocess.run(pip, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
    return str(program)


def system(name: str) -> str | None:
    """Return a program of the system (pidstat of sysstat, atop, sqlite3), or None."""
    return shutil.which(name)
