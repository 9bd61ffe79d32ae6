"""CSV dialects: delimiter, quote character, backslash escapes, spaces before quotes; reads fields exactly."""

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
    """Why a record cannot be a row: a code to count by, and a message that completes "the record …"."""

    reason: str
    message: str


UNCLOSED = Refusal("unclosed_quote", "has a quote that is not closed")
STRAY = Refusal("stray_quote", "has text after a closing quote, or a quote in a quoted field that is not doubled")


@dataclass(frozen=True)
class Dialect:
    """A dialect of CSV.

    Attributes:
        delimiter: separates fields, one ASCII character.
        quote: surrounds a field that contains a delimiter, a line end or a quote.
        has_escapes: whether a backslash escapes a quote, a delimiter or a backslash.
        skips_spaces: whether a quoted field may begin after spaces.
    """

    delimiter: str = ","
    quote: str = '"'
    has_escapes: bool = False
    skips_spaces: bool = False

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Return the dialect that `to_json` serialized."""
        return cls(**stored)

    def to_json(self) -> dict[str, Any]:
        """Return it as the ledger stores it."""
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
        """The bytes that end an unquoted field."""
        return self.delimiter_byte + b"\r\n"

    @cached_property
    def _field_end(self) -> re.Pattern[bytes]:
        return re.compile(b"[" + re.escape(self.special) + b"]")

    @cached_property
    def _plain_field(self) -> re.Pattern[bytes]:
        """An unquoted field that may contain escapes."""
        return re.compile(rb"(?:[^\\" + re.escape(self.special) + rb"]++|\\[^\r\n]?)*+")

    @cached_property
    def _quoted_part(self) -> re.Pattern[bytes]:
        """Escapes and doubled quotes, after which a quoted field continues, and the quote that ends it."""
        return re.compile(rb"\\[\s\S]|" + self.quote_byte * 2 + b"|" + self.quote_byte)

    @cached_property
    def _escaped(self) -> re.Pattern[bytes]:
        return re.compile(rb"\\([\\" + re.escape(self.delimiter_byte + self.quote_byte) + b"])")

    @cached_property
    def _escaped_or_doubled(self) -> re.Pattern[bytes]:
        return re.compile(self._escaped.pattern + b"|" + self.quote_byte * 2)

    @cached_property
    def blanks(self) -> re.Pattern[bytes]:
        """Empty fields up to the end of a record, each preceded by a delimiter."""
        return re.compile(b"(?:" + re.escape(self.delimiter_byte) + b"(?:[ \t]*+(?:" + self.quote_byte * 2 + b")?+))*+")

    def read_fields(
        self, text: bytes, begin: int, limit: int, max_fields: int | None = None
    ) -> list[tuple[int, int]] | Refusal | None:
        """Read the record that begins at an offset, field by field.

        Args:
            text: the text.
            begin: the offset of the record's first byte.
            limit: the offset before which the record has to end.
            max_fields: stop after so many fields.

        Returns:
            The offsets at which each field begins and ends, including quotes and spaces before them; or why it is not a
            record; or None if it does not end before `limit`.
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
            field = self._plain_field.match(text, begin, limit)
            return field.end() if field else limit
        end = self._field_end.search(text, begin, limit)
        return end.start() if end else limit

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
        """Return a field's value, without quotes and escapes."""
        inner = field.lstrip(b" ") if self.skips_spaces else field
        if not inner.startswith(self.quote_byte):
            # Some databases write \N for a missing value.
            return self._escaped.sub(rb"\1", field) if self.has_escapes and field != b"\\N" else field
        inner = inner[1:-1]
        if self.has_escapes:
            return self._escaped_or_doubled.sub(lambda match: match[1] or self.quote_byte, inner)
        return inner.replace(self.quote_byte * 2, self.quote_byte)

    def as_copy_reads_it(self, field: bytes) -> bytes:
        """Return a field as COPY has to read it: requoted if it has escapes, or quotes in its middle."""
        is_escaped = self.has_escapes and BACKSLASH in field
        inner = field.lstrip(b" ") if self.skips_spaces else field
        if not is_escaped and (self.quote_byte not in field or inner.startswith(self.quote_byte)):
            return field
        return self.quote_byte + self.value(field).replace(self.quote_byte, self.quote_byte * 2) + self.quote_byte


PLAIN = Dialect()
