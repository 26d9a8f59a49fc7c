"""The programs of this system that perftrack runs, of which the README has the list."""

from __future__ import annotations

import os
import subprocess
from typing import NamedTuple

# Not looked up in PATH: who can write to a folder of it would say what is run here.
FOLDERS = (
    (os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32"),)
    if os.name == "nt"
    else ("/usr/bin", "/bin")
)


# As a shell says that it found no such program.
NOT_RUN = 127


class Outcome(NamedTuple):
    """What a program answered. *error*: in one line, what it says about why it failed."""

    exit_code: int
    output: bytes
    error: str


def path_of(name: str) -> str | None:
    """Return where the program *name* is; None: it is not there."""
    file = f"{name}.exe" if os.name == "nt" else name
    return next((path for folder in FOLDERS if os.path.exists(path := os.path.join(folder, file))), None)


def run(name: str, *arguments: str, given: bytes = b"", wait_seconds: float = 10, **environment: str) -> Outcome:
    """Run the program *name*, with *given* to read, and return what it answers; NOT_RUN, where it cannot be run."""
    program = path_of(name)
    if program is None:
        return Outcome(NOT_RUN, b"", f"there is no program {name} in {' or '.join(FOLDERS)}")
    try:
        done = subprocess.run(
            [program, *arguments],
            input=given,
            capture_output=True,
            check=False,
            timeout=wait_seconds,
            env={**os.environ, "LC_ALL": "C", **environment},
        )
    except subprocess.TimeoutExpired:
        return Outcome(NOT_RUN, b"", f"{program} does not answer, for {wait_seconds:g} seconds")
    except OSError as error:
        return Outcome(NOT_RUN, b"", f"{program}: {error.strerror}")
    said = (done.stderr or done.stdout).decode(errors="replace")
    return Outcome(done.returncode, done.stdout, " ".join(said.split()) or f"exit code {done.returncode}")
