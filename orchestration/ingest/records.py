"""CSV text into chunks of records: where each record begins and ends, and which of them cannot be rows.

The rules are those of RFC 4180 as Python's csv module applies them when strict: a double quote opens a quoted field
only where a field begins, a doubled one inside of it is one quote, and it has to close right before a comma or a line's
end. A line feed, a carriage return or both together end a line and, outside of quotes, a record; a line with nothing
on it is none.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from orchestration.ingest.lines import LINE_END, Integers, Records, Refusal, TextInHand, too_long, wrong_fields

RECORDS_PER_CHUNK = 1000
# What bounds the memory: a longer record is rejected, and a chunk ends before it would grow longer.
MAX_BYTES = 1 << 20
# How much of a rejected record is kept.
RAW_BYTES_KEPT = 64 << 10

NONE: Integers = np.empty(0, np.int64)


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
class Chunk:
    """Up to a thousand consecutive records, and the stretch of the object that holds them.

    The stretches of an object's chunks follow each other without a gap; empty lines, a byte order mark and a header
    belong to them without being records. `rows` are the records that can be rows, as COPY is to read them and without
    line ends; `numbers`, `lines` and `offsets` say of each what Rejection calls record, line and byte_from.
    """

    begin: Position
    end: Position
    rows: Sequence[bytes]
    numbers: Sequence[int]
    lines: Integers
    offsets: Integers
    rejections: Sequence[Rejection]

    @property
    def records(self) -> int:
        """How many records it has, the rejected ones among them."""
        return self.end.record - self.begin.record


def cut(
    blocks: Iterable[bytes],
    fields: int,
    start: Position = START,
    body: Position | None = None,
    chunk_records: int = RECORDS_PER_CHUNK,
    max_bytes: int = MAX_BYTES,
) -> Iterator[Chunk]:
    """Cut a stream of blocks into chunks, independently of where one block ends and the next begins.

    Args:
        blocks: the object's text from byte `body.byte` on, in pieces of any size.
        fields: how many fields a row has.
        start: what the first chunk is to be.
        body: where the blocks begin, if that is after `start`: behind a byte order mark or a header, which belong to
            the first chunk all the same.
        chunk_records: records a chunk.
        max_bytes: the longest that a record may be; also the longest chunk, unless its one record is longer.
    """
    cutter = _Cutter(fields, start, body or start, chunk_records, max_bytes)
    for block in blocks:
        yield from cutter.feed(block)
    yield from cutter.finish()


class _Cutter:
    """The text that belongs to no chunk yet, and what the next chunk is to be."""

    def __init__(self, fields: int, start: Position, body: Position, chunk_records: int, max_bytes: int) -> None:
        self._fields = fields
        self._chunk_records = chunk_records
        self._max_bytes = max_bytes
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
            hand = TextInHand(self._text, self._fields, at_end, self._max_bytes)
            line = 0
            while records := self._next_records(hand, line):
                behind = int(records.last[-1]) + 1
                yield self._chunk(hand, line, behind, records)
                line = behind
            self._text = self._text[hand.starts[line] :]
            if line < len(hand.ends) or len(self._text) <= self._max_bytes:
                return
            self._long_line = _LongLine()

    def _next_records(self, hand: TextInHand, line: int) -> Records | None:
        """Return the next chunk's records from a line on, empty lines among them; None if more text has to come."""
        limit = hand.starts[line] + self._max_bytes
        parts: list[Records] = []
        missing, behind = self._chunk_records, line
        for part in hand.records(line, window=self._chunk_records):
            filled = np.cumsum(hand.contents[part.last] > hand.starts[part.first])
            fit = max(int(np.searchsorted(hand.ends[part.last], limit, "right")), not parts)
            count = min(fit, int(np.searchsorted(filled, missing)) + 1, len(part))
            parts.append(part[:count])
            missing -= int(filled[count - 1]) if count else 0
            if not missing or count < len(part):
                return Records.joined(parts)
            behind = int(part.last[-1]) + 1
        # What follows may be the beginning of a line that is longer than any chunk.
        is_full = behind == len(hand.ends) and len(hand.text) - hand.starts[behind] > self._max_bytes
        return Records.joined(parts) if parts and (hand.at_end or is_full) else None

    def _chunk(self, hand: TextInHand, line: int, behind: int, records: Records) -> Chunk:
        """Return the next chunk, of the lines from one up to another: its rows, and what cannot be one."""
        kept = records.only(hand.contents[records.last] > hand.starts[records.first])
        begins, ends = hand.starts[kept.first], hand.contents[kept.last]
        stretch = hand.text[hand.starts[line] : hand.starts[behind]]
        if len(kept) == behind - line:
            # Each line is a record. This gives nothing else than what is below, in half the time.
            rows = stretch.splitlines()
        else:
            rows = [hand.text[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
        numbers = range(self._next.record, self._next.record + len(rows))
        lines = kept.first - line + self._body.line
        offsets = begins - hand.starts[line] + self._body.byte
        refused = self._refused(kept, rows, stretch, begins - hand.starts[line])
        rejections = [
            Rejection.of(refused[index], numbers[index], int(lines[index]), int(offsets[index]), rows[index])
            for index in sorted(refused)
        ]
        for index, judged in kept.exact.items():
            if isinstance(judged, bytes):
                rows[index] = judged
        if not refused:
            return self._entered(behind - line, len(stretch), rows, numbers, lines, offsets, [])
        good = [index for index in range(len(rows)) if index not in refused]
        good_rows, good_numbers = [rows[index] for index in good], [numbers[index] for index in good]
        return self._entered(
            behind - line, len(stretch), good_rows, good_numbers, lines[good], offsets[good], rejections
        )

    def _refused(self, records: Records, rows: Sequence[bytes], stretch: bytes, begins: Integers) -> dict[int, Refusal]:
        """Return why some records cannot be rows, by index; their length comes first, then bytes, quotes, fields."""
        refused = {index: each for index, each in records.exact.items() if isinstance(each, Refusal)}
        for index in np.flatnonzero(records.fields != self._fields).tolist():
            refused[index] = wrong_fields(int(records.fields[index]), self._fields)
        # In most chunks nobody has to look at the bytes of a single record.
        if badly_encoded(stretch) is not None:
            for index in _with_odd_bytes(stretch, begins):
                refusal = badly_encoded(rows[index])
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
    ) -> Chunk:
        begin, body = self._next, self._body
        self._next = self._body = Position(
            begin.chunk + 1, begin.record + len(rows) + len(rejections), body.line + line_count, body.byte + size
        )
        return Chunk(begin, self._next, rows, numbers, lines, offsets, rejections)


class _LongLine:
    """A line that is longer than a record may be, of which only the beginning is kept while the rest goes by."""

    def __init__(self) -> None:
        self.head = bytearray()
        self.bytes = self.content_bytes = 0
        self.is_whole = False

    def take(self, text: bytes, at_end: bool) -> bytes:
        """Take the line's part of a text, and return what is behind it."""
        end = LINE_END.search(text)
        # A carriage return that nothing follows yet may be half of the line's end.
        is_half = end is not None and not at_end and end.group() == b"\r" and end.end() == len(text)
        content = end.start() if end else len(text)
        self.head += text[: min(content, RAW_BYTES_KEPT - len(self.head))]
        self.content_bytes += content
        self.is_whole = at_end if end is None else not is_half
        taken = end.end() if end and not is_half else content
        self.bytes += taken
        return text[taken:]


def _with_odd_bytes(text: bytes, begins: Integers) -> list[int]:
    """Return which of the records that begin at some offsets of a text have other bytes than ASCII's, or NUL."""
    octets = np.frombuffer(text, np.uint8)
    odd = np.flatnonzero((octets >= 0x80) | (octets == 0))
    return [int(index) for index in np.unique(np.searchsorted(begins, odd, "right") - 1)]


def badly_encoded(raw: bytes) -> Refusal | None:
    """Return why Postgres cannot store some bytes as text, None if it can."""
    if b"\0" in raw:
        return Refusal("nul_character", f"has a NUL character at byte {raw.index(0) + 1}")
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return Refusal("invalid_utf8", f"is not UTF-8 from byte {error.start + 1} on (0x{raw[error.start]:02X})")
    return None
