"""How uvicorn is run: how long connections may take and how many there may be, and what it refuses by itself.

uvicorn waits for the head of a request as long as a client likes, and answers what is not HTTP with text of its own.
Protocol adds a time limit for heads, and has the application answer whatever is refused here: under a request id, with
a problem document and a line in the log.
"""

import asyncio
import re
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.protocol.problems import problem
from api.settings import Settings

# Many times what the longest filter of a metric takes.
MAX_HEAD_BYTES = 64 * 1024
# A page's or a metric's filter may name many departments. Each parameter costs some 30 µs, known or not.
MAX_PARAMETERS = 1000
# A client that takes nothing of its answer for so long has gone.
WRITE_SECONDS = 60

# Characters of a host and a port (RFC 3986).
HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


class LingeringTransport:
    """A transport that is closed for writing only.

    A socket that is closed while there is something to read resets its connection, which takes the answer away from a
    client that is still sending.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.write = transport.write
        self.close = transport.write_eof
        self.is_closing = transport.is_closing


class Protocol(HttpToolsProtocol):
    """A connection that always has a limit to what it waits for.

    Args:
        settings: Say how long, and how many connections.
        waiting: The connections of this server that have no request under way, the longest waiting one first.
    """

    def __init__(self, *args: Any, settings: Settings, waiting: dict["Protocol", None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings = settings
        self._waiting = waiting
        self._is_in_head = False
        self._head_bytes = 0
        self._is_refused = False
        self._head_deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; where there are too many, the one that has waited longest for a request makes room."""
        super().connection_made(transport)
        if len(self.connections) > self._settings.api_max_connections:
            longest = next(iter(self._waiting), None)
            if longest is None:
                self._refuse(503, "The server has too many connections; try again later.")
                return
            longest.close()
        self._waiting[self] = None
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._waiting.pop(self, None)
        self._stop_expecting_head()
        if self._write_deadline is not None:
            self._write_deadline.cancel()

    def close(self) -> None:
        """Close the connection at once, whatever its client has not taken."""
        self._waiting.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on, as long as a head is neither too long nor too late."""
        if self._is_refused:
            return
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_refused:
            return
        if self._is_in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(*self._too_large())
        elif self in self._waiting and self._head_deadline is None and self.timeout_keep_alive_task is None:
            self._expect_head()

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        super().on_message_begin()
        self._is_in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Begin with a request, unless its head is wrong."""
        self._is_in_head = False
        if self._is_refused:
            return
        if (refusal := self._wrong_head()) is not None:
            self._refuse(*refusal)
            return
        self._stop_expecting_head()
        self._waiting.pop(self, None)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Keep the connection of a request whose answer was there before the end of its body."""
        if self._is_refused:
            return
        super().on_message_complete()
        if self in self._waiting:
            self._stop_expecting_head()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self.cycle.response_complete and not self._is_refused and not self.transport.is_closing():
            self._waiting[self] = None

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection over which nothing has come for too long."""
        self.close()

    def pause_writing(self) -> None:
        """Wait until the client takes more, but not for ever."""
        super().pause_writing()
        self._write_deadline = self.loop.call_later(WRITE_SECONDS, self.close)

    def resume_writing(self) -> None:
        """Resume writing."""
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()

    def send_400_response(self, _msg: str) -> None:
        """Refuse what the parser could not read."""
        self._refuse(400, "The request is not HTTP, contradicts itself, or its method is unknown.")

    def _wrong_head(self) -> tuple[int, str] | None:
        size, hosts = len(self.url), []
        for name, value in self.headers:
            size += len(name) + len(value)
            if name == b"host":
                hosts.append(value)
        if size > MAX_HEAD_BYTES:
            return self._too_large()
        if self.url.count(b"&") >= MAX_PARAMETERS:
            return 414, f"The address has more than {MAX_PARAMETERS:,} parameters."
        if (len(hosts) == 1 and HOST.fullmatch(hosts[0])) or (not hosts and self.parser.get_http_version() == "1.0"):
            return None
        return 400, "The request must have one header Host, with the name of a host."

    def _too_large(self) -> tuple[int, str]:
        if len(self.url) > MAX_HEAD_BYTES // 2:
            return 414, "The address is too long."
        return 431, f"Address and headers have more than {MAX_HEAD_BYTES // 1024} KiB."

    def _expect_head(self) -> None:
        self._head_deadline = self.loop.call_later(self._settings.api_head_timeout_seconds, self._give_up)

    def _stop_expecting_head(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _give_up(self) -> None:
        if self._is_in_head and not self._is_refused:
            self._refuse(408, "The request's headers took too long to arrive.")
        else:
            self.close()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer what is no request, and close the connection."""
        self._is_refused = True
        self._stop_expecting_head()
        self._waiting.pop(self, None)
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started or not self.cycle.more_body:
                # The request before is whole: the answer to it is the last one.
                self.cycle.keep_alive = False
                return
            # Its body cannot be read, so stop waiting for it.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        # What is still on its way is read, and thrown away, for no longer than a head is waited for.
        self._expect_head()
        scope: Any = {
            "type": "http",
            "method": "none",
            "path": "*",
            "headers": self.headers or [],
            "refusal": problem(status, detail, {"Connection": "close"}),
        }
        self.cycle = RequestResponseCycle(
            scope=scope,
            transport=LingeringTransport(self.transport),  # type: ignore[arg-type]
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        self._start_asgi_task(self.cycle, self.app)


def options(settings: Settings) -> dict[str, Any]:
    """Return what uvicorn is given besides the application and its address."""
    return {
        "http": partial(Protocol, settings=settings, waiting={}),
        # A request to become a websocket is a request like others.
        "ws": "none",
        "timeout_keep_alive": settings.api_keep_alive_seconds,
        "timeout_graceful_shutdown": 10,
        # Only the log has the client's address; nothing that is answered depends on scheme, host or client.
        "proxy_headers": bool(settings.api_trusted_proxies),
        "forwarded_allow_ips": [str(network) for network in settings.api_trusted_proxies],
        "server_header": False,
        # None leaves logging as it is set up: one format for uvicorn, the pool and this package.
        "log_config": None,
        "access_log": False,
    }
