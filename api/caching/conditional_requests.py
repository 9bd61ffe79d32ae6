"""Conditional requests (RFC 9110): how a response is identified, and whether a client has it already."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

Headers = list[tuple[bytes, bytes]]

ETAG = re.compile(rb'"[^"]*"')
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Validators:
    """A strong entity tag, and the moment of the last change where that is known."""

    etag: bytes
    modified: datetime | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that a client keeps them from."""
        modified = {"Last-Modified": format_datetime(self.modified, usegmt=True)} if self.modified else {}
        return {"ETag": self.etag.decode(), **modified}

    def are_current(self, headers: Headers) -> bool:
        """Return whether a request's conditions say that its sender has this response; If-None-Match goes first."""
        since = None
        for name, value in headers:
            if name == b"if-none-match":
                return value == b"*" or self.etag in ETAG.findall(value)
            if name == b"if-modified-since":
                since = value
        return since is not None and self.modified is not None and self.modified <= _moment(since)


def _moment(date: bytes) -> datetime:
    try:
        return parsedate_to_datetime(date.decode("latin-1")).astimezone(UTC)
    except (ValueError, OverflowError):
        return LONG_AGO
