"""Departments, jobs and years with their hires, against what Python makes of the same rows."""

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import build_marts, eventually, publish, serving, settings_for
from tests.conftest import Database

# Two of one name, and names that other collations order otherwise; the last of each hires nobody.
KNOWN = {
    "department": {1: "sales", 2: "Sales", 3: "Ärzte", 4: "Sales", 5: "=1+1", 6: "Zoo"},
    "job": {1: "Clerk", 2: "clerk", 3: "Éditeur", 4: "Clerk"},
}
# Year, department, job and hires of each quarter.
HIRES = [
    (year, department, job, *(hires * (year - 2019) for hires in (department, 0, job, 1)))
    for year, department, job in itertools.product((2020, 2021), (1, 2, 3, 4, 5), (1, 2, 3))
]
PLACES = {"department": ("/departments", 1), "job": ("/jobs", 2)}


@pytest.fixture(scope="module")
def client(module_database: Database) -> Iterator[httpx.Client]:
    build_marts(module_database)
    with module_database.connect() as connection:
        for noun, names in KNOWN.items():
            connection.cursor().executemany(f"insert into marts.known_{noun}s values (%s, %s)", [*names.items()])
        connection.cursor().executemany(
            "insert into marts.hires_by_quarter values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (year, d, KNOWN["department"][d], j, KNOWN["job"][j], *quarters)
                for year, d, j, *quarters in HIRES
            ],
        )  # fmt: skip
    publish(module_database)
    with serving(settings_for(module_database)) as client:
        yield client


def expected(noun: str, year: int) -> list[dict[str, Any]]:
    place = PLACES[noun][1]
    hired: Counter[int] = Counter()
    for row in HIRES:
        if row[0] == year:
            hired[row[place]] += sum(row[3:])
    # Python orders text by code point, as the contract says.
    ordered = sorted(KNOWN[noun].items(), key=lambda pair: (pair[1], pair[0]))
    return [{"id": number, noun: name, "hired": hired[number]} for number, name in ordered]


@pytest.mark.parametrize("noun", PLACES)
@pytest.mark.parametrize("year", [2021, 2020, 1999])
def test_all_that_are_known_are_listed_by_name_with_their_hires_of_a_year(
    client: httpx.Client, noun: str, year: int
) -> None:
    """One without hires has a zero: if it were left out, nobody could choose it or see that it hired nobody."""
    address, items = PLACES[noun][0], expected(noun, year)
    assert client.get(address, params={"year": year}).json() == {
        "year": year, "items": items, "total": len(items), "limit": 100, "offset": 0,
    }  # fmt: skip
    if year == 2021:
        assert client.get(address).json() == client.get(address, params={"year": year}).json()


def test_years_are_those_with_hires_in_order(client: httpx.Client) -> None:
    hired: Counter[int] = Counter()
    for row in HIRES:
        hired[row[0]] += sum(row[3:])
    items = [{"year": year, "hired": hired[year]} for year in (2020, 2021)]
    assert client.get("/years").json() == {"items": items, "total": 2, "limit": 100, "offset": 0}
    assert client.get("/years", params={"year": 2021}).status_code == 422


def test_hires_of_a_department_that_is_not_known_are_not_listed(
    client: httpx.Client, module_database: Database
) -> None:
    """Such hires wait. Between two marts of one build a department may also be in the one that is written first."""
    before = client.get("/departments").json()
    publish(module_database, "insert into marts.hires_by_quarter values (2018, 99, 'Nowhere', 1, 'Clerk', 1, 0, 0, 0)")
    eventually(lambda: client.get("/years").json()["total"] == 3)
    assert client.get("/departments").json() == before
    publish(module_database, "delete from marts.hires_by_quarter where year = 2018")
    eventually(lambda: client.get("/years").json()["total"] == 2)


@pytest.mark.parametrize("address", ["/departments", "/jobs", "/years"])
def test_following_next_visits_every_row_once(client: httpx.Client, address: str) -> None:
    page = client.get(address, params={"limit": 1})
    rows = page.json()["items"]
    while "next" in page.links:
        page = client.get(httpx.URL(str(page.url)).join(page.links["next"]["url"]))
        rows += page.json()["items"]
    assert rows == client.get(address).json()["items"]
    assert page.headers["x-total-count"] == str(len(rows))
    assert {*page.links} == {"first", "prev", "last"}


@pytest.mark.parametrize("address", ["/departments", "/jobs", "/years"])
def test_csv_has_all_rows_regardless_of_the_page_and_is_safe_to_open(client: httpx.Client, address: str) -> None:
    file = client.get(address, params={"format": "csv", "limit": 1, "offset": 1})
    items = client.get(address).json()["items"]
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert [{name: value.removeprefix("'") for name, value in row.items() if name in items[0]} for row in rows] == [
        {name: str(value) for name, value in item.items()} for item in items
    ]
    assert ("'=1+1" in file.text) == (address == "/departments")
    assert client.get(address, headers={"Accept": "text/csv"}).content == file.content


@pytest.mark.parametrize("address", ["/departments", "/jobs?year=2020", "/years", "/years?format=csv"])
def test_head_and_conditions_work_as_they_do_for_a_metric(client: httpx.Client, address: str) -> None:
    get, head = client.get(address), client.head(address)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == get.headers["etag"]
    assert head.headers["content-length"] == str(len(get.content))
    again = client.get(address, headers={"If-None-Match": get.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("address", ["/departments?department=1", "/jobs?limit=0", "/years?limit=1&limit=2"])
def test_a_parameter_that_is_not_known_or_wrong_is_a_problem_document(client: httpx.Client, address: str) -> None:
    answer = client.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
