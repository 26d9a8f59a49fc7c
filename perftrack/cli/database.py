"""`perftrack database`: where it is, bringing it up to date; what keeps it healthy is in upkeep.py."""

from __future__ import annotations

import sys
from contextlib import closing

import typer

from perftrack.cli import dashboard, options, sqlite_shell, upkeep
from perftrack.cli.cron_line import say, tell
from perftrack.settings import load
from perftrack.text import printable

app = typer.Typer(
    help="Keep the database healthy: check, back up, restore, read it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(upkeep.check)
app.command()(upkeep.backup)
app.command()(upkeep.restore)
app.command()(upkeep.vacuum)
app.command()(dashboard.dashboard)
app.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})(sqlite_shell.shell)


@app.command()
def path(database: options.Database = None, config: options.Config = None) -> None:
    """Print the path of the database.

    For a shell: `sqlite3 "$(perftrack database path)"`.
    """
    found = load({"database": database}, config).database
    print(printable(found) if sys.stdout.isatty() else found)


@app.command()
def schema() -> None:
    """Explain every table, view and column, in Markdown."""
    from perftrack.storage import documentation

    print(documentation.schema(), end="")


@app.command()
def upgrade(database: options.Database = None, config: options.Config = None) -> None:
    """Bring the database to the schema of this perftrack.

    Where there is none, it is created. Recording does this by itself; use it to choose the moment.
    """
    from perftrack.storage import repair, tick_sql
    from perftrack.storage.opening import open_current
    from perftrack.storage.sqlite_file import readable_errors

    settings = load({"database": database}, config)
    with readable_errors(settings.database), closing(open_current(settings.database)) as connection:
        repair.repair(connection, settings.database, tell)
    say(f"database {settings.database} is at revision {tick_sql.REVISION}")
