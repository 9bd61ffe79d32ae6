"""What becomes of every record, in plain Python out of the words of the data rules: an opinion that is not SQL."""

import contextlib
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from tests.dbt_project.conftest import COLUMNS, Record

# Unicode's white space, and what has no width; not the separators of ASCII that Python counts in.
WHITE_SPACE = "".join(
    character
    for character in map(chr, range(0x10000))
    if (character.isspace() and not "\x1c" <= character <= "\x1f") or character in "\u200b\u200c\u200d\u2060\ufeff"
)
SECOND = 1_000_000
DAY = 86_400 * SECOND

Verdict = tuple[object, str | None]


def trimmed(field: str | None) -> str:
    return (field or "").strip(WHITE_SPACE)


def text(field: str | None) -> Verdict:
    """Return the field's text and what is wrong with it."""
    return (trimmed(field), None) if trimmed(field) else (None, "missing")


def without_null(field: str | None) -> str:
    """Return the field's text, of a column that holds no text: words for nothing are nothing."""
    given = trimmed(field)
    return "" if given.lower() in ("null", "\\n", "nan", "n/a", "na") else given


def identifier(field: str | None) -> Verdict:
    """Return the field's number and what is wrong with it."""
    given = without_null(field)
    if not given:
        return None, "missing"
    digits, point, zeros = (given[1:] if given[0] in "+-" else given).partition(".")
    if not digits or set(digits) - set("0123456789") or set(zeros) - {"0"} or bool(point) != bool(zeros):
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


def moment(field: str | None, formats: Iterable[str] = ()) -> Verdict:
    """Return the field's moment in microseconds since 1970 and what is wrong with it."""
    given = without_null(field)
    if not given:
        return None, "missing"
    found = {*_iso_8601(given), *(each for declared in formats for each in _of_format(given, declared))}
    if not found:
        return None, "not_a_datetime"
    # More than one would be a guess.
    (since_1970,) = found
    return (since_1970, None) if FIRST <= since_1970 < END else (None, "out_of_range")


def _iso_8601(given: str) -> Iterator[int]:
    day, time, rest = given[:10], given[11:], given[10:11]
    if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", day) and rest in ("", " ", "T", "t") and bool(rest) == bool(time):
        with contextlib.suppress(ValueError):
            yield microseconds(date.fromisoformat(day)) + (_time(time) if time else 0)


def _of_format(given: str, declared: str) -> Iterator[int]:
    """Yield what Python's strptime reads, as long as strftime writes it so, perhaps without zeros in front."""
    with contextlib.suppress(ValueError):
        read = datetime.strptime(given, declared)
        parts = re.findall("%.|.", declared)
        written = []
        for before, part, after in zip(["", *parts], parts, [*parts[1:], ""], strict=False):
            text = f"{read.year:04}" if part == "%Y" else read.strftime(part)
            short = part in ("%d", "%m", "%H") and "%" not in before + after
            written.append({text, text[1:]} if short and text[0] == "0" else {text})
        if given in map("".join, itertools.product(*written)):
            yield microseconds(read.date()) + (read.hour * 3600 + read.minute * 60 + read.second) * SECOND


def _time(given: str) -> int:
    """Return the microseconds from midnight in UTC of a time, without an offset of one in UTC.

    Raises:
        ValueError: it is no time of the day.
    """
    parts = re.fullmatch("([0-9:.]*)(?: ?(z|utc|[+-])([0-9:]*))?", given, re.IGNORECASE)
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
    since_midnight = (hour * 3600 + minute * 60 + second) * SECOND + int(f"{fraction:0<6}"[:6])
    return since_midnight - _offset(parts[2] or "", parts[3] or "")


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
    source: str = "object"


RecordKey = tuple[str, int, int]


def dispositions(
    history: Iterable[Load], snapshots: Collection[str] = ()
) -> dict[RecordKey, str | list[tuple[str, str]]]:
    """Return what becomes of each record of each complete load, by table, load and number.

    That is accepted, superseded, withdrawn, waiting or no_row; or the fields that are wrong, with their reasons. Of the
    tables in `snapshots` each object is the whole table.
    """
    became: dict[RecordKey, str | list[tuple[str, str]]] = {}
    latest: dict[tuple[str, object], tuple[RecordKey, dict[str, object]]] = {}
    complete = [load for load in history if load.status == "complete"]
    for load in complete:
        for number, record in enumerate(load.records, 1):
            place = (load.table, load.load_id, number)
            if isinstance(record, bytes):
                became[place] = "no_row"
                continue
            verdicts = _verdicts(load.table, record)
            wrong = [(name, reason) for name, (_, reason) in verdicts.items() if reason]
            if wrong:
                became[place] = wrong
                continue
            values = {name: value for name, (value, _) in verdicts.items()}
            key = (load.table, values["id"])
            if key in latest:
                became[latest[key][0]] = "superseded"
            latest[key] = place, values
    for table, key in _lacking(complete, snapshots, latest):
        became[latest.pop((table, key))[0]] = "withdrawn"
    for (table, _), (place, values) in latest.items():
        known = table != "hired_employees" or (
            ("departments", values["department_id"]) in latest and ("jobs", values["job_id"]) in latest
        )
        became[place] = "accepted" if known else "waiting"
    return became


def _verdicts(table: str, record: Sequence[str | None]) -> dict[str, Verdict]:
    fields = zip(COLUMNS[table], record, strict=True)
    return {name: RULES.get(name, identifier)(field) for name, field in fields}


def _lacking(
    complete: Sequence[Load],
    snapshots: Collection[str],
    latest: Mapping[tuple[str, object], tuple[RecordKey, dict[str, object]]],
) -> list[tuple[str, object]]:
    """Return the table and id of each valid record that is older than the newest whole delivery, which lacks it."""
    lacking = []
    newest = {load.table: load for load in complete if load.table in snapshots and load.source == "object"}
    for whole in newest.values():
        rows = [record for record in whole.records if not isinstance(record, bytes)]
        ids = {_verdicts(whole.table, record)["id"][0] for record in rows}
        lacking += [
            (table, key)
            for (table, key), (place, _) in latest.items()
            if table == whole.table and place[1] < whole.load_id and key not in ids
        ]
    return lacking
