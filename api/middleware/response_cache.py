"""Cached responses come first."""

from starlette.types import ASGIApp, Receive, Scope, Send

from api.caching.response_cache import ResponseCache


class ResponseCacheMiddleware:
    """Sends fresh responses before anything of a request is parsed."""

    def __init__(self, app: ASGIApp, cache: ResponseCache) -> None:
        self._app = app
        self._cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond from memory, or pass the request on."""
        response = self._cache.lookup(scope) if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else None
        await (response or self._app)(scope, receive, send)
