"""Marks partitions as failed without a run that was meant to materialize them.

Dagster shows a partition as failed only if a failed run had planned to materialize it, and has no public API for other
failures. Therefore one placeholder in the list of runs, RECORD_RUN, has all of them in its plan, and their reasons in
its log. docs/decisions.md explains why no real run can do that.
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
    """Mark partitions of an asset as failed until they are materialized.

    Args:
        instance: Dagster's instance.
        key: the asset's key.
        reasons: by partition, a line for the log of RECORD_RUN.
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
        # The UI's log does not show such events; therefore it gets a separate line.
        instance.handle_new_event(_entry(logging.ERROR, reason))
        instance.handle_new_event(
            _entry(logging.INFO, "", DagsterEvent(event_type, RECORD_JOB, event_specific_data=planned))
        )


def has_marks(instance: dg.DagsterInstance) -> bool:
    """Return whether RECORD_RUN exists; deleting it deletes all marks."""
    return instance.has_run(RECORD_RUN)


def _entry(level: int, message: str, event: DagsterEvent | None = None) -> EventLogEntry:
    return EventLogEntry(None, level, message, RECORD_RUN, time.time(), None, RECORD_JOB, event)  # type: ignore[no-untyped-call]
