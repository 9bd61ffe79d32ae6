"""The bucket's objects in Dagster: one partition each, with the ledger's state, however they were loaded."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.definitions.partitions.utils.base import raise_error_on_invalid_partition_key_substring
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from hypothesis import example, given
from hypothesis import strategies as st

from contracts import TABLES
from orchestration.arrivals import partitions
from orchestration.arrivals.partitions import (
    OBJECTS,
    UNKNOWN,
    key_of,
    landing_of,
    newly_seen,
    objects_of,
    partition_of,
    prune,
    report,
)
from orchestration.database import Connection, connect
from orchestration.defs.raw import raw_asset
from orchestration.defs.resources import Warehouse
from orchestration.ingest.loader import Failed, Loaded, Policy, load_pending
from orchestration.ingest.objects import ObjectVersion
from orchestration.instance.failed_partitions import RECORD_RUN
from tests.conftest import Bucket, Database, environment
from tests.orchestration.conftest import landing_of as bucket_as_landing

_, JOBS, _ = TABLES
LANDING_JOBS = landing_of("jobs")
LOADED, FAILED = AssetPartitionStatus.MATERIALIZED, AssetPartitionStatus.FAILED


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with connect(database.conninfo("hiring_loader")) as opened:
        yield opened


def load(database: Database, bucket: Bucket) -> list[Loaded | Failed]:
    """Load everything new for the table jobs like the command line, without Dagster."""
    conninfo = database.conninfo("hiring_loader")
    return list(load_pending(conninfo, bucket.client, bucket.name, JOBS, Policy(give_up_seconds=0)))


def states(instance: dg.DagsterInstance) -> dict[str, AssetPartitionStatus | None]:
    """Return the grid of the table's objects, as the UI gets it."""
    partitions = instance.get_dynamic_partitions("jobs_objects")
    found = instance.get_status_by_partition(LANDING_JOBS, partitions, objects_of("jobs"))
    return {key_of(partition): status for partition, status in (found or {}).items()}


def events_of(instance: dg.DagsterInstance, key: str) -> list[dg.EventLogEntry]:
    """Return the events of an object, latest first."""
    asked = dg.AssetRecordsFilter(asset_key=LANDING_JOBS, asset_partitions=[partition_of(key)])
    records = [
        *instance.fetch_materializations(asked, limit=100).records,
        *instance.fetch_observations(asked, limit=100).records,
    ]
    return [each.event_log_entry for each in sorted(records, key=lambda each: each.storage_id, reverse=True)]


def metadata(entry: dg.EventLogEntry) -> dict[str, object]:
    told = entry.asset_materialization or entry.asset_observation
    assert told
    return {name: value.value for name, value in told.metadata.items()}


def listed(key: str) -> ObjectVersion:
    return ObjectVersion("landing", key, "v", "v", 4, datetime(2021, 1, 1, tzinfo=UTC))


@given(st.text(min_size=1))
@example("a...b....csv")
@example("jobs\n\x00\x7f.csv")
@example("100%2E.csv")
@example("jobs é+1 [2].csv")
def test_any_key_has_a_partition_that_dagster_accepts_and_that_converts_back_to_the_key(key: str) -> None:
    partition = partition_of(key)
    raise_error_on_invalid_partition_key_substring([partition])
    assert key_of(partition) == key


def test_the_partition_of_an_ordinary_key_reads_like_the_key() -> None:
    assert partition_of("2021/jobs é (1).csv.gz") == "2021/jobs é (1).csv.gz"


def test_what_was_loaded_without_dagster_is_shown_with_its_figures(
    instance: dg.DagsterInstance, connection: Connection, database: Database, bucket: Bucket
) -> None:
    bucket.put("jobs.csv", b"1,a\n2\n3,c\n")
    (outcome,) = load(database, bucket)
    assert report(instance, connection, JOBS) == 1
    assert states(instance) == {"jobs.csv": LOADED}
    assert instance.get_dynamic_partitions("objects") == ["jobs.csv"]
    (event,) = events_of(instance, "jobs.csv")
    told = metadata(event)
    assert event.run_id == ""
    assert (told["load_id"], told["records"], told["rejected"], told["size_bytes"]) == (outcome.load_id, 3, 1, 10)
    assert (told["status"], told["version"]) == ("loaded", outcome.item.version)
    assert isinstance(told["seconds"], float)


def test_an_object_that_failed_is_shown_as_failed_with_its_reason_and_others_as_loaded(
    instance: dg.DagsterInstance, connection: Connection, database: Database, bucket: Bucket
) -> None:
    bucket.put("jobs.csv", b"1,a\n")
    bucket.put("jobs_bad.csv.gz", b"not gzip")
    load(database, bucket)
    report(instance, connection, JOBS)
    assert states(instance) == {"jobs.csv": LOADED, "jobs_bad.csv.gz": FAILED}
    assert "is not valid gzip" in str(metadata(events_of(instance, "jobs_bad.csv.gz")[0])["error"])
    assert any("jobs_bad.csv.gz is not valid gzip" in entry.user_message for entry in instance.all_logs(RECORD_RUN))


@pytest.mark.parametrize("status", ["failed", "held"])
def test_the_newest_event_of_a_failed_object_has_the_reason_first(
    status: str, instance: dg.DagsterInstance, connection: Connection, database: Database, bucket: Bucket
) -> None:
    bucket.put("jobs.csv", b"1,a\n")
    load(database, bucket)
    database.execute("update raw.loads set status = %s, error = 'lacks ids', completed_at = null", status)
    report(instance, connection, JOBS)
    assert states(instance) == {"jobs.csv": FAILED}
    (event,) = events_of(instance, "jobs.csv")
    assert event.asset_observation
    assert event.asset_observation.description == "lacks ids"
    assert list(metadata(event).items())[:2] == [("status", status), ("error", "lacks ids")]


def test_a_failed_object_that_is_delivered_corrected_is_no_longer_shown_as_failed(
    instance: dg.DagsterInstance, connection: Connection, database: Database, bucket: Bucket
) -> None:
    for content, status in ((b"1,a,b,c\n", FAILED), (b"1,a\n", LOADED), (b"\x00\x01\x02\x03", FAILED)):
        bucket.put("jobs.csv", content)
        load(database, bucket)
        assert report(instance, connection, JOBS) == 1
        assert states(instance) == {"jobs.csv": status}


def test_reporting_twice_reports_nothing_new(
    instance: dg.DagsterInstance, connection: Connection, database: Database, bucket: Bucket
) -> None:
    bucket.put("jobs.csv", b"1,a\n")
    bucket.put("jobs_bad.csv.gz", b"not gzip")
    load(database, bucket)
    assert [report(instance, connection, JOBS) for _ in range(3)] == [2, 0, 0]
    assert len(events_of(instance, "jobs.csv")) == len(events_of(instance, "jobs_bad.csv.gz")) == 1


def test_a_call_reports_a_limited_number_newest_first_and_the_next_ones_the_rest(
    instance: dg.DagsterInstance,
    connection: Connection,
    database: Database,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partitions, "OBJECTS_PER_REPORT", 2)
    for number in range(5):
        bucket.put(f"jobs_{number}.csv", b"1,a\n", age_seconds=60 - number)
    load(database, bucket)
    told = []
    for _ in range(4):
        report(instance, connection, JOBS)
        told.append(sorted(key for key, status in states(instance).items() if status == LOADED))
    assert told[0] == ["jobs_3.csv", "jobs_4.csv"]
    assert [len(each) for each in told] == [2, 4, 5, 5]


def test_the_loads_of_a_run_lead_to_the_run_and_those_of_others_do_not(
    instance: dg.DagsterInstance, connection: Connection, database: Database, bucket: Bucket
) -> None:
    run = instance.add_run(dg.DagsterRun("refresh"))
    bucket.put("jobs_before.csv", b"1,a\n")
    load(database, bucket)
    bucket.put("jobs_now.csv", b"2,b\n")
    bucket.put("jobs_bad.csv.gz", b"not gzip")
    made = [outcome.load_id for outcome in load(database, bucket)]
    assert report(instance, connection, JOBS, run.run_id, made) == 3
    run_ids = {
        key: events_of(instance, key)[0].run_id for key in ("jobs_before.csv", "jobs_now.csv", "jobs_bad.csv.gz")
    }
    assert run_ids == {"jobs_before.csv": "", "jobs_now.csv": run.run_id, "jobs_bad.csv.gz": run.run_id}


def test_the_step_of_a_raw_table_reports_its_loads_and_earlier_ones_of_others(
    instance: dg.DagsterInstance, database: Database, bucket: Bucket
) -> None:
    bucket.put("jobs_before.csv", b"1,a\n")
    load(database, bucket)
    bucket.put("jobs_now.csv", b"2,b\n")
    resources = {
        "landing": bucket_as_landing(bucket),
        "warehouse": Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer"),  # noqa: S106
    }
    with environment(database.environment):
        result = dg.materialize([raw_asset(JOBS)], resources=resources, instance=instance)
    assert states(instance) == {"jobs_before.csv": LOADED, "jobs_now.csv": LOADED}
    assert events_of(instance, "jobs_now.csv")[0].run_id == result.run_id


def test_failures_are_marked_again_when_the_run_that_bears_them_was_deleted(
    instance: dg.DagsterInstance, connection: Connection, database: Database, bucket: Bucket
) -> None:
    bucket.put("jobs_bad.csv.gz", b"not gzip")
    load(database, bucket)
    report(instance, connection, JOBS)
    instance.delete_run(RECORD_RUN)
    assert report(instance, connection, JOBS) == 1
    assert states(instance) == {"jobs_bad.csv.gz": FAILED}


def test_objects_that_dagster_does_not_have_yet_are_shown_as_seen_once(instance: dg.DagsterInstance) -> None:
    arrived = [("jobs", listed("jobs.csv")), (UNKNOWN, listed("readme.txt"))]
    requests, events = newly_seen(instance, arrived)
    assert {request.partitions_def_name: list(request.partition_keys) for request in requests} == {
        "jobs_objects": ["jobs.csv"],
        "objects": ["jobs.csv"],
        "unknown_objects": ["readme.txt"],
    }
    assert [event.description for event in events] == [
        "jobs.csv is in the bucket for jobs",
        "readme.txt belongs to no table by its name, and is ignored",
    ]
    for request in requests:
        instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    assert newly_seen(instance, arrived) == ([], [])


def test_of_objects_of_no_table_a_bounded_number_is_shown(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "UNKNOWN_OBJECTS", 3)
    instance.add_dynamic_partitions("unknown_objects", ["a.txt", "b.txt"])
    _, events = newly_seen(instance, [(UNKNOWN, listed(f"{number}.txt")) for number in range(9)])
    assert [event.partition for event in events] == ["0.txt"]


def test_the_oldest_partitions_go_and_stay_gone(
    instance: dg.DagsterInstance,
    connection: Connection,
    database: Database,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partitions, "OBJECTS_PER_REPORT", 2)
    for number in range(5):
        bucket.put(f"jobs_{number}.csv", b"1,a\n", age_seconds=60 - number)
        load(database, bucket)
        report(instance, connection, JOBS)
    monkeypatch.setattr(partitions, "OBJECTS_PER_TABLE", 3)
    assert prune(instance) == 2
    assert report(instance, connection, JOBS) == 0
    for definition in (objects_of("jobs"), OBJECTS):
        assert definition.get_partition_keys(dynamic_partitions_store=instance) == [
            "jobs_2.csv",
            "jobs_3.csv",
            "jobs_4.csv",
        ]
