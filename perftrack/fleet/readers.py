"""Roles that may read everything and write nothing, made by the owner of the centre: for Grafana, and for people."""

from __future__ import annotations

from perftrack.errors import PerftrackError
from perftrack.fleet.connecting import address, connect, explained

# Who owns the centre, or may do all that its owner may, and who ships: these write.
_IS_THERE = """
SELECT pg_has_role(pg_roles.oid, nspowner, 'MEMBER')
  OR EXISTS (SELECT 1 FROM pg_proc WHERE pronamespace = pg_namespace.oid
    AND has_function_privilege(pg_roles.oid, pg_proc.oid, 'EXECUTE'))
FROM pg_roles CROSS JOIN pg_namespace WHERE rolname = %s AND nspname = 'perftrack'
"""
_OWNER = "SELECT rolname FROM pg_namespace JOIN pg_roles ON pg_roles.oid = nspowner WHERE nspname = 'perftrack'"
# The last one: tables and partitions to come, which the owner makes, whoever lets the reader in.
_GRANTS = (
    "GRANT USAGE ON SCHEMA perftrack TO {role}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA perftrack TO {role}",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA perftrack GRANT SELECT ON TABLES TO {role}",
)


def add(url: str, name: str) -> bool:
    """Let the role *name* read the centre at *url*; make it, with no password, where it is not there.

    Return whether it was made. Raises: PerftrackError where it is one that may write.
    """
    with explained(url), connect(url, "perftrack fleet add-reader") as connection, connection.transaction():
        from psycopg import sql

        role = sql.Identifier(name)
        found = connection.execute(_IS_THERE, (name,)).fetchone()
        if found is not None and found[0]:
            raise PerftrackError(f"{address(url)}: the role {name} may ship, or owns the centre; name another one")
        if found is None:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        ((owner,),) = connection.execute(_OWNER).fetchall()
        for statement in _GRANTS:
            connection.execute(sql.SQL(statement).format(role=role, owner=sql.Identifier(owner)))
    return found is None
