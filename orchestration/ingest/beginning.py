"""Detects from an object's beginning its encoding, dialect and header, and where its records begin.

If there is a header, it decides: it names every required column. Without one, the first records have to fit the columns
by position. A dialect that finds a header wins, then the one in which most of the first records fit; on a tie, the
plain one.
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

# How much of a text is used to detect its dialect; a header has to end within it.
BEGINNING_BYTES = 64 << 10
# They take 4 ms, more than everything else that Python does for the smallest object.
RECORDS_OF_BEGINNING = 50
# Lines above a header, such as titles and dates of reports.
MAX_TITLES = 10


@dataclass(frozen=True)
class Beginning:
    """An object's format, where its records begin, and its text from there on."""

    file_format: FileFormat
    body: Position
    blocks: Iterator[bytes]


def read_beginning(blocks: Iterable[bytes], table: Table, declared: Encoding = Encoding.UTF_8) -> Beginning:
    """Detect an object's format and which columns its fields are.

    Args:
        blocks: the object's bytes from the first one on, in blocks of any size.
        table: the table that it is for.
        declared: the contract's encoding for objects without a byte order mark.

    Raises:
        UnreadableFile: it is not text, or its encoding is not supported.
        HeaderMismatch: its header does not name the columns, or it has none and the records do not fit them.
    """
    stream = iter(blocks)
    head = _read_up_to(stream, SAMPLE_BYTES)
    encoding, mark_bytes = find_encoding(head[:SAMPLE_BYTES], declared)
    stream = in_utf8(itertools.chain([head[mark_bytes:]], stream), encoding)
    text = _read_up_to(stream, BEGINNING_BYTES + 1)
    sample = Sample(text[:BEGINNING_BYTES], len(text) <= BEGINNING_BYTES, encoding)
    reading = best_reading(sample, table)
    before = bytes_before(text[: reading.body.byte], encoding)
    body = replace(reading.body, byte=mark_bytes + (reading.body.byte if before is None else int(before[-1])))
    return Beginning(reading.file_format, body, itertools.chain([text[reading.body.byte :]], stream))


def _read_up_to(stream: Iterator[bytes], size: int) -> bytes:
    """Read blocks until they have `size` bytes or the stream ends, and return them joined."""
    text = b""
    while len(text) < size and (block := next(stream, None)) is not None:
        text += block
    return text


@dataclass(frozen=True)
class Reading:
    """The beginning of an object as read in one dialect.

    Attributes:
        file_format: the format in this reading.
        body: where the records begin in this reading.
        lines: the records of the beginning, including those above a header.
        rank: the sort key of readings: whether there is a header, how many records fit, minus how many do not, whether
            all lines follow the dialect.
        is_sound: whether nothing is wrong with it.
        problem: why the object cannot be loaded if no other reading is better.
    """

    file_format: FileFormat
    body: Position
    lines: Sequence[Line]
    rank: tuple[int, int, int, int]
    is_sound: bool
    problem: str | None = None


def best_reading(sample: Sample, table: Table) -> Reading:
    """Return the best reading of an object.

    Raises:
        UnreadableFile: it declares a delimiter that is not supported.
        HeaderMismatch: it has a header that does not name the columns, or none and the records do not fit them.
    """
    start, delimiters = sample.declared_delimiter() or (Position(), DELIMITERS)
    readings: list[Reading] = []
    reader = _Reader(sample, table, start)
    for dialect in sample.dialects(delimiters):
        readings.append(reader.read(dialect))
        # No other dialect can beat the plain one if nothing is wrong with it.
        if readings[0].is_sound:
            break
    best = max(readings, key=lambda reading: reading.rank)
    if best.file_format.header_line is None and (broken := reader.broken_header(readings)):
        raise HeaderMismatch(broken)
    if best.problem:
        raise HeaderMismatch(best.problem)
    return best


class _Reader:
    """Reads a sample in different dialects."""

    def __init__(self, sample: Sample, table: Table, start: Position) -> None:
        self._sample = sample
        self._table = table
        self._start = start
        self._header = Header(table)
        self._by_name = {column.name: column for column in table.columns}
        self._positions: Columns = table.column_names

    def read(self, dialect: Dialect) -> Reading:
        """Return the sample's reading in a dialect."""
        lines = list(itertools.islice(self._sample.lines(dialect, self._start), RECORDS_OF_BEGINNING + MAX_TITLES))
        return self._with_header(dialect, lines) or self._by_position(dialect, lines)

    def _with_header(self, dialect: Dialect, lines: Sequence[Line]) -> Reading | None:
        """Return the reading by the text's header, None if it has none."""
        header = self._find_header(lines)
        if header is None:
            return None
        first, last, names = header
        width = _width(names, 0)
        columns = self._header.columns_of(names[:width])
        above = [line for line in lines if line.line < first.line]
        data = [line for line in above if self._is_record(columns, line) or self._is_record(self._positions, line)]
        if data and columns == self._positions:
            return None  # concatenated files: the first has no header, and the second one's has the same columns
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
        return self._ranked(file_format, last.end, lines, problem)

    def _find_header(self, lines: Sequence[Line]) -> tuple[Line, Line, tuple[str, ...]] | None:
        """Return the first and the last line of the header and its names; None if there is none."""
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
        """Return the reading without a header: the table's columns in their order."""
        most = least = len(self._positions)
        while least > 1 and not self._table.columns[least - 1].required:
            least -= 1
        widths = Counter(_width(line.fields, most) for line in lines if line.fields is not None)
        width = max(range(most, least - 1, -1), key=widths.__getitem__)
        file_format = FileFormat(self._positions[:width], dialect, self._sample.encoding)
        return self._ranked(file_format, self._start, lines, self._misfit(file_format.fields, lines))

    def _ranked(self, file_format: FileFormat, body: Position, lines: Sequence[Line], problem: str | None) -> Reading:
        """Return a reading with its rank, for which records of the body that fit are counted."""
        columns, dialect = file_format.fields, file_format.dialect
        width, header_line = len(columns), file_format.header_line
        records = [line for line in lines if line.line >= body.line][:RECORDS_OF_BEGINNING]
        read = [line.fields for line in records if line.fields is not None]
        right = [fields for fields in read if _width(fields, width) == width]
        with_surplus = sum(len(fields) > width for fields in right)
        file_format = replace(file_format, has_surplus=file_format.has_surplus or 2 * with_surplus > len(right))
        fitting = sum(self._is_record(columns, line) for line in records)
        if dialect.quote == "'" and any(line.has_double_quotes for line in lines):
            # Read as text, double quotes would hide an unclosed quote and become part of names.
            fitting = 0
        if header_line is not None and read and not right and not problem:
            count = Counter(map(len, read)).most_common(1)[0][0]
            problem = f"has a header of {width} fields in line {header_line}, but the records below it have {count}"
        is_kept = dialect.skips_spaces and all(line.is_spaced for line in lines)
        is_sound = not problem and fitting == len(records) and not self._sample.may_skip_spaces(dialect)
        rank = int(header_line is not None), fitting, fitting - len(records), int(is_kept)
        return Reading(file_format, body, lines, rank, is_sound, problem)

    def _is_record(self, columns: Columns, line: Line) -> bool:
        """Return whether a record has one field per column, and values that belong to these columns."""
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
            return None  # each is rejected for its number of fields, and the object exceeds its limit
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
        return self._mismatched_column(columns, records)

    def _mismatched_column(self, columns: Columns, records: Sequence[Line]) -> str | None:
        """Return a message about a column that most values do not belong to, None if there is no such column."""
        for index, column in enumerate(self._of(columns)):
            values = [(line, (line.fields or ())[index]) for line in records]
            verdicts = [(line, value, fits(column, value)) for line, value in values if column is not None]
            wrong = [(line, value) for line, value, fit in verdicts if fit is False]
            decided = len([fit for _, _, fit in verdicts if fit is not None])
            if column is not None and decided > 1 and 2 * len(wrong) > decided:
                line, value = wrong[0]
                return (
                    f"cannot be read by position: it has no header, and in {len(wrong)} of its first {decided} records "
                    f"{column.name} would be no {column.logical_type}, the first in line {line.line}: {value}"
                )
        return None

    def broken_header(self, readings: Sequence[Reading]) -> str | None:
        """Return what is wrong with an incomplete or damaged header, None if nothing resembles a header."""
        candidates: list[tuple[int, str]] = []
        for reading in readings:
            dialect, columns = reading.file_format.dialect, reading.file_format.fields
            above = itertools.takewhile(lambda line: not self._is_record(columns, line), reading.lines)  # noqa: B023
            for line in itertools.islice(above, MAX_TITLES + 1):
                if line.fields is not None:
                    wrong = f"that {self._header.complaint(line.fields)}"
                    candidates.append((self._header.known(line.fields), f"has a header {_in_line(line)}{wrong}"))
                else:
                    names = [name.strip().strip(dialect.quote) for name in line.raw.split(dialect.delimiter)]
                    wrong = "with a quote that is not closed, or has text after it"
                    message = f"has a header in line {line.line} {wrong}: {line.raw}"
                    candidates.append((self._header.known(names), message))
        known, problem = max(candidates, key=lambda candidate: candidate[0], default=(0, ""))
        return problem if known else None


def _width(fields: Sequence[str], least: int) -> int:
    """Return the number of fields without trailing empty ones, of which those among the first `least` count."""
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
    """Yield the possible names of a header in two rows, the upper of which may have merged cells."""
    if upper is None or lower is None or len(upper) > len(lower):
        return
    upper = [*upper, *[""] * (len(lower) - len(upper))]
    spread: list[str] = []
    for name in upper:
        spread.append(name if name.strip() or not spread else spread[-1])
    yield tuple(f"{above} {below}".strip() for above, below in zip(upper, lower, strict=True))
    yield tuple(f"{above} {below}".strip() for above, below in zip(spread, lower, strict=True))
    yield tuple(below if below.strip() else above for above, below in zip(upper, lower, strict=True))
