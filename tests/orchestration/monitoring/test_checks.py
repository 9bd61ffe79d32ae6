"""The checks detect manipulated ledgers and tables, and pass on untouched ones."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from contracts import TABLES
from orchestration.database import Connection
from orchestration.defs.checks import (
    deliveries_of_usual_size,
    few_records_rejected,
    late_marts,
    no_open_records,
    nothing_waits_long,
)
from orchestration.defs.models import MARTS
from orchestration.defs.resources import Warehouse
from orchestration.ingest.loader import Failed, Loaded, Outcome, load_pending
from orchestration.monitoring import checks
from orchestration.monitoring.checks import MissingReference, OpenRecord, Share
from tests.conftest import Bucket, Database, environment

DEPARTMENTS, JOBS, HIRED_EMPLOYEES = TABLES


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect("hiring_transformer") as opened:
        yield opened


def load(database: Database, bucket: Bucket, key: str, content: bytes, age_seconds: float = 60) -> int:
    """Load jobs and return the load's number."""
    (outcome,) = outcomes(database, bucket, key, content, age_seconds)
    assert isinstance(outcome, Loaded)
    return outcome.load_id


def fail(database: Database, bucket: Bucket, key: str, content: bytes, age_seconds: float = 60) -> int:
    """Fail to load jobs and return the load's number."""
    (outcome,) = outcomes(database, bucket, key, content, age_seconds)
    assert isinstance(outcome, Failed)
    return outcome.load_id


def outcomes(database: Database, bucket: Bucket, key: str, content: bytes, age_seconds: float) -> list[Outcome]:
    bucket.put(key, content, age_seconds)
    return list(load_pending(database.conninfo("hiring_loader"), bucket.client, bucket.name, JOBS))


BREAKS = {
    "has 1 rows, its ledger says 2": "delete from raw.jobs where _record = 2",
    "lacks a record, or has one twice": "update raw.jobs set _record = 1",
    "has 0 malformed records, its ledger says 1": "delete from raw.rejected_records",
    "has chunks of 5 records, its ledger says 3": "update raw.load_chunks set records = 5",
}


@pytest.mark.parametrize("complaint", BREAKS)
def test_a_discrepancy_is_found_by_both_checks_and_by_the_short_one_only_in_its_own_loads(
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


def test_the_full_check_names_at_most_the_requested_number(
    database: Database, bucket: Bucket, connection: Connection
) -> None:
    load(database, bucket, "jobs.csv", b"".join(b"%d,x\n" % number for number in range(50)))
    database.execute("insert into raw.jobs select * from raw.jobs")

    assert len(checks.discrepancies(connection, 5)) == 5


def test_the_rejected_share_of_a_load_counts_malformed_and_invalid_records(
    database: Database, bucket: Bucket, connection: Connection
) -> None:
    clean = load(database, bucket, "jobs_clean.csv", b"3,Cook\n")
    dirty = load(database, bucket, "jobs_dirty.csv", b"4,Baker\n5,Pilot\nx,Nurse\n7,a,b\n")
    other = load(database, bucket, "jobs_other.csv", b"8,a,b\n9,Clerk\n")

    assert checks.rejected_shares(connection, [clean, dirty]) == [
        Share(dirty, "jobs_dirty.csv", 4, 1, 1),
        Share(clean, "jobs_clean.csv", 1, 0, 0),
    ]
    assert checks.rejected_shares(connection, [other])[0].share == 0.5
    assert checks.rejected_shares(connection, []) == []


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
    malformed, invalid = rejected // 2, rejected - rejected // 2
    shares = [Share(7, "jobs.csv", 1000, malformed, invalid), Share(6, "jobs_a.csv", 1000, 0, 0)]
    result = few_records_rejected(shares)

    assert (result.passed, result.severity) == (passed, severity)
    assert result.metadata["worst_percent"].value == rejected / 10
    assert "jobs_a.csv" in str(result.metadata["loads"].value)


def test_no_load_and_an_empty_load_reject_nothing() -> None:
    assert few_records_rejected([]).passed
    assert few_records_rejected([Share(1, "jobs.csv", 0, 0, 0)]).passed


def test_the_tables_of_the_migrations_have_the_columns_that_objects_deliver(connection: Connection) -> None:
    assert [checks.wrong_columns(connection, table) for table in TABLES] == [[], [], []]


def test_each_column_that_is_not_as_agreed_is_named(database: Database, connection: Connection) -> None:
    database.execute("alter table raw.jobs drop column job")
    database.execute("alter table raw.jobs alter column id type integer using id::integer")
    database.execute("alter table raw.jobs add column country text, add column source text not null")

    assert checks.wrong_columns(connection, JOBS) == [
        "id is integer, not text",
        "job (text) is missing",
        "source is required, but no object has it",
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

    later = timedelta(seconds=checks.MAX_WAIT_SECONDS + 60)
    database.execute("update raw.loads set completed_at = completed_at - %s", later)
    assert checks.waiting(connection, ["hires_by_quarter"]).is_too_long


def test_an_object_that_failed_or_is_held_is_wrong_until_a_later_load_of_it_is_complete(
    database: Database, bucket: Bucket, connection: Connection
) -> None:
    def wrong() -> list[tuple[str, str]]:
        return [(each.object, each.status) for each in checks.failed_objects(connection, JOBS)]

    fail(database, bucket, "jobs_a.csv.gz", b"not gzip")
    load(database, bucket, "jobs_b.csv", b"1,Clerk\n")
    held = load(database, bucket, "jobs_c.csv", b"2,Cook\n")
    database.execute("update raw.loads set status = 'held', error = 'lacks ids' where load_id = %s", held)
    assert wrong() == [("jobs_c.csv", "held"), ("jobs_a.csv.gz", "failed")]
    (first, last) = checks.failed_objects(connection, JOBS)
    assert (first.load_id, first.why) == (held, "lacks ids")
    assert "jobs_a.csv.gz is not valid gzip" in last.why

    fail(database, bucket, "jobs_a.csv.gz", b"nor is this", age_seconds=30)
    assert wrong() == [("jobs_a.csv.gz", "failed"), ("jobs_c.csv", "held")]

    load(database, bucket, "jobs_a.csv.gz", gzip.compress(b"3,Judge\n"), age_seconds=10)
    assert wrong() == [("jobs_c.csv", "held")]


@pytest.mark.parametrize("status", ["abandoned", "loading"])
def test_an_unfinished_later_load_leaves_an_object_failed(
    status: str, database: Database, bucket: Bucket, connection: Connection
) -> None:
    failed = fail(database, bucket, "jobs_a.csv.gz", b"not gzip")
    later = fail(database, bucket, "jobs_a.csv.gz", b"nor is this", age_seconds=30)
    database.execute("update raw.loads set status = %s where load_id = %s", status, later)

    assert [each.load_id for each in checks.failed_objects(connection, JOBS)] == [failed]


def test_an_object_that_failed_concerns_its_own_table_alone_and_a_local_file_concerns_none(
    database: Database, bucket: Bucket, connection: Connection
) -> None:
    fail(database, bucket, "jobs_a.csv.gz", b"not gzip")
    assert checks.failed_objects(connection, DEPARTMENTS) == []
    database.execute("update raw.loads set bucket = 'file://'")
    assert checks.failed_objects(connection, JOBS) == []


@pytest.mark.parametrize(("before", "newest", "is_usual"), [(20, 10, True), (20, 9, False), (19, 1, True)])
def test_less_than_half_of_twenty_records_or_more_is_unusual(before: int, newest: int, is_usual: bool) -> None:
    deliveries = [checks.Delivery(2, "jobs_b.csv", newest), checks.Delivery(1, "jobs_a.csv", before)]
    result = deliveries_of_usual_size(deliveries)

    assert (result.passed, result.severity) == (is_usual, dg.AssetCheckSeverity.WARN)
    if not is_usual:
        assert result.description == "jobs_b.csv has 9 records, jobs_a.csv has 20 records and was the previous one"


def test_a_correction_of_rejected_records_is_compared_with_nothing(
    database: Database, bucket: Bucket, connection: Connection
) -> None:
    """It has few records, and would leave a warning after everything was corrected."""
    load(database, bucket, "jobs_a.csv", b"".join(b"%d,job\n" % number for number in range(1, 30)), age_seconds=60)
    load(database, bucket, "jobs_b.csv", b"id,job,_load_id,_record\n7,Clerk,1,7\n", age_seconds=30)
    assert [each.object for each in checks.last_deliveries(connection, JOBS)] == ["jobs_a.csv"]


def test_the_newest_object_is_compared_with_the_complete_one_before_it(
    database: Database, bucket: Bucket, connection: Connection
) -> None:
    assert deliveries_of_usual_size(checks.last_deliveries(connection, JOBS)).passed
    load(database, bucket, "jobs_a.csv", b"".join(b"%d,x\n" % number for number in range(1, 31)))
    fail(database, bucket, "jobs_b.csv.gz", b"not gzip")
    held = load(database, bucket, "jobs_c.csv", b"1,x\n")
    database.execute("update raw.loads set status = 'held' where load_id = %s", held)

    found = [(each.object, each.records) for each in checks.last_deliveries(connection, JOBS)]
    assert found == [("jobs_c.csv", 1), ("jobs_a.csv", 30)]


class Looks:
    """The sensor late_marts, tick by tick."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: str | None = None

    def tick(self) -> dict[str, bool]:
        """Tick once; return the checks that it reports, and whether they passed."""
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"warehouse": warehouse()}
        ) as context:
            result = late_marts(context)
        if not isinstance(result, dg.SensorResult):
            return {}
        self.cursor = result.cursor
        events = [each for each in result.asset_events if isinstance(each, dg.AssetCheckEvaluation)]
        return {f"{each.asset_key.path[-1]} {each.check_name}": each.passed for each in events}


@pytest.fixture
def looks(database: Database) -> Iterator[Looks]:
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance:
        yield Looks(instance)


def test_the_sensor_reports_once_that_the_marts_are_late_and_once_that_they_no_longer_are(
    database: Database, bucket: Bucket, looks: Looks
) -> None:
    """Reported in each tick, a night would be a thousand events."""
    load(database, bucket, "jobs.csv", b"1,Clerk\n")
    database.execute("update raw.loads set completed_at = completed_at - interval '1 day'")
    late = {f"{mart} shows_every_complete_load": False for mart in MARTS}
    assert looks.tick() == late
    assert looks.tick() == {}
    database.execute("update raw.loads set status = 'failed', completion = null, bucket = 'file://'")
    assert looks.tick() == dict.fromkeys(late, True)
    assert looks.tick() == {}


def test_the_sensor_turns_a_table_green_again_after_a_load_that_no_run_made(
    database: Database, bucket: Bucket, looks: Looks
) -> None:
    fail(database, bucket, "jobs_a.csv.gz", b"not gzip")
    assert looks.tick() == {"jobs every_object_loaded": False}
    assert looks.tick() == {}
    load(database, bucket, "jobs_a.csv.gz", gzip.compress(b"3,Judge\n"), age_seconds=10)
    assert looks.tick() == {"jobs every_object_loaded": True}


def test_the_sensor_warns_of_overdue_references_although_nothing_arrives(database: Database, looks: Looks) -> None:
    """Before the first build there are no marts."""
    assert looks.tick() == {}
    database.execute("""
        create table marts.missing_references (
            table_name text, column_name text, missing_from text, id text, waiting integer, waiting_since timestamptz
        );
        insert into marts.missing_references
        values ('hired_employees', 'department_id', 'departments', '7', 2, now() - interval '2 hours');
        grant select on marts.missing_references to hiring_transformer;
    """)
    assert looks.tick() == {}
    with environment({"WAITING_HOURS": "1"}):
        assert looks.tick() == {"missing_references nothing_waits_long": False}
        assert looks.tick() == {}
        database.execute("delete from marts.missing_references")
        assert looks.tick() == {"missing_references nothing_waits_long": True}


def test_overdue_references_are_named_by_table_and_only_warn() -> None:
    since = datetime(2021, 1, 1, tzinfo=UTC)
    missing = [
        MissingReference("hired_employees", "department_id", "departments", "7", 2, since, 30.0),
        MissingReference("hired_employees", "department_id", "departments", "12", 1, since, 25.0),
        MissingReference("hired_employees", "job_id", "jobs", "3", 5, since, 25.0),
        MissingReference("hired_employees", "job_id", "jobs", "4", 5, since, 1.0),
    ]
    result = nothing_waits_long(missing, 24)

    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == "Records have waited for more than 24 hours for departments 7, 12; jobs 3."
    assert (result.metadata["references"].value, result.metadata["references_for_too_long"].value) == (4, 3)
    assert nothing_waits_long(missing, 30).passed


def test_open_records_are_counted_by_table_and_exported_by_table_without_anybodys_name() -> None:
    record = OpenRecord("hired_employees", "hired_employees.csv", 3, 2, 2, "2", "datetime:missing")
    result = no_open_records({"hired_employees": 1, "jobs": 2}, [record])

    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == "Open rejected records: 1 of hired_employees, 2 of jobs."
    assert (result.metadata["open"].value, result.metadata["open_jobs"].value) == (3, 2)
    assert "datetime:missing" in str(result.metadata["latest"].value)
    assert "rejected --open --csv --table jobs" in str(result.metadata["export"].value)
    only = no_open_records({"jobs": 2}, []).metadata["export"].value
    assert only == "`make ingest ARGS='rejected --open --csv'`"
    assert no_open_records({}, []).passed


def warehouse() -> Warehouse:
    return Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer")  # noqa: S106
