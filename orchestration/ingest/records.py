"""CSV text into chunks of records: where each record begins and ends, without looking at its fields.

The rules are COPY's: a double quote opens or closes a quoted stretch wherever it stands, a line feed outside of one
ends a record, a comma outside of one ends a field. A line with nothing on it is no record.
"""

import csv
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECORDS_PER_CHUNK = 1000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LINE_FEED, RETURN, QUOTE = 10, 13, 34


@dataclass(frozen=True)
class Chunk:
    """Up to a thousand consecutive records, and the stretch of the object that holds them.

    `first_record` counts from 1 over the object; `byte_from` and `byte_to` (exclusive) are offsets in its text, and
    the stretches of an object's chunks follow each other without a gap. `records` are the bytes of each, with its
    line end. A last chunk may have no record, where an object ends in empty lines.
    """

    number: int
    first_record: int
    byte_from: int
    byte_to: int
    records: list[bytes]
    record_offsets: list[int]


@dataclass(frozen=True)
class Position:
    """Where in an object a chunk begins: its number (from 0), its first record's number and its first byte."""

    chunk: int = 0
    record: int = 1
    byte: int = 0


START = Position()


def cut(
    blocks: Iterable[bytes],
    start: Position = START,
    body_from: int = 0,
    chunk_records: int = RECORDS_PER_CHUNK,
) -> Iterator[Chunk]:
    """Cut a stream of blocks into chunks, independently of where one block ends and the next begins.

    Every byte of the stream is in exactly one chunk; a byte order mark and a header belong to the first one without
    being a record.

    Args:
        blocks: the object's text from byte `start.byte` on, in pieces of any size.
        start: what the first chunk is to be.
        body_from: offset of the first byte after the header, 0 without one.
        chunk_records: records a chunk.
    """
    cutter = _Cutter(start, body_from, chunk_records)
    for block in blocks:
        if block:
            yield from cutter.feed(block)
    yield from cutter.finish()


def split_header(blocks: Iterable[bytes], columns: tuple[str, ...]) -> tuple[tuple[str, ...], int, Iterator[bytes]]:
    """Find out whether an object begins with a header: a record that names its columns, in any order and case.

    Args:
        blocks: the object's text from its first byte on.
        columns: the table's columns.

    Returns:
        The columns in the object's order, the offset of the first byte after the header (0 without one), and the
        same blocks again, from the first on.
    """
    seen: list[bytes] = []
    stream = iter(blocks)

    def remembered() -> Iterator[bytes]:
        for block in stream:
            seen.append(block)
            yield block

    first = next(cut(remembered(), chunk_records=1), None)
    whole = itertools.chain(seen, stream)
    if first is None or not first.records:
        return columns, 0, whole
    names = _names(first.records[0])
    if sorted(names) != sorted(columns):
        return columns, 0, whole
    return names, first.record_offsets[0] + len(first.records[0]), whole


def _names(record: bytes) -> tuple[str, ...]:
    try:
        fields = next(csv.reader([record.decode(errors="replace").rstrip("\r\n")], skipinitialspace=True), [])
    except csv.Error:
        return ()  # a stray carriage return, or a field longer than any name
    return tuple(field.strip().lower() for field in fields)


def refusal(record: bytes, fields: int) -> tuple[str, str] | None:
    """Say why a record cannot be a row of a table of `fields` columns: a reason code and a message; None if it can.

    The rules are those by which COPY refuses CSV, so that a chunk without the records named here is one it takes.
    """
    text = record.removesuffix(b"\n").removesuffix(b"\r")
    if b"\0" in text:
        return "nul_character", f"has a NUL character at byte {text.index(0) + 1} of the record"
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return "invalid_utf8", f"is not UTF-8 from byte {error.start + 1} of the record on"
    # Pieces outside of quotes alternate with pieces inside of them.
    pieces = text.split(b'"')
    if len(pieces) % 2 == 0:
        return "unclosed_quote", "has a quote that is not closed"
    if any(b"\r" in piece for piece in pieces[::2]):
        return "stray_return", "has a carriage return that neither ends the line nor is quoted"
    found = 1 + sum(piece.count(b",") for piece in pieces[::2])
    if found != fields:
        return (
            "too_few_fields" if found < fields else "too_many_fields",
            f"has {found} field{'s' * (found != 1)} instead of {fields}",
        )
    return None


class _Cutter:
    """The text that belongs to no chunk yet, and the line ends in it that lie outside of quotes."""

    def __init__(self, start: Position, body_from: int, chunk_records: int) -> None:
        self._next = start
        self._body_from = body_from
        self._size = chunk_records
        self._text = bytearray()
        self._ends: NDArray[np.int64] = np.empty(0, np.int64)  # exclusive, relative to _text
        self._quoted = False

    def feed(self, block: bytes) -> Iterator[Chunk]:
        self._find_ends(block)
        self._text += block
        starts, ends = self._records()
        # One record more than fills a chunk has to be there: empty lines in between belong to the earlier chunk.
        while len(starts) > self._size:
            yield self._take(starts[: self._size], ends[: self._size], int(starts[self._size]))
            starts, ends = self._records()

    def finish(self) -> Iterator[Chunk]:
        if self._text and (not len(self._ends) or self._ends[-1] != len(self._text)):
            self._ends = np.append(self._ends, len(self._text))
        starts, ends = self._records()
        while self._text:
            to = int(starts[self._size]) if len(starts) > self._size else len(self._text)
            yield self._take(starts[: self._size], ends[: self._size], to)
            starts, ends = self._records()

    def _find_ends(self, block: bytes) -> None:
        octets = np.frombuffer(block, np.uint8)
        feeds = np.flatnonzero(octets == LINE_FEED)
        quotes = np.flatnonzero(octets == QUOTE)
        if len(quotes) or self._quoted:
            quotes_before = np.searchsorted(quotes, feeds)
            feeds = feeds[(quotes_before + self._quoted) % 2 == 0]
            self._quoted = bool((len(quotes) + self._quoted) % 2)
        self._ends = np.concatenate([self._ends, feeds + len(self._text) + 1])

    def _records(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the records in hand begin and end, the header and lines without any content left out."""
        ends = self._ends
        if not len(ends):
            return ends, ends
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        if self._next.byte == 0 and self._text.startswith(BYTE_ORDER_MARK):
            starts[0] = len(BYTE_ORDER_MARK)
        octets = np.frombuffer(self._text, np.uint8)
        lengths = ends - starts
        empty = (lengths == 0) | (lengths == 1) & (octets[ends - 1] == LINE_FEED)
        empty |= (lengths == 2) & (octets[ends - 2] == RETURN) & (octets[ends - 1] == LINE_FEED)
        records = ~empty & (starts >= self._body_from - self._next.byte)
        return starts[records], ends[records]

    def _take(self, starts: NDArray[np.int64], ends: NDArray[np.int64], to: int) -> Chunk:
        text = bytes(memoryview(self._text)[:to])
        spans = zip(starts.tolist(), ends.tolist(), strict=True)
        chunk = Chunk(
            self._next.chunk,
            self._next.record,
            self._next.byte,
            self._next.byte + to,
            [text[start:end] for start, end in spans],
            (starts + self._next.byte).tolist(),
        )
        self._next = Position(self._next.chunk + 1, self._next.record + len(starts), self._next.byte + to)
        del self._text[:to]
        self._ends = self._ends[self._ends > to] - to
        return chunk
