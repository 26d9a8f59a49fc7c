"""Roles that may ship and nothing else, made by the owner of the centre."""

from __future__ import annotations

from perftrack.errors import PerftrackError
from perftrack.fleet import functions
from perftrack.fleet.connecting import OWNERS_LOCK, address, connect, explained

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
    with explained(url), connect(url, "perftrack fleet add-agent") as connection, connection.transaction():
        from psycopg import sql

        connection.execute(OWNERS_LOCK)
        role = sql.Identifier(name)
        found = connection.execute(_IS_THERE, (name,)).fetchone()
        if found is not None and found[0]:
            raise PerftrackError(
                f"{address(url)}: the role {name} may do more than ship, or is a member of another; name a new one"
            )
        if found is None:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        for statement in functions.grants(role.as_string(connection)):
            connection.execute(statement.encode())
    return found is None
