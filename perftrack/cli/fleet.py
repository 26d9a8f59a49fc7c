"""`perftrack fleet`: the centre of many machines, a PostgreSQL database, as its owner sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from perftrack.cli import dashboard as dashboards
from perftrack.cli import fleet_answers, fleet_top, options
from perftrack.cli.cron_line import say
from perftrack.cli.fleet_answers import Url
from perftrack.cli.show import line, table
from perftrack.errors import BusyError, PerftrackError
from perftrack.figures import count, span
from perftrack.settings import load
from perftrack.timerange import parse_duration

app = typer.Typer(
    help="Bring many machines together in one PostgreSQL database.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(fleet_top.top)
fleet_answers.add_to(app)


@app.command()
def init(url: Url) -> None:
    """Make the centre in an empty PostgreSQL database.

    A server is one line away: `apt install postgresql`, or `docker run -d -e POSTGRES_PASSWORD=... postgres`; then
    `createdb fleet`. Where the database has the extension citus, what belongs to machines is distributed over its
    workers.
    """
    from perftrack.fleet.connecting import address
    from perftrack.fleet.migrating import upgrade as bring_up

    before, now = bring_up(url, is_new=True)
    say(
        f"{address(url)} is at revision {now}"
        if before
        else f"made the centre, {address(url)}; next, let machines in: perftrack fleet add-agent"
    )


@app.command()
def upgrade(url: Url) -> None:
    """Bring the centre to the schema of this perftrack.

    Agents of an older perftrack go on shipping to it; those of a newer one wait for it.
    """
    from perftrack.fleet.connecting import address
    from perftrack.fleet.migrating import upgrade as bring_up

    _, now = bring_up(url, is_new=False)
    say(f"{address(url)} is at revision {now}")


@app.command()
def upkeep(
    url: Url,
    keep: Annotated[
        str,
        typer.Option(metavar="AGE", help="Remove the samples of the days before: 30d, 12w, 2y."),
    ] = "forever",
    columnar_after: Annotated[
        str,
        typer.Option(metavar="AGE", help="On Citus, compress the days before: 7d, 4w; forever: none."),
    ] = "14d",
) -> None:
    """Keep the centre in order: from a crontab, every hour or every day.

    Makes the partitions of the days to come. What no partition is for, of clocks that are wrong, is in the default
    one and is found all the same. Adds up each hour that is over, by machine, unit and name: these sums are kept for
    ever, and done anew when more of an hour comes. --keep removes the samples of older days, and only then. With
    Citus's columnar storage, older days take a quarter of their room; samples of them may still come.
    """
    days = options.days("--keep", keep)
    columnar_days = options.days("--columnar-after", columnar_after)

    from perftrack.fleet.connecting import UPKEEP_LOCK, address, connected
    from perftrack.fleet.hours import close_hours
    from perftrack.fleet.migrating import owner
    from perftrack.fleet.partitions import drop_partitions, make_columnar, make_partitions

    now = datetime.now(UTC)
    today = now.date()
    gone = columnar = 0
    with connected(url, "perftrack fleet upkeep") as centre:
        ((is_alone,),) = centre.execute(UPKEEP_LOCK).fetchall()  # until the connection ends
        if not is_alone:
            raise BusyError(f"{address(url)}: another `perftrack fleet upkeep` is under way; try again later")
        with owner(url) as connection:
            made = make_partitions(connection, today)
        hours = close_hours(centre, now)
        if days is not None:
            with owner(url) as connection:
                gone = drop_partitions(connection, today - timedelta(days=days))
        if columnar_days is not None:
            with owner(url) as connection:
                columnar = make_columnar(connection, today - timedelta(days=columnar_days))
    done = f"{count(made, 'partition')} made, {count(hours, 'hour')} added up, {count(gone, 'partition')} removed"
    say(f"{done}, {count(columnar, 'partition')} compressed" if columnar else done)


@app.command("add-agent")
def add_agent(
    url: Url,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The login role; one for each machine is best.")],
) -> None:
    """Make a login role that may ship, and nothing else.

    It owns nothing and may read nothing, its own samples included. It gets no password here: psql asks for one, by
    its command password, or pg_hba.conf lets it in by a certificate.
    """
    from perftrack.fleet.agents import add

    _tell_role(name, "ship", is_new=add(url, name))


@app.command("add-reader")
def add_reader(
    url: Url,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The login role; it may be there already.")],
) -> None:
    """Let a login role read everything and write nothing: for Grafana, and for people.

    It sees all machines, with the command lines of their processes. `fleet top`, `report`, `export`, `plot` and
    `status` take its address too. It gets no password here: psql asks for one, by its command password.
    """
    from perftrack.fleet.readers import add

    _tell_role(name, "read", is_new=add(url, name))


def _tell_role(name: str, may: str, *, is_new: bool) -> None:
    made = f"made the role {name}; in psql, \\password {name} asks for its password"
    say(made if is_new else f"the role {name} may {may}")


@app.command()
def dashboard(output: dashboards.Output = "-") -> None:
    """Print a dashboard of the fleet for Grafana.

    JSON to import there, for a data source of PostgreSQL whose role is one of `fleet add-reader`: which machines are
    silent; CPU, memory, load, disks and network by host; CPU and memory by process, CPU by unit, over all or some
    machines; and sums by hour, for long ranges.
    """
    from perftrack.fleet.dashboard import dashboard as made

    dashboards.write(made(), "grafana", output, load({}, None))


@app.command()
def status(
    url: Url,
    silent: Annotated[
        str, typer.Option(metavar="TIME", help="Silent is who has not shipped for longer than this.")
    ] = "1h",
) -> None:
    """List the machines, silent ones first; exit code 1 where one is silent.

    Lag is how old its newest sample is, by its own clock. Skew is how far its clock is behind that of the centre.
    """
    from perftrack.fleet.machines import machines

    found = machines(url, parse_duration(silent))
    if not found:
        raise PerftrackError("no machine has shipped yet: perftrack ship --to postgresql://ROLE@HOST/DATABASE")
    rows = [
        (
            "silent" if each.is_silent else "",
            each.host or "?",
            f"{each.taken_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if each.taken_at else "?",
            span(each.lag.total_seconds()) if each.lag is not None else "?",
            f"{span(each.silence.total_seconds())} ago",
            f"{each.skew_seconds:+.1f}" if each.skew_seconds is not None else "?",
            each.version or "?",
            each.role,
        )
        for each in found
    ]
    table(
        ("", "host", "newest sample (UTC)", "lag", "last shipped", "skew s", "version", "role"),
        rows,
        ("", "host", "version", "role"),
    )
    quiet = sum(each.is_silent for each in found)
    line(f"{count(len(found), 'machine')}, {quiet} silent")
    if quiet:
        raise typer.Exit(1)
