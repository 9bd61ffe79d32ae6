"""A buffer of CSV text with an index of its lines, which groups lines into records with NumPy.

A line end is outside of quotes if the number of quotes between the record's first byte and it is even. Counting is
misleading only if a quote is in the middle of a field that does not begin with one, or if a quoted field does not end
after its closing quote. Such records, those with escapes, and those of several lines with a wrong number of fields are
read exactly, field by field: an unclosed quote damages its own line and no other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from orchestration.ingest.dialect import BACKSLASH, UNCLOSED, Refusal
from orchestration.ingest.encoding import BYTE_ORDER_MARK
from orchestration.ingest.file_format import FileFormat

LINE_FEED, RETURN, SPACE, NEUTRAL = b"\n\r x"
MARK_BYTES = len(BYTE_ORDER_MARK)

# Wide enough for offsets in the buffer, and half the memory of int64 for a text of nothing but line ends.
OFFSET = np.int32
Integers = NDArray[np.signedinteger]
Flags = NDArray[np.bool_]

# Bytes that a name in a header may begin with and a number cannot: letters, and all that are not ASCII.
LETTERS: Flags = np.array([chr(octet).isalpha() or octet >= 0x80 for octet in range(256)])
NO_RECORDS: Integers = np.empty(0, np.int64)
SKIPPED: Flags = np.array([chr(octet) in "'\" " for octet in range(256)])


def too_long(max_bytes: int) -> Refusal:
    """Return the refusal of a record that is longer than `max_bytes`."""
    return Refusal("too_long", f"is longer than {max_bytes:,} bytes")


def wrong_fields(count: int, expected: int) -> Refusal:
    """Return the refusal of a record that has `count` fields instead of `expected`."""
    reason = "too_few_fields" if count < expected else "too_many_fields"
    return Refusal(reason, f"has {count} field{'s' * (count != 1)} instead of {expected}")


@dataclass(frozen=True)
class Records:
    """Consecutive records of a buffer, including blank lines.

    Attributes:
        first: the index of each record's first line.
        last: the index of each record's last line.
        fields: the number of fields of each record, without surplus empty ones; 0 for a blank line.
        exact: the result for each record that had to be read exactly, by index: the input of COPY, or why it cannot be
            a row.
    """

    first: Integers
    last: Integers
    fields: Integers
    exact: dict[int, bytes | Refusal] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, span: slice) -> "Records":
        exact = {index: result for index, result in self.exact.items() if index < len(self.first[: span.stop])}
        return Records(self.first[span], self.last[span], self.fields[span], exact)

    def where(self, chosen: Flags) -> "Records":
        """Return the chosen records."""
        if chosen.all():
            return self
        index_of = np.cumsum(chosen) - 1
        exact = {int(index_of[index]): result for index, result in self.exact.items() if chosen[index]}
        return Records(self.first[chosen], self.last[chosen], self.fields[chosen], exact)

    @staticmethod
    def joined(parts: "Sequence[Records]") -> "Records":
        """Concatenate records."""
        if len(parts) == 1:
            return parts[0]
        exact, before = {}, 0
        for part in parts:
            exact.update({before + index: result for index, result in part.exact.items()})
            before += len(part)
        first, last, fields = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("first", "last", "fields")
        )
        return Records(first, last, fields, exact)


@dataclass(frozen=True)
class LineFields:
    """Lines with the right number of fields, and the offsets of these fields in the text.

    Attributes:
        lines: the indices of the lines, shape (n,).
        first: the offset of each line's content, shape (n,).
        contents: the offset after each line's content, shape (n,).
        delimiters: the offsets of the delimiters between the fields, shape (n, fields - 1).
    """

    lines: Integers
    first: Integers
    contents: Integers
    delimiters: Integers

    def begins(self, index: int) -> Integers:
        """Return the offset of a field, counted from 0, in each line."""
        return self.delimiters[:, index - 1] + 1 if index else self.first

    def ends(self, index: int) -> Integers:
        """Return the offset after a field, counted from 0, in each line."""
        return self.delimiters[:, index] if index < self.delimiters.shape[1] else self.contents


class CsvBuffer:
    """A text that begins with a record, and an index of its lines.

    `starts` and `ends` are the offsets of each line's first byte and of the first byte after it. `begins` and
    `contents` are those of its content: without byte order marks before it, as in concatenated files, and without its
    line end.

    Args:
        text: the bytes.
        file_format: of the object.
        at_end: whether the text is complete; if not, its last bytes may be part of a line.
        max_bytes: the maximum size of a record.
    """

    def __init__(self, text: bytes, file_format: FileFormat, at_end: bool, max_bytes: int) -> None:
        self.text = text
        self._format = file_format
        self._dialect = file_format.dialect
        self._width = len(file_format.fields)
        self.at_end = at_end
        self._max_bytes = max_bytes
        # The text as COPY reads it, and the text in which delimiters and quotes are counted: they differ from the text
        # only if it has escapes.
        self._rows = text
        self._octets = self._marks = np.frombuffer(text, np.uint8)
        self.ends = self._line_ends()
        self.starts = np.concatenate([np.zeros(1, OFFSET), self.ends])
        self.contents = self._content_ends()
        # Searching for one byte is ten times as fast as for three.
        self.has_marks = BYTE_ORDER_MARK[:1] in text and BYTE_ORDER_MARK in text
        self.begins = self._content_begins()
        lengths = self.ends - self.starts[:-1]
        self._long_lines = np.flatnonzero(lengths > max_bytes) if len(text) > max_bytes else lengths[:0]
        self._count_quotes_and_delimiters()

    def _line_ends(self) -> Integers:
        """Return the offset after each line; a trailing carriage return ends none, since a line feed may follow."""
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
        """Return the offset after each line's content, before its line end."""
        if not len(self.ends):
            return self.ends
        last, before_last = self._octets[self.ends - 1], self._octets[self.ends - 2]
        both = (last == LINE_FEED) & (before_last == RETURN) & (self.ends - self.starts[:-1] > 1)
        contents: Integers = self.ends - ((last == LINE_FEED) | (last == RETURN)) - both
        return contents

    def _content_begins(self) -> Integers:
        """Return the offset of each line's content, after any byte order marks."""
        begins = self.starts[:-1]
        if not self.has_marks:
            return begins
        begins = begins.copy()
        # Lines that are too long are skipped, since only part of one may be in the buffer.
        marked = np.flatnonzero(self.ends - begins <= self._max_bytes)
        while len(marked):
            marked = marked[begins[marked] + MARK_BYTES <= self.contents[marked]]
            for index, octet in enumerate(BYTE_ORDER_MARK):
                marked = marked[self._octets[begins[marked] + index] == octet]
            begins[marked] += MARK_BYTES
        return begins

    def _count_quotes_and_delimiters(self) -> None:
        """Count quotes, delimiters outside of quotes, and misleading quotes and escapes before each line.

        The latter two are counted twice: for a record that begins after an even number of quotes, and after an odd one.
        """
        has_escapes = self._dialect.has_escapes and BACKSLASH in self.text
        escapes = self._resolve_escapes() if has_escapes else None
        octets = self._marks
        delimiters = np.flatnonzero(octets == self._dialect.delimiter_byte[0])
        nothing = np.zeros(len(self.starts), OFFSET)
        self._delimiters = [delimiters] * 2
        self._quotes, self._delimiters_before, self._misleading = nothing, [self._before(delimiters)] * 2, [nothing] * 2
        if self._dialect.quote_byte in self.text:
            quotes = np.flatnonzero(octets == self._dialect.quote_byte[0])
            quoted = np.searchsorted(quotes, delimiters) % 2
            self._quotes = self._before(quotes)
            self._delimiters = [delimiters[quoted == parity] for parity in (0, 1)]
            self._delimiters_before = list(map(self._before, self._delimiters))
            self._misleading = [self._before(quotes[chosen]) for chosen in self._misleading_quotes(octets, quotes)]
        # Then every line is a record, and its delimiters are those between its fields.
        self._is_bare = self._quotes is nothing and escapes is None
        if escapes is not None:
            self._misleading = [counts + self._before(escapes) for counts in self._misleading]
        even, odd = self._delimiters_before
        blank = self._blank_lines(even)
        self._blank = [blank, blank if odd is even else self._blank_lines(odd)]

    def _before(self, positions: Integers) -> Integers:
        return np.searchsorted(positions, self.starts).astype(OFFSET)

    def _blank_lines(self, delimiters_before: Integers) -> Flags | None:
        """Return which lines are blank if a record begins with them: empty, or only delimiters. None if none is."""
        blank: Flags = self.contents - self.begins == np.diff(delimiters_before)
        return blank if blank.any() else None

    def _resolve_escapes(self) -> Integers:
        """Replace backslashes before quotes by quotes, which doubles these; return the offsets of other escapes.

        Records with other escapes are read exactly. So are those with a field that begins with an escaped quote:
        doubled, it would look like an empty field.
        """
        dialect, octets = self._dialect, self._octets
        backslashes = np.flatnonzero(octets == BACKSLASH[0])
        order = np.arange(len(backslashes))
        # In a run of backslashes, the first escapes the second.
        run_begins = np.maximum.accumulate(np.where(np.diff(backslashes, prepend=-2) != 1, order, 0))
        escapes = backslashes[(order - run_begins) % 2 == 0]
        escapes = escapes[escapes + 1 < len(octets)]
        escaped = octets[escapes + 1]
        is_quote = escaped == dialect.quote_byte[0]
        before = octets[np.maximum(escapes - 1, 0)]
        edges = dialect.special + b" " * dialect.skips_spaces
        opens = (escapes == 0) | np.isin(before, list(edges)) | np.isin(escapes, self.begins)
        is_delimiter = escaped == dialect.delimiter_byte[0]
        octets = octets.copy()
        octets[escapes[is_quote]] = dialect.quote_byte[0]
        self._rows = octets.tobytes()
        octets[escapes[is_delimiter] + 1] = NEUTRAL
        self._marks = octets
        unresolved: Integers = escapes[is_delimiter | (escaped == BACKSLASH[0]) | (is_quote & opens)]
        return unresolved

    def _misleading_quotes(self, octets: NDArray[np.uint8], quotes: Integers) -> tuple[Flags, Flags]:
        """Return which quotes do not open or close a field although counting suggests it, for both parities.

        An opening quote follows a delimiter or line end, a closing one precedes one. Of a doubled quote in a field, the
        first one seems to close it and the second to reopen it.
        """
        around = np.zeros(256, np.bool_)
        around[list(self._dialect.special + self._dialect.quote_byte)] = True
        opens, closes = np.ones((2, len(quotes)), np.bool_)
        opens[quotes > 0] = around[octets[quotes[quotes > 0] - 1]]
        if self._dialect.skips_spaces:
            # Records with more than one space are read exactly.
            around[self._dialect.quote_byte[0]] = False
            opens |= (octets[quotes - 1] == SPACE) & ((quotes < 2) | around[octets[np.maximum(quotes - 2, 0)]])
            around[self._dialect.quote_byte[0]] = True
        if self.has_marks:
            opens |= np.isin(quotes, self.begins)
        last = len(self.text) - 1
        closes[quotes < last] = around[octets[quotes[quotes < last] + 1]]
        even = np.arange(len(quotes)) % 2 == 0
        return np.where(even, ~opens, ~closes), np.where(even, ~closes, ~opens)

    def records(self, line: int, window: int) -> Iterator[Records]:
        """Yield the complete records from a line on, in portions of about `window` lines."""
        while line < len(self.ends):
            # A line that is too long is one record regardless of quotes, so that it need not be held in memory.
            barrier = self._next_long_line(line)
            until = min(line + window, barrier)
            if barrier == line:
                records: Records | None = self._single(line, too_long(self._max_bytes))
            else:
                records = self._by_parity(line, until)
                if not len(records) and until < barrier:
                    window *= 2
                    continue
                records = self._verified(records) if len(records) else self._exactly(line)
            if records is None or not len(records):
                return
            yield records
            line = int(records.last[-1]) + 1
            if line == until:
                window *= 2

    def _next_long_line(self, line: int) -> int:
        later = self._long_lines[self._long_lines >= line]
        return int(later[0]) if len(later) else len(self.ends)

    def _by_parity(self, line: int, until: int) -> Records:
        """Return the records between two lines by the number of quotes, without one that is longer."""
        if self._is_bare:
            first = np.arange(line, until)
            return Records(first, first, self._count_fields(first, first, 0))
        last = np.flatnonzero((self._quotes[line + 1 : until + 1] - self._quotes[line]) % 2 == 0) + line
        first = np.concatenate([np.array([line]), last[:-1] + 1])[: len(last)]
        return Records(first, last, self._count_fields(first, last, int(self._quotes[line] % 2)))

    def _count_fields(self, first: Integers, last: Integers, parity: int) -> Integers:
        """Return the number of fields of records that begin after an even or odd number of quotes; 0 for blank ones."""
        before = self._delimiters_before[parity]
        fields = before[last + 1] - before[first] + 1
        blank = self._blank[parity]
        if blank is not None:
            fields[blank[first] & (first == last)] = 0
        if self._format.has_surplus:
            wider = np.flatnonzero(fields > self._width)
            ends = self._delimiters[parity][before[first[wider]] + self._width - 1]
            tails = self.contents[last[wider]] - ends
            is_blank = tails == fields[wider] - self._width
            for index in np.flatnonzero(~is_blank).tolist():
                is_blank[index] = self._is_blank(int(ends[index]), int(self.contents[last[wider[index]]]))
            fields[wider[is_blank]] = self._width
        return fields

    def _is_blank(self, begin: int, end: int) -> bool:
        """Return whether there are only empty fields from a delimiter to a record's end."""
        return self._dialect.blanks.fullmatch(self.text, begin, end) is not None

    def _verified(self, records: Records) -> Records:
        """Read doubtful records exactly; return those up to the first that ends in another line or is incomplete."""
        if self._is_bare:
            return records
        first, last = records.first, records.last
        misleading = self._misleading[self._quotes[first[0]] % 2]
        doubtful = misleading[last + 1] > misleading[first]
        doubtful |= (last > first) & (records.fields != self._width)
        doubtful |= self.ends[last] - self.starts[first] > self._max_bytes
        for index in np.flatnonzero(doubtful).tolist():
            record = self._exactly(int(first[index]))
            if record is None:
                return records[:index]
            if record.last[0] != last[index]:
                return Records.joined([records[:index], record])
            records.exact[index], records.fields[index] = record.exact[0], self._width
        return records

    def _exactly(self, line: int) -> Records | None:
        """Return the record that begins with a line, read field by field; None if it needs more text."""
        start, begin = int(self.starts[line]), int(self.begins[line])
        limit = min(start + self._max_bytes, len(self.text))
        reading = self._dialect.read_fields(self.text, begin, limit)
        if isinstance(reading, Refusal):
            # A closing quote some lines further down with text after it is more likely the opening quote of a field.
            is_on_line = self._dialect.read_fields(self.text, begin, int(self.contents[line])) == reading
            return self._single(line, reading if is_on_line else UNCLOSED)
        if reading is None or (stop := self._line_of(reading[-1][1])) >= len(self.ends):
            is_decided = self.at_end or len(self.text) - start > self._max_bytes
            return self._single(line, UNCLOSED) if is_decided else None
        if self.ends[stop] - start > self._max_bytes:
            return self._single(line, UNCLOSED)
        if self._is_row(reading):
            return self._single(line, self._row(reading), stop)
        if stop > line and self._is_row_by_parity(line + 1):
            return self._single(line, UNCLOSED)
        return self._single(line, wrong_fields(len(reading), self._width), stop)

    def _is_row(self, reading: Sequence[tuple[int, int]]) -> bool:
        if len(reading) > self._width and self._format.has_surplus:
            return self._is_blank(reading[self._width][0] - 1, reading[-1][1])
        return len(reading) == self._width

    def _row(self, reading: Sequence[tuple[int, int]]) -> bytes:
        """Return the loaded fields of a record as COPY reads them."""
        return self._dialect.delimiter_byte.join(
            self._dialect.as_copy_reads_it(self.text[start:end])
            for column, (start, end) in zip(self._format.fields, reading, strict=False)
            if column is not None
        )

    def _line_of(self, offset: int) -> int:
        """Return the line whose content ends at an offset; the number of lines if its end is not in the buffer."""
        if self.at_end and offset == len(self.text):
            return len(self.ends) - 1
        return int(np.searchsorted(self.ends, offset, "right"))

    def _single(self, line: int, verdict: bytes | Refusal, last: int | None = None) -> Records:
        return Records(
            np.array([line]), np.array([line if last is None else last]), np.array([self._width]), {0: verdict}
        )

    def _is_row_by_parity(self, line: int) -> bool:
        """Return whether a line is a row, assuming that a record begins with it."""
        parity = int(self._quotes[line] % 2)
        quotes, misleading = (
            int(counts[line + 1] - counts[line]) for counts in (self._quotes, self._misleading[parity])
        )
        at = np.array([line])
        return quotes % 2 == 0 and not misleading and int(self._count_fields(at, at, parity)[0]) == self._width

    def field_begins(self, records: Records, index: int) -> Integers:
        """Return the offset of a field, counted from 0, in each record."""
        return self._delimiters_after(records.first, index) + 1 if index else self.begins[records.first]

    def field_ends(self, records: Records, index: int) -> Integers:
        """Return the offset after a field, counted from 0, in each record."""
        return np.minimum(self._delimiters_after(records.first, index + 1), self.contents[records.last])

    def _delimiters_after(self, first: Integers, count: int) -> Integers:
        """Return the offset of the delimiter after `count` fields of each record, given by its first line.

        If a record has fewer fields, it is a delimiter of another record, or the text's end.
        """
        offsets = np.full(len(first), len(self.text))
        for parity in (0, 1):
            delimiters = self._delimiters[parity]
            indices = self._delimiters_before[parity][first] + count - 1
            exist = (self._quotes[first] % 2 == parity) & (indices < len(delimiters))
            offsets[exist] = delimiters[indices[exist]]
        return offsets

    def fields_of_lines(self) -> LineFields:
        """Return the fields of lines that begin after an even number of quotes and have the right number of fields."""
        delimiters, before, inner = self._delimiters[0], self._delimiters_before[0], self._width - 1
        lines = np.flatnonzero((np.diff(before) == inner) & (self._quotes[:-1] % 2 == 0))
        if len(lines) == len(self.ends):
            # Nearly always: then the delimiters are already in the right order.
            return LineFields(lines, self.begins, self.contents, delimiters[: before[-1]].reshape(len(lines), inner))
        of_lines = delimiters[before[lines, None] + np.arange(inner)]
        return LineFields(lines, self.begins[lines], self.contents[lines], of_lines)

    def loaded_fields(self, records: Records) -> list[bytes]:
        """Return each record's loaded fields; meaningless for records that were read exactly or are malformed."""
        runs = [
            [
                self._rows[begin:end]
                for begin, end in zip(
                    self.field_begins(records, first).tolist(), self.field_ends(records, last).tolist(), strict=True
                )
            ]
            for first, last in self._format.runs()
        ]
        return runs[0] if len(runs) == 1 else list(map(self._dialect.delimiter_byte.join, zip(*runs, strict=True)))

    @cached_property
    def _may_begin_with_letters(self) -> bool:
        """Whether any line may begin with a letter, after quotes and spaces."""
        first = self._octets[np.minimum(self.begins, len(self.text) - 1)]
        return bool((LETTERS | SKIPPED)[first].any())

    def begin_with_a_letter(self, records: Records, index: int) -> Integers:
        """Return the indices of records whose field `index`, from 0, begins with a letter after quotes and spaces."""
        if index == 0 and not self._may_begin_with_letters:
            return NO_RECORDS
        at, last = self.field_begins(records, index), len(self.text) - 1
        octets = self._octets[np.minimum(at, last)]
        for _ in range(2):
            skipped = SKIPPED[octets]
            if not skipped.any():
                break
            at = at + skipped
            octets = self._octets[np.minimum(at, last)]
        return np.flatnonzero(LETTERS[octets])
