"""Which table an object belongs to by its key."""

import pytest

from contracts import Column, Table
from orchestration.ingest.tables import table_of


@pytest.mark.parametrize(
    ("key", "table"),
    [
        ("departments.csv", "departments"),
        ("jobs.csv", "jobs"),
        ("hired_employees.csv", "hired_employees"),
        ("hired_employees__1_.csv", "hired_employees"),
        ("jobs 2021 (copy).csv", "jobs"),
        ("jobs.csv.gz", "jobs"),
        ("deep/in/some/folder/jobs.csv", "jobs"),
        ("/jobs.csv", "jobs"),
    ],
)
def test_a_file_belongs_to_the_table_that_its_name_begins_with(key: str, table: str) -> None:
    assert owner(key) == table


@pytest.mark.parametrize(
    ("key", "table"),
    [
        ("jobs/may.csv", "jobs"),
        ("jobs/2021/05/may.csv.gz", "jobs"),
        ("jobs/departments.csv", "jobs"),
        ("departments/jobs/anything.csv", "jobs"),
        ("jobs/departments/anything.csv", "departments"),
        ("jobs_of_may/departments.csv", "departments"),
    ],
)
def test_a_folder_that_bears_a_tables_name_decides_and_the_innermost_first(key: str, table: str) -> None:
    assert owner(key) == table


@pytest.mark.parametrize("key", ["employees.csv", "employees_2021.csv.gz", "employees/a.csv", "hired_employees/a.csv"])
def test_employees_are_hired_employees(key: str) -> None:
    assert owner(key) == "hired_employees"


@pytest.mark.parametrize("key", ["Jobs.CSV", "JOBS/May.Csv.GZ", "2021/JOBS_may.csv"])
def test_case_does_not_matter(key: str) -> None:
    assert owner(key) == "jobs"


@pytest.mark.parametrize(
    "key",
    [
        "README.md", "data.parquet", "x.csv", "my_jobs.csv", "job.csv", "jobs", "jobs/", "jobs.csv/", "jobs/readme.md",
        "jobs.csv.zip", "jobs.gz", "jobs.csv.tmp", "folder/.csv", "",
    ],
)  # fmt: skip
def test_any_other_key_belongs_to_no_table(key: str) -> None:
    assert owner(key) is None


def test_the_tables_to_choose_from_can_be_others() -> None:
    cities = Table("cities", (Column("id"),), synonyms=("towns",))
    assert table_of("towns.csv", (cities,)) == cities
    assert table_of("jobs.csv", (cities,)) is None


def owner(key: str) -> str | None:
    table = table_of(key)
    return table.name if table else None
