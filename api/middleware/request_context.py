"""The context of a request: its id, its line in the log and its place in the request metrics.

Plain ASGI, on the path of every cached read: what can be prepared is prepared.
"""

import logging
import re
import secrets
from collections.abc import Container
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.observability import logs
from api.observability.request_metrics import RequestMetrics
from api.protocol.problems import FAILED, problem

logger = logging.getLogger(__name__)

SANE_ID = re.compile(rb"[A-Za-z0-9._-]{8,128}")


class RequestContextMiddleware:
    """Gives each request an id, and logs and counts how it ended, whatever responds to it."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics, addresses: Container[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and record how it ended.

        Raises:
            Exception: the one that the application raised after the response had begun: the connection is to break.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        id_header = (b"x-request-id", request_id)
        started, status = perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # A new list: the given one may belong to a response that is kept.
                message["headers"] = [*message.get("headers", ()), id_header]
            await send(message)

        token = logs.request_id.set(request_id.decode())
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            logger.error("a request failed", exc_info=error)  # noqa: TRY400
            if status:
                raise
            await problem(500, FAILED)(scope, receive, send_with_id)
        finally:
            self._record(scope, status, perf_counter() - started)
            logs.request_id.reset(token)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        # What got its response before it came to a route has none, and an address of no route may be anything.
        path = scope["path"]
        route = path if path in self._addresses else getattr(scope.get("route"), "path", "none")
        self._metrics.observe(scope["method"], route, status, seconds)
        key, client = scope.get("api_key"), scope.get("client")
        logs.requests.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 2),
            key=key.name if key else None,
            client=client[0] if client else None,
        )


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(8).encode()
