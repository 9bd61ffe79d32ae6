"""Storing and reading events of many partitions in batches in Dagster's storage."""

import dagster as dg
import pytest
from dagster import DagsterEventType

from orchestration.instance.asset_events import data_version_tags, latest_data_versions, store_events

KEY = dg.AssetKey(["landing", "jobs"])
KINDS = {
    DagsterEventType.ASSET_MATERIALIZATION: dg.AssetMaterialization,
    DagsterEventType.ASSET_OBSERVATION: dg.AssetObservation,
}


@pytest.fixture
def run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    return instance.add_run(dg.DagsterRun("refresh", status=dg.DagsterRunStatus.SUCCESS))


def shown(instance: dg.DagsterInstance) -> dict[str | None, str]:
    """Return the runs that the UI shows partitions with."""
    fetched = [
        fetch(KEY, limit=100).records for fetch in (instance.fetch_materializations, instance.fetch_observations)
    ]
    return {record.partition_key: record.run_id for records in fetched for record in records}


def test_dagster_stores_a_batch_of_both_kinds_as_events_of_the_run_and_of_its_asset(
    instance: dg.DagsterInstance, run: dg.DagsterRun
) -> None:
    store_events(
        instance, run, [kind(KEY, partition=f"{kind.__name__} {n}") for kind in KINDS.values() for n in range(2)]
    )
    assert shown(instance) == dict.fromkeys(
        [f"{kind} {n}" for kind in ("AssetMaterialization", "AssetObservation") for n in range(2)], run.run_id
    )
    logged = [entry.dagster_event_type for entry in instance.all_logs(run.run_id)]
    assert sorted(map(str, logged)) == sorted(map(str, [*KINDS, *KINDS]))
    latest = instance.get_latest_materialization_event(KEY)
    assert latest is not None
    assert latest.run_id == run.run_id


def test_dagsters_own_way_to_report_outside_of_runs_stores_the_same(instance: dg.DagsterInstance) -> None:
    """Pruning finds such events by their empty run id: they are not deleted with a run."""
    for kind in KINDS.values():
        instance.report_runless_asset_event(kind(KEY, partition="public"))
        store_events(instance, None, [kind(KEY, partition="batch")])
    for fetch in (instance.fetch_materializations, instance.fetch_observations):
        batch, public = fetch(KEY, limit=2).records
        assert (batch.partition_key, public.partition_key) == ("batch", "public")
        ours, theirs = (each.event_log_entry for each in (batch, public))
        assert (ours.run_id, ours.job_name, ours.step_key, ours.level, ours.user_message) == (
            theirs.run_id, theirs.job_name, theirs.step_key, theirs.level, theirs.user_message
        )  # fmt: skip


@pytest.mark.parametrize("event_type", KINDS)
def test_dagster_finds_the_data_version_of_each_partitions_latest_event_of_a_kind(
    event_type: DagsterEventType, instance: dg.DagsterInstance, run: dg.DagsterRun
) -> None:
    """Were it any other event's, everything would be reported with each run, or never again."""
    kind = KINDS[event_type]
    (other,) = [KINDS[each] for each in KINDS if each != event_type]
    instance.report_runless_asset_event(kind(KEY, partition="a", tags=data_version_tags("1")))
    store_events(instance, run, [kind(KEY, partition=name, tags=data_version_tags("2")) for name in ("a", "b")])
    instance.report_runless_asset_event(other(KEY, partition="a", tags=data_version_tags("3")))
    instance.report_runless_asset_event(kind(KEY, partition="c"))
    assert latest_data_versions(instance, KEY, event_type, ["a", "b", "c", "d"]) == {"a": "2", "b": "2"}
