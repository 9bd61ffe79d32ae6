"""The rules of each logical type: what a delivered text means as a value of a column, or which rule it breaks.

dbt_project/macros/rules.sql has the same rules in SQL; a test holds the two together.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from contracts.tables import Column, LogicalType

# ASCII's, as Postgres trims it.
WHITE_SPACE = " \t\n\r\v\f"

INTEGER = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)")
# ISO 8601, as the API documents it. The calendar, and the years in UTC, are beyond a pattern.
TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
    r"(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)?)?"
)

Value = str | int | Decimal | datetime


class Reason(StrEnum):
    """Why a value is rejected."""

    MISSING = "missing"
    NOT_AN_INTEGER = "not_an_integer"
    NOT_A_NUMBER = "not_a_number"
    NOT_A_DATETIME = "not_a_datetime"
    OUT_OF_RANGE = "out_of_range"


def parse(column: Column, text: str | None) -> Value | Reason | None:
    """Return what a delivered text means in a column.

    Args:
        column: of the contract.
        text: as it was delivered; None where nothing was.

    Returns:
        Its value, None for a missing one that may be missing, or the rule that it breaks.
    """
    trimmed = (text or "").strip(WHITE_SPACE)
    if not trimmed:
        return Reason.MISSING if column.required else None
    value = PARSERS[column.logical_type](trimmed)
    return value if isinstance(value, Reason) or is_in_range(column, value) else Reason.OUT_OF_RANGE


def is_in_range(column: Column, value: Value) -> bool:
    """Return whether a value is within the minimum and maximum of its column."""
    if isinstance(value, str):
        return True
    if isinstance(value, datetime):
        return (column.minimum is None or datetime.fromisoformat(column.minimum) <= value) and (
            column.maximum is None or value < datetime.fromisoformat(column.maximum)
        )
    return (column.minimum is None or column.minimum <= value) and (column.maximum is None or value <= column.maximum)


def _integer(text: str) -> int | Reason:
    return int(text) if INTEGER.fullmatch(text) else Reason.NOT_AN_INTEGER


def _number(text: str) -> Decimal | Reason:
    try:
        return Decimal(text) if NUMBER.fullmatch(text) else Reason.NOT_A_NUMBER
    except InvalidOperation:
        return Reason.NOT_A_NUMBER


def _timestamp(text: str) -> datetime | Reason:
    if not TIMESTAMP.fullmatch(text):
        return Reason.NOT_A_DATETIME
    try:
        # Digits beyond microseconds are cut off: rounded up they could reach another year.
        moment = datetime.fromisoformat(text)
    except ValueError:
        return Reason.NOT_A_DATETIME
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


PARSERS: Mapping[LogicalType, Callable[[str], Value | Reason]] = {
    LogicalType.STRING: str,
    LogicalType.INTEGER: _integer,
    LogicalType.NUMBER: _number,
    LogicalType.TIMESTAMP: _timestamp,
}
