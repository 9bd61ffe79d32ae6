"""What only a fault could make of a model: the build fails, and the metrics stay as they were."""

from collections.abc import Iterator

import pytest

from orchestration.dbt.project import BUILD, build_arguments, manifest
from tests.conftest import Database
from tests.dbt_project.conftest import Dbt, Record, build, deliver, unsuccessful

MARTS = ("quarterly_hires", "hires_by_quarter", "hires_by_month", "departments_above_mean")
METRIC = "select year, department, job, q1, q2, q3, q4 from marts.hires_by_quarter order by year, department, job"
PUBLISHED = [(2021, "Sales", "Clerk", 0, 0, 2, 0)]
NEW: list[Record] = [
    ("1", "Ada", "2021-02-01", "1", "1"),
    ("11", "Cid", "2021-05-05", "1", "1"),
    ("12", "Dora", "2021-08-08", "1", "1"),
    ("13", "Eve", "2021-11-11", "1", "7"),
    ("14", "", "2021-11-11", "1", "1"),
]
# Each is a way to damage the staged records of the new load, and the test that has to detect it.
BREAKS = {
    "a record is lost": ("delete from staging.checked_hired_employees where id = 11", "each_hire_once"),
    "a rejected record is lost": (
        "delete from staging.checked_hired_employees where disposition = 'rejected'",
        "each_hire_once",
    ),
    "a record is doubled": (
        "insert into staging.checked_hired_employees "
        "select _load_id, 99, 99, name, hired_at, department_id, job_id, hired_year, hired_quarter, "
        "hired_month, reasons, disposition, delivered, _build from staging.checked_hired_employees where id = 12",
        "each_hire_once",
    ),
    "records are shifted by one": (
        "update staging.checked_hired_employees as hire set (id, name, hired_at) = "
        "(select id, name, hired_at from staging.checked_hired_employees as next "
        "where next._load_id = hire._load_id and next._record = hire._record + 1) where id in (11, 12)",
        "each_hire_once",
    ),
    "hires are shifted by a quarter": (
        "update staging.checked_hired_employees set hired_at = hired_at + interval '3 months', "
        "hired_quarter = hired_quarter + 1, hired_month = hired_month + 3 where id in (11, 12)",
        "each_hire_once",
    ),
    "a hire is in another month of its quarter": (
        "update staging.checked_hired_employees set hired_month = hired_month + 1 where id = 11",
        "each_hire_once",
    ),
    "a hire is in another department": (
        "update staging.checked_hired_employees set department_id = 2 where id = 12",
        "each_hire_once",
    ),
    "an id counts twice": (
        "update staging.checked_hired_employees set disposition = 'accepted' where id = 1",
        "one_record_counts_a_hire",
    ),
    "an id counts no more": (
        "update staging.checked_hired_employees set disposition = 'superseded' where id = 11",
        "one_record_counts_a_hire",
    ),
    "a hire waits for what is there": (
        "update staging.checked_hired_employees set disposition = 'waiting' where id = 11",
        "hires_wait_for_what_is_unknown",
    ),
    "a hire of an unknown job counts": (
        "update staging.checked_hired_employees set disposition = 'accepted' where id = 13",
        "hires_wait_for_what_is_unknown",
    ),
    "a record has a disposition of its own": (
        "update staging.checked_hired_employees set disposition = 'lost' where id = 11",
        "hire_loads_are_accounted_for",
    ),
}


@pytest.fixture(scope="module")
def staged(module_database: Database, module_dbt: Dbt) -> Database:
    """A database that shows two hires, with five records of a new load checked and not yet counted."""
    database = module_database
    deliver(database, "departments", [("1", "Sales"), ("2", "Support")])
    deliver(database, "jobs", [("1", "Clerk")])
    deliver(database, "hired_employees", [("1", "Ada", "2021-07-07", "1", "1"), ("2", "Bob", "2021-07-07", "1", "1")])
    build(module_dbt)
    deliver(database, "hired_employees", NEW)
    build(module_dbt, "run", "--exclude", *MARTS)
    database.execute("create table public.as_judged as select * from staging.checked_hired_employees")
    return database


@pytest.fixture
def database(staged: Database) -> Iterator[Database]:
    """That database, repaired after each test."""
    yield staged
    staged.execute("delete from staging.checked_hired_employees")
    staged.execute("insert into staging.checked_hired_employees select * from public.as_judged")


@pytest.mark.parametrize("broken", BREAKS)
def test_an_error_in_a_model_stops_the_build_before_the_metrics(
    database: Database, module_dbt: Dbt, broken: str
) -> None:
    statement, gate = BREAKS[broken]
    database.execute(statement)
    # Without the damaged models, which would be rebuilt.
    result = module_dbt("build", "--select", "test_type:data", *MARTS)
    failed = unsuccessful(result)
    assert not result.success
    assert failed[gate] == "fail"
    assert {failed[name] for name in MARTS} == {"skipped"}
    assert database.rows(METRIC) == PUBLISHED


@pytest.mark.parametrize("column", ["hired", "month_2"])
def test_a_wrong_count_stops_the_build_before_the_metrics(database: Database, module_dbt: Dbt, column: str) -> None:
    build(module_dbt, "run", "--exclude", *MARTS[1:])
    database.execute(f"update staging.quarterly_hires set {column} = {column} + 1 where quarter = 2")
    result = module_dbt(*BUILD)
    assert unsuccessful(result) == {"quarters_add_up": "fail"} | dict.fromkeys(
        ["quarters_sum_to_hires", *MARTS[1:]], "skipped"
    )
    assert database.rows(METRIC) == PUBLISHED
    database.execute(f"update staging.quarterly_hires set {column} = {column} - 1 where quarter = 2")


@pytest.mark.parametrize("wrong", ["hired = 0, month_1 = 0, month_2 = 0, month_3 = 0", "month_3 = month_3 + 1"])
def test_of_a_large_table_a_build_sees_a_quarter_without_its_new_hires(
    database: Database, module_dbt: Dbt, wrong: str
) -> None:
    """It no longer counts all of them: that is for the night."""
    database.execute(
        "insert into staging.checked_hired_employees (_load_id, _record, reasons, name) "
        "select 0, n, '[]', repeat(md5(n::text), 60) from generate_series(1, 10000) as n"
    )
    database.execute("delete from staging.checked_hired_employees where _load_id = 0")
    build(module_dbt, "run", "--exclude", *MARTS[1:])
    kept = database.rows("select * from staging.quarterly_hires where quarter = 2")
    database.execute(f"update staging.quarterly_hires set {wrong} where quarter = 2")
    result = module_dbt(*BUILD)
    assert unsuccessful(result)["quarters_add_up"] == "fail"
    assert database.rows(METRIC) == PUBLISHED
    database.execute("delete from staging.quarterly_hires where quarter = 2")
    for row in kept:
        database.execute("insert into staging.quarterly_hires values (%s, %s, %s, %s, %s, %s, %s, %s)", *row)


@pytest.mark.parametrize("table", ["departments", "jobs", "hired_employees"])
def test_a_load_with_fewer_records_than_its_ledger_says_stays_unpublished(
    database: Database, module_dbt: Dbt, table: str
) -> None:
    load_id = deliver(database, table, [])
    database.execute("update raw.loads set records = 1, loaded = 1 where load_id = %s", load_id)
    result = module_dbt(*build_arguments(manifest(), {table}))
    database.execute("delete from raw.loads where load_id = %s", load_id)
    database.execute("delete from staging.loads where load_id = %s", load_id)
    one = {"departments": "department", "jobs": "job", "hired_employees": "hire"}[table]
    assert unsuccessful(result)[f"{one}_loads_are_accounted_for"] == "fail"
    assert database.rows(METRIC) == PUBLISHED


def test_a_refused_record_that_is_kept_nowhere_fails_the_build(database: Database, module_dbt: Dbt) -> None:
    load_id = deliver(database, "jobs", [b"2"])
    database.execute("delete from raw.rejected_records where load_id = %s", load_id)
    result = module_dbt(*build_arguments(manifest(), {"jobs"}))
    database.execute("update raw.loads set malformed = 0, rejected = 0, records = 0 where load_id = %s", load_id)
    database.execute("update staging.loads set malformed = 0, rejected = 0, records = 0 where load_id = %s", load_id)
    assert unsuccessful(result)["refused_records_are_kept"] == "fail"


def test_the_same_records_are_published_once_everything_is_right_and_later_damage_is_found_and_repaired(
    staged: Database, module_dbt: Dbt
) -> None:
    build(module_dbt)
    published = [(2021, "Sales", "Clerk", 1, 1, 2, 0)]
    assert staged.rows(METRIC) == published
    # Damage to records published long ago: a test of everything detects it, a full build repairs it.
    statement, gate = BREAKS["records are shifted by one"]
    staged.execute(statement)
    assert unsuccessful(module_dbt("test", "--exclude-resource-type", "unit_test"))[gate] == "fail"
    build(module_dbt, *BUILD, "--full-refresh")
    assert staged.rows(METRIC) == published
    assert staged.rows("select count(*) from staging.checked_hired_employees") == [(7,)]
