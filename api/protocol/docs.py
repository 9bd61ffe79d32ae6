"""What the API says of itself: the OpenAPI document's shared schemas, and the pages /docs and /redoc.

The pages come out of a package's own files, under a policy that lets them run their own scripts only.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html

FILES = "static-offline-docs"


def add_schemas(app: FastAPI, schemas: Mapping[str, Any]) -> None:
    """Add schemas that no endpoint's types bring into the OpenAPI document by themselves."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["components"]["schemas"].update(schemas)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def add_pages(app: FastAPI) -> None:
    """Add the two pages; their links are relative, so that they also work behind a proxy with a prefix."""
    favicon = f"{FILES}/favicon.png"
    swagger = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{app.title}: try it",
        swagger_js_url=f"{FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{FILES}/swagger-ui.css",
        swagger_favicon_url=favicon,
    )
    redoc = get_redoc_html(
        openapi_url="openapi.json",
        title=f"{app.title}: reference",
        redoc_js_url=f"{FILES}/redoc.standalone.js",
        redoc_favicon_url=favicon,
        with_google_fonts=False,
    )
    for address, page in (("/docs", swagger), ("/redoc", redoc)):
        page.headers["Content-Security-Policy"] = _policy(bytes(page.body))
        app.add_api_route(address, _constant(page), methods=["GET", "HEAD"], include_in_schema=False)


def _constant(page: Response) -> Callable[[], Coroutine[Any, Any, Response]]:
    async def answer() -> Response:
        return page

    return answer


def _policy(html: bytes) -> str:
    """Allow the page's inline scripts by their digests; both libraries put styles into the page while they run."""
    scripts = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in re.findall(rb"<script>(.*?)</script>", html, re.DOTALL)
    )
    return (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
