"""What the checks find in a ledger and tables that somebody has changed, and what they say when nobody has."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest

from contracts import TABLES
from orchestration.database import Connection
from orchestration.defs.checks import few_records_rejected, late_marts
from orchestration.defs.resources import Warehouse
from orchestration.ingest.loader import Loaded, load_pending
from orchestration.monitoring import checks
from orchestration.monitoring.checks import Share
from tests.conftest import Bucket, Database, environment

DEPARTMENTS, JOBS, HIRED_EMPLOYEES = TABLES


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect("hiring_transformer") as opened:
        yield opened


def load(database: Database, bucket: Bucket, key: str, content: bytes) -> int:
    """Load jobs and return the load's number."""
    bucket.put(key, content)
    outcomes = load_pending(database.conninfo("hiring_loader"), bucket.client, bucket.name, JOBS)
    (load_id,) = [each.load_id for each in outcomes if isinstance(each, Loaded)]
    return load_id


BREAKS = {
    "has 1 rows, its ledger says 2": "delete from raw.jobs where _record = 2",
    "lacks a record, or has one twice": "update raw.jobs set _record = 1",
    "has 0 rejected records, its ledger says 1": "delete from raw.rejected_records",
    "has chunks of 5 records, its ledger says 3": "update raw.load_chunks set records = 5",
}


@pytest.mark.parametrize("complaint", BREAKS)
def test_a_load_that_does_not_add_up_is_found_by_both_looks_and_by_the_short_one_only_in_its_own_loads(
    complaint: str, database: Database, bucket: Bucket, connection: Connection
) -> None:
    broken = load(database, bucket, "jobs_a.csv", b"1,Clerk\n2,Manager\n3,a,b,c\n")
    assert checks.discrepancies_of_loads(connection, JOBS, [broken]) == checks.discrepancies(connection, 10) == []

    database.execute(BREAKS[complaint])
    other = load(database, bucket, "jobs_b.csv", b"4,Cook\n")

    found = checks.discrepancies_of_loads(connection, JOBS, [broken, other])
    assert complaint in [each.complaint for each in found]
    assert {each.load_id for each in found} == {broken}
    assert checks.discrepancies_of_loads(connection, JOBS, [other]) == []
    assert broken in {each.load_id for each in checks.discrepancies(connection, 10)}


def test_the_look_at_everything_names_at_most_what_it_was_asked_for(
    database: Database, bucket: Bucket, connection: Connection
) -> None:
    load(database, bucket, "jobs.csv", b"".join(b"%d,x\n" % number for number in range(50)))
    database.execute("insert into raw.jobs select * from raw.jobs")

    assert len(checks.discrepancies(connection, 5)) == 5


def test_the_rejected_share_is_that_of_the_given_loads_or_of_the_newest_day(
    database: Database, bucket: Bucket, connection: Connection
) -> None:
    old = load(database, bucket, "jobs_old.csv", b"1,Clerk\n2,a,b\n")
    database.execute("update raw.loads set completed_at = completed_at - interval '2 days'")
    clean = load(database, bucket, "jobs_clean.csv", b"3,Cook\n")
    dirty = load(database, bucket, "jobs_dirty.csv", b"4,Baker\n5,Pilot\n6,Nurse\n7,a,b\n")

    assert checks.refused_shares(connection, JOBS, [old]) == [Share(old, "jobs_old.csv", 2, 1)]
    assert checks.refused_shares(connection, JOBS) == [
        Share(dirty, "jobs_dirty.csv", 4, 1),
        Share(clean, "jobs_clean.csv", 1, 0),
    ]
    assert checks.refused_shares(connection, DEPARTMENTS) == []


@pytest.mark.parametrize(
    ("rejected", "passed", "severity"),
    [
        (0, True, dg.AssetCheckSeverity.WARN),
        (10, True, dg.AssetCheckSeverity.WARN),
        (11, False, dg.AssetCheckSeverity.WARN),
        (100, False, dg.AssetCheckSeverity.WARN),
        (101, False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_over_one_in_a_hundred_rejected_is_a_warning_and_over_one_in_ten_an_error(
    rejected: int, passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    result = few_records_rejected([Share(7, "jobs.csv", 1000, rejected), Share(6, "jobs_a.csv", 1000, 0)])

    assert (result.passed, result.severity) == (passed, severity)
    assert result.metadata["worst_percent"].value == rejected / 10
    assert "jobs_a.csv" in str(result.metadata["loads"].value)


def test_no_load_and_a_load_of_nothing_reject_nothing() -> None:
    assert few_records_rejected([]).passed
    assert few_records_rejected([Share(1, "jobs.csv", 0, 0)]).passed


def test_the_tables_of_the_migrations_have_the_columns_that_objects_deliver(connection: Connection) -> None:
    assert [checks.wrong_columns(connection, table) for table in TABLES] == [[], [], []]


def test_each_column_that_is_not_as_agreed_is_named(database: Database, connection: Connection) -> None:
    database.execute("alter table raw.jobs drop column job")
    database.execute("alter table raw.jobs alter column id type integer using id::integer")
    database.execute("alter table raw.jobs add column country text, add column source text not null")

    assert checks.wrong_columns(connection, JOBS) == [
        "id is integer, not text",
        "job (text) is missing",
        "source has to be given, and no object has it",
    ]


def test_a_table_that_is_not_there_lacks_every_column(database: Database, connection: Connection) -> None:
    database.execute("drop table raw.jobs cascade")

    assert len(checks.wrong_columns(connection, JOBS)) == 4


def test_the_marts_are_late_when_a_complete_load_waits_and_not_when_nothing_was_delivered(
    database: Database, bucket: Bucket, connection: Connection
) -> None:
    assert not checks.waiting(connection, ["hires_by_quarter"]).is_too_long

    first = load(database, bucket, "jobs_a.csv", b"1,Clerk\n")
    load(database, bucket, "jobs_b.csv", b"2,Cook\n")
    new = checks.waiting(connection, ["hires_by_quarter"])
    assert (new.loads, new.first_load_id, new.is_too_long) == (2, first, False)

    later = timedelta(seconds=checks.PATIENCE_SECONDS + 60)
    database.execute("update raw.loads set completed_at = completed_at - %s", later)
    assert checks.waiting(connection, ["hires_by_quarter"]).is_too_long


def test_the_sensor_tells_once_that_the_marts_are_late_and_once_that_they_are_not_any_more(
    database: Database, bucket: Bucket
) -> None:
    """Told in each tick, a night would be a thousand alerts."""
    load(database, bucket, "jobs.csv", b"1,Clerk\n")
    database.execute("update raw.loads set completed_at = completed_at - interval '1 day'")
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance:
        cursor: str | None = None
        told: list[list[bool]] = []
        for _ in range(4):
            if len(told) == 2:
                database.execute("update raw.loads set status = 'failed', completion = null")
            with dg.build_sensor_context(
                instance=instance, cursor=cursor, resources={"warehouse": warehouse()}
            ) as context:
                result = late_marts(context)
                cursor = context.cursor
            told.append([each.passed for each in result.asset_events] if isinstance(result, dg.SensorResult) else [])

    assert told == [[False, False], [], [True, True], []]


def warehouse() -> Warehouse:
    return Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer")  # noqa: S106
