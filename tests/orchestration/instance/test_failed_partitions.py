"""Dagster shows a partition as failed only if a failed run had planned to materialize it."""

import logging
import time

import dagster as dg
import pytest
from dagster import AssetPartitionStatus, DagsterEvent, EventLogEntry
from dagster._core.definitions.events import AssetMaterializationFailure, AssetMaterializationFailureReason
from dagster._core.events import AssetMaterializationFailureType

from orchestration.instance.failed_partitions import RECORD_RUN, has_marks, mark_failed

KEY = dg.AssetKey(["landing", "jobs"])
OBJECTS = dg.DynamicPartitionsDefinition(name="jobs_objects")


@pytest.fixture(autouse=True)
def _partition(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("jobs_objects", ["jobs.csv"])


def status(instance: dg.DagsterInstance) -> AssetPartitionStatus | None:
    """Return the partition's state, as the UI gets it."""
    return (instance.get_status_by_partition(KEY, ["jobs.csv"], OBJECTS) or {}).get("jobs.csv")


def test_dagster_shows_a_partition_in_the_plan_of_a_failed_run_as_failed_until_it_is_materialized(
    instance: dg.DagsterInstance,
) -> None:
    for _ in range(2):
        mark_failed(instance, KEY, {"jobs.csv": "jobs.csv, load 7: not gzip"})
        assert status(instance) == AssetPartitionStatus.FAILED
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition="jobs.csv"))
        assert status(instance) == AssetPartitionStatus.MATERIALIZED


def test_dagster_shows_the_reason_as_an_error_in_the_log_of_the_record(instance: dg.DagsterInstance) -> None:
    mark_failed(instance, KEY, {"jobs.csv": "jobs.csv, load 7: not gzip"})
    errors = [entry.user_message for entry in instance.all_logs(RECORD_RUN) if entry.level == logging.ERROR]
    assert errors == ["jobs.csv, load 7: not gzip"]
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[RECORD_RUN]))
    assert record.dagster_run.is_failure


def test_dagster_forgets_the_failures_of_a_run_that_is_deleted(instance: dg.DagsterInstance) -> None:
    mark_failed(instance, KEY, {"jobs.csv": "jobs.csv, load 7: not gzip"})
    assert has_marks(instance)
    instance.delete_run(RECORD_RUN)
    assert not has_marks(instance)
    assert status(instance) is None


def test_dagster_accepts_no_failure_of_a_partition_outside_of_a_run(instance: dg.DagsterInstance) -> None:
    """Once it does, the record can go: see docs/decisions.md."""
    instance.report_runless_asset_event(dg.AssetObservation(KEY, partition="jobs.csv"))
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(asset_key=KEY, check_name="is_loaded", passed=False, metadata={}, partition="jobs.csv")
    )
    failure = AssetMaterializationFailure(
        asset_key=KEY,
        partition="jobs.csv",
        failure_type=AssetMaterializationFailureType.FAILED,
        reason=AssetMaterializationFailureReason.FAILED_TO_MATERIALIZE,
    )
    event = DagsterEvent.build_asset_failed_to_materialize_event("", None, failure)
    instance.handle_new_event(EventLogEntry(None, logging.INFO, "", "", time.time(), None, "", event))
    assert status(instance) is None
