"""Partitions that are shown as failed although no run of Dagster's was to fill them.

Dagster shows a partition as failed only when a run has ended as failed in whose plan the partition was, and has no
public way to say that it failed otherwise. So one record in the list of runs, RECORD_RUN, has them all in its plan, and
the reason of each in its log. Why no real run can bear them is in docs/decisions.md.
"""

import logging
import time
import uuid
from collections.abc import Mapping

import dagster as dg
from dagster import DagsterEvent, DagsterEventType, EventLogEntry
from dagster._core.events import AssetMaterializationPlannedData

RECORD_JOB = "objects_that_failed_to_load"
RECORD_RUN = str(uuid.uuid5(uuid.NAMESPACE_URL, RECORD_JOB))


def mark_failed(instance: dg.DagsterInstance, key: dg.AssetKey, reasons: Mapping[str, str]) -> None:
    """Show partitions of an asset as failed, until each is materialized.

    Args:
        instance: Dagster's instance.
        key: the asset's.
        reasons: a line for the record's log by partition.
    """
    if reasons and not has_marks(instance):
        instance.add_run(
            dg.DagsterRun(
                RECORD_JOB,
                RECORD_RUN,
                status=dg.DagsterRunStatus.FAILURE,
                tags={"hiring/reason": "no run: its log lists the objects that failed"},
            )
        )
    for partition, reason in reasons.items():
        planned = AssetMaterializationPlannedData(key, partition)
        event_type = DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value
        # The UI's log shows no such event, but a line of its own.
        instance.handle_new_event(_entry(logging.ERROR, reason))
        instance.handle_new_event(
            _entry(logging.INFO, "", DagsterEvent(event_type, RECORD_JOB, event_specific_data=planned))
        )


def has_marks(instance: dg.DagsterInstance) -> bool:
    """Return whether the record is there; somebody may have deleted it, and all marks with it."""
    return instance.has_run(RECORD_RUN)


def _entry(level: int, message: str, event: DagsterEvent | None = None) -> EventLogEntry:
    return EventLogEntry(None, level, message, RECORD_RUN, time.time(), None, RECORD_JOB, event)  # type: ignore[no-untyped-call]
