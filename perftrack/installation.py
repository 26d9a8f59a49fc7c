"""How this copy of perftrack is run, and added to: what messages tell a user to type. Imported when one is shown."""

from __future__ import annotations

import os
import shlex
import sys

_OF_A_CLONE = os.path.join(".venv", "bin", "perftrack")


def program() -> list[str]:
    """Return the words that run this copy from anywhere, as it was run now: of a clone its bin/perftrack."""
    script = os.path.abspath(sys.argv[0])
    if os.path.basename(script) == "__main__.py":
        return [sys.executable, "-m", "perftrack"]
    of_clone = os.path.join(script.removesuffix(_OF_A_CLONE), "bin", "perftrack")
    return [of_clone if script.endswith(_OF_A_CLONE) and os.path.exists(of_clone) else script]


def how_to_install(*packages: str) -> str:
    """Return the command that adds *packages* of the index to this copy, ready to be pasted into a shell."""
    venvs, name = os.path.split(sys.prefix)
    if os.path.normpath(venvs).endswith(os.path.join("pipx", "venvs")):
        return shlex.join(["pipx", "inject", name, *packages])
    words = [sys.executable, "-m", "pip", "install", *packages]
    if os.name != "nt":
        return shlex.join(words)
    import subprocess

    return subprocess.list2cmdline(words)
