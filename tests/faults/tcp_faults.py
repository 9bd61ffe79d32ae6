"""A proxy in front of Postgres that cuts connections: immediately, during a COPY, before or after a COMMIT."""

import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from psycopg.conninfo import make_conninfo

SOCKET_NAME = ".s.PGSQL.5432"
PIECE_BYTES = 64 << 10
# https://www.postgresql.org/docs/16/protocol-message-formats.html: a simple query, and a statement to be prepared.
QUERIES = b"QP"
# The statement that ends a load is a separate, durable transaction.
COMMITTING = (b"COMMIT", b"set_config('synchronous_commit', 'on', true)")


class PostgresProxy:
    """The proxy's state, and what to do next.

    Attributes:
        folder: where its socket is, as PGHOST takes it.
        is_away: whether new connections are closed as soon as they are made.
        commits: how many COMMITs clients have sent, and statements that commit by themselves.
        at_commit: what to do at which of them, counted from 1: cut the connection before the server gets it, or after
            it has answered and before the client gets that answer.
        cut_after_bytes: cut the connection that brings the sum of what clients have sent beyond this, once.
    """

    def __init__(self, folder: Path, upstream: Path) -> None:
        self.folder = folder
        self.upstream = upstream
        self.is_away = False
        self.commits = 0
        self.at_commit: dict[int, Literal["before", "after"]] = {}
        self.cut_after_bytes: int | None = None
        self._sent = 0
        self._links: list[_Link] = []
        self._lock = threading.Lock()

    def conninfo(self, conninfo: str) -> str:
        """Return a connection string of the server, by way of the proxy."""
        return make_conninfo(conninfo, host=str(self.folder))

    def cut(self) -> None:
        """Cut all connections that there are."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.cut()

    def leave(self) -> None:
        """Cut all connections and take no new ones until come_back."""
        self.is_away = True
        self.cut()

    def come_back(self) -> None:
        """Take connections again."""
        self.is_away = False

    def accept(self, listener: socket.socket) -> None:
        """Take connections until the listening socket is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self.is_away:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self.upstream))
            except OSError:
                client.close()
                server.close()
                continue
            link = _Link(self, client, server)
            with self._lock:
                self._links.append(link)
            for pump in (link.pump_to_server, link.pump_to_client):
                threading.Thread(target=pump, daemon=True).start()

    def fate_of(self, message: bytes) -> Literal["before", "after"] | None:
        """Count a client's message; return the action for it."""
        with self._lock:
            self._sent += len(message)
            if self.cut_after_bytes is not None and self._sent > self.cut_after_bytes:
                self.cut_after_bytes = None
                return "before"
            if message[0] in QUERIES and any(each in message for each in COMMITTING):
                self.commits += 1
                return self.at_commit.pop(self.commits, None)
            return None


class _Link:
    """A client's connection and its other half."""

    def __init__(self, proxy: PostgresProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._is_mute = False

    def cut(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def pump_to_server(self) -> None:
        text = bytearray()
        head = 0  # the first message of a connection has no letter before its length
        with suppress(OSError):
            while piece := self._client.recv(PIECE_BYTES):
                text += piece
                while len(text) >= head + 4 and len(text) >= (size := head + _length(text, head)):
                    message, head = bytes(text[:size]), 1
                    del text[:size]
                    fate = self._proxy.fate_of(message)
                    if fate == "before":
                        return self._end()
                    # All later bytes of the server are the response to the COMMIT, of which a statement that is
                    # prepared and run is several messages.
                    self._is_mute = self._is_mute or fate == "after"
                    self._server.sendall(message)
        return self._end()

    def pump_to_client(self) -> None:
        with suppress(OSError):
            while (piece := self._server.recv(PIECE_BYTES)) and not self._is_mute:
                self._client.sendall(piece)
        self._end()

    def _end(self) -> None:
        self.cut()
        self._client.close()
        self._server.close()


def _length(text: bytearray, at: int) -> int:
    length: int = struct.unpack_from("!I", text, at)[0]
    return length


@contextmanager
def postgres_proxy(host: str) -> Iterator[PostgresProxy]:
    """Run a proxy in front of a Postgres with its Unix socket in the folder `host` while the block runs."""
    # Not pytest's folder for the test: a socket's path has to be shorter than that may be.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    proxy = PostgresProxy(folder, Path(host) / SOCKET_NAME)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / SOCKET_NAME))
            listener.listen()
            thread = threading.Thread(target=proxy.accept, args=[listener], daemon=True)
            thread.start()
            try:
                yield proxy
            finally:
                proxy.leave()
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()
    finally:
        shutil.rmtree(folder)
