"""A hire over HTTP is what the contract says: a column that is declared there needs no edit here."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from api.employees.hires import HIRES, HireModel, rule, value_type
from contracts import Column, LogicalType, table_named
from contracts.rules import Reason, parse
from tests.api.conftest import KEY, build_marts, serving, settings_for
from tests.api.test_employees import hire, pointers
from tests.conftest import Database

TABLE = table_named("hired_employees")
EXTENDED = replace(
    TABLE,
    columns=(
        *TABLE.columns,
        Column("email", LogicalType.STRING, "Address of the person.", required=False, example="ada@example.org"),
        Column("badge", LogicalType.INTEGER, required=False, minimum=10),
        Column("bonus", LogicalType.NUMBER, required=False, maximum=1000),
        Column("left", LogicalType.TIMESTAMP, required=False, minimum="1900-01-01T00:00:00Z"),
    ),
)


@pytest.fixture(scope="module")
def client(module_database: Database) -> Iterator[httpx.Client]:
    build_marts(module_database)
    with serving(settings_for(module_database), hires=HireModel(EXTENDED)) as client:
        yield client


def send(client: httpx.Client, *records: dict[str, Any]) -> httpx.Response:
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    return client.post("/employees", content=json.dumps(records), headers=headers)


def test_the_fields_of_a_hire_are_the_columns_of_the_contract() -> None:
    schema = HIRES.record_schema
    assert list(schema["properties"]) == list(TABLE.column_names)
    assert schema["required"] == list(TABLE.required_names)
    for column in TABLE.columns:
        assert schema["properties"][column.name]["description"] == column.description
        assert schema["properties"][column.name]["examples"] == [column.example]


def test_the_documented_pattern_of_a_datetime_knows_the_centuries_of_its_range() -> None:
    """Without them, most requests of a generated client would be refused."""
    pattern = re.compile(HIRES.record_schema["properties"]["datetime"]["pattern"])
    for text in ("1899-12-31T23:00-02:00", " 2021-07-27 16:02:08.5Z\n", "2100-12-31"):
        assert pattern.search(text)
    for text in ("1799-01-01", "2200-01-01", "2021-13-01", "2021-01-32", "2021-01-01T24:00", "x2021-01-01"):
        assert not pattern.search(text)


def test_an_optional_column_may_be_there_absent_or_null(client: httpx.Client) -> None:
    good = {"email": "ada@example.org", "badge": 10, "bonus": -0.5, "left": "2021-01-01"}
    absent: list[dict[str, Any]] = [{name: value} for name, value in good.items()]
    null = [{name: None} for name in good]
    blank = [{"email": ""}, {"email": " \t"}, {"left": ""}, {"left": " \n"}]
    records = [hire(**changes) for changes in ({}, good, *absent, *null, *blank)]
    answer = send(client, *records)
    assert (answer.status_code, answer.json()["accepted"]) == (201, len(records))


@pytest.mark.parametrize(
    ("field", "value", "detail"),
    [
        *(("email", value, "a string of Unicode text that has no NUL character") for value in (1, True, ["a"], "a\0")),
        *(("badge", value, "an integer of at least 10") for value in (9, 9.0, "10", 10.5, True, [])),
        *(
            ("bonus", value, "a number without an exponent of at most 1000")
            for value in (1000.01, 10**400, -1e99, 1e-7, "1", True, float("nan"), float("inf"))
        ),
        *(
            (
                "left",
                value,
                "an ISO 8601 date, or date and time, like 2021-07-27T16:02:08Z, not before 1900-01-01T00:00:00Z",
            )
            for value in ("1899-12-31", "soon", 2021, "2021-02-29")
        ),
    ],
)
def test_what_an_optional_column_cannot_be_is_refused_with_its_place(
    client: httpx.Client, field: str, value: Any, detail: str
) -> None:
    answer = send(client, hire(), hire(**{field: value}))
    assert pointers(answer) == [f"/1/{field}"]
    assert answer.json()["errors"][0]["detail"] == f"must be {detail}, or null"


def test_a_required_column_stays_required_and_one_of_another_contract_is_not_known(client: httpx.Client) -> None:
    assert pointers(send(client, hire(name=None), hire(salary=1))) == ["/0/name", "/1/salary"]
    incomplete = hire()
    del incomplete["job_id"]
    assert pointers(send(client, incomplete)) == ["/0/job_id"]


def test_the_document_shows_which_fields_may_be_missing(client: httpx.Client) -> None:
    employee = client.get("/openapi.json").json()["components"]["schemas"]["Employee"]
    assert employee["required"] == list(TABLE.required_names)
    email, badge = employee["properties"]["email"], employee["properties"]["badge"]
    assert email["anyOf"] == [{"type": "string", "pattern": r"^[^\x00]*$"}, {"type": "null"}]
    assert (email["description"], email["examples"]) == ("Address of the person.", ["ada@example.org"])
    assert badge["anyOf"] == [{"type": "integer", "minimum": 10}, {"type": "null"}]


@pytest.mark.parametrize(
    "column",
    [
        Column("bounded", LogicalType.NUMBER, minimum=-5, maximum=5),
        Column("free", LogicalType.NUMBER),
        Column("counted", LogicalType.INTEGER),
    ],
    ids=lambda column: column.name,
)
def test_no_number_is_accepted_here_and_rejected_by_the_rules_of_files(column: Column) -> None:
    """It would be confirmed to the client, and then counted in no metric."""
    adapter = TypeAdapter[Any](value_type(column))
    for value in (0, -5, 5, 6, 10**20, 0.1, 4.999, 5.0, -5.5, 1e15, 1e16, 1e17, 1e300, 1e-4, 1e-5, 1e-6, 1e-7):
        try:
            adapter.validate_python(value)
        except ValidationError:
            continue
        assert not isinstance(parse(column, to_json(value).decode()), Reason), value


def test_a_range_of_whole_years_is_described_in_years() -> None:
    (moment,) = (column for column in TABLE.columns if column.logical_type == LogicalType.TIMESTAMP)
    assert rule(moment).endswith("in the years 1900 to 2100 (UTC)")
    other = replace(moment, minimum="2000-06-01T00:00:00Z")
    assert rule(other).endswith("not before 2000-06-01T00:00:00Z and before 2101-01-01T00:00:00Z")
    like = "must be an ISO 8601 date, or date and time, like 2021-07-27T16:02:08Z"
    assert rule(replace(moment, minimum=None, maximum=None)) == like
