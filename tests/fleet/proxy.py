"""A proxy before a PostgreSQL server, that cuts the connection or calls something at a moment of a test's choice."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server import Server


class CutError(Exception):
    """The connection is to be cut here."""


class Proxy:
    """Passes on what a client and the server tell each other. *before* and *after* are given what the client sent,
    each time, before and after the server has it; they may raise CutError.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.before: Callable[[bytes], None] = lambda sent: None
        self.after: Callable[[bytes], None] = lambda sent: None
        self.answered = threading.Event()  # the server has answered the COMMIT that was sent last
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, database: str, role: str) -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            answers = threading.Event()
            answers.set()
            try:
                server.connect(f"{self.server.folder}/.s.PGSQL.{self.server.port}")
                back = threading.Thread(target=self._answer, args=(server, client, answers), daemon=True)
                back.start()
                while sent := client.recv(1 << 20):
                    self.before(sent)
                    if b"COMMIT" in sent:
                        self.answered.clear()
                        answers.clear()  # until it is decided whether the answer gets through
                    server.sendall(sent)
                    self.after(sent)
                    answers.set()
            except (CutError, OSError):
                pass
            finally:
                _end(client, server)
                answers.set()

    def _answer(self, server: socket.socket, client: socket.socket, answers: threading.Event) -> None:
        try:
            while answer := server.recv(1 << 20):
                if not answers.is_set():
                    self.answered.set()
                answers.wait(30)
                client.sendall(answer)
        except OSError:  # a server that was killed before it had read all
            pass
        finally:
            _end(client)


def _end(*connections: socket.socket) -> None:
    """Say on *connections* that they are over: closing alone does not end what another thread waits for."""
    for each in connections:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_before(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server)
    try:
        yield proxy
    finally:
        proxy.close()
