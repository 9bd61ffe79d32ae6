"""Raw as only a fault could leave it: the build fails, and what it judged stays unpublished."""

from collections.abc import Collection, Iterator

import pytest

from orchestration.dbt import BUILD, build_arguments, manifest
from tests.conftest import Database
from tests.dbt_project.conftest import COLUMNS, Dbt, Record, build, deliver, unsuccessful

HIRE: Record = ("1", "Ada", "2021-07-27T16:02:08Z", "1", "1")
ANOTHER: Record = ("2", "Bob", "2021-07-27T16:02:08Z", "1", "1")
METRIC = "select year, department, job, q1, q2, q3, q4 from marts.hires_by_quarter"


@pytest.fixture(scope="module")
def sound_load(module_database: Database, module_dbt: Dbt) -> int:
    """A first load of hires, with its department and job, that is built."""
    deliver(module_database, "departments", [("1", "Sales")])
    deliver(module_database, "jobs", [("1", "Clerk")])
    load_id = deliver(module_database, "hired_employees", [HIRE])
    build(module_dbt)
    return load_id


@pytest.fixture
def database(module_database: Database, sound_load: int) -> Iterator[Database]:
    """A database that is built and shows one hire; what a test delivers is taken back."""
    yield module_database
    for table in COLUMNS:
        module_database.execute(f"delete from raw.{table} where _load_id > %s", sound_load)
    for table in ("rejected_records", "loads"):
        module_database.execute(f"delete from raw.{table} where load_id > %s", sound_load)


def published(database: Database) -> set[int]:
    return {load_id for (load_id,) in database.rows("select load_id from marts.published_loads")}


@pytest.mark.parametrize("touched", [None, {"hired_employees"}])
def test_a_record_that_is_there_twice_stops_the_build_before_the_metrics(
    database: Database, module_dbt: Dbt, touched: Collection[str] | None
) -> None:
    """As many records as the ledger says, and yet one of them is lost and the other doubled."""
    before = published(database)
    load_id = deliver(database, "hired_employees", [ANOTHER, ("3", *ANOTHER[1:])])
    database.execute("update raw.hired_employees set _record = 1 where _load_id = %s", load_id)
    result = module_dbt(*build_arguments(manifest(), touched))
    assert not result.success
    assert unsuccessful(result)["each_record_once_checked_hired_employees_source_raw_hired_employees_"] == "fail"
    assert published(database) == before
    assert database.rows(METRIC) == [(2021, "Sales", "Clerk", 0, 0, 1, 0)]


@pytest.mark.parametrize(
    ("table", "records", "lost"),
    [
        ("departments", [b"2", ("2", "New"), ("3", "Newer")], "record"),
        ("jobs", [b"2", ("2", "New"), ("3", "Newer")], "refused record"),
        ("hired_employees", [b"2", ANOTHER, ("3", *ANOTHER[1:])], "record"),
    ],
)
def test_a_load_with_fewer_records_than_its_ledger_says_stays_unpublished(
    database: Database, module_dbt: Dbt, table: str, records: list[Record], lost: str
) -> None:
    before = published(database)
    load_id = deliver(database, table, records)
    if lost == "record":
        database.execute(f"delete from raw.{table} where _load_id = %s and _record = 2", load_id)
    else:
        database.execute("delete from raw.rejected_records where load_id = %s", load_id)
    result = module_dbt(*build_arguments(manifest(), {table}))
    assert not result.success
    assert unsuccessful(result)["loads_agree_with_their_records"] == "fail"
    assert published(database) == before


def test_the_build_after_the_repair_publishes(database: Database, module_dbt: Dbt) -> None:
    load_id = deliver(database, "hired_employees", [ANOTHER])
    database.execute("delete from raw.hired_employees where _load_id = %s", load_id)
    assert not module_dbt(*BUILD).success
    row = (load_id, *ANOTHER)
    database.execute("insert into raw.hired_employees values (%s, 1, %s, %s, %s, %s, %s)", *row)
    build(module_dbt)
    assert load_id in published(database)
    assert database.rows(METRIC) == [(2021, "Sales", "Clerk", 0, 0, 2, 0)]
