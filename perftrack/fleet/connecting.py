"""Connections to the centre: psycopg, with libpq's own ways for passwords and TLS; no SQLAlchemy."""

from __future__ import annotations

import logging
import os
from contextlib import closing, contextmanager

from perftrack.errors import BusyError, PerftrackError, UsageError
from perftrack.installation import how_to_install

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    import psycopg

# What an agent and the centre say to each other: an agent of a newer one waits for the centre to be upgraded.
FORMAT = 1
# Two at once would make the same tables or change the same rights; the number is any that nobody else takes.
OWNERS_LOCK = "SELECT pg_advisory_xact_lock(7810770102)"
# Two at once would add up the same hours; until the connection ends.
UPKEEP_LOCK = "SELECT pg_try_advisory_lock(7810770103)"
_SECRETS = ("password", "sslpassword")
# A server that is gone is noticed within a minute, also in the middle of a statement; seconds, but the last: ms.
_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
# And the server notices an agent that is gone, which holds a lock.
_SESSION = (
    "SET TimeZone = 'UTC'; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '10min';"
    " SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
)
# Why a server does not let somebody in, which does not pass by itself. libpq tells no code, and a server of another
# language none of these: that is as one that is away, which a loop tries again.
_LASTING = (
    "authentication failed",
    "no password supplied",
    "pg_hba.conf",
    "does not exist",
    "not permitted to log in",
    "certificate",
    "does not support SSL",
)


def psycopg_module() -> Any:
    """Return psycopg. Raises: PerftrackError where it is not installed, with what installs it."""
    try:
        import psycopg
    except ImportError:
        raise PerftrackError(f"PostgreSQL needs psycopg: {how_to_install('psycopg[binary]')}") from None
    return psycopg


def parameters(url: str) -> dict[str, Any]:
    """Return what *url*, one of libpq's URLs or key=value strings, says. Raises: UsageError."""
    psycopg = psycopg_module()
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = conninfo_to_dict(url)
    except (psycopg.ProgrammingError, UnicodeError):  # its message may repeat a password
        raise UsageError(
            "this is no address of a PostgreSQL database; write it as postgresql://ROLE@HOST/DATABASE"
        ) from None
    if any(name in given for name in _SECRETS):
        raise UsageError(
            "an address with a password in it can be seen by every user of this machine: leave it away, and put the "
            "password into ~/.pgpass (0600), a line HOST:5432:DATABASE:ROLE:PASSWORD"
        )
    return given


def address(url: str) -> str:
    """Return *url* as messages show it: where that is, without all else. Raises: UsageError."""
    given = parameters(url)
    if "service" in given:
        return f"service {given['service']}"
    host = given.get("host") or os.environ.get("PGHOST") or "the local server"
    return f"{given.get('dbname') or os.environ.get('PGDATABASE') or 'the database'} at {host}"


def conninfo(url: str, application: str) -> str:
    """Return what libpq is told: *url*, and where that says nothing, TLS that is verified, and no endless patience.

    Raises: UsageError.
    """
    from psycopg import pq
    from psycopg.conninfo import make_conninfo

    given = parameters(url)
    told: dict[str, Any] = {"application_name": application, **_PATIENCE}
    host = given.get("host") or os.environ.get("PGHOST", "")
    is_local = not host or host.startswith(("/", "@"))
    is_in_service = "service" in given or "PGSERVICE" in os.environ
    if not (is_local or is_in_service or "sslmode" in given or "PGSSLMODE" in os.environ):
        told["sslmode"] = "verify-full"
        own = os.path.expanduser("~/.postgresql/root.crt")
        if not ("sslrootcert" in given or "PGSSLROOTCERT" in os.environ or os.path.exists(own)):
            told["sslrootcert"] = "system" if pq.version() >= 160000 else own
    return make_conninfo(**{**told, **given})


def connect(url: str, application: str) -> psycopg.Connection[Any]:
    """Connect to the centre at *url*; transactions are begun and ended by whoever uses it.

    Raises: UsageError; BusyError where it cannot be reached; PerftrackError.
    """
    module = psycopg_module()
    # what it logs, as that a lost connection cannot be rolled back, the one line tells
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    with readable_errors(url):
        connection: psycopg.Connection[Any] = module.connect(conninfo(url, application))
        connection.autocommit = True
        connection.execute(_SESSION)
    return connection


@contextmanager
def connected(url: str, application: str) -> Generator[psycopg.Connection[Any]]:
    """Yield a connection to the centre at *url*, and close it. Raises: as `connect` and `readable_errors`."""
    with readable_errors(url), closing(connect(url, application)) as connection:
        yield connection


@contextmanager
def readable_errors(url: str) -> Generator[None]:
    """Turn an error of PostgreSQL into the one line that a user sees.

    Raises: BusyError where that passes by itself, or once somebody made room; PerftrackError.
    """
    psycopg = psycopg_module()
    from psycopg import errors

    try:
        yield
    except (errors.LockNotAvailable, errors.SerializationFailure, errors.DeadlockDetected):
        raise BusyError(
            f"{address(url)}: another `perftrack ship` of this database, or `perftrack fleet`, is under way; "
            "try again later"
        ) from None
    except errors.DiskFull:
        raise BusyError(f"{address(url)}: the disk of the server is full; make room there and try again") from None
    except (errors.UndefinedTable, errors.InvalidSchemaName, errors.UndefinedFunction):
        raise PerftrackError(
            f"{address(url)}: perftrack's tables are not there, or of an older version: `perftrack fleet init` or "
            "`perftrack fleet upgrade`, run by its owner, makes them"
        ) from None
    except errors.InsufficientPrivilege as error:
        raise PerftrackError(
            f"{address(url)}: {_first_line(error)}; the owner's `perftrack fleet add-agent` lets a role ship, "
            "`perftrack fleet add-reader` read; all else is the owner's"
        ) from None
    except UnicodeEncodeError:
        raise UsageError("PostgreSQL takes UTF-8 alone, and what was given is not") from None
    except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError) as error:
        # the last one: of a server that ends, or is read-only, and of Citus where a worker is away
        said = _first_line(error)
        if error.sqlstate is None and any(each in said for each in _LASTING):
            raise PerftrackError(f"{address(url)}: {said}") from None
        raise BusyError(f"{address(url)}: {said}; try again later") from None
    except psycopg.Error as error:
        raise PerftrackError(f"{address(url)}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n")[0].split()) or type(error).__name__
