"""Events of many partitions at once.

Dagster's public methods store and return them one by one: report_runless_asset_event takes some 25 ms on a busy machine
where an event of a batch takes 1.5, and after a load by the command line there may be hundreds.
"""

import logging
import time
from collections.abc import Sequence

import dagster as dg
from dagster import DagsterEvent, DagsterEventType, EventLogEntry
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.events import AssetObservationData, StepMaterializationData

AssetEvent = dg.AssetMaterialization | dg.AssetObservation


def data_version_tags(data_version: str) -> dict[str, str]:
    """Return the tags that give an event a data version, which `latest_data_versions` reads."""
    return {DATA_VERSION_TAG: data_version}


def store_events(instance: dg.DagsterInstance, run: dg.DagsterRun | None, events: Sequence[AssetEvent]) -> None:
    """Store events of one asset, as a run's or as report_runless_asset_event does.

    Args:
        instance: Dagster's instance.
        run: the run that they are shown with, if any.
        events: materializations and observations, in their order.
    """
    entries = [_entry(run, event) for event in events]
    # Dagster writes a batch only when all of it is of one kind.
    for kind in (DagsterEventType.ASSET_OBSERVATION, DagsterEventType.ASSET_MATERIALIZATION):
        if batch := [entry for entry in entries if entry.dagster_event_type == kind]:
            instance.event_log_storage.store_event_batch(batch)


def latest_data_versions(
    instance: dg.DagsterInstance, key: dg.AssetKey, event_type: DagsterEventType, partitions: Sequence[str]
) -> dict[str, str]:
    """Return the data version of the latest event of each partition, without those that have none.

    Args:
        instance: Dagster's instance.
        key: the asset's.
        event_type: ASSET_MATERIALIZATION or ASSET_OBSERVATION.
        partitions: which to look for.
    """
    tags = instance.event_log_storage.get_latest_tags_by_partition(key, event_type, [DATA_VERSION_TAG], partitions)
    return {partition: found[DATA_VERSION_TAG] for partition, found in tags.items()}


def _entry(run: dg.DagsterRun | None, event: AssetEvent) -> EventLogEntry:
    run_id, job_name = (run.run_id, run.job_name) if run else ("", "")
    data: StepMaterializationData | AssetObservationData
    if isinstance(event, dg.AssetMaterialization):
        event_type, data = DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event)
    else:
        event_type, data = DagsterEventType.ASSET_OBSERVATION, AssetObservationData(event)
    inner = DagsterEvent(event_type.value, job_name, event_specific_data=data)
    return EventLogEntry(None, logging.INFO, "", run_id, time.time(), None, job_name, inner)  # type: ignore[no-untyped-call]
