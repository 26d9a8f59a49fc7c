"""`perftrack database`: where it is, and bringing it up to date."""

from __future__ import annotations

import sys
from contextlib import closing

import typer

from perftrack.cli import options
from perftrack.cli.cron_line import tell
from perftrack.settings import load
from perftrack.text import printable

app = typer.Typer(help="Find the database, and bring it up to date.", no_args_is_help=True, rich_markup_mode=None)


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
    from perftrack.storage import restoring, tick_sql
    from perftrack.storage.opening import open_current
    from perftrack.storage.sqlite_file import explained

    settings = load({"database": database}, config)
    with explained(settings.database), closing(open_current(settings.database)) as connection:
        restoring.restore(connection, settings.database, tell)
    if sys.stdout.isatty():
        print(printable(f"database {settings.database} is at revision {tick_sql.REVISION}"))
