"""How a CSV text is written: its delimiter, its quotes, and what else the field of a record may look like."""

import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

DELIMITERS = (",", ";", "\t", "|")
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
LINE_END = re.compile(rb"\r\n?|\n")
BACKSLASH = b"\\"


@dataclass(frozen=True)
class Refusal:
    """Why a record cannot be a row: a code to count by, and words that complete "the record …"."""

    reason: str
    message: str


UNCLOSED = Refusal("unclosed_quote", "has a quote that is not closed")
STRAY = Refusal("stray_quote", "has text after a closing quote, or a quote in a quoted field that is not doubled")


@dataclass(frozen=True)
class Dialect:
    """How a CSV text is written.

    Attributes:
        delimiter: what stands between two fields, one character of ASCII.
        quote: what stands around a field that holds a delimiter, a line end or a quote.
        has_escapes: whether a backslash before a quote, a delimiter or a backslash makes plain text of it.
        skips_spaces: whether a quoted field may begin after spaces.
    """

    delimiter: str = ","
    quote: str = '"'
    has_escapes: bool = False
    skips_spaces: bool = False

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Return the dialect that `to_json` gave."""
        return cls(**stored)

    def to_json(self) -> dict[str, Any]:
        """Return it as the ledger keeps it."""
        return asdict(self)

    def __str__(self) -> str:
        escapes = ", backslashes before quotes" * self.has_escapes
        spaces = ", spaces before quotes" * self.skips_spaces
        quotes = ", single quotes" * (self.quote == "'")
        return f"{DELIMITER_NAMES.get(self.delimiter, repr(self.delimiter))}{quotes}{escapes}{spaces}"

    @cached_property
    def delimiter_byte(self) -> bytes:
        """The delimiter as a byte."""
        return self.delimiter.encode()

    @cached_property
    def quote_byte(self) -> bytes:
        """The quote as a byte."""
        return self.quote.encode()

    @cached_property
    def special(self) -> bytes:
        """What ends a field that has no quotes around it."""
        return self.delimiter_byte + b"\r\n"

    @cached_property
    def _field_end(self) -> re.Pattern[bytes]:
        return re.compile(b"[" + re.escape(self.special) + b"]")

    @cached_property
    def _plain_field(self) -> re.Pattern[bytes]:
        """A field without quotes around it, with escapes in it."""
        return re.compile(rb"(?:[^\\" + re.escape(self.special) + rb"]++|\\[^\r\n]?)*+")

    @cached_property
    def _quoted_part(self) -> re.Pattern[bytes]:
        """What a quoted field goes on after, and the quote that ends it."""
        return re.compile(rb"\\[\s\S]|" + self.quote_byte * 2 + b"|" + self.quote_byte)

    @cached_property
    def _escaped(self) -> re.Pattern[bytes]:
        return re.compile(rb"\\([\\" + re.escape(self.delimiter_byte + self.quote_byte) + b"])")

    @cached_property
    def _escaped_or_doubled(self) -> re.Pattern[bytes]:
        return re.compile(self._escaped.pattern + b"|" + self.quote_byte * 2)

    @cached_property
    def blanks(self) -> re.Pattern[bytes]:
        """Empty fields up to the end of a record, each after its delimiter."""
        return re.compile(b"(?:" + re.escape(self.delimiter_byte) + b"(?:[ \t]*+(?:" + self.quote_byte * 2 + b")?+))*+")

    def read_fields(
        self, text: bytes, begin: int, limit: int, max_fields: int | None = None
    ) -> list[tuple[int, int]] | Refusal | None:
        """Read the record that begins at an offset, field by field, up to so many of them.

        Returns:
            Where each field begins and ends, quotes and what stands before them included; why it is no record; None if
            it does not end before `limit`.
        """
        spans = []
        while True:
            opening = self._after_spaces(text, begin)
            if text[opening : opening + 1] == self.quote_byte:
                end = self._after_closing_quote(text, opening, limit)
                if end < 0:
                    return None
                if end < limit and text[end] not in self.special:
                    return STRAY
            else:
                end = self._end_of_plain_field(text, begin, limit)
            spans.append((begin, end))
            if end >= limit or text[end] != self.delimiter_byte[0] or len(spans) == max_fields:
                return spans
            begin = end + 1

    def _after_spaces(self, text: bytes, at: int) -> int:
        while self.skips_spaces and text[at : at + 1] == b" ":
            at += 1
        return at

    def _end_of_plain_field(self, text: bytes, begin: int, limit: int) -> int:
        if self.has_escapes:
            found = self._plain_field.match(text, begin, limit)
            return found.end() if found else limit
        found = self._field_end.search(text, begin, limit)
        return found.start() if found else limit

    def _after_closing_quote(self, text: bytes, begin: int, limit: int) -> int:
        """Return the offset after a quoted field, -1 if it is not closed before `limit`."""
        if self.has_escapes:
            parts = self._quoted_part.finditer(text, begin + 1, limit)
            return next((part.end() for part in parts if part.group() == self.quote_byte), -1)
        quote = self.quote_byte
        at = text.find(quote, begin + 1, limit)
        while at >= 0 and text[at + 1 : at + 2] == quote:
            at = text.find(quote, at + 2, limit)
        return at + 1 if at >= 0 else -1

    def value(self, field: bytes) -> bytes:
        """Return what a field means: without its quotes and escapes."""
        inner = field.lstrip(b" ") if self.skips_spaces else field
        if not inner.startswith(self.quote_byte):
            # A backslash and an N is what some databases write for a missing value.
            return self._escaped.sub(rb"\1", field) if self.has_escapes and field != b"\\N" else field
        inner = inner[1:-1]
        if self.has_escapes:
            return self._escaped_or_doubled.sub(lambda found: found[1] or self.quote_byte, inner)
        return inner.replace(self.quote_byte * 2, self.quote_byte)

    def as_copy_reads_it(self, field: bytes) -> bytes:
        """Quote a field that COPY would read otherwise: one with escapes, or with quotes in its middle."""
        is_escaped = self.has_escapes and BACKSLASH in field
        inner = field.lstrip(b" ") if self.skips_spaces else field
        if not is_escaped and (self.quote_byte not in field or inner.startswith(self.quote_byte)):
            return field
        return self.quote_byte + self.value(field).replace(self.quote_byte, self.quote_byte * 2) + self.quote_byte


PLAIN = Dialect()
