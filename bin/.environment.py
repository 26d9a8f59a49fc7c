"""Make the virtual environment of a clone: .environment.py EXTRA STAMP. One line on failure."""

import os
import pathlib
import subprocess
import sys

OFFLINE = (
    "establish a new connection",
    "name resolution",
    "timed out",
    "ProxyError",
    "No matching distribution",
)


def main() -> None:
    """Install perftrack with its optional dependencies EXTRA ('' for none), and touch STAMP when all is there."""
    extra, stamp = sys.argv[1], pathlib.Path(sys.argv[2])
    root = pathlib.Path(__file__).resolve().parent.parent
    lock(root)
    project_changed = (root / "pyproject.toml").stat().st_mtime_ns
    made_for = stamp.read_text().strip() if stamp.exists() else None
    usable = run(python_of(stamp.parent), "-c", "import pip, sys; assert sys.version_info >= (3, 11)") is None
    if usable and made_for == str(root) and stamp.stat().st_mtime_ns >= project_changed:
        return  # somebody else has just done it
    is_new = not usable or made_for not in {None, str(root)}
    doing = "making" if is_new else "updating"
    say(f"{doing} the virtual environment {stamp.parent}, once; its packages come from the index, in a minute or so")
    if not os.access(stamp.parent if stamp.parent.exists() else root, os.W_OK):
        if is_forbidden(python_of(stamp.parent)):
            theirs = os.path.realpath(python_of(stamp.parent))
            fail(f"this user may not run {theirs}: the owner of {stamp.parent} can remove it, and make it of another")
        fail(f"{root} is not writable; run this once as the owner of that folder")
    if is_new:
        make_venv(stamp.parent)
    install(python_of(stamp.parent), f"{root}[{extra}]" if extra else str(root))
    stamp.write_text(f"{root}\n")
    os.utime(stamp, ns=(project_changed, project_changed))
    say("it is ready")


def lock(folder: pathlib.Path) -> None:
    """Wait for others that do the same: a cron job and a person may come first at the same moment."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)


def python_of(venv: pathlib.Path) -> str:
    """Return the Python of *venv*."""
    return str(venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def is_forbidden(python: str) -> bool:
    """Return whether *python* is there, but not for this user, as one in another user's home."""
    try:
        os.stat(python)
    except OSError as error:
        return isinstance(error, PermissionError)
    return not os.access(python, os.X_OK)


def make_venv(venv: pathlib.Path) -> None:
    """Make *venv*, or make it anew: its Python is gone, or it was made for a clone at another place."""
    if run(sys.executable, "-c", "import ensurepip, venv") is not None:
        fail("Python's venv module is missing; install it (Debian and Ubuntu: apt install python3-venv)")
    output = run(sys.executable, "-m", "venv", "--clear", str(venv))
    if output is not None:
        fail(f"cannot make the virtual environment {venv}: {last_line(output)}")


def install(python: str, target: str) -> None:
    """Install *target*, and what it needs from the package index."""
    output = run(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--retries=1",
        "--editable",
        target,
    )
    if output is None:
        return
    if any(word in output for word in OFFLINE):
        fail("cannot reach the package index; check the network or pip's index-url, then run this again")
    fail(f"pip cannot install what is needed: {last_line(output)}")


def run(*command: str) -> str | None:
    """Run a command; return None if it succeeds, else what it printed."""
    try:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stdout + done.stderr


def last_line(output: str) -> str:
    """Return the line that says most: the last that calls itself an error, or the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no message"]
    return ([line for line in lines if line.upper().startswith("ERROR")] or lines)[-1]


def say(line: str) -> None:
    """Tell a person who waits what goes on."""
    if sys.stderr.isatty():
        print(f"perftrack: {line}", file=sys.stderr)


def fail(line: str) -> None:
    """Say what is wrong and end."""
    sys.exit(f"perftrack: {line}")


main()
