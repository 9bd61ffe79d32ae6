"""What an object begins with: its encoding, its dialect, its header, and where its records begin.

A header decides where there is one: every column that a file has to have is named in it. Without one, the first
records have to fit the columns by their position. Of the dialects, the one that finds a header counts, then the one in
which most of the first records fit; the plain one unless another is better.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from contracts import Column, Table
from orchestration.ingest.dialect import DELIMITERS, Dialect
from orchestration.ingest.encoding import SAMPLE_BYTES, Encoding, bytes_before, find_encoding, in_utf8
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.header import Columns, Header, HeaderMismatch, fits, is_data, is_labels
from orchestration.ingest.records import Position
from orchestration.ingest.sample import Line, Sample

# How much of a text shows its dialect; a header has to end within it.
BEGINNING_BYTES = 64 << 10
# They take 4 ms, more than all else that is done in Python for the smallest object.
RECORDS_OF_BEGINNING = 50
# Lines of titles, dates of reports and the like above a header.
MAX_TITLES = 10


@dataclass(frozen=True)
class Beginning:
    """How an object's records are written, where they begin, and the text from there on."""

    file_format: FileFormat
    body: Position
    blocks: Iterator[bytes]


def read_beginning(blocks: Iterable[bytes], table: Table, declared: Encoding = Encoding.UTF_8) -> Beginning:
    """Find out how an object is written, and which columns its fields are.

    Args:
        blocks: the object's text from its first byte on.
        table: the table that it is for.
        declared: what the contract says about the encoding of an object without a byte order mark.

    Raises:
        UnreadableFile: it is no text, or in no encoding that can be read.
        HeaderMismatch: its header does not name the columns, or there is none and the records do not fit them.
    """
    stream = iter(blocks)
    head = _taken(stream, SAMPLE_BYTES)
    encoding, mark_bytes = find_encoding(head[:SAMPLE_BYTES], declared)
    stream = in_utf8(itertools.chain([head[mark_bytes:]], stream), encoding)
    text = _taken(stream, BEGINNING_BYTES + 1)
    sample = Sample(text[:BEGINNING_BYTES], len(text) <= BEGINNING_BYTES, encoding)
    reading = best_reading(sample, table)
    before = bytes_before(text[: reading.body.byte], encoding)
    body = replace(reading.body, byte=mark_bytes + (reading.body.byte if before is None else int(before[-1])))
    return Beginning(reading.file_format, body, itertools.chain([text[reading.body.byte :]], stream))


def _taken(stream: Iterator[bytes], size: int) -> bytes:
    """Return the blocks of a stream up to some size or its end, joined."""
    text = b""
    while len(text) < size and (block := next(stream, None)) is not None:
        text += block
    return text


@dataclass(frozen=True)
class Reading:
    """What a dialect makes of the beginning of an object.

    Attributes:
        file_format: how the records would be written.
        body: where they would begin.
        lines: the records of the beginning, those above a header among them.
        rank: orders readings: whether there is a header, how many records fit, less how many do not, whether the
            dialect is kept throughout.
        is_sound: whether all is as it should be.
        problem: why the object cannot be loaded if no other reading is better.
    """

    file_format: FileFormat
    body: Position
    lines: Sequence[Line]
    rank: tuple[int, int, int, int]
    is_sound: bool
    problem: str | None = None


def best_reading(sample: Sample, table: Table) -> Reading:
    """Return how an object is to be read.

    Raises:
        UnreadableFile: it declares a delimiter that is none.
        HeaderMismatch: it has a header that does not name the columns, or none and the records do not fit them.
    """
    start, delimiters = sample.declared_delimiter() or (Position(), DELIMITERS)
    readings: list[Reading] = []
    reader = _Reader(sample, table, start)
    for dialect in sample.dialects(delimiters):
        readings.append(reader.read(dialect))
        # Nothing can be better than a text in the plain dialect in which all is as it should be.
        if readings[0].is_sound:
            break
    best = max(readings, key=lambda reading: reading.rank)
    if best.file_format.header_line is None and (broken := reader.broken_header(readings)):
        raise HeaderMismatch(broken)
    if best.problem:
        raise HeaderMismatch(best.problem)
    return best


class _Reader:
    """Reads a sample in one dialect after the other."""

    def __init__(self, sample: Sample, table: Table, start: Position) -> None:
        self._sample = sample
        self._table = table
        self._start = start
        self._header = Header(table)
        self._by_name = {column.name: column for column in table.columns}
        self._positions: Columns = table.column_names

    def read(self, dialect: Dialect) -> Reading:
        """Return what a dialect makes of the sample."""
        lines = list(itertools.islice(self._sample.lines(dialect, self._start), RECORDS_OF_BEGINNING + MAX_TITLES))
        return self._with_header(dialect, lines) or self._by_position(dialect, lines)

    def _with_header(self, dialect: Dialect, lines: Sequence[Line]) -> Reading | None:
        """Return what the text is with the header that it has, None if there is none."""
        found = self._find_header(lines)
        if found is None:
            return None
        first, last, names = found
        width = _width(names, 0)
        columns = self._header.columns_of(names[:width])
        above = [line for line in lines if line.line < first.line]
        data = [line for line in above if self._is_record(columns, line) or self._is_record(self._positions, line)]
        if data and columns == self._positions:
            return None  # files put together, of which the first has no header, and the next one's names the same
        left_out = tuple(
            name.strip().replace("\0", "") for name, column in zip(names, columns, strict=False) if column is None
        )
        problem = None
        if complaint := self._header.complaint(names):
            problem = f"has a header {_in_line(first)}that {complaint}"
        elif data:
            problem = (
                f"has a header in line {first.line}, but line {data[0].line} above it reads like a record: "
                f"{data[0].raw}"
            )
        file_format = FileFormat(columns, dialect, self._sample.encoding, width < len(names), first.line, left_out)
        return self._judged(file_format, last.end, lines, problem)

    def _find_header(self, lines: Sequence[Line]) -> tuple[Line, Line, tuple[str, ...]] | None:
        """Return the first and the last record of the header and its names; None if there is none."""
        candidates = lines[: MAX_TITLES + 1]
        for line in candidates:
            if line.fields is not None and self._header.is_complete(line.fields):
                return line, line, line.fields
        for upper, lower in itertools.pairwise(candidates):
            for names in _of_two_rows(upper.fields, lower.fields):
                if self._header.is_complete(names) and not self._header.complaint(names):
                    return upper, lower, names
        return None

    def _by_position(self, dialect: Dialect, lines: Sequence[Line]) -> Reading:
        """Return what the text is without a header: records of the table's columns in their order."""
        most = least = len(self._positions)
        while least > 1 and not self._table.columns[least - 1].required:
            least -= 1
        widths = Counter(_width(line.fields, most) for line in lines if line.fields is not None)
        width = max(range(most, least - 1, -1), key=lambda each: widths[each])
        file_format = FileFormat(self._positions[:width], dialect, self._sample.encoding)
        return self._judged(file_format, self._start, lines, self._misfit(file_format.fields, lines))

    def _judged(self, file_format: FileFormat, body: Position, lines: Sequence[Line], problem: str | None) -> Reading:
        """Return a reading with its rank: how many records of the body fit."""
        columns, dialect = file_format.fields, file_format.dialect
        width, header_line = len(columns), file_format.header_line
        records = [line for line in lines if line.line >= body.line][:RECORDS_OF_BEGINNING]
        read = [line.fields for line in records if line.fields is not None]
        right = [fields for fields in read if _width(fields, width) == width]
        with_surplus = sum(len(fields) > width for fields in right)
        file_format = replace(file_format, has_surplus=file_format.has_surplus or 2 * with_surplus > len(right))
        fitting = sum(self._is_record(columns, line) for line in records)
        if dialect.quote == "'" and any(line.has_double_quotes for line in lines):
            # As text, they would hide that a quote is not closed, and become part of names.
            fitting = 0
        if header_line is not None and read and not right and not problem:
            count = Counter(map(len, read)).most_common(1)[0][0]
            problem = f"has a header of {width} fields in line {header_line}, but the records below it have {count}"
        is_kept = dialect.skips_spaces and all(line.is_spaced for line in lines)
        is_sound = not problem and fitting == len(records) and not self._sample.may_skip_spaces(dialect)
        rank = int(header_line is not None), fitting, fitting - len(records), int(is_kept)
        return Reading(file_format, body, lines, rank, is_sound, problem)

    def _is_record(self, columns: Columns, line: Line) -> bool:
        """Return whether a record has as many fields as there are columns, and values of theirs."""
        fields = line.fields
        return (
            fields is not None and _width(fields, len(columns)) == len(columns) and is_data(self._of(columns), fields)
        )

    def _of(self, columns: Columns) -> list[Column | None]:
        return [self._by_name.get(column) if column else None for column in columns]

    def _misfit(self, columns: Columns, lines: Sequence[Line]) -> str | None:
        """Return why records without a header cannot be read by their position, None if they can be."""
        width = len(columns)
        records = [line for line in lines if line.fields is not None and _width(line.fields, width) == width]
        if not records:
            return None  # each of them is rejected for its number of fields, and the object fails by that
        above = list(itertools.takewhile(lambda line: not self._is_record(columns, line), lines))[: MAX_TITLES + 1]
        for line in above:
            if line in records and is_labels(self._of(columns), line.fields or ()):
                return (
                    f"cannot be read: line {line.line} looks like a header, but names none of "
                    f"{', '.join(self._table.required_names)}; add its names to the contract: {line.raw}"
                )
        if above and above[0] not in records and _is_words(above[0].fields):
            return (
                f"cannot be read: line {above[0].line} looks like a header of {len(above[0].fields or ())} fields, but "
                f"the records below it have {width}: {above[0].raw}"
            )
        return self._strange_column(columns, records)

    def _strange_column(self, columns: Columns, records: Sequence[Line]) -> str | None:
        """Return which column most records have other values in than it takes, None if there is no such column."""
        for index, column in enumerate(self._of(columns)):
            values = [(line, (line.fields or ())[index]) for line in records]
            verdicts = [(line, value, fits(column, value)) for line, value in values if column is not None]
            wrong = [(line, value) for line, value, fit in verdicts if fit is False]
            told = len([fit for _, _, fit in verdicts if fit is not None])
            if column is not None and told > 1 and 2 * len(wrong) > told:
                line, value = wrong[0]
                return (
                    f"cannot be read by position: it has no header, and in {len(wrong)} of its first {told} records "
                    f"{column.name} would be no {column.logical_type}, the first in line {line.line}: {value}"
                )
        return None

    def broken_header(self, readings: Sequence[Reading]) -> str | None:
        """Return what is wrong with a header that is none because it is incomplete or damaged, None without one."""
        found: list[tuple[int, str]] = []
        for reading in readings:
            dialect, columns = reading.file_format.dialect, reading.file_format.fields
            above = itertools.takewhile(lambda line: not self._is_record(columns, line), reading.lines)  # noqa: B023
            for line in itertools.islice(above, MAX_TITLES + 1):
                if line.fields is not None:
                    wrong = f"that {self._header.complaint(line.fields)}"
                    found.append((self._header.known(line.fields), f"has a header {_in_line(line)}{wrong}"))
                else:
                    names = [name.strip().strip(dialect.quote) for name in line.raw.split(dialect.delimiter)]
                    wrong = "with a quote that is not closed, or has text after it"
                    found.append((self._header.known(names), f"has a header in line {line.line} {wrong}: {line.raw}"))
        known, problem = max(found, key=lambda each: each[0], default=(0, ""))
        return problem if known else None


def _width(fields: Sequence[str], least: int) -> int:
    """Return the number of fields without the empty ones at the end, but not less than `least` of those there are."""
    width = len(fields)
    while width > least and not fields[width - 1].strip():
        width -= 1
    return width


def _in_line(line: Line) -> str:
    return f"in line {line.line} " if line.line > 1 else ""


def _is_words(fields: Sequence[str] | None) -> bool:
    return (
        fields is not None
        and len(fields) > 1
        and all(field.strip() and not any(character.isdecimal() for character in field) for field in fields)
    )


def _of_two_rows(upper: Sequence[str] | None, lower: Sequence[str] | None) -> Iterator[tuple[str, ...]]:
    """Yield the names that two rows may make together, the upper one of which may be over several columns."""
    if upper is None or lower is None or len(upper) > len(lower):
        return
    upper = [*upper, *[""] * (len(lower) - len(upper))]
    spread: list[str] = []
    for name in upper:
        spread.append(name if name.strip() or not spread else spread[-1])
    yield tuple(f"{above} {below}".strip() for above, below in zip(upper, lower, strict=True))
    yield tuple(f"{above} {below}".strip() for above, below in zip(spread, lower, strict=True))
    yield tuple(below if below.strip() else above for above, below in zip(upper, lower, strict=True))
