"""Who may ask for what: before anything else is done for a request, its key is known and has not asked too often.

Whatever is not listed as open here needs a key: a new address is guarded without anybody having to think of it.
"""

import math
import time
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from api.keys import ApiKey, KeyRing
from api.problems import problem, responses
from api.settings import Settings

OPEN = ("/health", "/health/live", "/health/ready", "/docs", "/redoc", "/openapi.json")
OPEN_FOLDER = "/static-offline-docs/"
READING = ("GET", "HEAD", "OPTIONS")
# Also for a key that may only write: what became of what was sent.
FOR_WRITERS = "/loads/"

PROBLEMS = {
    401: "The API key is missing or wrong.",
    403: "The API key is not for this.",
    429: "Too many requests with this API key.",
}

_header = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="ApiKey", description="A key with the scope for it."
)


def described(*, is_open: bool) -> dict[str, Any]:
    """Return what include_router takes to tell in the OpenAPI document what the guard asks for."""
    return {} if is_open else {"dependencies": [Security(_header)], "responses": responses(PROBLEMS)}


class Guard:
    """Middleware that lets requests through to what is open, or to what their key is for."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._keys = KeyRing(settings.fixed_keys, settings.api_keys_file)
        self._reads_are_open = settings.api_open_reads
        self._limit = parse(settings.api_rate_limit)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with its key as scope["api_key"], or refuse it."""
        if scope["type"] != "http" or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        sent = next((value for name, value in scope["headers"] if name == b"x-api-key"), b"")
        key = scope["api_key"] = self._keys.find(sent) if sent else None
        if key is None:
            refusal = problem(401, PROBLEMS[401], {"WWW-Authenticate": 'ApiKey realm="hiring"'})
        elif not _is_for(key, scope):
            refusal = problem(403, PROBLEMS[403])
        elif not await self._limiter.hit(self._limit, key.name):
            refusal = problem(429, PROBLEMS[429], {"Retry-After": await self._seconds_to_wait(key)})
        else:
            await self._app(scope, receive, send)
            return
        await refusal(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        if scope["method"] not in READING:
            return False
        path: str = scope["path"]
        return self._reads_are_open or path in OPEN or path.startswith(OPEN_FOLDER)

    async def _seconds_to_wait(self, key: ApiKey) -> str:
        window = await self._limiter.get_window_stats(self._limit, key.name)
        return str(max(1, math.ceil(window.reset_time - time.time())))


def _is_for(key: ApiKey, scope: Scope) -> bool:
    if scope["method"] not in READING:
        return "write" in key.scopes
    path: str = scope["path"]
    return "read" in key.scopes or path.startswith(FOR_WRITERS)


async def _of_request(request: Request) -> ApiKey:
    key: ApiKey = request.scope["api_key"]
    return key


KeyOfRequest = Annotated[ApiKey, Depends(_of_request)]
