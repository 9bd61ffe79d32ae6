"""CSV text into chunks of records: where each record begins and ends, and which of them cannot be rows.

The rules are those of RFC 4180 as Python's csv module applies them when strict: a double quote opens a quoted field
only where a field begins, a doubled one inside of it is one quote, and it has to close right before a delimiter or the
end of a line. A line feed, a carriage return or both together end a line and, outside of quotes, a record; a line with
nothing but delimiters on it is none, and neither is a header that comes again.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from orchestration.ingest.dialect import LINE_END, Refusal
from orchestration.ingest.encoding import Encoding, bytes_before
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.lines import CsvBuffer, Flags, Integers, Records, too_long, wrong_fields
from orchestration.ingest.plain import PlainRows

RECORDS_PER_CHUNK = 1000
# What bounds the memory: a longer record is rejected, and a chunk ends before it would grow longer.
MAX_BYTES = 1 << 20
# How much of a rejected record is kept.
RAW_BYTES_KEPT = 64 << 10

# Of a load or record; a bigint has up to 19 digits.
NUMBER = re.compile("[0-9]{1,18}")

NONE: Integers = np.empty(0, np.int64)


@dataclass(frozen=True)
class HeaderProbe:
    """How to recognise a header that comes again among the records.

    Attributes:
        field: index of a field that begins with a letter in a header and, nearly always, with none in a record; None
            where there is no such field, and every record has to be looked at.
        names: of which a header has at least one: names of columns in lower case, without anything but letters and
            digits. Those that are not ASCII are of no use here.
        is_header: says whether the fields of a record are the object's header. It raises where they are another one.
    """

    field: int | None
    names: frozenset[bytes]
    is_header: Callable[[Sequence[str], int], bool]


@dataclass(frozen=True)
class Position:
    """Where in an object a chunk begins: its number (from 0), its first record's and line's (from 1), its byte."""

    chunk: int = 0
    record: int = 1
    line: int = 1
    byte: int = 0


START = Position()


@dataclass(frozen=True)
class Rejection:
    """A record that cannot be a row of its table: which, why, and its bytes.

    `record` and `line` count from 1 over the object, `byte_from` is the offset of its first byte in the object's text,
    `raw` its first RAW_BYTES_KEPT bytes out of `raw_bytes`, without the line end.
    """

    record: int
    line: int
    byte_from: int
    reason: str
    message: str
    raw: bytes
    raw_bytes: int

    @classmethod
    def of(
        cls, refusal: Refusal, record: int, line: int, byte_from: int, raw: bytes, raw_bytes: int | None = None
    ) -> "Rejection":
        """Return the rejection of a record, of whose bytes as much is kept as is kept of any."""
        size = len(raw) if raw_bytes is None else raw_bytes
        return cls(record, line, byte_from, refusal.reason, refusal.message, raw[:RAW_BYTES_KEPT], size)


@dataclass(frozen=True)
class Correction:
    """A row that corrects a rejected record of an earlier load, as its file says in columns of its own."""

    record: int
    corrected_load_id: int
    corrected_record: int


@dataclass(frozen=True)
class Chunk:
    """Up to a thousand consecutive records, and the stretch of the object that holds them.

    The stretches of an object's chunks follow each other without a gap; blank lines, byte order marks and headers
    belong to them without being records. `rows` are the records that can be rows, as COPY is to read them: in the
    object's dialect, without the fields that are left out and without line ends; `numbers`, `lines` and `offsets` say
    of each what Rejection calls record, line and byte_from. `repeated_headers` counts the headers that came again,
    `corrections` says which rejected records the rows correct, `is_plain` which rows are valid beyond doubt; None if
    nobody has looked.
    """

    begin: Position
    end: Position
    rows: Sequence[bytes]
    numbers: Sequence[int]
    lines: Integers
    offsets: Integers
    rejections: Sequence[Rejection]
    repeated_headers: int = 0
    corrections: Sequence[Correction] = ()
    is_plain: Flags | None = None

    @property
    def records(self) -> int:
        """How many records it has, the rejected ones among them."""
        return self.end.record - self.begin.record


def split_chunks(
    blocks: Iterable[bytes],
    file_format: FileFormat,
    start: Position = START,
    body: Position | None = None,
    probe: HeaderProbe | None = None,
    chunk_records: int = RECORDS_PER_CHUNK,
    max_bytes: int = MAX_BYTES,
    plain_rows: PlainRows | None = None,
) -> Iterator[Chunk]:
    """Split a stream of blocks into chunks, independently of where one block ends and the next begins.

    Args:
        blocks: the object's text from byte `body.byte` on, in pieces of any size; UTF-16 turned into UTF-8.
        file_format: how its records are written.
        start: what the first chunk is to be.
        body: where the blocks begin, if that is after `start`: after a byte order mark or a header, which belong to
            the first chunk all the same.
        probe: how to recognise a header that comes again; by default none does.
        chunk_records: records per chunk.
        max_bytes: the longest that a record may be; also the longest chunk, unless its one record is longer.
        plain_rows: recognises rows that are valid beyond doubt; by default none are.

    Raises:
        HeaderMismatch: a header further down names other columns.
    """
    splitter = _Splitter(file_format, start, body or start, probe, chunk_records, max_bytes, plain_rows)
    for block in blocks:
        yield from splitter.feed(block)
    yield from splitter.finish()


class _Splitter:
    """The text that belongs to no chunk yet, and what the next chunk is to be."""

    def __init__(
        self,
        file_format: FileFormat,
        start: Position,
        body: Position,
        probe: HeaderProbe | None,
        chunk_records: int,
        max_bytes: int,
        plain_rows: PlainRows | None,
    ) -> None:
        self._format = file_format
        self._width = len(file_format.fields)
        self._probe = probe
        delimiter = file_format.dialect.delimiter_byte
        self._no_name = bytes(each for each in range(128) if not chr(each).isalnum() and each != delimiter[0])
        self._chunk_records = chunk_records
        self._max_bytes = max_bytes
        self._plain_rows = plain_rows
        self._next = start
        self._body = body  # where _text begins: at the next chunk's beginning, but for a header
        self._text = b""
        self._long_line: _LongLine | None = None

    def feed(self, block: bytes) -> Iterator[Chunk]:
        self._text += block
        yield from self._chunks(at_end=False)

    def finish(self) -> Iterator[Chunk]:
        yield from self._chunks(at_end=True)
        if self._body.byte > self._next.byte:
            yield self._entered(0, 0, [], [], NONE, NONE, [])

    def _chunks(self, at_end: bool) -> Iterator[Chunk]:
        while self._text or self._long_line:
            if self._long_line:
                self._text = self._long_line.take(self._text, at_end)
                if not self._long_line.is_whole:
                    return
                yield self._chunk_of(self._long_line)
                self._long_line = None
            buffer = CsvBuffer(self._text, self._format, at_end, self._max_bytes)
            plain = self._plain_rows.among(buffer) if self._plain_rows else None
            line = 0
            while records := self._next_records(buffer, line):
                end = int(records.last[-1]) + 1
                yield self._chunk(buffer, line, end, records, plain)
                line = end
            self._text = self._text[buffer.starts[line] :]
            if line < len(buffer.ends) or len(self._text) <= self._max_bytes:
                return
            self._long_line = _LongLine(self._format.encoding)

    def _next_records(self, buffer: CsvBuffer, line: int) -> Records | None:
        """Return the next chunk's records from a line on, blank lines among them; None if more text has to come."""
        limit = buffer.starts[line] + self._max_bytes
        parts: list[Records] = []
        missing, end = self._chunk_records, line
        for part in buffer.records(line, window=self._chunk_records):
            filled = np.cumsum(part.fields > 0)
            fit = max(int(np.searchsorted(buffer.ends[part.last], limit, "right")), not parts)
            count = min(fit, int(np.searchsorted(filled, missing)) + 1, len(part))
            parts.append(part[:count])
            missing -= int(filled[count - 1]) if count else 0
            if not missing or count < len(part):
                return Records.joined(parts)
            end = int(part.last[-1]) + 1
        # What follows may be the beginning of a line that is longer than any chunk.
        is_full = end == len(buffer.ends) and len(buffer.text) - buffer.starts[end] > self._max_bytes
        return Records.joined(parts) if parts and (buffer.at_end or is_full) else None

    def _chunk(self, buffer: CsvBuffer, line: int, end: int, records: Records, plain: Flags | None) -> Chunk:
        """Return the next chunk, of the lines from one up to another: its rows, and what cannot be one."""
        kept = records.where(records.fields > 0)
        repeated = self._repeated_headers(buffer, line, kept)
        if repeated is not None:
            kept = kept.where(~repeated)
        begins, ends = buffer.begins[kept.first], buffer.contents[kept.last]
        stretch = buffer.text[buffer.starts[line] : buffer.starts[end]]
        if len(kept) == end - line and not buffer.has_marks:
            # Each line is a record. This gives nothing else than what is below, in half the time.
            raws = stretch.splitlines()
        else:
            raws = [buffer.text[begin:stop] for begin, stop in zip(begins.tolist(), ends.tolist(), strict=True)]
        numbers: Sequence[int] = range(self._next.record, self._next.record + len(raws))
        lines = kept.first - line + self._body.line
        before = bytes_before(stretch, self._format.encoding)
        begins = begins - buffer.starts[line]
        offsets = (begins if before is None else before[begins]) + self._body.byte
        size = len(stretch) if before is None else int(before[-1])
        refused = self._refused(kept, raws, stretch, begins)
        rejections = [
            Rejection.of(refused[index], numbers[index], int(lines[index]), int(offsets[index]), raws[index])
            for index in sorted(refused)
        ]
        rows = buffer.loaded_fields(kept) if self._format.is_rewritten else raws
        for index, verdict in kept.exact.items():
            if isinstance(verdict, bytes):
                rows[index] = verdict
        headers = 0 if repeated is None else int(repeated.sum())
        is_plain = None if plain is None else self._are_plain(kept, plain)
        if refused:
            good = [index for index in range(len(rows)) if index not in refused]
            raws, rows = [raws[index] for index in good], [rows[index] for index in good]
            numbers, lines, offsets = [numbers[index] for index in good], lines[good], offsets[good]
            is_plain = None if is_plain is None else is_plain[good]
        corrections = self._corrections(raws, numbers) if self._format.provenance else []
        chunk = self._entered(end - line, size, rows, numbers, lines, offsets, rejections, headers)
        return replace(chunk, corrections=corrections, is_plain=is_plain)

    @staticmethod
    def _are_plain(records: Records, plain: Flags) -> Flags:
        """Return which records are lines that are plain, and were not read in another way than these."""
        found: Flags = plain[records.first] & (records.first == records.last)
        found[list(records.exact)] = False
        return found

    def _corrections(self, raws: Sequence[bytes], numbers: Sequence[int]) -> list[Correction]:
        """Return which rejected records some rows correct; where the columns for that hold no numbers, none."""
        load, record = self._format.provenance or (0, 0)
        found = []
        for number, raw in zip(numbers, raws, strict=True):
            values = self._format.values(raw)
            if values and all(NUMBER.fullmatch(values[index]) for index in (load, record)):
                found.append(Correction(number, int(values[load]), int(values[record])))
        return found

    def _repeated_headers(self, buffer: CsvBuffer, line: int, records: Records) -> Flags | None:
        """Say which records are the header that comes again, None if none is."""
        if self._probe is None or not len(records):
            return None
        if self._probe.field is None:
            candidates = np.arange(len(records))
        else:
            candidates = buffer.begin_with_a_letter(records, self._probe.field)
        if not len(candidates):
            return None
        found = np.zeros(len(records), np.bool_)
        for index in candidates.tolist():
            first = records.first[index]
            raw = buffer.text[buffer.begins[first] : buffer.contents[records.last[index]]]
            if not self._has_a_name(raw):
                continue
            fields = self._format.values(raw)
            found[index] = fields is not None and self._probe.is_header(fields, int(first) - line + self._body.line)
        return found if found.any() else None

    def _has_a_name(self, raw: bytes) -> bool:
        """Return whether a record may name a column. Where ids are words, that saves ten times as much work."""
        words = raw.lower().translate(None, self._no_name).split(self._format.dialect.delimiter_byte)
        return self._probe is not None and (not raw.isascii() or not self._probe.names.isdisjoint(words))

    def _refused(self, records: Records, raws: Sequence[bytes], stretch: bytes, begins: Integers) -> dict[int, Refusal]:
        """Return why some records cannot be rows, by index; their length comes first, then bytes, quotes, fields."""
        refused = {index: each for index, each in records.exact.items() if isinstance(each, Refusal)}
        for index in np.flatnonzero(records.fields != self._width).tolist():
            refused[index] = wrong_fields(int(records.fields[index]), self._width)
        # In most chunks nobody has to look at the bytes of a single record.
        if badly_encoded(stretch, self._format.encoding) is not None:
            for index in _with_odd_bytes(stretch, begins):
                refusal = badly_encoded(raws[index], self._format.encoding)
                if refusal and refused.get(index) != too_long(self._max_bytes):
                    refused[index] = refusal
        return refused

    def _chunk_of(self, line: "_LongLine") -> Chunk:
        refusal = too_long(self._max_bytes)
        rejected = Rejection.of(
            refusal, self._next.record, self._body.line, self._body.byte, bytes(line.head), line.content_bytes
        )
        return self._entered(1, line.bytes, [], [], NONE, NONE, [rejected])

    def _entered(
        self,
        line_count: int,
        size: int,
        rows: Sequence[bytes],
        numbers: Sequence[int],
        lines: Integers,
        offsets: Integers,
        rejections: Sequence[Rejection],
        repeated_headers: int = 0,
    ) -> Chunk:
        begin, body = self._next, self._body
        self._next = self._body = Position(
            begin.chunk + 1, begin.record + len(rows) + len(rejections), body.line + line_count, body.byte + size
        )
        return Chunk(begin, self._next, rows, numbers, lines, offsets, rejections, repeated_headers)


class _LongLine:
    """A line that is longer than a record may be, of which only the beginning is kept while the rest goes by."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self.head = bytearray()
        self.bytes = self.content_bytes = 0
        self.is_whole = False

    def take(self, text: bytes, at_end: bool) -> bytes:
        """Take the line's part of a text, and return what follows it."""
        end = LINE_END.search(text)
        # A carriage return that nothing follows yet may be half of the line's end.
        is_half = end is not None and not at_end and end.group() == b"\r" and end.end() == len(text)
        content = end.start() if end else len(text)
        self.head += text[: min(content, RAW_BYTES_KEPT - len(self.head))]
        self.content_bytes += content
        self.is_whole = at_end if end is None else not is_half
        taken = end.end() if end and not is_half else content
        before = bytes_before(text[:taken], self._encoding)
        self.bytes += taken if before is None else int(before[-1])
        return text[taken:]


def _with_odd_bytes(text: bytes, begins: Integers) -> list[int]:
    """Return which of the records that begin at some offsets of a text have other bytes than ASCII's, or NUL."""
    octets = np.frombuffer(text, np.uint8)
    odd = np.flatnonzero((octets >= 0x80) | (octets == 0))
    # Byte order marks stand before the first record, too.
    found = np.unique(np.searchsorted(begins, odd, "right") - 1)
    return [int(index) for index in found if index >= 0]


def badly_encoded(raw: bytes, encoding: Encoding = Encoding.UTF_8) -> Refusal | None:
    """Return why Postgres cannot store some bytes as text, None if it can."""
    if b"\0" in raw:
        return Refusal("nul_character", f"has a NUL character at byte {raw.index(0) + 1}")
    try:
        raw.decode(encoding.of_records)
    except UnicodeDecodeError as error:
        if encoding == Encoding.UTF_8:
            return Refusal("invalid_utf8", f"is not UTF-8 from byte {error.start + 1} on (0x{raw[error.start]:02X})")
        return Refusal("invalid_encoding", f"has characters that {encoding.name.replace('_', '-')} does not have")
    return None
