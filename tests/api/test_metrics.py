"""The two metrics against what Python makes of the same rows."""

import itertools
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.metrics.departments_above_mean import DepartmentsAboveMean
from api.metrics.hires_by_quarter import HiresByQuarter
from tests.api.conftest import build_marts, serving, settings_for
from tests.conftest import Database


class Row(NamedTuple):
    year: int
    department_id: int
    department: str
    job_id: int
    job: str
    q1: int
    q2: int
    q3: int
    q4: int


# Two departments and two jobs of one name, and names that other collations order otherwise.
DEPARTMENTS = dict(enumerate(["Sales", "sales", "Ärzte", "Zoo", 'R&D, "x"', "Sales", "Ops\\", "\U0001f600"], 1))
JOBS = dict(enumerate(["Clerk", "clerk", "Éditeur", "A+B=C", "Clerk", "\ue000"], 1))


def make_rows() -> list[Row]:
    dice = random.Random(2021)  # noqa: S311
    rows = [
        Row(year, department, DEPARTMENTS[department], job, JOBS[job], *(dice.randrange(4) for _ in range(4)))
        for year, department, job in itertools.product((2020, 2021), DEPARTMENTS, JOBS)
        if dice.random() < 0.8
    ]
    dice.shuffle(rows)
    return rows


ROWS = make_rows()


@pytest.fixture(scope="module")
def client(module_database: Database) -> Iterator[httpx.Client]:
    build_marts(module_database)
    with module_database.connect() as connection:
        connection.cursor().executemany(
            "insert into marts.hires_by_quarter values (%s, %s, %s, %s, %s, %s, %s, %s, %s)", ROWS
        )
        connection.cursor().executemany(
            "insert into marts.departments_above_mean values (2021, %s, %s, %s, 11.5)",
            [(3, "Ärzte", 20), (9, "Zoo", 12), (1, "Sales", 20), (2, "sales", 31)],
        )
        # 2019: both departments hired five.
        connection.cursor().executemany(
            "insert into marts.hires_by_quarter values (2019, %s, %s, %s, 'Clerk', %s, %s, 0, 1)",
            [(1, "Sales", 1, 3, 1), (2, "Zoo", 1, 1, 0), (2, "Zoo", 2, 0, 2)],
        )
    with serving(settings_for(module_database)) as client:
        yield client


def expected(year: int, departments: list[str], jobs: list[str]) -> list[dict[str, Any]]:
    chosen = [
        row
        for row in ROWS
        if row.year == year
        and (not any(departments) or row.department in departments)
        and (not any(jobs) or row.job in jobs)
    ]
    # Python orders text by code point, as the contract says.
    chosen.sort(key=lambda row: (row.department, row.job, row.department_id, row.job_id))
    return [
        {"department": row.department, "job": row.job, "Q1": row.q1, "Q2": row.q2, "Q3": row.q3, "Q4": row.q4}
        for row in chosen
    ]


def test_by_default_it_returns_a_hundred_rows_of_2021(client: httpx.Client) -> None:
    answer = client.get("/metrics/hires-by-quarter")
    items = expected(2021, [], [])
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"year": 2021, "items": items, "total": len(items), "limit": 100, "offset": 0}
    assert list(answer.json()["items"][0]) == ["department", "job", "Q1", "Q2", "Q3", "Q4"]
    HiresByQuarter.model_validate_json(answer.content, strict=True)


@settings(max_examples=60, deadline=None)
@given(
    year=st.sampled_from([2020, 2021]),
    departments=st.lists(st.sampled_from([*DEPARTMENTS.values(), "", "unknown", "sale"]), max_size=3),
    jobs=st.lists(st.sampled_from([*JOBS.values(), "", "unknown", "' or true --"]), max_size=3),
    limit=st.integers(1, 60),
    offset=st.integers(0, 60),
)
def test_a_page_is_that_slice_of_the_ordered_matching_rows(
    client: httpx.Client, year: int, departments: list[str], jobs: list[str], limit: int, offset: int
) -> None:
    answer = client.get(
        "/metrics/hires-by-quarter",
        params={"year": year, "department": departments, "job": jobs, "limit": limit, "offset": offset},
    )
    items = expected(year, departments, jobs)
    assert answer.json()["items"] == items[offset : offset + limit]
    assert answer.json()["total"] == len(items)
    assert answer.headers["x-total-count"] == str(len(items))


@pytest.mark.parametrize("limit", [1, 7, 40, 1000])
def test_following_next_from_first_and_prev_from_last_visits_every_row_once(client: httpx.Client, limit: int) -> None:
    items = expected(2021, ["Sales", "Ärzte", 'R&D, "x"'], [])
    parameters: dict[str, int | list[str]] = {"limit": limit, "department": ["Sales", "Ärzte", 'R&D, "x"']}
    start = client.get("/metrics/hires-by-quarter", params=parameters)

    def walk(first: str, relation: str) -> list[list[dict[str, Any]]]:
        page = client.get(start.links[first]["url"])
        pages = [page.json()["items"]]
        while relation in page.links:
            page = client.get(page.links[relation]["url"])
            pages.append(page.json()["items"])
        return pages

    forward, backward = walk("first", "next"), walk("last", "prev")
    assert list(itertools.chain.from_iterable(forward)) == items
    assert backward == forward[::-1]


def test_the_first_page_has_no_prev_and_the_last_no_next(client: httpx.Client) -> None:
    total = len(expected(2021, [], []))

    def relations(limit: int, offset: int) -> set[str]:
        answer = client.get("/metrics/hires-by-quarter", params={"limit": limit, "offset": offset})
        return {str(relation) for relation in answer.links}

    assert relations(10, 0) == {"first", "next", "last"}
    assert relations(10, 10) == {"first", "prev", "next", "last"}
    assert relations(10, total - 1) == {"first", "prev", "last"}
    assert relations(total, 0) == {"first", "last"}


def test_a_page_beyond_the_end_is_empty_and_leads_back_to_rows(client: httpx.Client) -> None:
    answer = client.get("/metrics/hires-by-quarter", params={"offset": 2**31 - 1, "limit": 10})
    assert (answer.status_code, answer.json()["items"]) == (200, [])
    assert answer.json()["total"] == len(expected(2021, [], []))
    assert client.get(answer.links["prev"]["url"]).json()["items"]


def test_a_year_without_hires_is_empty(client: httpx.Client) -> None:
    answer = client.get("/metrics/hires-by-quarter", params={"year": 1999})
    assert answer.status_code == 200
    assert answer.json() == {"year": 1999, "items": [], "total": 0, "limit": 100, "offset": 0}
    assert "link" not in answer.headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"), ("limit", "1001"), ("limit", "ten"), ("limit", ""), ("limit", "9" * 5000),
        ("offset", "-1"), ("offset", str(2**31)),
        ("year", "1899"), ("year", "2101"), ("year", "2021.5"),
        *(("year", year) for year in ("+2021", " 2021", "2021 ", "2_021", "2021.0", "\uff12\uff10\uff12\uff11")),
        ("limit", "+10"), ("offset", " 1"),
        ("department", "\0"), ("job", "a\0b"),
        ("format", "xml"), ("format", ""), ("departement", "Sales"), ("Year", "2021"),
    ],
)  # fmt: skip
def test_a_parameter_that_is_wrong_or_not_known_is_refused_by_name_and_never_clamped(
    client: httpx.Client, name: str, value: str
) -> None:
    answer = client.get("/metrics/hires-by-quarter", params={name: value})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["parameter"] for error in answer.json()["errors"]] == [name]


@pytest.mark.parametrize("name", ["limit", "offset", "format", "bom"])
def test_a_parameter_that_has_one_value_is_not_given_twice(client: httpx.Client, name: str) -> None:
    """Another reader, a cache in between or a log, might take the other value."""
    value = {"format": "csv", "bom": "true"}.get(name, "7")
    answer = client.get(f"/metrics/hires-by-quarter?{name}={value}&{name}={value}&job=a&job=b")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"parameter": name, "detail": "is given more than once"}]


@pytest.mark.parametrize(("name", "value"), [("year", "1899"), ("year", "2101"), ("year", "x"), ("limit", "10")])
def test_the_other_metric_refuses_what_it_does_not_know(client: httpx.Client, name: str, value: str) -> None:
    answer = client.get("/metrics/departments-above-mean", params={name: value})
    assert answer.status_code == 422
    assert [error["parameter"] for error in answer.json()["errors"]] == [name]


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8")), st.sampled_from(["department", "job", "year", "limit", "x"]))
def test_no_query_string_is_the_servers_fault(client: httpx.Client, value: str, name: str) -> None:
    assert client.get("/metrics/hires-by-quarter", params={name: value}).status_code in (200, 422)


def test_a_query_string_that_is_not_utf8_is_not_the_servers_fault(client: httpx.Client) -> None:
    assert client.get("/metrics/hires-by-quarter?department=%ff%fe&year=2021").status_code == 200


def test_departments_above_the_mean_come_by_hires_then_id(client: httpx.Client) -> None:
    answer = client.get("/metrics/departments-above-mean")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "year": 2021,
        "mean": 11.5,
        "items": [
            {"id": 2, "department": "sales", "hired": 31},
            {"id": 1, "department": "Sales", "hired": 20},
            {"id": 3, "department": "Ärzte", "hired": 20},
            {"id": 9, "department": "Zoo", "hired": 12},
        ],
    }
    DepartmentsAboveMean.model_validate_json(answer.content, strict=True)


def test_when_every_department_hired_the_same_that_number_is_the_mean(client: httpx.Client) -> None:
    answer = client.get("/metrics/departments-above-mean", params={"year": 2019})
    assert answer.json() == {"year": 2019, "mean": 5, "items": []}


def test_the_mean_of_a_year_without_hires_is_zero(client: httpx.Client) -> None:
    answer = client.get("/metrics/departments-above-mean", params={"year": 1999})
    assert answer.json() == {"year": 1999, "mean": 0, "items": []}


def test_sums_may_be_bigint(database: Database) -> None:
    build_marts(database)
    for column in ("q1", "q2", "q3", "q4"):
        database.execute(f"alter table marts.hires_by_quarter alter {column} type bigint")
    database.execute("alter table marts.departments_above_mean alter hired type bigint")
    database.execute("insert into marts.hires_by_quarter values (2021, 1, 'a', 1, 'b', 1, 2, 3, 4)")
    with serving(settings_for(database)) as client:
        items = client.get("/metrics/hires-by-quarter").json()["items"]
        assert items == [{"department": "a", "job": "b", "Q1": 1, "Q2": 2, "Q3": 3, "Q4": 4}]
        answer = client.get("/metrics/departments-above-mean")
        assert (answer.json()["mean"], answer.json()["items"]) == (10, [])
