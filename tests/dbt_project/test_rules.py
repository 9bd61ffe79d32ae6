"""The rules for single fields: the macros' SQL, the contract's Python, the API and an oracle, on the same texts."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import Connection
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from api.employees.body import parse as read_json
from api.employees.hires import value_type
from contracts import Column, LogicalType
from contracts.rules import WHITE_SPACE, Reason, parse
from orchestration.dbt.generated import column_data
from tests.conftest import Database
from tests.dbt_project import expected
from tests.dbt_project.conftest import Dbt

IDENTIFIERS = {"logical_type": LogicalType.INTEGER, "minimum": 1, "maximum": 2147483647}
MOMENTS = {
    "logical_type": LogicalType.TIMESTAMP, "minimum": "1900-01-01T00:00:00Z", "maximum": "2101-01-01T00:00:00Z"
}  # fmt: skip
FORMATS = ("%d/%m/%Y", "%d/%m/%Y %H:%M", "%d.%m.%Y, %H:%M:%S", "%Y%m%d", "%Y-%m-%d %H:%M", "%m-%d-%YT%H%M")
NUMBERS = {"minimum": 0.1, "maximum": 1000}
COLUMNS = {
    column.name: column
    for column in (
        Column("text"),
        Column("identifier", **IDENTIFIERS),
        Column("moment", **MOMENTS),
        Column("dated", **MOMENTS, formats=FORMATS),
        Column("optional_text", required=False),
        Column("optional_identifier", **IDENTIFIERS, required=False),
        Column("optional_moment", **MOMENTS, required=False),
        Column("any_moment", LogicalType.TIMESTAMP),
        Column("any_dated", LogicalType.TIMESTAMP, required=False, formats=FORMATS),
        Column("temperature", LogicalType.INTEGER, minimum=-273, maximum=10**12),
        Column("any_integer", LogicalType.INTEGER),
        Column("optional_integer", LogicalType.INTEGER, required=False),
        Column("share", LogicalType.NUMBER, **NUMBERS),
        Column("optional_share", LogicalType.NUMBER, **NUMBERS, required=False),
        Column("any_number", LogicalType.NUMBER),
        Column("optional_number", LogicalType.NUMBER, required=False),
    )
}

MACROS = """
{%% set columns = %s %%}
with fields as (
    select place, field from unnest(%%s::text[]) with ordinality as delivered (field, place)
),

typed as (
    select
        {%% for column in columns %%}
        {{ typed(column, 'field') }} as {{ column.value }},
        {%% endfor %%}
        *
    from fields
)

select
    {%% for column in columns %%}
    {%% set value = in_range(column, column.value) %%}
    -- As a number: an offset moves a datetime out of the years that Python knows.
    {{ '(extract(epoch from ' ~ value ~ ') * 1000000)::bigint' if column.type == 'timestamp' else value }},
    {{ reason(column, 'field', column.value) }}{{ '' if loop.last else ',' }}
    {%% endfor %%}
from typed
order by place
"""

Verdict = expected.Verdict
# What the rules say of one field as a value of each of the columns.
Verdicts = dict[str, Verdict]
Judge = Callable[[list[str | None]], list[Verdicts]]


def of_the_oracle(field: str | None) -> Verdicts:
    """Return the oracle's verdicts, on the columns that it knows the rules of."""
    required: Verdicts = {
        "text": expected.text(field),
        "identifier": expected.identifier(field),
        "moment": expected.moment(field),
    }
    optional = {
        f"optional_{name}": (None, None) if reason == "missing" else (value, reason)
        for name, (value, reason) in required.items()
    }
    return {**required, **optional, "dated": expected.moment(field, FORMATS)}


def of_the_contract(field: str | None) -> Verdicts:
    """Return the verdicts of the contract's rules in Python."""
    return {name: _verdict(parse(column, field)) for name, column in COLUMNS.items()}


def _verdict(parsed: Any) -> Verdict:
    if isinstance(parsed, Reason):
        return None, str(parsed)
    return since_1970(parsed) if isinstance(parsed, datetime) else parsed, None


@pytest.fixture(scope="module")
def connection(module_database: Database) -> Iterator[Connection[tuple[Any, ...]]]:
    with module_database.connect() as connection:
        yield connection


def compiled(dbt: Dbt, columns: Iterable[Column]) -> bytes:
    """Return SQL that gives the value and the reason of each field of its parameter in each of some columns."""
    query = MACROS % [column_data(column) for column in columns]
    return str(dbt("compile", "--inline", query).result.results[0].node.compiled_code).encode()


@pytest.fixture(scope="module")
def judge(module_dbt: Dbt, connection: Connection[tuple[Any, ...]]) -> Judge:
    """Check fields with the macros, in the connection's time zone."""
    query = compiled(module_dbt, COLUMNS.values())

    def run(fields: list[str | None]) -> list[Verdicts]:
        return [
            {
                name: (value, reason and reason.removeprefix(f"{name}:"))
                for name, value, reason in zip(COLUMNS, row[::2], row[1::2], strict=True)
            }
            for row in connection.execute(query, [fields])
        ]

    return run


def since_1970(moment: datetime) -> int:
    """Return the microseconds from 1970 to a point in time; one without a time zone is in UTC."""
    offset = moment.utcoffset() or timedelta()
    return (moment.replace(tzinfo=None) - datetime(1970, 1, 1) - offset) // datetime.resolution


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("1", 1), ("2147483647", 2147483647), ("+7", 7), ("007", 7), ("+0000000000000002147483647", 2147483647),
        (" 5", 5), ("5\n", 5), ("\t\r\v\f 5 \t\n\r\v\f", 5), ("0" * 5000 + "1", 1),
        ("8.0", 8), ("8.00", 8), (" +08.000\n", 8), ("2147483647.0", 2147483647), ("7." + "0" * 5000, 7),
        ("\u00a05", 5), ("5\u200b", 5), ("\ufeff\u2060 5.0\u202f", 5), (WHITE_SPACE + "5" + WHITE_SPACE, 5),
    ],
)  # fmt: skip
def test_an_integer_from_1_to_2147483647_is_an_identifier(judge: Judge, field: str, value: int) -> None:
    assert judge([field])[0]["identifier"] == (value, None)


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        (
            "missing",
            [None, "", " ", "\t\n\r\v\f", "\u00a0", "\ufeff", WHITE_SPACE, "NULL", "null", "\\N", "NaN", "nan", "N/A",
            "n/a", "NA", " Null\u00a0"],
        ),
        ("out_of_range", ["0.0", "-8.0", "2147483648.0", "0", "-0",
             "+0", "000", "-1", "2147483648", "4294967297", "9999999999", "1" + "0" * 5000]),
        (
            "not_an_integer",
            ["8.5", "1.", "1.01", ".0", "1.0.0", "1,0", ".5", "1e3", "1E+05", "1.0e1",
            "1,000", "1_000", "1 000", "0x1", "+", "-", "+-1", "++1", "- 1", "1-", "x",
            "None", "NaT", "nil", "#N/A", "\\NN", "\u0661", "\uff11", "1²", "1\u00a01", "1\u200b1", "1\n1", "v1", "1v",
            "\\1", "\b1", "\x1f1", "'1'"],
        ),
    ],
)  # fmt: skip
def test_any_other_identifier_has_its_reason(judge: Judge, reason: str, fields: list[str | None]) -> None:
    assert [verdicts["identifier"] for verdicts in judge(fields)] == [(None, reason)] * len(fields)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("2021-07-27T16:02:08Z", datetime(2021, 7, 27, 16, 2, 8)),
        ("2021-07-27 16:02:08", datetime(2021, 7, 27, 16, 2, 8)),
        ("2021-07-27T16:02", datetime(2021, 7, 27, 16, 2)),
        ("2021-07-27", datetime(2021, 7, 27)),
        ("\t2021-07-27T16:02:08Z\v", datetime(2021, 7, 27, 16, 2, 8)),
        ("2021-07-27T16:02:08+02:00", datetime(2021, 7, 27, 14, 2, 8)),
        ("2021-07-27T16:02:08-0530", datetime(2021, 7, 27, 21, 32, 8)),
        ("2021-07-27T16:02+14", datetime(2021, 7, 27, 2, 2)),
        ("2021-07-27T16:02:08-00:00", datetime(2021, 7, 27, 16, 2, 8)),
        ("2021-07-27T16:02:08.1Z", datetime(2021, 7, 27, 16, 2, 8, 100_000)),
        ("2021-07-27T16:02:08.000001", datetime(2021, 7, 27, 16, 2, 8, 1)),
        ("2021-07-27T16:02:08.1234567Z", datetime(2021, 7, 27, 16, 2, 8, 123_456)),
        ("2021-07-27T16:02:59.999999999-01:00", datetime(2021, 7, 27, 17, 2, 59, 999_999)),
        ("2021-07-27t16:02:08z", datetime(2021, 7, 27, 16, 2, 8)),
        ("2021-07-27T16:02:08 Z", datetime(2021, 7, 27, 16, 2, 8)),
        ("2021-07-27 16:02:08 UTC", datetime(2021, 7, 27, 16, 2, 8)),
        ("2021-07-27 16:02:08.1234567 utc", datetime(2021, 7, 27, 16, 2, 8, 123_456)),
        ("2021-07-27 16:02:08UTC", datetime(2021, 7, 27, 16, 2, 8)),
        ("2021-07-27 16:02:08 +0000", datetime(2021, 7, 27, 16, 2, 8)),
        ("2021-07-27 16:02:08 +00:00", datetime(2021, 7, 27, 16, 2, 8)),
        ("2021-07-27 16:02:08 -05", datetime(2021, 7, 27, 21, 2, 8)),
        ("\ufeff2021-07-27T16:02:08Z\u00a0", datetime(2021, 7, 27, 16, 2, 8)),
        ("\u200b2021-07-27\u3000", datetime(2021, 7, 27)),
        ("2020-02-29", datetime(2020, 2, 29)),
        ("2000-02-29", datetime(2000, 2, 29)),
        ("1900-01-01", datetime(1900, 1, 1)),
        ("1899-12-31T23:30-00:30", datetime(1900, 1, 1)),
        ("2101-01-01T14:58:59+14:59", datetime(2100, 12, 31, 23, 59, 59)),
        ("2100-12-31T23:59:59.9999999Z", datetime(2100, 12, 31, 23, 59, 59, 999_999)),
        # The clocks of New York skipped the first of these and struck the second twice.
        ("2021-03-14T02:30:00", datetime(2021, 3, 14, 2, 30)),
        ("2021-11-07T01:30:00", datetime(2021, 11, 7, 1, 30)),
    ],
)
@pytest.mark.parametrize("time_zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_an_iso_8601_datetime_is_the_same_moment_in_every_sessions_time_zone(
    judge: Judge, connection: Connection[tuple[Any, ...]], time_zone: str, field: str, value: datetime
) -> None:
    """A datetime without an offset, read in a local time zone, would move hires to another quarter."""
    with connection.transaction():
        connection.execute("select set_config('timezone', %s, true)", [time_zone])
        assert judge([field])[0]["moment"] == (since_1970(value), None)


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("missing", [None, "", " \t\n\r\v\f", "\u00a0", "NULL", "null", "\\N", "NaN", "N/A", "na"]),
        (
            "out_of_range",
            ["1899-12-31T23:59:59.9999999Z", "1899-12-31", "0001-01-01", "1900-01-01T00:00+00:01", "2101-01-01",
            "2100-12-31T23:59:59-00:01", "9999-12-31T23:59:59.999999999-14:59", "0001-01-01T00:00+14:59"],
        ),
        (
            "not_a_datetime",
            ["2021-02-29", "1900-02-29", "2100-02-29", "2021-04-31", "2021-13-01", "2021-00-01", "2021-01-00",
            "0000-01-01", "2021-01-01T24:00:00Z", "2021-01-01T24:00", "2021-01-01T23:60", "2021-01-01T23:59:60Z",
            "2021-01-01T12", "2021-01-01T", "2021-01-01Z", "2021-01-01+01:00", "2021-01-01T12:00:00+15:00",
            "2021-01-01T12:00:00+01:60", "2021-01-01T12:00:00+1", "2021-01-01T12:00:00  Z", "2021-01-01  12:00",
            "2021-01-01T12:00:00\u00a0Z", "2021-01-01 UTC", "2021-01-01 12:00 UT", "2021-01-01 12:00 GMT",
            "2021-01-01 12:00 UTC+01", "2021-01-01 12:00 + 01", "NaT",
            "2021-01-01T12:00:00.Z", "2021-01-01T12:00:00.1234567890Z", "2021-01-01T12:00:00,5Z",
            "2021-02-29T12:00:00Z", "2021-01-01T24:00:00Z", "2021-01-01T25:00:00Z", "2021-01-01T12:60:00Z",
            "44197", "44197.5", "1.6E+09", "01.02.2021", "20210101", "2021-1-1", "21-01-01",
            "+2021-01-01", "-2021-01-01",
            "2021-W01-1", "2021-001", "2021-01", "2021", "1609459200", "01/02/2021", "1 Jan 2021", "Jan-01-2021",
            "now", "today", "tomorrow", "infinity", "-infinity", "epoch", "allballs", "2021-01-01 BC",
            "2021-01-01T12:00:00 America/New_York", "2021-01-01T12:00:00EST", "\u0662021-01-01", "2021-01-01\n12:00",
            "2021-01-01T12:00:00Z\nx", "2021-01-01T12:00:00+05:", "2021\u221201\u221201"],
        ),
    ],
)  # fmt: skip
def test_any_other_datetime_has_its_reason(judge: Judge, reason: str, fields: list[str | None]) -> None:
    assert {field: verdicts["moment"] for field, verdicts in zip(fields, judge(fields), strict=True)} == dict.fromkeys(
        fields, (None, reason)
    )


def test_a_text_is_only_stripped_of_surrounding_white_space(judge: Judge) -> None:
    """`\\v` is a letter to a server that does not know the escape, and then the name Vlad would begin with an l."""
    fields = [" Ada ", "vlad v", "\v\tA  B\f\r\n", "\\v", "n", "u", "%s", "x" * 100_000, "\u00a0Ada\u200b", "\ufeffAda",
              "A\u00a0B", "\u0645\u06cc\u200c\u062e", "\x1fA", "\u00adA", "0 2 a f e"]  # fmt: skip
    assert [verdicts["text"][0] for verdicts in judge([*fields])] == [
        "Ada", "vlad v", "A  B", "\\v", "n", "u", "%s", "x" * 100_000, "Ada", "Ada",
        "A\u00a0B", "\u0645\u06cc\u200c\u062e", "\x1fA", "\u00adA", "0 2 a f e",
    ]  # fmt: skip


def test_a_name_of_only_invisible_characters_is_missing(judge: Judge) -> None:
    fields = [*expected.WHITE_SPACE, expected.WHITE_SPACE]
    assert {verdicts["text"] for verdicts in judge([*fields])} == {(None, "missing")}
    assert {*WHITE_SPACE} == {*expected.WHITE_SPACE}


def test_people_called_null_or_na_stay_people(judge: Judge) -> None:
    """Christopher Null exists, and a product that drops him counts one hire too few."""
    fields = ["Null", "NULL", "NA", "Na", "nan", "N/A", "\\N", "None"]
    assert [verdicts["text"] for verdicts in judge([*fields])] == [(field, None) for field in fields]


def test_words_for_missing_values_are_missing_where_a_value_is_optional(judge: Judge) -> None:
    for verdicts in judge(["", None, "NULL", "\\N", "nan", "N/A", "NA", "\u00a0"]):
        assert (
            verdicts["optional_identifier"] == verdicts["optional_moment"] == verdicts["optional_share"] == (None, None)
        )
    (verdicts,) = judge(["#N/A"])
    assert verdicts["optional_identifier"] == (None, "not_an_integer")
    assert verdicts["optional_moment"] == (None, "not_a_datetime")
    assert verdicts["optional_text"] == ("#N/A", None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("27/07/2021", datetime(2021, 7, 27)),
        ("7/8/2021", datetime(2021, 8, 7)),
        ("07/08/2021 9:05", datetime(2021, 8, 7, 9, 5)),
        ("\u00a027/07/2021 16:02 ", datetime(2021, 7, 27, 16, 2)),
        ("27.7.2021, 16:02:08", datetime(2021, 7, 27, 16, 2, 8)),
        ("20210727", datetime(2021, 7, 27)),
        ("7-27-2021T1602", datetime(2021, 7, 27, 16, 2)),
        ("2021-7-27 9:05", datetime(2021, 7, 27, 9, 5)),
        ("2021-07-27T16:02:08Z", datetime(2021, 7, 27, 16, 2, 8)),
        ("2021-07-27", datetime(2021, 7, 27)),
        ("29/02/2020", datetime(2020, 2, 29)),
    ],
)
def test_a_date_of_a_declared_format_is_read_by_it(judge: Judge, field: str, value: datetime) -> None:
    (verdicts,) = judge([field])
    assert verdicts["dated"] == verdicts["any_dated"] == (since_1970(value), None)


def test_no_date_is_guessed_without_a_declared_format(judge: Judge) -> None:
    """Postgres alone would read 07/27/2021, move 31/04 to May, and take 44197 for a year."""
    fields = [
        "07/27/2021", "31/04/2021", "29/02/2021", "0/1/2021", "1/0/2021", "32/1/2021", "1/13/2021", "1/1/21",
        "1/1/0000",
        "001/1/2021", "1/1/02021", "1/1/2021 24:00", "1/1/2021 23:60", "1/1/2021 9:5", "1/1/2021  9:05",
        "1/1/2021 9:05 UTC", "1/1/2021T9:05", "27.7.2021, 16:02:60", "27x7x2021, 16:02:08", "2021727", "202107270",
        "20211301", "1/1/2021Z", "44197", "\u0661/1/2021", "7-27-2021T162", "2021-7-27", "2021-27-07",
    ]  # fmt: skip
    assert {
        field: verdicts["dated"] for field, verdicts in zip(fields, judge([*fields]), strict=True)
    } == dict.fromkeys(fields, (None, "not_a_datetime"))
    (verdicts,) = judge(["31/12/1899"])
    assert (verdicts["dated"], verdicts["any_dated"][1]) == ((None, "out_of_range"), None)


@pytest.mark.parametrize(
    ("column", "field", "verdict"),
    [
        ("temperature", "-273.0", (-273, None)), ("temperature", "-274", (None, "out_of_range")),
        ("temperature", "1000000000000", (10**12, None)), ("temperature", "1000000000001", (None, "out_of_range")),
        ("temperature", "9" * 30, (None, "out_of_range")), ("temperature", "-0", (0, None)),
        ("any_integer", "9" * 5000, (int("9" * 4000) * 10**1000 + int("9" * 1000), None)),
        ("any_integer", "9" * 131_073, (None, "out_of_range")), ("any_integer", "-1", (-1, None)),
        ("share", "0.1", (Decimal("0.1"), None)), ("share", "0.09", (None, "out_of_range")),
        ("share", "1000.000", (1000, None)), ("share", "1000.001", (None, "out_of_range")), ("share", "8.", (8, None)),
        ("any_number", "1e5", (None, "not_a_number")), ("any_number", ".5", (Decimal("0.5"), None)),
        ("any_number", "1,5", (None, "not_a_number")), ("any_number", "Infinity", (None, "not_a_number")),
        ("any_number", "0." + "1" * 16_384, (None, "out_of_range")), ("any_number", "nan", (None, "missing")),
    ],
)  # fmt: skip
def test_numbers_are_exact_and_within_the_bounds_of_their_column(
    judge: Judge, column: str, field: str, verdict: Verdict
) -> None:
    assert judge([field])[0][column] == of_the_contract(field)[column] == verdict


white_space = st.text(expected.WHITE_SPACE, max_size=2)
any_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(white_space, *parts, white_space).map("".join)


nearly_identifiers = joined(
    st.sampled_from(["", "", "+", "-", "+-", "\u00a0"]),
    st.text("0", max_size=12),
    st.integers(0, 3).map(lambda n: str(2147483646 + n))
    | st.integers(0, 10**13).map(str)
    | st.text("01²१", max_size=4),
    st.sampled_from(["", "", "", ".0", ".00", ".", ".5", "e1", "E+05", " 1", "_0", "v"]),
)
nearly_nulls = joined(
    st.sampled_from(
        ["NULL", "null", "Null", "\\N", "\\n", "NaN", "nan", "N/A", "n/a", "NA", "na", "None", "-", "#N/A", "Nu"]
    )
)
days = st.dates().map(str) | st.tuples(
    st.sampled_from(["0000", "0001", "1899", "1900", "2000", "2021", "2100", "2101", "9999", "999", "10000"]),
    st.sampled_from(["01", "02", "04", "12", "13", "00", "1"]),
    st.sampled_from(["01", "28", "29", "30", "31", "32", "00"]),
).map("-".join)  # fmt: skip
hours = st.sampled_from(["00", "00", "09", "14", "15", "23", "23", "24", "7"])
minutes = st.sampled_from(["00", "01", "30", "59", "59", "60"])
fractions = (
    st.just("")
    | st.text("0123456789", max_size=10).map(".".__add__)
    | st.text("9", min_size=5, max_size=9).map(".".__add__)
)
times = st.builds(
    lambda hour, minute, second, fraction: f"{hour}:{minute}" + (f":{second}{fraction}" if second else ""),
    hours, minutes, minutes | st.just(""), fractions,
)  # fmt: skip
offsets = st.sampled_from(["", "", "Z", "Z", "z", "+", " Z", "UTC", " UTC", " utc", "  UTC", " GMT"]) | st.tuples(
    st.sampled_from(["+", "-", " +", " -", "  +", "\u00a0+"]), hours, st.sampled_from(["", ":"]), minutes | st.just("")
).map("".join)
nearly_moments = joined(days) | joined(days, st.sampled_from(["T", "T", " ", "t", "  ", ""]), times, offsets)
numbers = st.integers(0, 40).map(str) | st.integers(0, 60).map("{:02}".format)
nearly_dated = joined(
    numbers, st.sampled_from(["/", ".", "-", ""]), numbers, st.sampled_from(["/", ".", "-", ""]),
    st.sampled_from(["2021", "2021", "1899", "0000", "21", "9999"]),
    st.just("") | st.tuples(st.sampled_from([" ", ", ", "T", ""]), numbers, st.sampled_from([":", ""]), numbers,
                            st.just("") | numbers.map(":".__add__)).map("".join),
) | st.dates().map(lambda day: f"{day.year:04}{day.month:02}{day.day:02}")  # fmt: skip
nearly_decimals = joined(st.decimals(-2000, 2000, allow_nan=False).map(str), st.sampled_from(["", "", "0", "."]))
fields = nearly_moments | nearly_identifiers | nearly_dated | nearly_decimals | nearly_nulls | any_text | st.none()


@settings(max_examples=80, deadline=None)
@given(delivered=st.lists(fields, min_size=20, max_size=60))
def test_the_models_the_contract_and_the_oracle_agree_on_every_field(
    judge: Judge, connection: Connection[tuple[Any, ...]], delivered: list[str | None]
) -> None:
    """If they differ, a validated file is rejected, or a record counts by mistake."""
    verdicts = judge(delivered)
    assert verdicts == [of_the_contract(field) for field in delivered]
    for judged, field in zip(verdicts, delivered, strict=True):
        right = of_the_oracle(field)
        assert {name: judged[name] for name in right} == right
    with connection.transaction():
        connection.execute("set local timezone to 'America/New_York'")
        connection.execute("set local datestyle to 'SQL, DMY'")
        assert judge(delivered) == verdicts


def accepts(column: Column, values: list[Any]) -> list[bool]:
    """Return for JSON values whether the API accepts each of them for a column."""
    adapter = TypeAdapter[Any](value_type(column))

    def is_accepted(value: Any) -> bool:
        try:
            adapter.validate_python(value)
        except ValidationError:
            return False
        return True

    return [is_accepted(value) for value in values]


def finds_nothing_wrong(column: Column, verdicts: list[Verdicts]) -> list[bool]:
    return [each[column.name][1] is None for each in verdicts]


@settings(max_examples=80, deadline=None)
@given(delivered=st.lists(nearly_moments | nearly_dated | nearly_nulls | any_text, min_size=20, max_size=60))
def test_the_api_accepts_the_same_texts_and_datetimes_as_the_rules(judge: Judge, delivered: list[str]) -> None:
    """A hire that the API has confirmed and the pipeline then rejects is lost without any notice."""
    verdicts = judge([*delivered])
    for column in COLUMNS.values():
        if column.logical_type in (LogicalType.STRING, LogicalType.TIMESTAMP):
            assert accepts(column, delivered) == finds_nothing_wrong(column, verdicts)
            # A client generated from the document sends accepted values, except for the calendar.
            pattern = re.compile(TypeAdapter[Any](value_type(replace(column, required=True))).json_schema()["pattern"])
            taken = zip(delivered, accepts(replace(column, required=True), delivered), strict=True)
            assert [text for text, is_taken in taken if is_taken and not pattern.search(text)] == []


json_numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,12})([.][0-9]{1,4}|[.]0{1,3})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@settings(max_examples=40, deadline=None)
@given(
    delivered=st.lists(json_numbers | st.sampled_from(["8.0", "8.00", "0.1", "1000.0", "NaN", "1e999"]), min_size=20)
)
def test_the_api_accepts_the_same_numbers_as_the_rules(judge: Judge, delivered: list[str]) -> None:
    """What raw is given has every digit that was sent: 8.00000000000000001 is not 8, nor 1e5 written out."""
    values = [read_json(text.encode(), max_tokens=1) for text in delivered]
    stored = [to_json(value).decode().strip('"') for value in values]
    sent_and_stored = zip(delivered, stored, strict=True)
    assert [(sent, kept) for sent, kept in sent_and_stored if sent != kept and re.fullmatch("[0-9.]+", sent)] == []
    verdicts = judge([*stored])
    for column in COLUMNS.values():
        if column.logical_type in (LogicalType.INTEGER, LogicalType.NUMBER):
            is_number = [isinstance(value, int | Decimal) for value in values]
            right = finds_nothing_wrong(column, verdicts)
            assert accepts(column, values) == [a and b for a, b in zip(is_number, right, strict=True)]


@pytest.mark.parametrize(
    ("field", "accepted"), [("1899-12-31T23:59:59.9999999Z", False), ("2100-12-31T23:59:59.9999999Z", True)]
)
def test_both_cut_fractions_off_where_rounding_would_reach_another_year(
    judge: Judge, field: str, accepted: bool
) -> None:
    assert accepts(COLUMNS["moment"], [field]) == [accepted]
    assert (judge([field])[0]["moment"][1] is None) is accepted


@pytest.mark.parametrize(
    ("bounds", "kind"),
    [
        ({"minimum": 1, "maximum": 2147483647}, int),
        ({"minimum": 1, "maximum": 2147483648}, int),
        ({"minimum": 1}, Decimal),
        ({}, Decimal),
    ],
)
def test_an_integer_column_has_the_smallest_type_that_holds_its_range(
    module_dbt: Dbt, connection: Connection[tuple[Any, ...]], bounds: dict[str, int], kind: type
) -> None:
    query = compiled(module_dbt, [Column("size", LogicalType.INTEGER, **bounds)])
    ((value, _),) = connection.execute(query, [["7"]]).fetchall()
    assert type(value) is kind
