"""The first records of an object, read in any dialect."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestration.ingest.dialect import DELIMITERS, LINE_END, Dialect
from orchestration.ingest.encoding import BYTE_ORDER_MARK, Encoding, UnreadableFile
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.records import Position

SEPARATOR = b"sep="


@dataclass(frozen=True)
class Line:
    """A record of the sample.

    Attributes:
        line: the number of its first line, from 1.
        end: the position after it.
        fields: its values; None if it is damaged, in which case it is treated as a single line.
        is_spaced: whether each field except the first begins with a space.
        has_double_quotes: whether a field begins with a double quote.
        raw: its first line.
    """

    line: int
    end: Position
    fields: tuple[str, ...] | None
    is_spaced: bool
    has_double_quotes: bool
    raw: str


@dataclass(frozen=True)
class Sample:
    """The first bytes of an object, in the encoding of its records and without a byte order mark."""

    text: bytes
    is_whole: bool
    encoding: Encoding = Encoding.UTF_8

    def declared_delimiter(self) -> tuple[Position, tuple[str]] | None:
        """Return the position after a line such as `sep=;`, and that delimiter; None without such a line.

        Raises:
            UnreadableFile: the delimiter is not supported.
        """
        end = self._after_line(1, 0)
        line = self.text[: end.byte].rstrip(b"\r\n").strip(b'"')
        if not line.lower().startswith(SEPARATOR) or len(line) > len(SEPARATOR) + 1:
            return None
        declared = line[len(SEPARATOR) :].decode("ascii", "replace")
        if declared not in DELIMITERS:
            raise UnreadableFile(f"declares the delimiter {declared!r}: it has to be a comma, ; | or a tab")
        return end, (declared,)

    def dialects(self, delimiters: Sequence[str]) -> Iterator[Dialect]:
        """Yield the dialects that the text may be in, the plain one first."""
        for quote in ('"', "'"):
            for has_escapes in (False, True):
                for skips_spaces in (False, True):
                    for delimiter in delimiters:
                        dialect = Dialect(delimiter, quote, has_escapes, skips_spaces)
                        is_first = dialect == Dialect(delimiters[0])
                        if is_first or self._may_be_in(dialect):
                            yield dialect

    def _may_be_in(self, dialect: Dialect) -> bool:
        return (
            dialect.delimiter_byte in self.text
            and (dialect.quote == '"' or dialect.quote_byte in self.text)
            and (not dialect.has_escapes or b"\\" in self.text)
            and (not dialect.skips_spaces or self.may_skip_spaces(dialect))
        )

    def may_skip_spaces(self, dialect: Dialect) -> bool:
        """Return whether any quote follows a delimiter and a space."""
        return dialect.delimiter_byte + b" " + dialect.quote_byte in self.text

    def lines(self, dialect: Dialect, start: Position) -> Iterator[Line]:
        """Yield the complete records from a position on, without blank lines."""
        at = start
        while at.byte < len(self.text):
            begin = at.byte
            while self.text.startswith(BYTE_ORDER_MARK, begin):
                begin += len(BYTE_ORDER_MARK)
            end = self._after_line(at.line, begin)
            content = self.text[begin : end.byte].rstrip(b"\r\n")
            line = self._line(dialect, at.line, begin, content) if content.strip(dialect.delimiter_byte) else None
            at = line.end if line else end
            if not self.is_whole and at.byte == len(self.text):
                return
            if line:
                yield line

    def _line(self, dialect: Dialect, number: int, begin: int, content: bytes) -> Line:
        """Return the record that begins at an offset, given the number and the content of its first line."""
        text = self.text
        raw = content.decode(self.encoding.of_records, "replace")
        spans = dialect.read_fields(text, begin, len(text))
        if not isinstance(spans, list):
            return Line(number, self._after_line(number, begin), None, False, content.startswith(b'"'), raw)
        stop = spans[-1][1]
        line_ends = len(LINE_END.findall(text, begin, stop)) if stop > begin + len(content) else 0
        # Text has no NUL characters: one damages its record, and UTF-16 without a mark is full of them.
        is_damaged = b"\0" in text[begin:stop]
        fields = None if is_damaged else FileFormat((), dialect, self.encoding).values_at(text, spans)
        return Line(
            number,
            self._after_line(number + line_ends, stop),
            None if fields is None else tuple(fields),
            is_spaced=all(text.startswith(b" ", start) for start, _ in spans[1:]),
            has_double_quotes=any(text.startswith(b'"', start) for start, _ in spans),
            raw=raw,
        )

    def _after_line(self, line: int, byte: int) -> Position:
        end = LINE_END.search(self.text, byte)
        return Position(line=line + 1, byte=end.end() if end else len(self.text))
