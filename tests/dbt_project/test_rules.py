"""The rules on single fields: the macros' own SQL, run over values, against the same rules in Python."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import Connection
from pydantic import TypeAdapter, ValidationError

from api.employees.hires import value_type
from contracts import Column, LogicalType, table_named
from contracts.rules import Reason, parse
from orchestration.dbt.generated import column_data
from tests.conftest import Database
from tests.dbt_project import judgement
from tests.dbt_project.conftest import Dbt

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
    {{ in_range(column, column.value) }},
    {{ reason(column, 'field', column.value) }}{{ '' if loop.last else ',' }}
    {%% endfor %%}
from typed
order by place
"""
HIRE = {column.name: column for column in table_named("hired_employees").columns}


class Verdicts(NamedTuple):
    """What the rules say of one field: as a text, as an identifier, as a datetime."""

    text: judgement.Verdict
    identifier: judgement.Verdict
    moment: judgement.Verdict


Judge = Callable[[list[str | None]], list[Verdicts]]


def expected(field: str | None) -> Verdicts:
    return Verdicts(judgement.text(field), judgement.identifier(field), judgement.moment(field))


@pytest.fixture(scope="module")
def connection(module_database: Database) -> Iterator[Connection[tuple[Any, ...]]]:
    with module_database.connect() as connection:
        yield connection


def compiled(dbt: Dbt, columns: Sequence[Column]) -> str:
    """Return SQL that gives the value and the reason of each field of its parameter in each of some columns."""
    query = MACROS % [column_data(column) for column in columns]
    return str(dbt("compile", "--inline", query).result.results[0].node.compiled_code)


@pytest.fixture(scope="module")
def judge(module_dbt: Dbt, connection: Connection[tuple[Any, ...]]) -> Judge:
    """Judge fields by the macros, in whatever time zone the connection is."""
    query = compiled(module_dbt, [HIRE["name"], HIRE["id"], HIRE["datetime"]])

    def run(fields: list[str | None]) -> list[Verdicts]:
        return [
            Verdicts(
                (words, no_text and no_text.removeprefix("name:")),
                (number, no_number and no_number.removeprefix("id:")),
                (moment and in_microseconds(moment), no_moment and no_moment.removeprefix("datetime:")),
            )
            for words, no_text, number, no_number, moment, no_moment in connection.execute(query.encode(), [fields])
        ]

    return run


def in_microseconds(moment: datetime) -> int:
    return since_1970(moment.astimezone(UTC).replace(tzinfo=None))


def since_1970(moment: datetime) -> int:
    return judgement.microseconds(moment.date()) + (moment - datetime.combine(moment, datetime.min.time())) // (
        datetime.resolution
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("1", 1), ("2147483647", 2147483647), ("+7", 7), ("007", 7), ("+0000000000000002147483647", 2147483647),
        (" 5", 5), ("5\n", 5), ("\t\r\v\f 5 \t\n\r\v\f", 5), ("0" * 5000 + "1", 1),
    ],
)  # fmt: skip
def test_an_integer_from_1_to_2147483647_is_an_identifier(judge: Judge, field: str, value: int) -> None:
    assert judge([field])[0].identifier == (value, None)


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("missing", [None, "", " ", "\t\n\r\v\f"]),
        ("out_of_range", ["0", "-0", "+0", "000", "-1", "2147483648", "4294967297", "9999999999", "1" + "0" * 5000]),
        (
            "not_an_integer",
            ["1.0", "1.", ".5", "1e3", "1,000", "1_000", "1 000", "0x1", "+", "-", "+-1", "++1", "- 1", "1-", "x",
            "NaN", "null", "\u0661", "\uff11", "1²", "\u00a01", "1\u200b", "1\n1", "v1", "1v", "\\1", "\b1", "'1'"],
        ),
    ],
)  # fmt: skip
def test_any_other_identifier_has_its_reason(judge: Judge, reason: str, fields: list[str | None]) -> None:
    assert [verdicts.identifier for verdicts in judge(fields)] == [(None, reason)] * len(fields)


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
        assert judge([field])[0].moment == (since_1970(value), None)


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("missing", [None, "", " \t\n\r\v\f"]),
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
            "2021-01-01T12:00:00+01:60", "2021-01-01T12:00:00+1", "2021-01-01T12:00:00 Z", "2021-01-01  12:00",
            "2021-01-01T12:00:00.Z", "2021-01-01T12:00:00.1234567890Z", "2021-01-01T12:00:00,5Z",
            "2021-01-01t12:00:00z", "20210101", "2021-1-1", "21-01-01", "+2021-01-01", "-2021-01-01",
            "2021-W01-1", "2021-001", "2021-01", "2021", "1609459200", "01/02/2021", "1 Jan 2021", "Jan-01-2021",
            "now", "today", "tomorrow", "infinity", "-infinity", "epoch", "allballs", "2021-01-01 BC",
            "2021-01-01T12:00:00 America/New_York", "2021-01-01T12:00:00EST", "\u0662021-01-01", "2021-01-01\n12:00",
            "2021-01-01\u00a0", "2021-01-01T12:00:00Z\nx", "2021-01-01T12:00:00+05:", "2021\u221201\u221201"],
        ),
    ],
)  # fmt: skip
def test_any_other_datetime_has_its_reason(judge: Judge, reason: str, fields: list[str | None]) -> None:
    assert {field: verdicts.moment for field, verdicts in zip(fields, judge(fields), strict=True)} == dict.fromkeys(
        fields, (None, reason)
    )


def test_a_text_loses_the_white_space_around_it_and_nothing_else(judge: Judge) -> None:
    """`\\v` is a letter to a server that does not know the escape, and then the name Vlad would begin with an l."""
    fields = [" Ada ", "vlad v", "\v\tA  B\f\r\n", "\u00a0", "\u200b", "\\v", "n", "%s", "x" * 100_000]
    assert [verdicts.text[0] for verdicts in judge([*fields])] == [
        "Ada", "vlad v", "A  B", "\u00a0", "\u200b", "\\v", "n", "%s", "x" * 100_000
    ]  # fmt: skip


white_space = st.text(judgement.WHITE_SPACE, max_size=2)
any_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(white_space, *parts, white_space).map("".join)


nearly_identifiers = joined(
    st.sampled_from(["", "", "+", "-", "+-", "\u00a0"]),
    st.text("0", max_size=12),
    st.integers(0, 3).map(lambda n: str(2147483646 + n))
    | st.integers(0, 10**11).map(str)
    | st.text("01²१", max_size=4),
    st.sampled_from(["", "", "", ".0", "e1", " 1", "_0", "v"]),
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
offsets = st.sampled_from(["", "", "Z", "Z", "z", "+", " Z"]) | st.tuples(
    st.sampled_from("+-"), hours, st.sampled_from(["", ":"]), minutes | st.just("")
).map("".join)
nearly_moments = joined(days) | joined(days, st.sampled_from(["T", "T", " ", "t", "  ", ""]), times, offsets)
fields = nearly_moments | nearly_identifiers | any_text | st.none()


@settings(max_examples=80, deadline=None)
@given(delivered=st.lists(fields, min_size=20, max_size=60))
def test_every_field_is_judged_as_the_rules_say(
    judge: Judge, connection: Connection[tuple[Any, ...]], delivered: list[str | None]
) -> None:
    assert judge(delivered) == [expected(field) for field in delivered]
    with connection.transaction():
        connection.execute("set local timezone to 'America/New_York'")
        assert judge(delivered) == [expected(field) for field in delivered]


def adapter(name: str) -> TypeAdapter[str]:
    (column,) = (column for column in table_named("hired_employees").columns if column.name == name)
    return TypeAdapter[str](value_type(column))


def accepts(adapter: TypeAdapter[str], value: str) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


@settings(max_examples=80, deadline=None)
@given(delivered=st.lists(nearly_moments | any_text, min_size=20, max_size=60))
def test_the_api_takes_the_texts_and_datetimes_that_the_rules_find_nothing_wrong_with(
    judge: Judge, delivered: list[str]
) -> None:
    """A hire that the API has confirmed and the pipeline then rejects is lost without anybody being told."""
    names, moments = (adapter(column) for column in ("name", "datetime"))
    assert [(accepts(names, value), accepts(moments, value)) for value in delivered] == [
        (verdicts.text[1] is None, verdicts.moment[1] is None) for verdicts in judge([*delivered])
    ]


@pytest.mark.parametrize(
    ("field", "accepted"), [("1899-12-31T23:59:59.9999999Z", False), ("2100-12-31T23:59:59.9999999Z", True)]
)
def test_both_cut_fractions_off_where_rounding_would_reach_another_year(
    judge: Judge, field: str, accepted: bool
) -> None:
    assert accepts(adapter("datetime"), field) is accepted
    assert (judge([field])[0].moment[1] is None) is accepted


NUMBERS = {"minimum": -5, "maximum": 2147483648}
YEARS = {"minimum": "2000-01-01T00:00:00Z", "maximum": "2100-01-01T00:00:00Z"}
# What an offset moves out of it is nothing that a datetime of Python's could hold.
ALL_YEARS = {"minimum": "0001-01-02T00:00:00Z", "maximum": "9999-12-31T00:00:00Z"}
EACH_KIND = [
    Column(f"{kind}_{number}", kind, required=required, **limits)
    for kind, wide, narrow in (
        (LogicalType.STRING, {}, {}),
        (LogicalType.INTEGER, {}, NUMBERS),
        (LogicalType.NUMBER, {}, NUMBERS),
        (LogicalType.TIMESTAMP, ALL_YEARS, YEARS),
    )
    for number, (required, limits) in enumerate([(True, wide), (False, wide), (True, narrow), (False, narrow)])
]
numbers = joined(
    st.sampled_from(["", "", "+", "-"]),
    st.integers(0, 10**20).map(str) | st.sampled_from(["5", "6", "2147483648", "2147483649", "00", ""]),
    st.sampled_from(["", "", ".", ".0", ".5", ".0000000000000000000001", "e1", ",5"]),
)


@pytest.fixture(scope="module")
def judge_each_kind(module_dbt: Dbt, connection: Connection[tuple[Any, ...]]) -> Callable[..., list[Any]]:
    """Judge fields by the macros as columns of each type, required and optional, with and without a range."""
    query = compiled(module_dbt, EACH_KIND).encode()
    return lambda fields: connection.execute(query, [fields]).fetchall()


@settings(max_examples=60, deadline=None)
@given(delivered=st.lists(numbers | fields, min_size=20, max_size=40))
def test_the_models_and_python_agree_on_every_kind_of_column_that_a_contract_can_declare(
    judge_each_kind: Callable[..., list[Any]], delivered: list[str | None]
) -> None:
    """What the loader or the API takes for valid and dbt rejects is confirmed to its sender, and lost."""
    for field, (*row,) in zip(delivered, judge_each_kind(delivered), strict=True):
        for number, column in enumerate(EACH_KIND):
            value, reason = row[2 * number : 2 * number + 2]
            parsed = parse(column, field)
            expected = (None, f"{column.name}:{parsed}") if isinstance(parsed, Reason) else (parsed, None)
            assert (field, column.name, value, reason) == (field, column.name, *expected)


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
    ((value, _),) = connection.execute(query.encode(), [["7"]]).fetchall()
    assert type(value) is kind
