"""Centres of the tests' own, each a database of one server, made once and copied."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from server import Server, a_folder, running

from perftrack.fleet import agents, migrating

ROLES = ("web1", "web2")
_numbers = itertools.count()


class Centre:
    """A centre: the URLs of it, and what is in it, as its owner sees that."""

    def __init__(self, server: Server, database: str) -> None:
        self.server, self.database = server, database

    def url(self, role: str = ROLES[0]) -> str:
        return self.server.url(self.database, role)

    def query(self, sql: str, role: str = "owner") -> list[Any]:
        with self.server.connect(self.database, role) as connection:
            rows = connection.execute(sql.encode()).fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]


@contextmanager
def a_server() -> Iterator[Server]:
    """Run a server with a centre called template."""
    with a_folder() as folder, running(folder) as server:
        with server.connect() as connection:
            connection.execute("CREATE ROLE owner LOGIN CREATEROLE")
            connection.execute("CREATE DATABASE template OWNER owner")
        make(server.url("template", "owner"))
        yield server


def make(url: str) -> None:
    migrating.upgrade(url, is_new=True)
    for role in ROLES:
        agents.add(url, role)


@contextmanager
def a_centre(server: Server) -> Iterator[Centre]:
    database = f"centre{next(_numbers)}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {database} TEMPLATE template OWNER owner".encode())
        yield Centre(server, database)
        connection.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())
