"""The job reload_object on real servers: a file chosen in the UI is loaded again, up to the marts."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from deploy.local.settings import Settings
from orchestration.arrivals.partitions import OBJECTS, partition_of
from orchestration.definitions import defs
from orchestration.defs.models import BuildConfig
from orchestration.monitoring.alerts import AlertCursor, newest_event, scan_runs
from tests import oracle
from tests.conftest import Bucket, Database, environment, fresh_bucket
from tests.orchestration.conftest import landing_of

# What a file says by the row of its ids: the second one moves a hire, renames a department, and repeats nothing else.
DEPARTMENTS = b"1,Sales\n2,Legal\n"
JOBS = b"1,Clerk\n2,Judge\n"
FIRST = b"1,Ada,2021-01-01T00:00:00Z,1,1\n2,Bob,2021-02-01T00:00:00Z,1,2\n3,Cem,2021-05-01T00:00:00Z,2,1\n4,,,,\n"
SECOND = b"1,Ada,2021-12-01T00:00:00Z,2,2\n3,Cem,2022-05-01T00:00:00Z,1,1\n5,Dia,2021-05-01T00:00:00Z,1,1\n"


@pytest.fixture(scope="module")
def bucket(s3_server: tuple[Settings, Path]) -> Bucket:
    made = fresh_bucket(*s3_server)
    made.put("departments.csv", DEPARTMENTS)
    made.put("jobs.csv", JOBS)
    made.put("hired_employees 1 (é).csv", FIRST, age_seconds=60)
    made.put("hired_employees 2.csv", SECOND, age_seconds=30)
    return made


@pytest.fixture(scope="module")
def instance(module_database: Database, bucket: Bucket) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance after a refresh of all four files."""
    with environment(module_database.environment), dg.DagsterInstance.ephemeral() as opened:
        assert refresh(bucket, opened).success
        yield opened


def refresh(bucket: Bucket, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    config = dg.RunConfig(ops={"dbt_models": BuildConfig(only_touched=True)}).to_config_dict()
    return run("refresh", bucket, instance, config)


def run(
    job: str, bucket: Bucket, instance: dg.DagsterInstance, config: dict[str, object], partition: str | None = None
) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(
        config,
        instance=instance,
        resources={"landing": dg.ResourceDefinition.hardcoded_resource(landing_of(bucket))},
        partition_key=partition,
        raise_on_error=False,
    )


def reload(bucket: Bucket, instance: dg.DagsterInstance, key: str, **config: object) -> dg.ExecuteInProcessResult:
    partition = partition_of(key)
    instance.add_dynamic_partitions(OBJECTS.name or "", [partition])
    return run("reload_object", bucket, instance, {"ops": {"load_again": {"config": config}}}, partition)


def reason(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data
    assert data.description
    return data.description


def hires(database: Database) -> list[tuple[object, ...]]:
    return database.rows("""
        select department, job, q1, q2, q3, q4 from marts.hires_by_quarter
        where year = 2021 order by department collate "C", job collate "C"
    """)


def expected(bucket: Bucket, *in_order: str) -> list[tuple[object, ...]]:
    files = {"departments": ["departments.csv"], "jobs": ["jobs.csv"], "hired_employees": list(in_order)}
    items = oracle.hires_by_quarter(oracle.frames(bucket.folder, files), 2021)
    return [tuple(item.values()) for item in items]


def test_a_reloaded_file_counts_as_the_latest_up_to_the_marts(
    instance: dg.DagsterInstance, bucket: Bucket, module_database: Database
) -> None:
    first, second = "hired_employees 1 (é).csv", "hired_employees 2.csv"
    assert hires(module_database) == expected(bucket, first, second)
    result = reload(bucket, instance, first)
    assert result.success
    assert module_database.rows("select reload, status from raw.loads where key = %s order by load_id", first) == [
        (0, "complete"),
        (1, "complete"),
    ]
    # The build is the sensor's, which finds the load as not shown.
    assert hires(module_database) == expected(bucket, first, second)
    assert refresh(bucket, instance).success
    assert hires(module_database) == expected(bucket, first, second, first)
    assert hires(module_database) != expected(bucket, first, second)
    assert module_database.rows("select * from raw.discrepancies") == []


def test_dagster_shows_the_reload_at_the_object_with_a_link_to_its_run(
    instance: dg.DagsterInstance, bucket: Bucket
) -> None:
    result = reload(bucket, instance, "jobs.csv")
    (newest,) = instance.fetch_materializations(dg.AssetKey(["landing", "jobs"]), limit=1).records
    assert (newest.run_id, newest.partition_key) == (result.run_id, "jobs.csv")


def test_a_file_that_failed_is_loaded_with_the_share_that_the_configuration_allows(
    instance: dg.DagsterInstance, bucket: Bucket, module_database: Database
) -> None:
    bucket.put("jobs_bad.csv", b"7,Cook\n8\n9\n")
    assert "more than 50% of the records are rejected" in reason(reload(bucket, instance, "jobs_bad.csv"))
    assert reload(bucket, instance, "jobs_bad.csv", reject_share=0.9).success
    assert module_database.rows("select status from raw.loads where key = 'jobs_bad.csv' order by load_id") == [
        ("abandoned",),
        ("complete",),
    ]


def test_a_failed_reload_turns_its_table_red_and_the_one_that_succeeds_turns_it_green(
    instance: dg.DagsterInstance, bucket: Bucket
) -> None:
    def is_green() -> bool:
        check = dg.AssetCheckKey(dg.AssetKey(["raw", "jobs"]), "every_object_loaded")
        record = instance.get_latest_asset_check_evaluation_record(check)
        assert record
        evaluation = record.event.asset_check_evaluation
        return bool(evaluation and evaluation.passed)

    bucket.put("jobs_red.csv", b"7,Cook\n8\n9\n")
    reload(bucket, instance, "jobs_red.csv")
    assert not is_green()
    assert reload(bucket, instance, "jobs_red.csv", reject_share=0.9).success
    assert is_green()


def test_a_failed_reload_is_reported_once_although_each_load_of_its_table_shows_it_again(
    instance: dg.DagsterInstance, bucket: Bucket
) -> None:
    cursor = AlertCursor(event=newest_event(instance))
    bucket.put("jobs_told.csv", b"7,Cook\n8\n9\n")
    reload(bucket, instance, "jobs_told.csv")
    first = scan_runs(instance, cursor, "")
    assert first.alert
    assert "more than 50% of the records are rejected" in first.alert.text
    assert refresh(bucket, instance).success
    assert scan_runs(instance, first.cursor, "").alert is None
    assert reload(bucket, instance, "jobs_told.csv", reject_share=0.9).success


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("jobs_gone.csv", "jobs_gone.csv is not in the bucket any more"),
        ("notes.txt", "the name of notes.txt matches no table"),
    ],
)
def test_an_object_that_cannot_be_reloaded_is_named_with_the_reason(
    instance: dg.DagsterInstance, bucket: Bucket, module_database: Database, key: str, why: str
) -> None:
    before = module_database.rows("select count(*) from raw.loads")
    result = reload(bucket, instance, key)
    assert not result.success
    assert why in reason(result)
    assert module_database.rows("select count(*) from raw.loads") == before
