"""A filter value that is not a known name can be distinguished from a name without hires."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.metrics.hints import MAX_HINTS
from tests.api.conftest import build_marts, publish, serving, settings_for
from tests.conftest import Database

HIRES = "/metrics/hires-by-quarter"
MONTHS = "/metrics/hires-by-month"
DEPARTMENTS = ["Sales", "SALES", "Ärzte", "Research and Development", "Legal"]
JOBS = ["Clerk", "Sales Manager"]


@pytest.fixture(scope="module")
def client(module_database: Database) -> Iterator[httpx.Client]:
    build_marts(module_database)
    with module_database.connect() as connection:
        for noun, names in (("department", DEPARTMENTS), ("job", JOBS)):
            connection.cursor().executemany(f"insert into marts.known_{noun}s values (%s, %s)", [*enumerate(names, 1)])
        connection.execute("insert into marts.hires_by_quarter values (2021, 1, 'Sales', 1, 'Clerk', 1, 0, 0, 0)")
        connection.execute("insert into marts.hires_by_month values (2021, 1, 1, 'Sales', 1)")
    publish(module_database)
    with serving(settings_for(module_database)) as client:
        yield client


def hints(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    assert ("x-hint" in answer.headers) == ("hints" in answer.json())
    return list(answer.json().get("hints", []))


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("sales", ["SALES", "Sales"]),
        ("  LEGAL ", ["Legal"]),
        ("Slaes", ["SALES", "Sales"]),
        ("ärzte", ["Ärzte"]),
        ("Research & Development", ["Research and Development"]),
        ("xyz", []),
    ],
)
@pytest.mark.parametrize("address", [HIRES, MONTHS])
def test_a_name_that_is_not_known_comes_with_those_that_are_near(
    client: httpx.Client, address: str, asked: str, near: list[str]
) -> None:
    answer = client.get(address, params={"department": asked})
    assert hints(answer) == [{"parameter": "department", "value": asked, "did_you_mean": near}]
    assert not any(item.get("hired") for item in answer.json()["items"])


@pytest.mark.parametrize(
    "asked",
    [{}, {"department": "Legal"}, {"year": 1999, "department": "Sales"}, {"department": "Sales", "job": "Clerk"}],
)
def test_a_known_name_gets_no_hint_whether_or_not_it_hired(client: httpx.Client, asked: dict[str, str | int]) -> None:
    """An empty response without a hint means that nobody was hired: the name is correct."""
    answer = client.get(HIRES, params=asked)
    assert hints(answer) == []
    assert list(answer.json()) == ["year", "items", "total", "limit", "offset"]


def test_the_rows_of_the_names_that_are_known_come_with_a_hint_for_those_that_are_not(client: httpx.Client) -> None:
    answer = client.get(HIRES, params={"department": ["Sales", "legal"], "job": ["Clerk", "sales manger"]})
    assert len(answer.json()["items"]) == 1
    assert hints(answer) == [
        {"parameter": "department", "value": "legal", "did_you_mean": ["Legal"]},
        {"parameter": "job", "value": "sales manger", "did_you_mean": ["Sales Manager"]},
    ]


@pytest.mark.parametrize("address", [HIRES, f"{HIRES}?format=csv", f"{MONTHS}?format=csv"])
def test_the_header_has_it_in_ascii_for_files_and_for_unmodified_responses(client: httpx.Client, address: str) -> None:
    for asked, sentence in {
        "arzte\r\nX: y": r'There is no department "arzte\r\nX: y".',
        "ärzte": r'There is no department "\u00e4rzte"; did you mean "\u00c4rzte"?',
        "Sales": None,
    }.items():
        answer = client.get(address, params={"department": asked})
        assert answer.headers.get("x-hint") == sentence
        assert "x" not in answer.headers
        again = client.get(answer.url, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.headers.get("x-hint")) == (304, sentence)


def test_only_the_first_of_many_names_get_a_hint_and_a_long_one_is_cut(client: httpx.Client) -> None:
    many = hints(client.get(HIRES, params={"department": [*map(str, range(100)), "x" * 5000]}))
    assert len(many) == MAX_HINTS
    (long,) = hints(client.get(HIRES, params={"department": "Sales" * 1000}))
    assert (len(long["value"]), long["did_you_mean"]) == (100, [])


def test_marts_without_names_give_responses_without_hints(database: Database) -> None:
    build_marts(database)
    database.execute("drop table marts.known_departments")
    with serving(settings_for(database)) as client:
        assert hints(client.get(HIRES, params={"department": "sales"})) == []


def test_it_is_documented_where_to_find_names(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    assert "hints" not in schemas["HiresByQuarter"]["required"]
    assert (
        json.dumps(schemas["HiresByMonth"]["properties"]["hints"]["items"]) == '{"$ref": "#/components/schemas/Hint"}'
    )
    assert "hints" not in schemas["DepartmentsAboveMean"]["properties"]
    assert "X-Hint" in document["paths"][HIRES]["get"]["responses"]["200"]["headers"]
