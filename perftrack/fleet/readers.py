"""Roles that may read everything and write nothing, made by the owner of the centre: for Grafana, and for people."""

from __future__ import annotations

from typing import Any

from perftrack.fleet.agents import let_in

# Who owns the centre, or may do all that its owner may, and who ships: these write.
_IS_THERE = """
SELECT pg_has_role(pg_roles.oid, nspowner, 'MEMBER')
  OR EXISTS (SELECT 1 FROM pg_proc WHERE pronamespace = pg_namespace.oid
    AND has_function_privilege(pg_roles.oid, pg_proc.oid, 'EXECUTE'))
FROM pg_roles CROSS JOIN pg_namespace WHERE rolname = %s AND nspname = 'perftrack'
"""
_OWNER = "SELECT quote_ident(pg_get_userbyid(nspowner)) FROM pg_namespace WHERE nspname = 'perftrack'"
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
    refused = "may ship, or owns the centre; name another one"
    return let_in(url, name, "perftrack fleet add-reader", _IS_THERE, refused, _granted)


def _granted(connection: Any, role: str) -> list[str]:
    ((owner,),) = connection.execute(_OWNER).fetchall()
    return [statement.format(role=role, owner=owner) for statement in _GRANTS]
