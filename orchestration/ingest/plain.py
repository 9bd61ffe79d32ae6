"""Finds the lines of a text that are certainly valid rows, with NumPy and without a Python object per row.

Eight bytes of a field are treated as one integer. A byte that was a digit is at most 9 after XOR with "0", and adding
118 then leaves its highest bit clear. A row that these checks do not recognize may still be valid; a row that they do
recognize must not break a rule of contracts/rules.py.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from contracts import Column, LogicalType, Table
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.lines import CsvBuffer, Flags, Integers

# Bytes with which no white space, byte order mark or zero-width character begins, in UTF-8 and Windows-1252.
VISIBLE = rb"!-~\xc3-\xdf\xe4-\xee\xf0-\xf4"
# Numbers with more digits may exceed the range of a column, or of a bigint.
MAX_PLAIN_DIGITS = 15

Octets = NDArray[np.uint8]
Words = NDArray[np.uint64]
# Returns which fields are certainly valid, given the offsets of their first byte and of the byte after them.
Check = Callable[["Text", Integers, Integers], Flags]

WORD_BYTES = 8
# Longer than the longest value that is checked: a word may begin at the last byte of a field.
PADDING = bytes(32)


class Text:
    """A text as bytes, and as a little-endian integer of the eight bytes from each offset on."""

    def __init__(self, text: bytes) -> None:
        padded = text + PADDING
        self.octets: Octets = np.frombuffer(padded, np.uint8)
        self._words: Words = np.ndarray(len(padded) - WORD_BYTES + 1, "<u8", padded, strides=(1,))

    def words(self, offsets: Integers) -> Words:
        """Return the eight bytes from each of some offsets on."""
        return self._words[offsets]


class PlainRows:
    """Recognizes lines that are certainly valid rows of a table.

    Args:
        table: that the object is for.
        file_format: of the object.
    """

    def __init__(self, table: Table, file_format: FileFormat) -> None:
        self._checks = _checks(table, file_format)

    def among(self, buffer: CsvBuffer) -> Flags:
        """Return for each line of a text whether it is certainly valid, provided that it is exactly one record."""
        plain = np.zeros(len(buffer.ends), np.bool_)
        if not self._checks:
            return plain
        text, fields = Text(buffer.text), buffer.fields_of_lines()
        valid = np.ones(len(fields.lines), np.bool_)
        for index, check in self._checks.items():
            valid &= check(text, fields.begins(index), fields.ends(index))
        plain[fields.lines] = valid
        return plain


def _checks(table: Table, file_format: FileFormat) -> dict[int, Check]:
    """Return the check of each loaded field by its index; empty if no line is certainly valid."""
    delivered = {column.name: column for column in table.columns if column.name in file_format.columns}
    if file_format.dialect.has_escapes or any(
        column.required and column.name not in delivered for column in table.columns
    ):
        return {}
    checks = {}
    for index, name in enumerate(file_format.fields):
        if name is not None:
            check = _check(delivered[name], file_format)
            if check is None:
                return {}
            checks[index] = check if delivered[name].required else _optional(check)
    return checks


def _check(column: Column, file_format: FileFormat) -> Check | None:
    match column.logical_type:
        case LogicalType.STRING:
            return _text(file_format)
        case LogicalType.TIMESTAMP:
            return _timestamp(column)
        case LogicalType.INTEGER | LogicalType.NUMBER:
            return _integer(column)


def _optional(check: Check) -> Check:
    return lambda text, begins, ends: (begins == ends) | check(text, begins, ends)


def _text(file_format: FileFormat) -> Check:
    """Return the check of a text column: a value is valid if it begins with a visible character."""
    begins_visibly = re.compile(b"[" + VISIBLE + b"]")
    visible = np.array([begins_visibly.match(bytes([octet])) is not None for octet in range(256)])
    visible[list(file_format.dialect.delimiter_byte + file_format.dialect.quote_byte)] = False
    return lambda text, begins, _ends: visible[text.octets[begins]]


def plain_digits(column: Column) -> int | None:
    """Return up to how many digits every unsigned integer is within a column's range; None if there is no such."""
    least = 1 if column.minimum is None else column.minimum
    most = 10**MAX_PLAIN_DIGITS if column.maximum is None else int(column.maximum)
    # A number with fewer digits than the maximum is less than it.
    return None if least > 1 or most < 10 else min(len(str(most)) - 1, MAX_PLAIN_DIGITS)


def _word(octets: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(octets, "little"))


ZEROS, HIGHEST, IF_DIGIT = _word(b"0" * 8), _word(b"\x80" * 8), _word(b"\x76" * 8)
BITS = np.uint64(8)


def _are_at_most(words: Words, limits: np.uint64) -> Flags:
    """Return for which words every byte is at most 127 minus the same byte of `limits`."""
    # A byte of 128 or more may carry into the next one, but is too large by itself.
    are_at_most: Flags = ((words + limits) | words) & HIGHEST == 0
    return are_at_most


def _integer(column: Column) -> Check | None:
    """Return the check of integers without a sign, leading zeros or decimals."""
    most = plain_digits(column)
    if most is None:
        return None

    def check(text: Text, begins: Integers, ends: Integers) -> Flags:
        lengths = ends - begins
        first = text.words(begins) ^ ZEROS
        valid: Flags = (lengths > 0) & (lengths <= most) & (first & np.uint64(0xFF) != 0)
        # What follows the field is shifted out.
        shifts = (WORD_BYTES - np.clip(lengths, 1, WORD_BYTES)).astype(np.uint64) * BITS
        valid &= _are_at_most(first << shifts, IF_DIGIT)
        if most > WORD_BYTES and (lengths > WORD_BYTES).any():
            last = text.words(np.maximum(ends - WORD_BYTES, 0)) ^ ZEROS
            valid &= (lengths <= WORD_BYTES) | _are_at_most(last, IF_DIGIT)
        return valid

    return check


# A timestamp in UTC as words of eight bytes; 0 stands for any digit.
TEMPLATES = (b"0000-00-", b"00T00:00", b":00Z\0\0\0\0")
DATE, TIME, END = map(_word, TEMPLATES)
SPACE_FOR_T = _word(b"\0\0" + bytes([ord("T") ^ ord(" ")]) + b"\0" * 5)
# The limits for _are_at_most: a digit may differ from the template by up to 9, other bytes not at all.
DATE_LIMITS, TIME_LIMITS, END_LIMITS = (
    _word(bytes(127 - 9 if octet == ord("0") else 127 for octet in template)) for template in TEMPLATES
)
# With tens added, hours and minutes are the fourth and seventh byte of TIME, seconds the second byte of END.
HOURS_AND_MINUTES = _word(b"\0\0\0\xff\0\0\xff\0")
TIME_RANGES = _word(bytes([127, 127, 127, 127 - 23, 127, 127, 127 - 59, 127]))
# How many bytes of the second and third word belong to a value, by its length: without a time, without Z, with Z.
LENGTHS = {10: (2, 0), 19: (8, 3), 20: (8, 4)}
# The last day of each month, ignoring leap days.
LAST_DAYS = np.zeros(256, np.uint8)
LAST_DAYS[1:13] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


def plain_centuries(column: Column) -> list[int]:
    """Return the centuries that are entirely within a column's range; 20 stands for the years from 2000 on."""
    first = datetime.fromisoformat(column.minimum) if column.minimum else datetime(1, 1, 1, tzinfo=UTC)
    last = datetime.fromisoformat(column.maximum) if column.maximum else datetime(9999, 1, 1, tzinfo=UTC)
    begins = [datetime(century * 100, 1, 1, tzinfo=UTC) for century in range(1, 100)]
    return [begin.year // 100 for begin, end in pairwise(begins) if first <= begin and end <= last]


def _timestamp(column: Column) -> Check | None:
    """Return the check of dates, and of timestamps to the second in UTC."""
    centuries = np.zeros(256, np.bool_)
    centuries[plain_centuries(column)] = True
    masks = np.zeros((2, max(LENGTHS) + 1), np.uint64)
    for length, counts in LENGTHS.items():
        masks[:, length] = [_word(b"\xff" * count) for count in counts]

    def check(text: Text, begins: Integers, ends: Integers) -> Flags:
        lengths = ends - begins
        lengths = np.where((lengths >= 0) & (lengths <= max(LENGTHS)), lengths, 0)
        date = text.words(begins) ^ DATE
        time = (text.words(begins + WORD_BYTES) ^ TIME) & masks[0][lengths]
        end = (text.words(begins + 2 * WORD_BYTES) ^ END) & masks[1][lengths]
        # Nearly all lines of a file have the same separator, T or a space.
        if len(time) and time[0] & SPACE_FOR_T == SPACE_FOR_T:
            time ^= SPACE_FOR_T & masks[0][lengths]
        valid: Flags = (masks[0][lengths] != 0) & _are_at_most(date, DATE_LIMITS)
        valid &= _are_at_most(time, TIME_LIMITS) & _are_at_most(end, END_LIMITS)
        date, time, end = map(_tens_and_ones, (date, time, end))
        months, days, seconds = _byte(date, 5), _byte(time, 0), _byte(end, 1)
        valid &= centuries[_byte(date, 0)] & (days >= 1) & (days <= LAST_DAYS[months]) & (seconds <= 59)
        valid &= _are_at_most(time & HOURS_AND_MINUTES, TIME_RANGES)
        return valid

    return check if centuries.any() else None


def _tens_and_ones(words: Words) -> Words:
    """Return words with each digit multiplied by ten and added to the next one."""
    return words * np.uint64(10) + (words >> BITS)


def _byte(words: Words, index: int) -> Octets:
    return (words >> np.uint64(8 * index)).astype(np.uint8)
