"""What becomes of every record, in plain Python out of the words of the data rules: an opinion that is not SQL."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from tests.dbt_project.conftest import COLUMNS, Record

WHITE_SPACE = " \t\n\r\v\f"
SECOND = 1_000_000
DAY = 86_400 * SECOND

Verdict = tuple[object, str | None]


def trimmed(field: str | None) -> str:
    return (field or "").strip(WHITE_SPACE)


def text(field: str | None) -> Verdict:
    """Return the field's text and what is wrong with it."""
    return (trimmed(field), None) if trimmed(field) else (None, "missing")


def identifier(field: str | None) -> Verdict:
    """Return the field's number and what is wrong with it."""
    given = trimmed(field)
    if not given:
        return None, "missing"
    digits = given[1:] if given[0] in "+-" else given
    if not digits or set(digits) - set("0123456789"):
        return None, "not_an_integer"
    significant = digits.lstrip("0")
    # Python refuses to read a number of several thousand digits.
    if given[0] == "-" or not significant or len(significant) > 10 or int(significant) > 2147483647:
        return None, "out_of_range"
    return int(significant), None


def microseconds(day: date) -> int:
    """Return the microseconds from 1970 to the beginning of a day in UTC."""
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY


FIRST, END = microseconds(date(1900, 1, 1)), microseconds(date(2101, 1, 1))


def moment(field: str | None) -> Verdict:
    """Return the field's moment in microseconds since 1970 and what is wrong with it."""
    given = trimmed(field)
    if not given:
        return None, "missing"
    day, time, rest = given[:10], given[11:], given[10:11]
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", day) or rest not in ("", " ", "T") or bool(rest) != bool(time):
        return None, "not_a_datetime"
    try:
        since_1970 = microseconds(date.fromisoformat(day)) + (_time(time) if time else 0)
    except ValueError:
        return None, "not_a_datetime"
    return (since_1970, None) if FIRST <= since_1970 < END else (None, "out_of_range")


def _time(given: str) -> int:
    """Return the microseconds from midnight in UTC of a time, without an offset of one in UTC.

    Raises:
        ValueError: it is no time of the day.
    """
    parts = re.fullmatch("([0-9:.]*)(Z|[+-]|)([0-9:]*)", given)
    if parts is None:
        raise ValueError("not of the characters of a time")
    clock, _, fraction = parts[1].partition(".")
    numbers = clock.split(":")
    if {len(number) for number in numbers} != {2} or len(numbers) not in (2, 3):
        raise ValueError("not HH:MM or HH:MM:SS")
    hour, minute, second = map(int, (*numbers, "0")[:3])
    if hour > 23 or minute > 59 or second > 59 or len(fraction) > 9:
        raise ValueError("not on the clock")
    if given.count(".") != bool(fraction) or (fraction and len(numbers) == 2):
        raise ValueError("a fraction of nothing")
    return (hour * 3600 + minute * 60 + second) * SECOND + int(f"{fraction:0<6}"[:6]) - _offset(parts[2], parts[3])


def _offset(zone: str, given: str) -> int:
    if zone not in ("+", "-"):
        if given:
            raise ValueError("an offset without a sign")
        return 0
    if not re.fullmatch("[0-9]{2}(:?[0-9]{2})?", given):
        raise ValueError("not HH, HHMM or HH:MM")
    hours, minutes = int(given[:2]), int(given[-2:]) if len(given) > 2 else 0
    if hours > 14 or minutes > 59:
        raise ValueError("not an offset")
    return (1 if zone == "+" else -1) * (hours * 60 + minutes) * 60 * SECOND


RULES = {"name": text, "department": text, "job": text, "datetime": moment}


@dataclass(frozen=True)
class Load:
    """A load of a history, in the order of the ids."""

    load_id: int
    table: str
    records: list[Record]
    status: str = "complete"


Place = tuple[str, int, int]


def dispositions(history: Iterable[Load]) -> dict[Place, str | list[tuple[str, str]]]:
    """Return what becomes of each record of each complete load, by table, load and number.

    That is accepted, superseded, waiting or no_row; or the fields that are wrong, with their reasons.
    """
    became: dict[Place, str | list[tuple[str, str]]] = {}
    latest: dict[tuple[str, object], tuple[Place, dict[str, object]]] = {}
    for load in history:
        if load.status != "complete":
            continue
        for number, record in enumerate(load.records, 1):
            place = (load.table, load.load_id, number)
            if isinstance(record, bytes):
                became[place] = "no_row"
                continue
            fields = zip(COLUMNS[load.table], record, strict=True)
            verdicts = {name: RULES.get(name, identifier)(field) for name, field in fields}
            wrong = [(name, reason) for name, (_, reason) in verdicts.items() if reason]
            if wrong:
                became[place] = wrong
                continue
            values = {name: value for name, (value, _) in verdicts.items()}
            key = (load.table, values["id"])
            if key in latest:
                became[latest[key][0]] = "superseded"
            latest[key] = place, values
    for (table, _), (place, values) in latest.items():
        known = table != "hired_employees" or (
            ("departments", values["department_id"]) in latest and ("jobs", values["job_id"]) in latest
        )
        became[place] = "accepted" if known else "waiting"
    return became
