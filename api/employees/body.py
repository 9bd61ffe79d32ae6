"""The body of a batch: how it is read, within which limits, and where in it each record stands."""

import asyncio
import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from email.message import Message
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, HTTPException, Request
from fastapi.exceptions import RequestValidationError

# A thousand records of 16 kB each: far more than any real batch, and little enough to be held in memory.
MAX_BYTES = 16 * 1024 * 1024
TOO_LARGE = "The body is larger than 16 MiB."

_decoder = json.JSONDecoder()
_white_space = re.compile(r"[ \t\n\r]*")


async def read_body(request: Request) -> bytes:
    """Read the body, as far as it may go.

    A dependency, because FastAPI would read a body that is a parameter without limits.

    Raises:
        HTTPException: 415, it is not declared as JSON in UTF-8; 413, it is too large; 408, it takes too long.
    """
    _require_json(request.headers.get("content-type", ""))
    if int(request.headers.get("content-length", 0)) > MAX_BYTES:
        raise HTTPException(413, TOO_LARGE)
    body = bytearray()
    try:
        async with asyncio.timeout(request.app.state.settings.api_body_timeout_seconds):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BYTES:
                    raise HTTPException(413, TOO_LARGE, {"Connection": "close"})
    except TimeoutError:
        raise HTTPException(408, "The body took too long to arrive.", {"Connection": "close"}) from None
    return bytes(body)


BodyOfRequest = Annotated[bytes, Depends(read_body)]


def parse(body: bytes) -> Any:
    """Return what a JSON text means.

    Raises:
        RequestValidationError: it is not JSON in UTF-8, or nested too deeply to be read.
    """
    try:
        # Every digit counts: 8.0 is stored as 8.0, and 8.00000000000000001 is not taken for 8.
        return json.loads(body.decode(), parse_float=_decimal)
    except (ValueError, RecursionError):
        message = "cannot be read as JSON in UTF-8"
        raise RequestValidationError([{"type": "json_invalid", "loc": ("body",), "msg": message}]) from None


def _decimal(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of many digits: infinite, or nothing
        return float(text)


class Element(NamedTuple):
    """An element of an array as it was sent, and where."""

    raw: bytes
    byte_from: int
    line: int


def elements(body: bytes) -> Iterator[Element]:
    """Yield the elements of a body that `parse` has read as an array with something in it."""
    text = body.decode()
    begin = _after_white_space(text, text.index("[") + 1)
    byte_from, line = len(text[:begin].encode()), 1 + text.count("\n", 0, begin)
    while True:
        _, end = _decoder.raw_decode(text, begin)
        yield Element(text[begin:end].encode(), byte_from, line)
        comma = _after_white_space(text, end)
        if text[comma] == "]":
            return
        after = _after_white_space(text, comma + 1)
        byte_from += len(text[begin:after].encode())
        line += text.count("\n", begin, after)
        begin = after


def _after_white_space(text: str, position: int) -> int:
    match = _white_space.match(text, position)
    assert match is not None
    return match.end()


def _require_json(content_type: str) -> None:
    header = Message()
    header["content-type"] = content_type
    declared = (header.get_content_type(), header.get_content_charset("utf-8"))
    # Of what is no media type at all, get_content_type makes text/plain.
    if declared != ("application/json", "utf-8"):
        raise HTTPException(415, "Send JSON in UTF-8, with Content-Type: application/json.")
