"""The programs that perftrack is measured against: found here, or installed into an environment of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PROCPATH = "procpath==1.15"


def found(name: str, cache: Path) -> str | None:
    """Return the program of a peer (Procpath, or one of the system: pidstat of sysstat, atop, sqlite3), or None."""
    return _procpath(cache) if name == "Procpath" else shutil.which(name)


def _procpath(cache: Path) -> str | None:
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
