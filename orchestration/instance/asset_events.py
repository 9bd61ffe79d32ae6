"""Stores and reads events of many partitions in batches.

Dagster's public methods process them one by one: report_runless_asset_event takes some 25 ms on a busy machine, an
event in a batch 1.5 ms, and after a load from the command line there may be hundreds.
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
    """Return the tags that set an event's data version, which `latest_data_versions` reads."""
    return {DATA_VERSION_TAG: data_version}


def store_events(instance: dg.DagsterInstance, run: dg.DagsterRun | None, events: Sequence[AssetEvent]) -> None:
    """Store events of one asset, either in a run or without one, as report_runless_asset_event does.

    Args:
        instance: Dagster's instance.
        run: the run that the UI links to, if any.
        events: materializations and observations, in order.
    """
    entries = [_entry(run, event) for event in events]
    # All events of a batch have to be of the same type.
    for kind in (DagsterEventType.ASSET_OBSERVATION, DagsterEventType.ASSET_MATERIALIZATION):
        if batch := [entry for entry in entries if entry.dagster_event_type == kind]:
            instance.event_log_storage.store_event_batch(batch)


def latest_data_versions(
    instance: dg.DagsterInstance, key: dg.AssetKey, event_type: DagsterEventType, partitions: Sequence[str]
) -> dict[str, str]:
    """Return the data version of the latest event of each partition, without partitions that have none.

    Args:
        instance: Dagster's instance.
        key: the asset's key.
        event_type: ASSET_MATERIALIZATION or ASSET_OBSERVATION.
        partitions: the partitions.
    """
    latest = instance.event_log_storage.get_latest_tags_by_partition(key, event_type, [DATA_VERSION_TAG], partitions)
    return {partition: tags[DATA_VERSION_TAG] for partition, tags in latest.items()}


def _entry(run: dg.DagsterRun | None, event: AssetEvent) -> EventLogEntry:
    run_id, job_name = (run.run_id, run.job_name) if run else ("", "")
    data: StepMaterializationData | AssetObservationData
    if isinstance(event, dg.AssetMaterialization):
        event_type, data = DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event)
    else:
        event_type, data = DagsterEventType.ASSET_OBSERVATION, AssetObservationData(event)
    inner = DagsterEvent(event_type.value, job_name, event_specific_data=data)
    return EventLogEntry(None, logging.INFO, "", run_id, time.time(), None, job_name, inner)  # type: ignore[no-untyped-call]
