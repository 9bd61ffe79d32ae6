"""Hires by month: always twelve months, and the same numbers as Python computes from the rows."""

import csv
import io
from collections.abc import Iterator

import httpx
import pytest

from api.metrics.hires_by_month import HiresByMonth
from tests.api.conftest import build_marts, publish, serving, settings_for
from tests.conftest import Database

MONTHS = "/metrics/hires-by-month"
# Two departments of one name, one whose name differs in case, and gaps.
ROWS = [
    (2021, 1, 1, "Sales", 5),
    (2021, 1, 2, "sales", 3),
    (2021, 3, 3, "Sales", 2),
    (2021, 12, 4, "Ärzte", 4),
    (2020, 2, 1, "Sales", 7),
]


@pytest.fixture(scope="module")
def client(module_database: Database) -> Iterator[httpx.Client]:
    build_marts(module_database)
    with module_database.connect() as connection:
        connection.cursor().executemany("insert into marts.hires_by_month values (%s, %s, %s, %s, %s)", ROWS)
    publish(module_database)
    with serving(settings_for(module_database)) as client:
        yield client


def expected(year: int, *departments: str) -> list[int]:
    return [
        sum(
            row[-1]
            for row in ROWS
            if row[:2] == (year, month) and (not departments or row[3] in departments)
        )
        for month in range(1, 13)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("year", "departments"), [(2021, []), (2021, ["Sales"]), (2021, ["Sales", "Ärzte"]), (2020, ["sales"]), (1999, [])]
)
def test_each_month_of_the_year_has_the_hires_of_the_named_departments_together(
    client: httpx.Client, year: int, departments: list[str]
) -> None:
    """A month left out would be a line drawn straight from its neighbour to the next."""
    answer = client.get(MONTHS, params={"year": year, "department": departments})
    hired = expected(year, *departments)
    assert answer.json()["items"] == [{"month": month, "hired": number} for month, number in enumerate(hired, 1)]
    assert (answer.json()["year"], answer.json()["mean"]) == (year, pytest.approx(sum(hired) / 12))
    assert list(answer.json())[:3] == ["year", "mean", "items"]
    HiresByMonth.model_validate_json(answer.content, strict=True)


def test_its_file_has_twelve_rows_for_each_year_that_has_hires(client: httpx.Client) -> None:
    file = client.get(MONTHS, params={"year": "all", "format": "csv", "department": "Sales"})
    assert list(csv.reader(io.StringIO(file.text))) == [
        ["year", "month", "hired"],
        *(
            [str(year), str(month), str(hired)]
            for year in (2020, 2021)
            for month, hired in enumerate(expected(year, "Sales"), 1)
        ),
    ]


@pytest.mark.parametrize("parameter", ["job=Clerk", "limit=1", "month=1"])
def test_it_refuses_what_it_does_not_know(client: httpx.Client, parameter: str) -> None:
    assert client.get(f"{MONTHS}?{parameter}").status_code == 422
