"""Roles that may ship and nothing else, made by the owner of the centre."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from perftrack.errors import PerftrackError
from perftrack.fleet import functions
from perftrack.fleet.connecting import OWNERS_LOCK, address, connected

_IS_THERE = """
SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication
  OR EXISTS (SELECT 1 FROM pg_auth_members WHERE member = pg_roles.oid)
  OR EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'perftrack' AND nspowner = pg_roles.oid)
  OR has_table_privilege(pg_roles.oid, 'perftrack.source', 'SELECT')
FROM pg_roles WHERE rolname = %s
"""


def add(url: str, name: str) -> bool:
    """Let the role *name* ship to the centre at *url*; make it, with no password, where it is not there.

    Return whether it was made. Raises: PerftrackError where it is one that may do more.
    """
    refused = "may do more than ship, or is a member of another; name a new one"
    return let_in(url, name, "perftrack fleet add-agent", _IS_THERE, refused, lambda _, role: functions.grants(role))


def let_in(
    url: str, name: str, application: str, is_there: str, refused: str, grants: Callable[[Any, str], Iterable[str]]
) -> bool:
    """Give the role *name* rights in the centre at *url*; make it, and return True, where it is not there.

    *is_there*: SQL that tells of one that is there whether it is refused, *refused*: why. *grants*: returns the
    statements, for a connection and the quoted name. Raises: PerftrackError.
    """
    with connected(url, application) as connection, connection.transaction():
        from psycopg import sql

        connection.execute(OWNERS_LOCK)
        role = sql.Identifier(name)
        found = connection.execute(is_there.encode(), (name,)).fetchone()
        if found is not None and found[0]:
            raise PerftrackError(f"{address(url)}: the role {name} {refused}")
        if found is None:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        for statement in grants(connection, role.as_string(connection)):
            connection.execute(statement.encode())
    return found is None
