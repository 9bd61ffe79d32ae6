"""Splits CSV text into chunks of records: where each record begins and ends, and which of them cannot be rows.

The rules are those of RFC 4180 in the strict mode of Python's csv module: a double quote opens a quoted field only at
the beginning of a field, a doubled quote inside it stands for one quote, and the closing quote has to be followed by a
delimiter or a line end. A line feed, a carriage return or both end a line and, outside of quotes, a record. A line of
only delimiters is not a record, and neither is a repeated header.
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
# Limits memory: a longer record is rejected, and a chunk ends before it exceeds this.
MAX_BYTES = 1 << 20
# How much of a rejected record is stored.
RAW_BYTES_KEPT = 64 << 10

# A load id or record number; a bigint has up to 19 digits.
NUMBER = re.compile("[0-9]{1,18}")

NONE: Integers = np.empty(0, np.int64)


@dataclass(frozen=True)
class HeaderProbe:
    """How to recognize a repeated header among the records.

    Attributes:
        field: index of a field that begins with a letter in a header but hardly ever in a record; None if there is no
            such field, and every record has to be checked.
        names: names of columns, at least one of which is in every header: in lower case, only letters and digits. Names
            that are not ASCII have no effect.
        is_header: returns whether a record's fields, given with its line, are the object's header. Raises
            HeaderMismatch if they are a different header.
    """

    field: int | None
    names: frozenset[bytes]
    is_header: Callable[[Sequence[str], int], bool]


@dataclass(frozen=True)
class Position:
    """Where a chunk begins in an object: its number (from 0), its first record and line (from 1), its byte offset."""

    chunk: int = 0
    record: int = 1
    line: int = 1
    byte: int = 0


START = Position()


@dataclass(frozen=True)
class Rejection:
    """A malformed record, which cannot be a row of its table.

    Attributes:
        record: its number in the object, from 1.
        line: the number of its first line, from 1.
        byte_from: the offset of its first byte in the object's text.
        reason: why, as a code.
        message: why, in words that complete "the record …".
        raw: its first RAW_BYTES_KEPT bytes, without the line end.
        raw_bytes: its size.
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
        """Return the rejection of a record, with its bytes truncated.

        Args:
            refusal: why it is rejected.
            record: its number in the object, from 1.
            line: the number of its first line, from 1.
            byte_from: the offset of its first byte.
            raw: its bytes, or as many of them as are in memory.
            raw_bytes: its size, if `raw` is not all of it.
        """
        size = len(raw) if raw_bytes is None else raw_bytes
        return cls(record, line, byte_from, refusal.reason, refusal.message, raw[:RAW_BYTES_KEPT], size)


@dataclass(frozen=True)
class Correction:
    """A row that corrects a rejected record of an earlier load, which two extra columns of its file identify."""

    record: int
    corrected_load_id: int
    corrected_record: int


@dataclass(frozen=True)
class Chunk:
    """Up to a thousand consecutive records, and the byte range of the object that contains them.

    The byte ranges of an object's chunks are contiguous and include blank lines, byte order marks and headers.

    Attributes:
        begin: the position of this chunk.
        end: the position of the next chunk.
        rows: the records that can be rows, as COPY reads them: in the object's dialect, without line ends and without
            fields that are left out.
        numbers: each row's record number in the object, from 1.
        lines: the number of each row's first line, from 1.
        offsets: the offset of each row's first byte in the object's text.
        rejections: the malformed records.
        repeated_headers: how many headers there are among the records.
        corrections: which rejected records the rows correct.
        is_plain: which rows are certainly valid; None if that was not checked.
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
        """How many records it has, including rejected ones."""
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
    """Split a stream of blocks into chunks, which do not depend on the size of the blocks.

    Args:
        blocks: the object's text from byte `body.byte` on, in blocks of any size; UTF-16 transcoded to UTF-8.
        file_format: of the object.
        start: the position of the first chunk.
        body: where the blocks begin, if that is after `start`: after a byte order mark or a header, which also belong
            to the first chunk.
        probe: how to recognize repeated headers; by default there are none.
        chunk_records: records per chunk.
        max_bytes: the maximum size of a record, and of a chunk unless its only record is longer.
        plain_rows: recognizes rows that are certainly valid; by default none are.

    Raises:
        HeaderMismatch: a header further down names other columns.
    """
    splitter = _Splitter(file_format, start, body or start, probe, chunk_records, max_bytes, plain_rows)
    for block in blocks:
        yield from splitter.feed(block)
    yield from splitter.finish()


class _Splitter:
    """Buffers text that is not part of a chunk yet, and keeps the position of the next chunk."""

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
        self._not_in_names = bytes(octet for octet in range(128) if not chr(octet).isalnum() and octet != delimiter[0])
        self._chunk_records = chunk_records
        self._max_bytes = max_bytes
        self._plain_rows = plain_rows
        self._next = start
        self._body = body  # where _text begins: at the next chunk, or after a header
        self._text = b""
        self._long_line: _LongLine | None = None

    def feed(self, block: bytes) -> Iterator[Chunk]:
        self._text += block
        yield from self._chunks(at_end=False)

    def finish(self) -> Iterator[Chunk]:
        yield from self._chunks(at_end=True)
        if self._body.byte > self._next.byte:
            yield self._advance(0, 0, [], [], NONE, NONE, [])

    def _chunks(self, at_end: bool) -> Iterator[Chunk]:
        while self._text or self._long_line:
            if self._long_line:
                self._text = self._long_line.consume(self._text, at_end)
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
        """Return the next chunk's records from a line on, including blank lines; None if it needs more text."""
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
        # The rest may be the beginning of a line that is longer than any chunk.
        is_full = end == len(buffer.ends) and len(buffer.text) - buffer.starts[end] > self._max_bytes
        return Records.joined(parts) if parts and (buffer.at_end or is_full) else None

    def _chunk(self, buffer: CsvBuffer, line: int, end: int, records: Records, plain: Flags | None) -> Chunk:
        """Return the next chunk, which consists of the lines from `line` up to `end`."""
        kept = records.where(records.fields > 0)
        repeated = self._repeated_headers(buffer, line, kept)
        if repeated is not None:
            kept = kept.where(~repeated)
        begins, ends = buffer.begins[kept.first], buffer.contents[kept.last]
        stretch = buffer.text[buffer.starts[line] : buffer.starts[end]]
        if len(kept) == end - line and not buffer.has_marks:
            # Each line is a record. Same result as below in half the time.
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
        chunk = self._advance(end - line, size, rows, numbers, lines, offsets, rejections, headers)
        return replace(chunk, corrections=corrections, is_plain=is_plain)

    @staticmethod
    def _are_plain(records: Records, plain: Flags) -> Flags:
        """Return which records are single plain lines that were not read exactly."""
        are_plain: Flags = plain[records.first] & (records.first == records.last)
        are_plain[list(records.exact)] = False
        return are_plain

    def _corrections(self, raws: Sequence[bytes], numbers: Sequence[int]) -> list[Correction]:
        """Return which rejected records the rows correct; rows without numbers in these columns correct none."""
        load, record = self._format.provenance or (0, 0)
        corrections = []
        for number, raw in zip(numbers, raws, strict=True):
            values = self._format.values(raw)
            if values and all(NUMBER.fullmatch(values[index]) for index in (load, record)):
                corrections.append(Correction(number, int(values[load]), int(values[record])))
        return corrections

    def _repeated_headers(self, buffer: CsvBuffer, line: int, records: Records) -> Flags | None:
        """Return which records are repetitions of the header, None if none is."""
        if self._probe is None or not len(records):
            return None
        if self._probe.field is None:
            candidates = np.arange(len(records))
        else:
            candidates = buffer.begin_with_a_letter(records, self._probe.field)
        if not len(candidates):
            return None
        are_headers = np.zeros(len(records), np.bool_)
        for index in candidates.tolist():
            first = records.first[index]
            raw = buffer.text[buffer.begins[first] : buffer.contents[records.last[index]]]
            if not self._may_name_columns(raw):
                continue
            fields = self._format.values(raw)
            number = int(first) - line + self._body.line
            are_headers[index] = fields is not None and self._probe.is_header(fields, number)
        return are_headers if are_headers.any() else None

    def _may_name_columns(self, raw: bytes) -> bool:
        """Return whether a record may name a column. If ids are words, that saves ten times as much work."""
        words = raw.lower().translate(None, self._not_in_names).split(self._format.dialect.delimiter_byte)
        return self._probe is not None and (not raw.isascii() or not self._probe.names.isdisjoint(words))

    def _refused(self, records: Records, raws: Sequence[bytes], stretch: bytes, begins: Integers) -> dict[int, Refusal]:
        """Return why records cannot be rows, by index: length takes precedence, then encoding, quotes, fields."""
        refused = {index: result for index, result in records.exact.items() if isinstance(result, Refusal)}
        for index in np.flatnonzero(records.fields != self._width).tolist():
            refused[index] = wrong_fields(int(records.fields[index]), self._width)
        # In most chunks the bytes of single records need not be checked.
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
        return self._advance(1, line.bytes, [], [], NONE, NONE, [rejected])

    def _advance(
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
    """A line that exceeds the maximum size of a record; only its beginning is kept."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self.head = bytearray()
        self.bytes = self.content_bytes = 0
        self.is_whole = False

    def consume(self, text: bytes, at_end: bool) -> bytes:
        """Consume the line's part of a text, and return the rest."""
        end = LINE_END.search(text)
        # A carriage return at the end of the text may be half of the line end.
        is_half = end is not None and not at_end and end.group() == b"\r" and end.end() == len(text)
        content = end.start() if end else len(text)
        self.head += text[: min(content, RAW_BYTES_KEPT - len(self.head))]
        self.content_bytes += content
        self.is_whole = at_end if end is None else not is_half
        consumed = end.end() if end and not is_half else content
        before = bytes_before(text[:consumed], self._encoding)
        self.bytes += consumed if before is None else int(before[-1])
        return text[consumed:]


def _with_odd_bytes(text: bytes, begins: Integers) -> list[int]:
    """Return the indices of records, given by their offsets in a text, that have non-ASCII bytes or NUL."""
    octets = np.frombuffer(text, np.uint8)
    odd = np.flatnonzero((octets >= 0x80) | (octets == 0))
    # A byte order mark may precede the first record.
    indices = np.unique(np.searchsorted(begins, odd, "right") - 1)
    return [int(index) for index in indices if index >= 0]


def badly_encoded(raw: bytes, encoding: Encoding = Encoding.UTF_8) -> Refusal | None:
    """Return why Postgres cannot store a record as text, None if it can."""
    if b"\0" in raw:
        return Refusal("nul_character", f"has a NUL character at byte {raw.index(0) + 1}")
    try:
        raw.decode(encoding.of_records)
    except UnicodeDecodeError as error:
        if encoding == Encoding.UTF_8:
            return Refusal("invalid_utf8", f"is not UTF-8 from byte {error.start + 1} on (0x{raw[error.start]:02X})")
        return Refusal("invalid_encoding", f"has characters that {encoding.name.replace('_', '-')} does not have")
    return None
