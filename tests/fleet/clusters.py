"""A centre on Citus: a coordinator and two workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from centres import Centre, make
from server import CITUS, LISTENING, Server, a_folder, running

_SETTINGS = ("shared_preload_libraries=citus", "citus.shard_count=4", "max_prepared_transactions=100")
_SETTINGS += ("citus.node_conninfo=sslmode=disable", LISTENING)


class Cluster(Centre):
    """A centre on a coordinator, and its workers."""

    def __init__(self, coordinator: Server, workers: list[Server]) -> None:
        super().__init__(coordinator, "fleet")
        self.workers = workers


@contextmanager
def a_cluster(
    port: int, *settings: str, reached_at: Callable[[ExitStack, Server], int] = lambda stack, worker: worker.port
) -> Iterator[Cluster]:
    """Run one at *port* and the two ports after it. *reached_at*: the port that a worker is reached at."""
    if not CITUS.exists():
        pytest.skip("Citus is not installed")
    with a_folder() as folder, ExitStack() as stack:
        given = (*_SETTINGS, *settings)
        coordinator, *workers = (stack.enter_context(running(folder, port + number, *given)) for number in range(3))
        for server in (coordinator, *workers):
            with server.connect() as connection:
                connection.execute("CREATE DATABASE fleet")
            with server.connect("fleet") as connection:
                connection.execute("CREATE EXTENSION citus")
        with coordinator.connect("fleet") as connection:
            connection.execute("SELECT citus_set_coordinator_host('127.0.0.1', %s)", (port,))
            for worker in workers:
                connection.execute("SELECT citus_add_node('127.0.0.1', %s)", (reached_at(stack, worker),))
            connection.execute("CREATE ROLE owner LOGIN CREATEROLE")
            connection.execute("GRANT ALL ON DATABASE fleet TO owner")
        make(coordinator.url("fleet", "owner"))
        yield Cluster(coordinator, workers)
