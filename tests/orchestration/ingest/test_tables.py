"""Which table an object belongs to by its key."""

import pytest

from contracts import Column, Table
from orchestration.ingest.tables import is_hidden, table_of


@pytest.mark.parametrize(
    ("key", "table"),
    [
        ("departments.csv", "departments"),
        ("jobs.csv", "jobs"),
        ("hired_employees.csv", "hired_employees"),
        ("hired_employees__1_.csv", "hired_employees"),
        ("jobs 2021 (copy).csv", "jobs"),
        ("jobs (1).csv", "jobs"),
        ("jobs2021.csv", "jobs"),
        ("jobs-may.csv", "jobs"),
        ("jobs.2021-05.csv", "jobs"),
        ("jobs€.csv", "jobs"),
        ("jobs.csv.gz", "jobs"),
        ("deep/in/some/folder/jobs.csv", "jobs"),
        ("/jobs.csv", "jobs"),
    ],
)
def test_a_file_belongs_to_the_table_that_its_name_begins_with(key: str, table: str) -> None:
    assert owner(key) == table


@pytest.mark.parametrize(
    "key", ["jobsites.csv", "jobsés.csv", "jobsmay.csv", "departmentsold/x.csv", "employeesjobs.csv"]
)
def test_a_name_that_only_begins_with_the_same_letters_is_another_one(key: str) -> None:
    """The records of job sites are jobs by their columns, and would replace jobs by id."""
    assert owner(key) is None


def test_of_two_names_of_which_one_begins_with_the_other_the_longer_one_counts() -> None:
    jobs, job_sites = (Table(name, (Column("id"),)) for name in ("jobs", "jobs_sites"))
    for tables in ((jobs, job_sites), (job_sites, jobs)):
        assert table_of("jobs_sites_2021.csv", tables) == job_sites
        assert table_of("jobs_site.csv", tables) == jobs


@pytest.mark.parametrize(
    "key",
    [
        "jobs.csv/part-00000-7a3c2e1f-0b1d-4c9e-9a51-2f6d3c8e4b70-c000.csv",
        "jobs.csv/part-00000-7a3c2e1f-c000.csv.gz",
        "jobs.csv/part-00000",
        "out/Jobs_2021.csv/part-r-00001.gz",
        "jobs.csv.gz/part-00000.gz",
    ],
)
def test_a_folder_that_is_named_like_a_file_is_a_delivery_of_that_files_table(key: str) -> None:
    """Spark and Hadoop write a folder of parts under the name that they are given for the file."""
    assert owner(key) == "jobs"


@pytest.mark.parametrize(
    "key", ["jobs.csv/_SUCCESS", "jobs.csv/part-00000.snappy.parquet", "jobs.csv/README", "jobs/part-00000"]
)
def test_other_files_in_such_a_folder_belong_to_no_table(key: str) -> None:
    assert owner(key) is None


@pytest.mark.parametrize(
    "key",
    [
        "._jobs.csv", "jobs/._may.csv", "__MACOSX/jobs/._may.csv", ".~lock.jobs.csv#", "~$jobs.csv", "~$jobs.xlsx",
        "jobs.csv.filepart", "jobs.csv.part", "jobs.csv.crdownload", "jobs.csv.tmp", "Jobs.CSV.Part", ".jobs.csv.Xa81",
        "jobs.csv/_SUCCESS", "jobs.csv/.part-00000.csv.crc", "jobs.csv/_committed_8137", "jobs.csv/_started_8137",
        "jobs.csv/_temporary/0/task_1/part-00000.csv", "jobs/", "a/b/", "jobs_$folder$", ".snapshot/jobs.csv",
        ".DS_Store", "Thumbs.db", "jobs/desktop.ini",
    ],
)  # fmt: skip
def test_hidden_and_unfinished_files_are_passed_over(key: str) -> None:
    assert is_hidden(key)


@pytest.mark.parametrize(
    "key", ["jobs.csv", "jobs.csv/part-00000", "old_backup.tar", "_jobs.csv", "readme", "a.b/jobs.csv", "jobs~1.csv"]
)
def test_all_other_objects_in_the_bucket_are_scanned(key: str) -> None:
    """Somebody would wait in vain for a file that is neither loaded nor reported."""
    assert not is_hidden(key)


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
        "jobs.csv.zip", "jobs.gz", "jobs.csv.tmp", "folder/.csv", "", "jobs/._may.csv", "jobs/~$may.csv", "jobs\0.csv",
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
