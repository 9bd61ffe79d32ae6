"""The headers that keep browsers from doing harm with a response."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
HEADERS_WITH_POLICY = (*HEADERS, (b"content-security-policy", POLICY))


class SecurityHeadersMiddleware:
    """Adds security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add the headers to its response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                has_policy = any(name == b"content-security-policy" for name, _ in headers)
                # A new list: the given one may belong to a response that is kept.
                message["headers"] = [*headers, *(HEADERS if has_policy else HEADERS_WITH_POLICY)]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)
