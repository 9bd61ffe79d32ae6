"""Maps the names in a header to columns, and judges by a record's values whether it is a header or data."""

import re
import unicodedata
from collections.abc import Sequence

from contracts import Column, LogicalType, Table
from contracts.rules import WHITE_SPACE
from orchestration.ingest.encoding import UnreadableFile
from orchestration.ingest.records import HeaderProbe

# How many names a message lists.
NAMES_SHOWN = 10
# What people write for a missing value. Whether it is valid is not decided here.
NO_VALUE = re.compile(r"(null|none|nan|n/?a|#n/a|nat|\\n|-*)", re.IGNORECASE)
# Numbers of all kinds; whether one is an integer in range matters for the value, not for detecting the column.
NUMBER = re.compile(r"[+-]?\$?\.?[0-9][0-9.,' ]*(e[+-]?[0-9]+)?", re.IGNORECASE)
NUMBER_OR_DATE = re.compile(r"\s*[+-]?[0-9].*", re.DOTALL)
DIGIT = re.compile(r"[0-9]")
WORD = re.compile(r"[\W_]*[^\W\d_]")
NUMBERS = {LogicalType.INTEGER, LogicalType.NUMBER}

Columns = tuple[str | None, ...]


class HeaderMismatch(UnreadableFile):
    """The header does not name the table's columns, or there is none and the records do not fit them."""


def comparable(name: str) -> str:
    """Return a name in lower case, without white space, punctuation and accents."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(character for character in decomposed if character.isalnum())


class Header:
    """The names of a table's columns in headers."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._columns = {
            comparable(synonym): column.name for column in table.columns for synonym in column.synonyms
        } | {comparable(column.name): column.name for column in table.columns}

    def columns_of(self, names: Sequence[str]) -> Columns:
        """Return the column of each name, None for unknown names.

        A name that still has quotes around it is unknown: it was read in the wrong dialect.
        """
        return tuple(
            None if name.strip().startswith(("'", '"')) else self._columns.get(comparable(name)) for name in names
        )

    def is_complete(self, names: Sequence[str]) -> bool:
        """Return whether every required column is named."""
        return set(self.table.required_names) <= set(self.columns_of(names))

    def known(self, names: Sequence[str]) -> int:
        """Return how many different columns a possible header names, 0 if the record cannot be a header."""
        columns = {column for column in self.columns_of(names) if column is not None}
        is_header = 2 * len(columns) >= len(names) or len(columns) >= 2
        return len(columns) if is_header and not any(map(NUMBER_OR_DATE.fullmatch, names)) else 0

    def complaint(self, names: Sequence[str]) -> str | None:
        """Return what is wrong with the names of a header, None if nothing is."""
        columns = self.columns_of(names)
        shown = [name.strip().lower() for name in names]
        lacking = [name for name in self.table.required_names if name not in columns]
        repeated = {
            column: list(dict.fromkeys(name for name, own in zip(shown, columns, strict=True) if own == column))
            for column in self.table.column_names
            if columns.count(column) > 1
        }
        unknown = [name for name, column in zip(shown, columns, strict=True) if column is None]
        complaints = [
            f"{what} {', '.join(which[:NAMES_SHOWN])}"
            for what, which in (
                ("lacks", [*map(repr, lacking)]),
                ("repeats", [_twice(column, as_named) for column, as_named in repeated.items()]),
                ("has unknown", [*map(repr, unknown)] if lacking else []),
            )
            if which
        ]
        if not lacking and not repeated:
            return None
        return f"{' and '.join(complaints)}; the columns are {', '.join(self.table.column_names)}"

    def probe(self, columns: Columns) -> HeaderProbe:
        """Return how to recognise this header if it is repeated in an object with these columns."""
        typed = {column.name for column in self.table.columns if column.logical_type != LogicalType.STRING}
        field = next((index for index, column in enumerate(columns) if column in typed), None)

        def is_header(names: Sequence[str], line: int) -> bool:
            named = self.columns_of(names)
            if named[: len(columns)] == columns and not any(name.strip() for name in names[len(columns) :]):
                return True
            if not self.known(names) or self.table.key.name not in named:
                return False
            raise HeaderMismatch(
                f"has another header in line {line}: {_listed(names)}; above it the columns are "
                f"{', '.join(column or '(left out)' for column in columns)}: deliver the two as files of their own"
            )

        return HeaderProbe(field, frozenset(name.encode() for name in self._columns), is_header)


def _twice(column: str, as_named: Sequence[str]) -> str:
    return repr(column) if len(as_named) == 1 else f"{column!r} (as {' and '.join(map(repr, as_named))})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name.strip() for name in names[:NAMES_SHOWN])


def fits(column: Column, text: str) -> bool | None:
    """Return whether a text can be a value of a column, valid or not; None if it could be of any column.

    A date of another format or a number out of range is a bad value of its column. A word where numbers belong is a
    value of another column, or a name in a header.
    """
    if column.logical_type == LogicalType.STRING or NO_VALUE.fullmatch(trimmed := text.strip(WHITE_SPACE)):
        return None
    match = NUMBER.fullmatch(trimmed) if column.logical_type in NUMBERS else DIGIT.search(trimmed)
    return match is not None


def verdicts(columns: Sequence[Column | None], fields: Sequence[str]) -> list[bool]:
    """Return for each field whether it fits its column, without those that could be of any column."""
    fitting = (fits(column, text) for column, text in zip(columns, fields, strict=False) if column is not None)
    return [fit for fit in fitting if fit is not None]


def is_data(columns: Sequence[Column | None], fields: Sequence[str]) -> bool:
    """Return whether a record belongs to these columns: at least half of the decidable fields fit."""
    decided = verdicts(columns, fields)
    return 2 * sum(decided) >= len(decided) > 0


def is_labels(columns: Sequence[Column | None], fields: Sequence[str]) -> bool:
    """Return whether a record has words in all columns of numbers and dates, and no numbers in any column."""
    if any(map(NUMBER_OR_DATE.fullmatch, fields)):
        return False
    fitting = [(text, fits(column, text)) for column, text in zip(columns, fields, strict=False) if column is not None]
    decided = [(text, fit) for text, fit in fitting if fit is not None]
    return bool(decided) and all(not fit and WORD.match(text) for text, fit in decided)
