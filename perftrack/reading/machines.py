"""Which machines of a database an answer is about."""

from __future__ import annotations

import socket

from sqlalchemy import Connection, select

from perftrack.errors import PerftrackError
from perftrack.storage.models import Boot, Host
from perftrack.text import is_called, storable


def machines(connection: Connection, pattern: str | None) -> tuple[str, ...]:
    """Return the names of the machines that *pattern* matches, * and ? standing for any characters.

    None: this machine, or where the database holds nothing of it, all that it does. Raises: PerftrackError.
    """
    named = select(Host.name).where(Host.id.in_(select(Boot.host_id))).order_by(Host.name)
    names = tuple(connection.execute(named).scalars())
    if pattern is None:
        own = storable(socket.gethostname())
        return (own,) if own in names else names
    found = tuple(name for name in names if is_called(name, pattern))
    if not found:
        raise PerftrackError(f"no machine here is called {pattern}; the database has {', '.join(names) or 'none'}")
    return found
