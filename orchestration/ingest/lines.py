"""The lines of the text in hand, and which of them make up a record: found with NumPy, field by field only in doubt.

A line end lies outside of quotes when the number of quotes before it, counted from the record's first byte, is even.
That count misleads only where a quote stands in the middle of a field that does not begin with one, or where a quoted
field does not end behind its closing quote. Such records, and those that go over several lines without having a row's
number of fields, are looked at exactly: a quote that nobody closes spoils its own line and no other.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

COMMA, LINE_FEED, RETURN, QUOTE = 44, 10, 13, 34
LINE_END = re.compile(rb"\r\n?|\n")
FIELD_END = re.compile(rb"[,\r\n]")

# Wide enough for the offsets in a text at hand, and half as much memory for a text of nothing but line ends.
OFFSET = np.int32
Integers = NDArray[np.signedinteger]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Refusal:
    """Why a record cannot be a row: a code to count by, and words that go on after "the record"."""

    reason: str
    message: str


UNCLOSED = Refusal("unclosed_quote", "has a quote that is not closed")
STRAY = Refusal("stray_quote", "has text behind a closing quote, or a quote in a quoted field that is not doubled")


def too_long(max_bytes: int) -> Refusal:
    """Return the refusal of a record that is longer than `max_bytes`."""
    return Refusal("too_long", f"is longer than {max_bytes:,} bytes")


def wrong_fields(found: int, fields: int) -> Refusal:
    """Return the refusal of a record that has `found` fields instead of `fields`."""
    reason = "too_few_fields" if found < fields else "too_many_fields"
    return Refusal(reason, f"has {found} field{'s' * (found != 1)} instead of {fields}")


@dataclass(frozen=True)
class Records:
    """Consecutive records of the text in hand, empty lines among them: first and last line, number of fields of each.

    `exact` has the judgement of those that had to be looked at exactly, by index: what COPY is to be given, or why it
    is no row.
    """

    first: Integers
    last: Integers
    fields: Integers
    exact: dict[int, bytes | Refusal] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, span: slice) -> "Records":
        exact = {index: each for index, each in self.exact.items() if index < len(self.first[: span.stop])}
        return Records(self.first[span], self.last[span], self.fields[span], exact)

    def only(self, chosen: Flags) -> "Records":
        """Return those that are chosen."""
        index_of = np.cumsum(chosen) - 1
        exact = {int(index_of[index]): each for index, each in self.exact.items() if chosen[index]}
        return Records(self.first[chosen], self.last[chosen], self.fields[chosen], exact)

    @staticmethod
    def joined(parts: "Sequence[Records]") -> "Records":
        """Return several stretches as one."""
        if len(parts) == 1:
            return parts[0]
        exact, before = {}, 0
        for part in parts:
            exact.update({before + index: each for index, each in part.exact.items()})
            before += len(part)
        first, last, fields = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("first", "last", "fields")
        )
        return Records(first, last, fields, exact)


class TextInHand:
    """A text that begins with a record: where its lines begin and end, what stands before the end of each.

    Args:
        text: the bytes.
        fields: how many fields a row has.
        at_end: whether nothing follows the text; if something does, its last bytes may not make a line yet.
        max_bytes: the longest that a record may be.
    """

    def __init__(self, text: bytes, fields: int, at_end: bool, max_bytes: int) -> None:
        self.text = text
        self._fields = fields
        self.at_end = at_end
        self._max_bytes = max_bytes
        self._octets = np.frombuffer(text, np.uint8)
        self.ends = self._line_ends()
        self.starts = np.concatenate([np.zeros(1, OFFSET), self.ends])
        self.contents = self._content_ends()
        lengths = self.ends - self.starts[:-1]
        self._long_lines = np.flatnonzero(lengths > max_bytes) if len(text) > max_bytes else lengths[:0]
        self._count_quotes_and_commas()

    def _line_ends(self) -> Integers:
        """Return the offset behind each line; a carriage return that may be half of a line's end does not end it."""
        octets = self._octets
        ends = np.flatnonzero(octets == LINE_FEED) + 1
        if b"\r" in self.text:
            returns = np.flatnonzero(octets[:-1] == RETURN)
            alone = returns[octets[returns + 1] != LINE_FEED]
            if len(alone):
                ends = np.sort(np.concatenate([ends, alone + 1]))
        if self.at_end and self.text and (not len(ends) or ends[-1] != len(self.text)):
            ends = np.append(ends, len(self.text))
        return ends.astype(OFFSET)

    def _content_ends(self) -> Integers:
        """Return the offset behind each line's content, that is before its end."""
        if not len(self.ends):
            return self.ends
        last, before_last = self._octets[self.ends - 1], self._octets[self.ends - 2]
        both = (last == LINE_FEED) & (before_last == RETURN) & (self.ends - self.starts[:-1] > 1)
        contents: Integers = self.ends - ((last == LINE_FEED) | (last == RETURN)) - both
        return contents

    def _count_quotes_and_commas(self) -> None:
        """Count what stands before each line: quotes, commas outside of quotes, quotes that mislead.

        The latter two twice: for a record that begins after an even number of quotes, and after an odd one.
        """
        octets = self._octets
        commas = np.flatnonzero(octets == COMMA)
        nothing = np.zeros(len(self.starts), OFFSET)
        self._quotes, self._commas, self._misleading = nothing, [self._before(commas)] * 2, [nothing] * 2
        if b'"' in self.text:
            quotes = np.flatnonzero(octets == QUOTE)
            quoted = np.searchsorted(quotes, commas) % 2
            self._quotes = self._before(quotes)
            self._commas = [self._before(commas[quoted == parity]) for parity in (0, 1)]
            self._misleading = [self._before(quotes[each]) for each in self._misleading_quotes(quotes)]

    def _before(self, positions: Integers) -> Integers:
        return np.searchsorted(positions, self.starts).astype(OFFSET)

    def _misleading_quotes(self, quotes: Integers) -> tuple[Flags, Flags]:
        """Say which quotes do not open or close a field where their number has them do so, for either parity.

        Opening ones stand behind a comma or a line's end, closing ones before such; of a doubled quote in a field, the
        first seems to close it and the second to open it again.
        """
        around = np.zeros(256, np.bool_)
        around[[COMMA, LINE_FEED, RETURN, QUOTE]] = True
        opens, closes = np.ones((2, len(quotes)), np.bool_)
        opens[quotes > 0] = around[self._octets[quotes[quotes > 0] - 1]]
        last = len(self.text) - 1
        closes[quotes < last] = around[self._octets[quotes[quotes < last] + 1]]
        even = np.arange(len(quotes)) % 2 == 0
        return np.where(even, ~opens, ~closes), np.where(even, ~closes, ~opens)

    def records(self, line: int, window: int) -> Iterator[Records]:
        """Yield the records from a line on, in stretches of about `window` lines, as far as the text tells them."""
        while line < len(self.ends):
            # A line that is too long is a record of its own, whatever its quotes: nobody has to hold it in memory.
            barrier = self._next_long_line(line)
            until = min(line + window, barrier)
            if barrier == line:
                found: Records | None = self._single(line, too_long(self._max_bytes))
            else:
                found = self._by_parity(line, until)
                if not len(found) and until < barrier:
                    window *= 2
                    continue
                found = self._settled(found) if len(found) else self._exactly(line)
            if found is None or not len(found):
                return
            yield found
            line = int(found.last[-1]) + 1
            if line == until:
                window *= 2

    def _next_long_line(self, line: int) -> int:
        later = self._long_lines[self._long_lines >= line]
        return int(later[0]) if len(later) else len(self.ends)

    def _by_parity(self, line: int, until: int) -> Records:
        """Return the records between two lines as counting quotes tells them; one that goes beyond is left out."""
        last = np.flatnonzero((self._quotes[line + 1 : until + 1] - self._quotes[line]) % 2 == 0) + line
        first = np.concatenate([np.array([line]), last[:-1] + 1])[: len(last)]
        commas = self._commas[self._quotes[line] % 2]
        return Records(first, last, commas[last + 1] - commas[first] + 1)

    def _settled(self, records: Records) -> Records | None:
        """Look at the doubtful ones exactly, up to the first that ends elsewhere; None if that needs more text."""
        first, last = records.first, records.last
        misleading = self._misleading[self._quotes[first[0]] % 2]
        doubtful = misleading[last + 1] > misleading[first]
        doubtful |= (last > first) & (records.fields != self._fields)
        doubtful |= self.ends[last] - self.starts[first] > self._max_bytes
        for index in np.flatnonzero(doubtful).tolist():
            found = self._exactly(int(first[index]))
            if found is None:
                return records[:index]
            if found.last[0] != last[index]:
                return Records.joined([records[:index], found])
            records.exact[index], records.fields[index] = found.exact[0], self._fields
        return records

    def _exactly(self, line: int) -> Records | None:
        """Return the record that begins with a line, read field by field; None if that needs more text."""
        begin = int(self.starts[line])
        limit = min(begin + self._max_bytes, len(self.text))
        reading = read_fields(self.text, begin, limit)
        if isinstance(reading, Refusal):
            # A quote that closes lines further down, and badly, is rather the opening one of another field.
            is_on_line = read_fields(self.text, begin, int(self.contents[line])) == reading
            return self._single(line, reading if is_on_line else UNCLOSED)
        if reading is None or (stop := self._line_of(reading[-1][1])) >= len(self.ends):
            is_decided = self.at_end or len(self.text) - begin > self._max_bytes
            return self._single(line, UNCLOSED) if is_decided else None
        if self.ends[stop] - begin > self._max_bytes:
            return self._single(line, UNCLOSED)
        if len(reading) == self._fields:
            row = b",".join(_as_copy_reads_it(self.text[start:end]) for start, end in reading)
            return self._single(line, row, stop)
        if stop > line and self._is_row(line + 1):
            return self._single(line, UNCLOSED)
        return self._single(line, wrong_fields(len(reading), self._fields), stop)

    def _line_of(self, offset: int) -> int:
        """Return the line whose content ends at an offset; the number of lines if the line's end is not in hand."""
        if self.at_end and offset == len(self.text):
            return len(self.ends) - 1
        return int(np.searchsorted(self.ends, offset, "right"))

    def _single(self, line: int, judgement: bytes | Refusal, last: int | None = None) -> Records:
        return Records(
            np.array([line]), np.array([line if last is None else last]), np.array([self._fields]), {0: judgement}
        )

    def _is_row(self, line: int) -> bool:
        """Return whether a line would be a row if a record began with it."""
        parity = self._quotes[line] % 2
        quotes, commas, misleading = (
            int(counts[line + 1] - counts[line])
            for counts in (self._quotes, self._commas[parity], self._misleading[parity])
        )
        return quotes % 2 == 0 and commas + 1 == self._fields and not misleading


def read_fields(text: bytes, begin: int, limit: int) -> list[tuple[int, int]] | Refusal | None:
    """Read the record that begins at an offset, field by field.

    Returns:
        Where each field begins and ends, quotes included; why it is no record; None if it does not end before `limit`.
    """
    spans = []
    while True:
        end = begin
        if text[begin : begin + 1] == b'"':
            end = _behind_closing_quote(text, begin, limit)
            if end < 0:
                return None
            if end < limit and text[end] not in b",\r\n":
                return STRAY
        elif found := FIELD_END.search(text, begin, limit):
            end = found.start()
        else:
            end = limit
        spans.append((begin, end))
        if end >= limit or text[end] != COMMA:
            return spans
        begin = end + 1


def _behind_closing_quote(text: bytes, begin: int, limit: int) -> int:
    """Return the offset behind a quoted field, -1 if it is not closed before `limit`."""
    at = text.find(b'"', begin + 1, limit)
    while at >= 0 and text[at + 1 : at + 2] == b'"':
        at = text.find(b'"', at + 2, limit)
    return at + 1 if at >= 0 else -1


def _as_copy_reads_it(field: bytes) -> bytes:
    """Quote a field that has quotes in its middle, which COPY would take for the beginning of a quoted stretch."""
    if b'"' not in field or field.startswith(b'"'):
        return field
    return b'"' + field.replace(b'"', b'""') + b'"'
