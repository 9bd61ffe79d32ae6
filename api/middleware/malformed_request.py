"""What is no request as HTTP has it."""

from starlette.types import ASGIApp, Receive, Scope, Send


class MalformedRequestMiddleware:
    """Sends the refusal that the server's protocol has attached to a request that it could not parse."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        await (scope.get("refusal") or self._app)(scope, receive, send)
