"""A scripted reverse proxy in front of an S3 server that injects the faults of networks and servers."""

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PIECE_BYTES = 64 << 10
READ_TIMEOUT_SECONDS = 1.0
# What arrived just before a reset is thrown away by the receiver's kernel, unless its program had time to take it.
SECONDS_TO_TAKE = 0.1
MAX_SECONDS_TO_TAKE = 3.0
SOCKETS = Path("/proc/net/tcp")
MAX_STALL_SECONDS = 30.0
NO_LINGER = struct.pack("ii", 1, 0)

Request = Literal["read", "look", "list"]


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    Attributes:
        kind: "status" answers with an error; "reset" (RST), "close" (a body shorter than promised) and "stall" break
            the answer off after some bytes; "call" lets it through.
        after: how many bytes of the body are passed on before that.
        status: the HTTP status of kind "status".
        code: S3's name for it.
        details: what else S3 says of it, by the names of its elements.
        action: what to do at that point.
        of: which kind of request it is for: reading an object, looking at its head, listing the bucket.
    """

    kind: Literal["status", "reset", "close", "stall", "call"]
    after: int = 0
    status: int = 503
    code: str = "SlowDown"
    details: Mapping[str, str] = field(default_factory=dict)
    action: Callable[[], object] | None = None
    of: Request = "read"


class S3Proxy:
    """The proxy's script, and the requests so far.

    Attributes:
        faults: what is to happen, each to one request of its kind, in this order.
        is_away: whether every read is answered with a 503.
        ranges: the Range of every read so far, None for one of a whole object.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        self.faults: list[Fault] = []
        self.is_away = False
        self.ranges: list[str | None] = []
        self.released = threading.Event()
        self._lock = threading.Lock()

    def script(self, faults: Sequence[Fault]) -> None:
        """Set the next faults, and forget earlier requests."""
        with self._lock:
            self.faults = list(faults)
            self.ranges = []

    def fault_of(self, request: Request, range_: str | None) -> Fault | None:
        """Note a request and take the fault that is its lot."""
        with self._lock:
            if request == "read":
                self.ranges.append(range_)
                if self.is_away:
                    return Fault("status")
            found = next((fault for fault in self.faults if fault.of == request), None)
            if found is not None:
                self.faults.remove(found)
            return found

    def client(self, access_key: str, secret_key: str) -> "S3Client":
        """Return a client without retries and with a short read timeout."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
            config=Config(read_timeout=READ_TIMEOUT_SECONDS, connect_timeout=5, retries={"total_max_attempts": 1}),
        )


@contextmanager
def s3_proxy(endpoint: str) -> Iterator[S3Proxy]:
    """Run a proxy in front of an S3 server while the block runs."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.proxy = proxy = S3Proxy(server)
    server.upstream = urlsplit(endpoint).netloc
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    proxy: S3Proxy
    upstream: str

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: disconnecting clients are expected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        is_object = len(path.strip("/").split("/")) > 1
        self._pass_on("read" if is_object and "uploads" not in query else "list")

    def do_HEAD(self) -> None:
        self._pass_on("look")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has in the base class
        """Log nothing."""

    def _pass_on(self, request: Request) -> None:
        fault = self.server.proxy.fault_of(request, self.headers["Range"])
        if fault is not None and fault.kind == "status":
            if fault.action:
                fault.action()
            self._refuse(fault)
            return
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=30)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                # Host among them, as the client has it: it is part of what the client signed.
                upstream.putheader(name, value)
            upstream.endheaders()
            self._answer(upstream.getresponse(), fault)
        finally:
            upstream.close()

    def _refuse(self, fault: Fault) -> None:
        details = "".join(f"<{name}>{value}</{name}>" for name, value in fault.details.items())
        body = f"<Error><Code>{fault.code}</Code><Message>by the script</Message>{details}</Error>".encode()
        self.send_response_only(fault.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answer(self, response: http.client.HTTPResponse, fault: Fault | None) -> None:
        length = response.headers["Content-Length"]
        whole = response.read() if length is None and self.command != "HEAD" else None
        self.send_response_only(response.status, response.reason)
        for name, value in response.headers.items():
            if name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        if whole is not None:
            self.send_header("Content-Length", str(len(whole)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if whole is not None:
            self.wfile.write(whole)
            return
        if fault is not None:
            self._copy(response, min(fault.after, int(length)))
            if fault.action:
                fault.action()
            if fault.kind != "call":
                self._break_off(fault)
                return
        self._copy(response, response.length or 0)

    def _copy(self, response: http.client.HTTPResponse, count: int) -> None:
        while count:
            piece = response.read(min(count, PIECE_BYTES))
            if not piece:
                # The S3 server has broken off by itself, as when the file shrinks during a read.
                raise ConnectionAbortedError
            self.wfile.write(piece)
            count -= len(piece)

    def _break_off(self, fault: Fault) -> None:
        self.close_connection = True
        if fault.kind == "stall":
            self.server.proxy.released.wait(MAX_STALL_SECONDS)
        elif fault.kind == "reset":
            self._wait_until_all_is_taken()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            # The socket closes with the last file object of it.
            self.rfile.close()
            self.connection.close()

    def _wait_until_all_is_taken(self) -> None:
        """Wait until all sent bytes have left the kernel's queue, if the kernel reports that."""
        time.sleep(SECONDS_TO_TAKE)
        ports = {f"{self.client_address[1]:04X}", f"{self.connection.getsockname()[1]:04X}"}
        deadline = time.monotonic() + MAX_SECONDS_TO_TAKE
        while SOCKETS.exists() and time.monotonic() < deadline:
            sockets = [line.split() for line in SOCKETS.read_text().splitlines()[1:]]
            queues = [each[4] for each in sockets if {each[1][-4:], each[2][-4:]} == ports]
            if all(queue == "00000000:00000000" for queue in queues):
                return
            time.sleep(0.01)
