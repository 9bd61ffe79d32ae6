"""What a hire must look like: the contract's columns as a Pydantic type, with the contract's rules.

dbt applies the same rules to raw text: nothing that is accepted here is rejected there.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, with_config
from pydantic_core import to_json
from typing_extensions import TypedDict

from contracts import Column, LogicalType, Table, table_named
from contracts.formats import pattern
from contracts.rules import NULLS, TIMESTAMP, WHITE_SPACE, Reason, parse

Types = Mapping[LogicalType, Callable[[Column], Any]]

MAX_RECORDS = 1000
# Of an integer without a range: the longest one that Python reads from text.
MAX_DIGITS = 4300

# As a regular expression writes it.
BLANK = WHITE_SPACE.encode("unicode_escape").decode().replace(r"\x0b", r"\v").replace(r"\x0c", r"\f")
DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
# ISO 8601 has other forms, which are not accepted.
LIKE_MOMENT = "2021-07-27T16:02:08Z"


@dataclass(frozen=True)
class Reference:
    """A column that refers to the records of another table.

    Attributes:
        column: the column.
        table: the other table, whose mart is known_<table>.
        key: the other table's key.
        noun: what a record of the other table is called.
    """

    column: Column
    table: str
    key: str
    noun: str


class HireModel:
    """Batches of hires as JSON, by a table of the contract.

    Attributes:
        key: Name of the field that identifies a hire.
        rules: What each field has to be, in words.
        references: The fields that refer to records of other tables.
        max_tokens: Twice the tokens that the JSON of a batch can have.
        batch: Validates a batch.
        plain_batch: The same for what nearly all batches are, in nine tenths of the time: it refuses 8.0 as an integer.
        batch_schema: A batch for the OpenAPI document, where a hire has its place under components.
        record_schema: A hire for the OpenAPI document.
        example: A valid batch.
    """

    def __init__(self, table: Table) -> None:
        self.key = table.key.name
        self.rules = {column.name: rule(column) for column in table.columns}
        self.references = _references(table)
        # A record has its comma and its brace, a field a comma, its name, and a string at most.
        self.max_tokens = 2 * MAX_RECORDS * (2 + 3 * len(self.rules))
        batch: Any = Annotated[list[_record_type(table)], Field(min_length=1, max_length=MAX_RECORDS)]  # type: ignore[misc]
        self.batch = TypeAdapter[Any](batch)
        plain: Any = Annotated[list[_record_type(table, PLAIN_TYPES)], Field(min_length=1, max_length=MAX_RECORDS)]  # type: ignore[misc]
        self.plain_batch = TypeAdapter[Any](plain)
        self.batch_schema = self.batch.json_schema(ref_template="#/components/schemas/{model}")
        self.record_schema = self.batch_schema.pop("$defs")["Employee"]
        self.example = [{column.name: column.example for column in table.columns if column.example is not None}]


def _references(table: Table) -> tuple[Reference, ...]:
    """Return the references of a table to others of the contract."""
    found = []
    for column in table.columns:
        if column.references:
            other, key = column.references
            found.append(Reference(column, other, key, table_named(other).business_name or other))
    return tuple(found)


def value_type(column: Column, types: Types | None = None) -> Any:
    """Return the type of a column's values in JSON; those of an optional column may be null."""
    typed = (types or TYPES)[column.logical_type](column)
    return typed if column.required else typed | None


def rule(column: Column) -> str:
    """Return what a column's values in JSON have to be, in words."""
    match column.logical_type:
        case LogicalType.INTEGER:
            words = f"must be an integer{_range(column)}"
        case LogicalType.NUMBER:
            words = f"must be a number without an exponent{_range(column)}"
        case LogicalType.TIMESTAMP:
            formats = "".join(f", or like {declared}" for declared in column.formats)
            words = f"must be an ISO 8601 date, or date and time, like {LIKE_MOMENT}{formats}{_period(column)}"
        case LogicalType.STRING:
            words = f"must be a string of Unicode text that {'is not blank and ' if column.required else ''}"
            words += "has no NUL character"
    return words if column.required else f"{words}, or null"


def _record_type(table: Table, types: Types | None = None) -> Any:
    # A dict with known fields stays the dict that it is: it is stored as it was sent.
    typed_dict: Any = TypedDict
    record = typed_dict("Employee", {column.name: _field(column, types) for column in table.columns})
    record.__doc__ = "A hire: who, when, where and as what."
    return with_config(ConfigDict(extra="forbid"))(record)


def _field(column: Column, types: Types | None) -> Any:
    examples = None if column.example is None else [column.example]
    field: Any = Annotated[value_type(column, types), Field(description=column.description or None, examples=examples)]
    return field if column.required else NotRequired[field]


def _plain_integer(column: Column) -> Any:
    return Annotated[int, Field(strict=True, ge=column.minimum, le=column.maximum)]


def _integer(column: Column) -> Any:
    bounds = [len(str(abs(bound))) for bound in (column.minimum, column.maximum) if bound is not None]
    most_digits = max(bounds) if len(bounds) == 2 else MAX_DIGITS

    def read(value: object) -> object:
        # Making an integer of digits takes quadratic time.
        if isinstance(value, Decimal) and value.adjusted() >= most_digits:
            return value
        # JSON knows no integers: 8.0 is 8, as in a file.
        if isinstance(value, float | Decimal) and isinstance(number := parse(column, _as_stored(value)), int):
            return number
        return value

    return Annotated[_plain_integer(column), BeforeValidator(read)]


def _number(column: Column) -> Any:
    def require(value: object) -> object:
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            _require_text(column, _as_stored(value))
        return float(value) if isinstance(value, Decimal) else value

    return Annotated[
        float, Field(strict=True, ge=column.minimum, le=column.maximum, allow_inf_nan=False), BeforeValidator(require)
    ]


def _string(column: Column) -> Any:
    text = rf"[^\x00]*[^\x00{BLANK}][^\x00]*" if column.required else r"[^\x00]*"
    return Annotated[str, Field(strict=True, pattern=f"^{text}$")]


def _timestamp(column: Column) -> Any:
    # The calendar, and the exact range in UTC, are beyond a pattern.
    moment = TIMESTAMP.pattern.replace(DATE, f"{_centuries(column)}[0-9]{{2}}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
    moment = "|".join([moment, *map(pattern, column.formats)])
    moment = f"({moment})" if column.required else f"({moment}|{'|'.join(map(_in_any_case, sorted(NULLS)))})?"
    return Annotated[
        str,
        Field(strict=True, json_schema_extra={"pattern": f"^[{BLANK}]*{moment}[{BLANK}]*$"}),
        AfterValidator(lambda text: _require_text(column, text)),
    ]


TYPES: Types = {
    LogicalType.STRING: _string,
    LogicalType.INTEGER: _integer,
    LogicalType.NUMBER: _number,
    LogicalType.TIMESTAMP: _timestamp,
}
PLAIN_TYPES: Types = {**TYPES, LogicalType.INTEGER: _plain_integer}


def _in_any_case(word: str) -> str:
    """Return a pattern of a word in small letters, capitals or both; JSON Schema has no flag for that."""
    return "".join(f"[{letter}{letter.lower()}]" if letter.isalpha() else re.escape(letter) for letter in word)


def _as_stored(value: float | Decimal) -> str:
    """Return a number as raw is given it, which is what dbt will read."""
    return to_json(value).decode().strip('"')


def _require_text(column: Column, text: str) -> str:
    value = parse(column, text)
    if isinstance(value, Reason):
        raise ValueError(value)  # noqa: TRY004 - Pydantic's way to hear of it
    return text


def _range(column: Column) -> str:
    if column.minimum is not None and column.maximum is not None:
        return f" from {column.minimum} to {column.maximum}"
    if column.minimum is not None:
        return f" of at least {column.minimum}"
    return "" if column.maximum is None else f" of at most {column.maximum}"


def _period(column: Column) -> str:
    first, end = (bound and datetime.fromisoformat(bound) for bound in (column.minimum, column.maximum))
    if first and end and all(bound == datetime(bound.year, 1, 1, tzinfo=UTC) for bound in (first, end)):
        return f", in the years {first.year} to {end.year - 1} (UTC)"
    bounds = [f"not before {column.minimum}"] if first else []
    bounds += [f"before {column.maximum}"] if end else []
    return f", {' and '.join(bounds)}" if bounds else ""


def _centuries(column: Column) -> str:
    """Return a pattern of the centuries that a range spans in any time zone."""
    if column.minimum is None or column.maximum is None:
        return "[0-9]{2}"
    first, last = (datetime.fromisoformat(bound).year for bound in (column.minimum, column.maximum))
    spanned = groupby(range((first - 1) // 100, last // 100 + 1), lambda century: century // 10)
    alternatives = [f"{tens}[{''.join(str(century % 10) for century in centuries)}]" for tens, centuries in spanned]
    return f"({'|'.join(alternatives)})"


HIRES = HireModel(table_named("hired_employees"))
