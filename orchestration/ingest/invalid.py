"""Finds the rows of a chunk that break a rule of the contract: they are loaded, but no model counts them.

dbt decides that again from raw. Finding the same records before their load ends lets a load fail because of them, and a
dry run report them.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from contracts import Column, LogicalType, Table
from contracts.formats import DIRECTIVES, pattern
from contracts.rules import Reason, parse
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.plain import VISIBLE, plain_centuries, plain_digits
from orchestration.ingest.records import Chunk

# All days except 29 February.
DAYS = b"(?:%b)" % b"|".join(
    (
        b"(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])",
        b"(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)",
        b"02-(?:0[1-9]|1[0-9]|2[0-8])",
    )
)
TIME_IN_UTC = rb"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?+)?+Z?+)?+"


@dataclass(frozen=True)
class Problem:
    """A value that breaks a rule: its column, the rule, and the value as delivered."""

    column: str
    reason: Reason
    value: str | None

    def __str__(self) -> str:
        return f"{self.column}:{self.reason}"


@dataclass(frozen=True)
class InvalidRecord:
    """A row that breaks rules: its record number, the line in which it begins, both from 1, and its problems."""

    record: int
    line: int
    problems: tuple[Problem, ...]

    @property
    def reasons(self) -> list[str]:
        """Its problems in the models' notation, such as datetime:missing."""
        return [str(problem) for problem in self.problems]


class Validator:
    """Finds the invalid rows of an object's chunks.

    Most valid rows are known already, see PlainRows. Nearly all others match a pattern, which checks many of them at
    a time and takes a tenth of the time of the rules; the rules check each row that it does not match.
    """

    def __init__(self, table: Table, file_format: FileFormat) -> None:
        """Prepare for rows in the form that COPY reads.

        Args:
            table: that the object is for.
            file_format: of the object.
        """
        self._columns = table.columns
        dialect = replace(file_format.dialect, has_escapes=False)
        self._format = FileFormat(file_format.columns, dialect, file_format.encoding)
        self._valid_rows = _valid_rows(table.columns, self._format)

    def invalid(self, chunk: Chunk) -> list[InvalidRecord]:
        """Return the invalid rows of a chunk, in order."""
        doubtful = range(len(chunk.rows)) if chunk.is_plain is None else np.flatnonzero(~chunk.is_plain).tolist()
        rows = [chunk.rows[index] for index in doubtful]
        return [
            InvalidRecord(chunk.numbers[doubtful[index]], int(chunk.lines[doubtful[index]]), problems)
            for index in self._unrecognized(rows)
            if (problems := tuple(self._problems(rows[index])))
        ]

    def _unrecognized(self, rows: Sequence[bytes]) -> Iterator[int]:
        """Yield the indices of the rows that the pattern does not recognize as valid."""
        if self._valid_rows is None:
            yield from range(len(rows))
            return
        text = b"\n".join(rows) + b"\n"
        ends: list[int] | None = None
        index = begin = 0
        while index < len(rows):
            match = self._valid_rows.match(text, begin)
            end = match.end() if match else begin
            if end == len(text):
                return
            ends = ends or list(accumulate(len(row) + 1 for row in rows))
            # A match ends where a row does.
            index = bisect_left(ends, end) + 1 if end > begin else index
            yield index
            begin = ends[index]
            index += 1

    def _problems(self, row: bytes) -> Iterator[Problem]:
        values = self._format.values(row)
        assert values is not None, "the splitter rejects a record whose quotes are wrong"
        delivered = dict(zip(self._format.columns, values, strict=True))
        for column in self._columns:
            value = delivered.get(column.name)
            if isinstance(reason := parse(column, value), Reason):
                yield Problem(column.name, reason, value)


def _valid_rows(columns: Sequence[Column], file_format: FileFormat) -> re.Pattern[bytes] | None:
    """Return a pattern of rows that are certainly valid, each followed by a line feed; None if no row is."""
    delivered = {column.name: column for column in columns if column.name in file_format.columns}
    if any(column.required and column.name not in delivered for column in columns):
        return None
    dialect = file_format.dialect
    delimiter, quote = re.escape(dialect.delimiter_byte), re.escape(dialect.quote_byte)
    visible = b"(?![" + delimiter + quote + b"])[" + VISIBLE + b"]"
    fields = []
    for column in map(delivered.__getitem__, file_format.columns):
        if column.logical_type is LogicalType.STRING:
            plain = visible + b"[^" + delimiter + quote + rb"\r\n]*+"
            quoted = b"(?!" + quote + b")[" + VISIBLE + b"][^" + quote + b"]*+"
        else:
            value = _valid_value(column)
            if value is None:
                return None
            plain = quoted = value
        fields.append(b"(?:" + plain + b"|" + quote + quoted + quote + b")")
    return re.compile(b"(?:" + delimiter.join(fields) + b"\n)++")


def _valid_value(column: Column) -> bytes | None:
    """Return a pattern of values that are certainly valid in a column of numbers or dates, None if no value is."""
    if column.logical_type is LogicalType.TIMESTAMP:
        return _valid_timestamp(column)
    digits = plain_digits(column)
    if digits is None:
        return None
    decimals = rb"(?:\.0{1,9})?+" if column.logical_type is LogicalType.INTEGER else rb"(?:\.[0-9]{1,9})?+"
    return b"[1-9][0-9]{0,%d}+" % (digits - 1) + decimals


def _valid_timestamp(column: Column) -> bytes | None:
    """Return a pattern of timestamps in UTC, in the centuries that are entirely within the column's range."""
    centuries = [b"%02d" % century for century in plain_centuries(column)]
    if not centuries:
        return None
    year = b"(?:" + b"|".join(centuries) + b")[0-9]{2}"
    directives = DIRECTIVES | {
        "%d": ("0?[1-9]|1[0-9]|2[0-8]", "0[1-9]|1[0-9]|2[0-8]"),
        "%Y": (year.decode(), year.decode()),
    }
    declared = [
        pattern(date_format, directives).replace("(", "(?:").replace("(?:?:", "(?:").encode()
        for date_format in column.formats
    ]
    return b"(?:" + b"|".join([year + b"-" + DAYS + TIME_IN_UTC, *declared]) + b")"
