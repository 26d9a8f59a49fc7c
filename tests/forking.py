"""Starts the program again and again without loading it anew: a process that has imported it, and forks.

`python forking.py` reads a line of JSON for each start: [arguments, environment, folder, stdout, stderr], the last
two as paths, and answers with a line of the exit code when that start has ended.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import sys
import time

import alembic.command
import sqlalchemy.dialects.sqlite
from typer.testing import CliRunner

import perftrack.__main__
import perftrack.cli.app


def main() -> None:
    load()
    for line in sys.stdin:
        arguments, environment, folder, *outputs = json.loads(line)
        started = os.fork()
        if started == 0:
            for number, output in enumerate((os.devnull, *outputs)):
                os.dup2(os.open(output, os.O_RDWR), number)
            os.environ.clear()
            os.environ.update(environment)
            time.tzset()
            os.chdir(folder)
            sys.argv = [perftrack.__main__.__file__, *arguments]
            signal.alarm(60)
            perftrack.__main__.main()  # which ends the process as it ends the program
        print(os.waitstatus_to_exitcode(os.waitpid(started, 0)[1]), flush=True)


def load() -> None:
    """Import all of the program, and what it imports late, which is most of the cost of a start."""
    for module in pkgutil.walk_packages(perftrack.__path__, "perftrack."):
        importlib.import_module(module.name)
    assert alembic.command
    assert sqlalchemy.dialects.sqlite
    assert CliRunner().invoke(perftrack.cli.app.app, ["top", "--limit", "none"]).exit_code == 2
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    main()
