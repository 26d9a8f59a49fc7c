"""`perftrack config`: what is set and where, and a config file to begin with."""

from __future__ import annotations

import json
import os

import typer

from perftrack.cli import options
from perftrack.errors import PerftrackError, UsageError
from perftrack.private import create, make_folder
from perftrack.settings import SETTINGS, default_config_file, expand, load
from perftrack.text import printable

_VARIABLES = {f"PERFTRACK_{name.upper()}" for name in (*SETTINGS, "config", "debug")}
app = typer.Typer(help="Show the settings, or write a config file.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def show(database: options.Database = None, config: options.Config = None) -> None:
    """Print each setting, its value, and where that came from.

    Defaults give way to the config file, that to PERFTRACK_* environment variables, those to options.
    """
    settings = load({"database": database}, config)
    for name in SETTINGS:
        value = json.dumps(getattr(settings, name), ensure_ascii=False)
        print(printable(f"{name} = {value}  # {settings.origins[name]}"))
    for variable in sorted(set(os.environ) - _VARIABLES):
        if variable.startswith("PERFTRACK_"):
            print(printable(f"# {variable} is set in the environment, and is no setting of perftrack"))
    print("# top = 0 gives the rows of the original PerformanceTrack: of process_filter alone")
    found = "" if os.path.exists(settings.config_file) else " (none)"
    print(printable(f"# config file: {settings.config_file}{found}"))


@app.command()
def init(config: options.Config = None) -> None:
    """Write a config file that explains every setting.

    All of them are commented out, so nothing changes until you edit it.
    """
    path = expand(config or os.environ.get("PERFTRACK_CONFIG") or default_config_file(), "--config")
    lines = ["# perftrack's settings. Remove the # from a line to change one; `perftrack config show` tells them."]
    for name, (_, default, meaning) in SETTINGS.items():
        value = "in the user's data folder" if default is None else json.dumps(default)
        example = '"/var/lib/perftrack/perftrack.db"' if default is None else json.dumps(default)
        lines += ["", f"# {meaning}", f"# Default: {value}", f"# {name} = {example}"]
    try:
        make_folder(os.path.dirname(os.path.abspath(path)))
        with open(create(path), "w", encoding="utf-8") as file:
            try:
                file.write("\n".join(lines) + "\n")
                file.flush()
            except OSError:
                os.unlink(path)
                raise
    except FileExistsError:
        raise UsageError(f"{path} exists already; edit it, or remove it first") from None
    except OSError as error:
        raise PerftrackError(f"cannot write {path}: {error.strerror}") from None
    print(printable(f"wrote {path}"))
