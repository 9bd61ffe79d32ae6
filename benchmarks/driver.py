"""`python -m benchmarks.driver`: generates load on an HTTP server over keep-alive connections.

Requests are encoded in advance, and only status and length of a response are checked: on a separate core, the driver is
idle for two thirds of the time while the fastest of the servers is busy all the time.
"""

import re
import selectors
import socket
import sys
import time
from collections.abc import Mapping

HOST = "127.0.0.1"
CONNECTIONS = 8
# A server that does not respond ends the measurement.
TIMEOUT_SECONDS = 30
PART_BYTES = 1 << 18
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


class UnexpectedResponse(RuntimeError):
    """A response has an unexpected status or length."""


def encoded(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """Return the bytes of a request.

    Args:
        method: the HTTP method.
        path: with its query.
        headers: in addition to Host and Content-Length.
        body: of the request.
    """
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {HOST}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """A keep-alive connection for one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def send(self, request: bytes) -> None:
        """Send a request."""
        self.socket.sendall(request)

    def receive(self, status: bytes = b"200") -> bytes | None:
        """Read once; return the body if the response is complete, otherwise None.

        Raises:
            UnexpectedResponse: it has another status.
            OSError: the connection broke, or nothing was received for TIMEOUT_SECONDS.
        """
        part = self.socket.recv(PART_BYTES)
        if not part:
            raise ConnectionError("the server closed the connection")
        received = self._received = self._received + part if self._received else part
        end = received.find(b"\r\n\r\n") + 4
        if end < 4:
            return None
        length = LENGTH.search(received, 0, end)
        if length is None or not received.startswith(b"HTTP/1.1 " + status):
            raise UnexpectedResponse(received[:end].decode("latin-1"))
        if len(received) < end + int(length[1]):
            return None
        self._received = b""
        return received[end:]

    def ask(self, request: bytes, status: bytes = b"200") -> bytes:
        """Send a request and return the body of its response.

        Raises:
            UnexpectedResponse: it has another status.
            OSError: the connection broke, or nothing was received for TIMEOUT_SECONDS.
        """
        self.send(request)
        while (body := self.receive(status)) is None:
            pass
        return body

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def throughput(port: int, request: bytes, length: int, seconds: float) -> float:
    """Return how many requests per second are answered if every connection sends the next one after each response.

    Args:
        port: of the server.
        request: its bytes.
        length: the expected size of the body in bytes.
        seconds: how long to measure.

    Raises:
        UnexpectedResponse: a response has another status than 200, or a body of another length.
        OSError: a connection broke, or nothing was received for TIMEOUT_SECONDS.
    """
    connections = [Connection(port) for _ in range(CONNECTIONS)]
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.ask(request)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(request)
        answered, started = 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < seconds:
            for key, _ in selector.select(TIMEOUT_SECONDS):
                connection = key.data
                body = connection.receive()
                if body is None:
                    continue
                if len(body) != length:
                    raise UnexpectedResponse(f"a body of {len(body)} bytes instead of {length}")
                connection.send(request)
                answered += 1
    for connection in connections:
        connection.close()
    return answered / passed


def main() -> None:
    """Print the throughput in requests per second; arguments: port, path, size of the body in bytes, seconds."""
    port, path, length, seconds = sys.argv[1:]
    print(throughput(int(port), encoded("GET", path), int(length), float(seconds)))  # noqa: T201


if __name__ == "__main__":
    main()
