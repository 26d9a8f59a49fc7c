"""All commands in one typer application, and running it."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

import perftrack
from perftrack.cli import (
    compare,
    config,
    database,
    explain,
    export,
    fleet,
    import_,
    plot,
    purge,
    record,
    report,
    schedule,
    ship,
    status,
    top,
)
from perftrack.errors import ClosedPipeError
from perftrack.text import printable

app = typer.Typer(
    name="perftrack",
    help="Record what this machine and its processes are doing, and find out later what it was.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Let it record (perftrack schedule install), and come back on the day something went wrong.",
)
app.command("record")(record.record)
app.command("export")(export.export)
app.command("top", short_help="Show which processes used most over a range of time.")(top.top)
app.command("explain", short_help="Explain what was unusual, and who did it.")(explain.explain)
app.command("compare", short_help="Compare what was used in two ranges of time.")(compare.compare)
app.command("report", short_help="Show a range of time on one screen.")(report.report)
app.command("plot")(plot.plot)
app.command("status")(status.status)
app.command("purge")(purge.purge)
app.command("import")(import_.import_)
app.command("ship", short_help="Ship what is new to the centre of a fleet.")(ship.ship)
app.add_typer(schedule.app, name="schedule")
app.add_typer(config.app, name="config")
app.add_typer(database.app, name="database")
app.add_typer(fleet.app, name="fleet")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"perftrack {perftrack.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def run() -> int:
    """Run the command line and return the exit code. Raises: PerftrackError, ClosedPipeError."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that nothing is left half done
    try:
        return app(prog_name="perftrack", standalone_mode=False) or 0
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            return error.exit_code
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        message = " ".join(error.format_message().split()).removesuffix(".").replace(": Value error, ", ": ")
        print(f"perftrack: {printable(message)}{hint}", file=sys.stderr)
        return error.exit_code
    except typer.Abort:
        return 130
    except SystemExit as error:  # with 1, where whoever reads stdout has seen enough
        if isinstance(error.__context__, BrokenPipeError):
            raise ClosedPipeError from error
        raise
