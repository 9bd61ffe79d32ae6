"""Errors as RFC 9457 problem details: the document, how it is documented, and the errors that HTTP itself knows.

No document reveals what the server consists of or repeats a value that came in: values may be names of people.
"""

import json
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

MEDIA_TYPE = "application/problem+json"

SCHEMA = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string", "description": "The name of the status"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, in words"},
        "errors": {
            "type": "array",
            "description": "Everything that is wrong with the request, when it is the request",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the body"},
                    "parameter": {"type": "string", "description": "Name of a query parameter"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

# Pydantic's words for these speak of Python's types.
WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "dict_type": "must be an object",
    "list_type": "must be an array",
    "string_pattern_mismatch": "has characters that are not allowed",
    "string_unicode": "has characters that are not Unicode text",
}

# An error that nobody foresaw.
FAILED = "The server failed; its log says why."

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response:
    """Return a problem document (RFC 9457) as a response.

    Args:
        status: of HTTP; its phrase is the title.
        detail: what is wrong and what to do, for people.
        headers: further headers.
        errors: one for each wrong value, if there are several.
    """
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors is not None:
        document["errors"] = errors
    return Response(json.dumps(document), status, headers, MEDIA_TYPE)


def responses(details: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Describe problems for the OpenAPI document, by status."""
    return {
        status: {
            "description": detail,
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": {
                        "type": "about:blank",
                        "title": HTTPStatus(status).phrase,
                        "status": status,
                        "detail": detail,
                    },
                }
            },
        }
        for status, detail in details.items()
    }


async def http_error(request: Request, error: HTTPException) -> Response:
    """Tell what the framework or an endpoint refused: no such address, no such method, no key."""
    headers = {"Allow": _allowed(request)} if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else error.headers
    return problem(error.status_code, error.detail, headers)


async def invalid_request(_request: Request, error: RequestValidationError) -> Response:
    """Tell everything that is wrong with the parameters or the body."""
    return problem(422, "The request breaks the rules listed under errors.", errors=[*places(error.errors())])


async def client_left(_request: Request, _error: ClientDisconnect) -> Response:
    """Answer a request whose body never came to its end; nobody is there to read it."""
    return problem(400, "The connection closed before the body was complete.")


HANDLERS: dict[type[Exception], Handler] = {
    HTTPException: http_error,
    RequestValidationError: invalid_request,
    ClientDisconnect: client_left,
}


def places(errors: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Yield, for each error in pydantic's form, where it is and what is wrong there."""
    for error in errors:
        source, *path = error["loc"]
        detail = WORDS.get(error["type"], error["msg"])
        if source == "body":
            yield {"pointer": _pointer(path), "detail": detail}
        else:
            yield {"parameter": str(path[0]), "detail": detail}


def _allowed(request: Request) -> str:
    """Return the methods of all routes at an address; the framework names those of the first one."""
    routes = (
        route
        for route in iter_route_contexts(request.app.routes)
        if route.methods and route.matches(request.scope)[0] is not Match.NONE
    )
    # Files have no routes of their own.
    return ", ".join(sorted({method for route in routes for method in route.methods or ()}) or ["GET", "HEAD"])


def _pointer(path: Iterable[str | int]) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
