"""The rules of each logical type: they convert a delivered text to a value of a column, or name the rule it breaks.

dbt_project/macros/rules.sql has the same rules in SQL; a test compares the two.
"""

import re
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache

from contracts.formats import read_datetime
from contracts.tables import Column, LogicalType

# Stripped from the ends of a value: white space of ASCII and Unicode including no-break spaces, zero-width characters,
# byte order marks. They are kept inside a value: some scripts need zero-width joiners.
WHITE_SPACE = (
    " \t\n\r\v\f\u0085\u00a0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d"
    "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
# What tools write for a missing value, in any case. In text columns these are values, since they may be names.
NULLS = frozenset({"NULL", r"\N", "NAN", "N/A", "NA"})

# Floats of Python and spreadsheets are integers if only zeros follow the point.
INTEGER = re.compile(r"([+-]?[0-9]+)(\.0+)?")
NUMBER = re.compile(r"[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)")
# The limits of Postgres's numeric: digits before and after the point.
MAX_DIGITS, MAX_DECIMALS = 131_072, 16_383
# ISO 8601 with the variants of RFC 3339, as documented by the API. The pattern checks neither the calendar nor the
# range of years in UTC.
TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"([Tt ](([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?)"
    r"( ?([Zz]|[Uu][Tt][Cc]|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?))?)?"
)
DAY, TIME, ZONE = 1, 3, 8

Value = str | int | Decimal | datetime


class Reason(StrEnum):
    """Why a value is rejected."""

    MISSING = "missing"
    NOT_AN_INTEGER = "not_an_integer"
    NOT_A_NUMBER = "not_a_number"
    NOT_A_DATETIME = "not_a_datetime"
    OUT_OF_RANGE = "out_of_range"


def parse(column: Column, text: str | None) -> Value | Reason | None:
    """Convert a delivered text to a value of a column.

    Args:
        column: of the contract.
        text: as delivered; None if the column was not delivered.

    Returns:
        Its value; None for a missing value that is not required; or the rule that it breaks.
    """
    trimmed = (text or "").strip(WHITE_SPACE)
    is_text = column.logical_type is LogicalType.STRING
    if not trimmed or (not is_text and trimmed.upper() in NULLS):
        return Reason.MISSING if column.required else None
    value = trimmed if is_text else _typed(column, trimmed)
    return value if isinstance(value, Reason) or is_in_range(column, value) else Reason.OUT_OF_RANGE


def is_in_range(column: Column, value: Value) -> bool:
    """Return whether a value is within the minimum and maximum of its column."""
    if isinstance(value, str):
        return True
    if isinstance(value, datetime):
        return (column.minimum is None or _moment(column.minimum) <= value) and (
            column.maximum is None or value < _moment(column.maximum)
        )
    return (column.minimum is None or _exactly(column.minimum) <= value) and (
        column.maximum is None or value <= _exactly(column.maximum)
    )


_moment = cache(datetime.fromisoformat)


@cache
def _exactly(bound: float) -> Decimal:
    """Return a bound as the decimal that is written in the contract: a float such as 0.1 is not exactly that."""
    return Decimal(str(bound))


def visible(text: str) -> str:
    r"""Return a text for display, with invisible characters escaped as \u00a0, \t and so on."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    code = f"\\u{ord(character):04x}" if character <= "\uffff" else f"\\U{ord(character):08x}"
    return {"\t": r"\t", "\n": r"\n", "\r": r"\r"}.get(character, code)


def _typed(column: Column, text: str) -> Value | Reason:
    match column.logical_type:
        case LogicalType.INTEGER:
            return _integer(text)
        case LogicalType.NUMBER:
            return _number(text)
        case LogicalType.TIMESTAMP:
            return _timestamp(text, column.formats)
        case LogicalType.STRING:
            return text


def _integer(text: str) -> int | Reason:
    match = INTEGER.fullmatch(text)
    if match is None:
        return Reason.NOT_AN_INTEGER
    number = _number(match[1])
    # By way of a decimal, because int() refuses text of more than 4,300 digits.
    return number if isinstance(number, Reason) else int(number)


def _number(text: str) -> Decimal | Reason:
    if not NUMBER.fullmatch(text):
        return Reason.NOT_A_NUMBER
    digits, _, decimals = text.lstrip("+-0").partition(".")
    return Reason.OUT_OF_RANGE if len(digits) > MAX_DIGITS or len(decimals) > MAX_DECIMALS else Decimal(text)


def _timestamp(text: str, formats: tuple[str, ...]) -> datetime | Reason:
    match = TIMESTAMP.fullmatch(text)
    if match is None:
        # No text matches two formats of a column.
        parsed = (read_datetime(text, declared) for declared in formats)
        return next(filter(None, parsed), Reason.NOT_A_DATETIME)
    zone = match[ZONE]
    offset = zone if zone and zone[0] in "+-" else "+00:00"
    try:
        # Digits beyond microseconds are truncated: rounding up could change the year.
        return datetime.fromisoformat(f"{match[DAY]}T{match[TIME] or '00:00'}{offset}")
    except ValueError:
        return Reason.NOT_A_DATETIME
