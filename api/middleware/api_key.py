"""Who may ask for what: a request's key is checked before anything else is done for it.

Whatever is not listed as open here needs a key: a new address is protected without anybody having to think of it.
"""

from typing import Any

from fastapi import Security
from fastapi.security import APIKeyHeader
from starlette.types import ASGIApp, Receive, Scope, Send

from api.keys import ApiKey, KeyRing
from api.middleware.rate_limit import TOO_MANY_REQUESTS
from api.protocol.problems import problem, responses
from api.settings import Settings

OPEN = ("/health", "/health/live", "/health/started", "/health/ready", "/docs", "/redoc", "/openapi.json")
OPEN_FOLDER = "/static-offline-docs/"
READING = ("GET", "HEAD", "OPTIONS")
# Also for a key that may only write: what became of what was sent.
FOR_WRITERS = "/loads/"

UNKNOWN_KEY = "The API key is missing or wrong."
WRONG_SCOPE = "The API key is not for this."

_header = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="ApiKey", description="A key with the scope for it."
)


def documented(*, is_open: bool) -> dict[str, Any]:
    """Return what include_router takes to say in the OpenAPI document which key an address asks for."""
    if is_open:
        return {}
    problems = {401: UNKNOWN_KEY, 403: WRONG_SCOPE, 429: TOO_MANY_REQUESTS}
    return {"dependencies": [Security(_header)], "responses": responses(problems)}


class ApiKeyMiddleware:
    """Lets requests through to what is open, or to what their key is for."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._keys = KeyRing(settings.fixed_keys, settings.api_keys_file)
        self._reads_are_open = settings.api_open_reads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with its key as scope["api_key"], or refuse it."""
        if scope["type"] != "http" or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        sent = next((value for name, value in scope["headers"] if name == b"x-api-key"), b"")
        key = scope["api_key"] = self._keys.find(sent) if sent else None
        if key is None:
            refusal = problem(401, UNKNOWN_KEY, {"WWW-Authenticate": 'ApiKey realm="hiring"'})
            await refusal(scope, receive, send)
        elif not _is_for(key, scope):
            await problem(403, WRONG_SCOPE)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        if scope["method"] not in READING:
            return False
        path: str = scope["path"]
        return self._reads_are_open or path in OPEN or path.startswith(OPEN_FOLDER)


def _is_for(key: ApiKey, scope: Scope) -> bool:
    if scope["method"] not in READING:
        return "write" in key.scopes
    path: str = scope["path"]
    return "read" in key.scopes or path.startswith(FOR_WRITERS)
