"""How often a key may be used."""

import math
import time

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from api.keys import ApiKey
from api.protocol.problems import problem

TOO_MANY_REQUESTS = "Too many requests with this API key."


class RateLimitMiddleware:
    """Refuses the requests of a key that come too often. What is open to everybody has no key, and no limit."""

    def __init__(self, app: ASGIApp, rate: str) -> None:
        self._app = app
        self._rate = parse(rate)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        key: ApiKey | None = scope.get("api_key")
        if key is None or await self._limiter.hit(self._rate, key.name):
            await self._app(scope, receive, send)
            return
        window = await self._limiter.get_window_stats(self._rate, key.name)
        seconds = max(1, math.ceil(window.reset_time - time.time()))
        await problem(429, TOO_MANY_REQUESTS, {"Retry-After": str(seconds)})(scope, receive, send)
