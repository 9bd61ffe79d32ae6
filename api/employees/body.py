"""The body of a batch: how it is read, within which limits, and where in it each record stands."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from email.message import Message
from itertools import islice
from typing import Any, NamedTuple

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError

# A thousand records of 4 kB each, where a record has some 110 bytes: little enough that reading, checking and storing
# it holds other requests up for some 50 ms.
MAX_BYTES = 4 * 1024 * 1024
TOO_LARGE = "The body is larger than 4 MiB."
TOO_DEEP = "is nested too deeply"
NOT_JSON = "Send JSON in UTF-8, with Content-Type: application/json."
# Taking a header apart can take quadratic time; no honest one is longer.
MAX_CONTENT_TYPE = 200

# The names of UTF-8 that IANA and the web know, without dashes.
UTF_8 = ("utf8", "csutf8")

_white_space = re.compile(r"[ \t\n\r]*")
# All bytes but those with which an array, an object, a string and each further element or field begin: nothing else in
# JSON makes values.
OTHER_BYTES = bytes({*range(256)} - {*b'[{",'})
_token = re.compile(rb'[\[{,]|"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


class RepeatedKeys(dict[str, Any]):
    """An object that has a key more than once: readers differ on which value counts, so none does."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        count = Counter(key for key, _ in pairs)
        self.repeated = [key for key in self if count[key] > 1]


async def read_body(request: Request) -> bytes:
    """Read the body, as far as it may go.

    A dependency, because FastAPI would read a body that is a parameter without limits.

    Raises:
        HTTPException: 415, it is not declared as plain JSON in UTF-8; 413, it is too large; 408, it takes too long.
    """
    _require_json(request.headers.get("content-type", ""))
    _require_plain(request.headers.get("content-encoding", ""))
    if int(request.headers.get("content-length", 0)) > MAX_BYTES:
        raise HTTPException(413, TOO_LARGE)
    body = bytearray()
    try:
        async with asyncio.timeout(request.app.state.settings.api_body_timeout_seconds):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BYTES:
                    raise HTTPException(413, TOO_LARGE)
    except TimeoutError:
        raise HTTPException(408, "The body took too long to arrive.", {"Connection": "close"}) from None
    return bytes(body)


def parse(body: bytes, max_tokens: int) -> Any:
    """Return what a JSON text means; a byte order mark before it means nothing.

    Args:
        body: the text, in UTF-8.
        max_tokens: how many arrays, objects, strings and commas it may have. While it is read, nothing else is done.

    Raises:
        RequestValidationError: it is not JSON in UTF-8, nested too deeply to be read, or has too many tokens.
    """
    if _has_more_tokens(body, max_tokens):
        raise unreadable("has more values than a batch can have")
    try:
        text = body.decode("utf-8-sig")
        try:
            return _decoder.decode(text)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer with more digits than Python reads
            return _exact_decoder.decode(text)
    except ValueError:
        raise unreadable("cannot be read as JSON in UTF-8") from None
    except RecursionError:
        raise unreadable(TOO_DEEP) from None


def _has_more_tokens(body: bytes, most: int) -> bool:
    """Tell whether a body has more tokens than that: by its bytes where these are few enough, and else exactly."""
    if len(body.translate(None, OTHER_BYTES)) <= most:
        return False
    return next(islice(_token.finditer(body), most, None), None) is not None


def unreadable(message: str) -> RequestValidationError:
    """Return the error that a body as a whole cannot be read."""
    return RequestValidationError([{"type": "json_invalid", "loc": ("body",), "msg": message}])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else RepeatedKeys(pairs)


def _decimal(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of many digits: infinite, or nothing
        return float(text)


def _integer(text: str) -> int | Decimal:
    try:
        return int(text)
    except ValueError:
        return Decimal(text)


# Every digit counts: 8.0 is stored as 8.0, and 8.00000000000000001 is not taken for 8.
_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_decimal)
# Reads integers of any length; asking for each costs half as much again.
_exact_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_decimal, parse_int=_integer)


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
        _, end = _exact_decoder.raw_decode(text, begin)
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
    header["content-type"] = content_type if len(content_type) <= MAX_CONTENT_TYPE else ""
    # Of what is no media type at all, get_content_type makes text/plain.
    if header.get_content_type() != "application/json":
        raise HTTPException(415, NOT_JSON)
    charset = header.get_content_charset("utf-8")
    if charset.replace("-", "").replace("_", "") not in UTF_8:
        raise HTTPException(415, f"{NOT_JSON} The charset {charset} is not read.")


def _require_plain(encodings: str) -> None:
    if encodings.strip().lower() not in ("", "identity"):
        detail = f"Send the body as it is: the Content-Encoding {encodings[:100]} is not read."
        raise HTTPException(415, detail, {"Accept-Encoding": "identity"})
