"""What every response carries and what is noted about every request, whatever answers it.

Plain ASGI, on the way of every cached read: what can be made beforehand is made beforehand.
"""

import logging
import re
import secrets
from collections.abc import Container
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import logs
from api.figures import Figures
from api.problems import FAILED, problem

logger = logging.getLogger(__name__)

SANE_ID = re.compile(rb"[A-Za-z0-9._-]{8,128}")

# For everything that is not a page of the documentation, which brings its own: nothing but what we serve ourselves.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
WITH_POLICY = (*HEADERS, (b"content-security-policy", POLICY))


class Envelope:
    """Middleware around everything else: the request's id, headers for safety, a line in the log, a figure."""

    def __init__(self, app: ASGIApp, figures: Figures, addresses: Container[str]) -> None:
        self._app = app
        self._figures = figures
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note how it ended.

        Raises:
            Exception: the one that the application raised after the response had begun: the connection is to break.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        own_headers = (b"x-request-id", request_id)
        started, status = perf_counter(), 0

        async def send_dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message.get("headers", ())
                has_policy = any(name == b"content-security-policy" for name, _ in given)
                # A new list: the one that was given may belong to a response that is kept.
                message["headers"] = [*given, own_headers, *(HEADERS if has_policy else WITH_POLICY)]
            await send(message)

        token = logs.request_id.set(request_id.decode())
        try:
            # What is no request as HTTP has it comes with its answer.
            await (scope.get("refusal") or self._app)(scope, receive, send_dressed)
        except Exception as error:
            logger.error("a request failed", exc_info=error)  # noqa: TRY400
            if status:
                raise
            await problem(500, FAILED)(scope, receive, send_dressed)
        finally:
            self._note(scope, status, perf_counter() - started)
            logs.request_id.reset(token)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # What was answered before it came to a route has none, and an address of no route may be anything.
        path = scope["path"]
        route = path if path in self._addresses else getattr(scope.get("route"), "path", "none")
        self._figures.observe(scope["method"], route, status, seconds)
        key = scope.get("api_key")
        logs.requests.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 2),
            key=key.name if key else None,
        )


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(8).encode()
