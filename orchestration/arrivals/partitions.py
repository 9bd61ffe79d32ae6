"""The bucket's objects as Dagster shows them: one partition per object, its state as the ledger has it."""

import logging
import re
import time
import uuid
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

import dagster as dg
from dagster import DagsterEvent, DagsterEventType, EventLogEntry
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.events import AssetMaterializationPlannedData, AssetObservationData, StepMaterializationData
from dagster._core.storage.event_log.schema import DynamicPartitionsTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import delete

from contracts import TABLES, Table
from orchestration.arrivals.load_states import LoadState, newest_states
from orchestration.ingest.ledger import LoadStatus
from orchestration.ingest.objects import ObjectVersion

if TYPE_CHECKING:
    from orchestration.database import Connection

# All objects of all tables, for what begins with the choice of one; the newest are there, the ledger has all.
OBJECTS = dg.DynamicPartitionsDefinition(name="objects")
# In the place of a table's name, for objects that belong to none.
UNKNOWN = "unknown"
# The table of what arrived last, of all tables.
ARRIVALS = dg.AssetKey(["landing", "arrivals"])

# Grids of more than some 25,000 partitions are slow.
OBJECTS_A_TABLE = 5000
UNKNOWN_OBJECTS = 250
REPORTED_A_CALL = 500
SEEN_A_CALL = 100
DELETED_AT_ONCE = 1000

# Control characters and the sign of a range, "...", which Dagster refuses in the name of a partition.
UNWANTED = re.compile(r"[%\x00-\x1f\x7f]|\.(?=\.\.)")

# Dagster shows a partition as failed when a failed run meant to fill it. A load that failed is no failed run, since
# other objects load in the same one: what bears these failures is a run of the record only, one for all of them.
FAILURES = (LoadStatus.FAILED, LoadStatus.HELD)
FAILURES_JOB = "objects_that_failed_to_load"
FAILURES_RUN = str(uuid.uuid5(uuid.NAMESPACE_URL, FAILURES_JOB))


def objects_of(table_name: str) -> dg.DynamicPartitionsDefinition:
    """Return the partitions of a table's landing asset: the table's objects."""
    return dg.DynamicPartitionsDefinition(name=f"{table_name}_objects")


def landing_of(table_name: str) -> dg.AssetKey:
    """Return the key of the asset that a table's objects are."""
    return dg.AssetKey(["landing", table_name])


def partition_of(key: str) -> str:
    """Return the partition's name of an object, which `key_of` turns back into the object's key."""
    return UNWANTED.sub(lambda found: f"%{ord(found[0]):02X}", key)


def key_of(partition: str) -> str:
    """Return the key of the object that a partition is named after."""
    return unquote(partition)


def newly_seen(
    instance: dg.DagsterInstance, arrived: Iterable[tuple[str, ObjectVersion]]
) -> tuple[list[dg.AddDynamicPartitionsRequest], list[dg.AssetObservation]]:
    """Return what shows the objects that Dagster does not have yet, before anything became of them.

    Args:
        instance: Dagster's instance.
        arrived: objects in the bucket, each with the name of its table, or UNKNOWN.

    Returns:
        Partitions to add, and an event for each, of SEEN_A_CALL objects a table at most: what is left comes next time,
        or with its load. Of objects that belong to no table there are UNKNOWN_OBJECTS at most in all.
    """
    by_table: dict[str, list[ObjectVersion]] = {}
    for name, item in arrived:
        by_table.setdefault(name, []).append(item)
    requests: list[dg.AddDynamicPartitionsRequest] = []
    events: list[dg.AssetObservation] = []
    for name, items in by_table.items():
        known = set(instance.get_dynamic_partitions(_name(objects_of(name))))
        room = max(UNKNOWN_OBJECTS - len(known), 0) if name == UNKNOWN else SEEN_A_CALL
        new = [item for item in items if partition_of(item.key) not in known][: min(room, SEEN_A_CALL)]
        if new:
            partitions = [partition_of(item.key) for item in new]
            shown_in = (objects_of(name),) if name == UNKNOWN else (objects_of(name), OBJECTS)
            requests += [definition.build_add_request(partitions) for definition in shown_in]
            events += [_seen(name, item) for item in new]
    return requests, events


def _seen(name: str, item: ObjectVersion) -> dg.AssetObservation:
    belongs = (
        "belongs to no table by its name, and is left alone" if name == UNKNOWN else f"is in the bucket for {name}"
    )
    return dg.AssetObservation(
        landing_of(name),
        partition=partition_of(item.key),
        description=f"{item.key} {belongs}",
        metadata={**_object_metadata(item.key, item.version, item.size, item.last_modified), "status": "seen"},
    )


def report(
    instance: dg.DagsterInstance,
    connection: "Connection",
    table: Table,
    run_id: str = "",
    made: Collection[int] = (),
) -> int:
    """Tell Dagster what the ledger has about a table's objects and Dagster does not show yet, the newest first.

    What loads by the command line did, or runs that were killed before they could tell, is told by whoever calls next.

    Args:
        instance: Dagster's instance.
        connection: of a role that reads schema raw.
        table: whose objects.
        run_id: the run that calls this; its loads are shown with a link to it.
        made: the load_ids of that run's loads.

    Returns:
        How many objects were told of, at most REPORTED_A_CALL.
    """
    states = _not_shown(instance, table, newest_states(connection, table, OBJECTS_A_TABLE, made))[:REPORTED_A_CALL]
    if not states:
        return 0
    partitions = [partition_of(state.key) for state in reversed(states)]
    for definition in (objects_of(table.name), OBJECTS):
        instance.add_dynamic_partitions(_name(definition), partitions)
    run = instance.get_run_by_id(run_id) if run_id else None
    events = [
        _event(table, state, run_id if run and state.load_id in made else "", run.job_name if run else "")
        for state in reversed(states)
    ]
    for kind in (DagsterEventType.ASSET_OBSERVATION, DagsterEventType.ASSET_MATERIALIZATION):
        batch = [event for event in events if event.dagster_event_type == kind]
        if batch:
            instance.event_log_storage.store_event_batch(batch)
    _report_failures(instance, table, [state for state in states if state.status in FAILURES])
    return len(states)


def prune(instance: dg.DagsterInstance) -> int:
    """Take the oldest partitions out, so that OBJECTS_A_TABLE stay for each table; return how many went.

    The ledger keeps all, and what was told about an object stays in Dagster's events.
    """
    kept: set[str] = set()
    gone = 0
    for name, bound in (*((table.name, OBJECTS_A_TABLE) for table in TABLES), (UNKNOWN, UNKNOWN_OBJECTS)):
        partitions = instance.get_dynamic_partitions(_name(objects_of(name)))
        if name != UNKNOWN:
            kept.update(partitions[-bound:])
        gone += _delete(instance, objects_of(name), partitions[:-bound])
    all_objects = instance.get_dynamic_partitions(_name(OBJECTS))
    _delete(instance, OBJECTS, [partition for partition in all_objects if partition not in kept])
    return gone


def _delete(instance: dg.DagsterInstance, definition: dg.DynamicPartitionsDefinition, partitions: Sequence[str]) -> int:
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    # Dagster's own function takes one at a time, with a connection for each: a minute a thousand.
    is_of_definition = DynamicPartitionsTable.c.partitions_def_name == _name(definition)
    with storage.index_connection() as connection:
        for first in range(0, len(partitions), DELETED_AT_ONCE):
            is_unwanted = DynamicPartitionsTable.c.partition.in_(partitions[first : first + DELETED_AT_ONCE])
            connection.execute(delete(DynamicPartitionsTable).where(is_of_definition, is_unwanted))
    return len(partitions)


def _not_shown(instance: dg.DagsterInstance, table: Table, states: Sequence[LoadState]) -> list[LoadState]:
    """Return those states that the newest event of their object does not tell."""
    if not states:
        return []
    loaded, other = (
        instance.event_log_storage.get_latest_tags_by_partition(
            landing_of(table.name), kind, [DATA_VERSION_TAG], [partition_of(state.key) for state in states]
        )
        for kind in (DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_OBSERVATION)
    )
    failures_are_shown = instance.has_run(FAILURES_RUN)

    def is_shown(state: LoadState) -> bool:
        told = (loaded if state.status == LoadStatus.COMPLETE else other).get(partition_of(state.key), {})
        is_marked = state.status not in FAILURES or failures_are_shown
        return told.get(DATA_VERSION_TAG) == state.stamp and is_marked

    return [state for state in states if not is_shown(state)]


def _event(table: Table, state: LoadState, run_id: str, job_name: str) -> EventLogEntry:
    """Return the event that tells a state: that the object was loaded, or else what was observed about it."""
    # In the order in which they are read: how it stands and why, how many, and then what object that was.
    names = ("error", "load_id", "records", "rejected", "malformed", "invalid", "seconds")
    told = {name: value for name in names if (value := getattr(state, name)) is not None}
    metadata = {
        "status": "loaded" if state.status == LoadStatus.COMPLETE else state.status,
        **told,
        **_object_metadata(state.key, state.version, state.bytes, state.last_modified),
    }
    tags = {DATA_VERSION_TAG: state.stamp}
    if state.status == LoadStatus.COMPLETE:
        materialization = dg.AssetMaterialization(
            landing_of(table.name), partition=partition_of(state.key), metadata=metadata, tags=tags
        )
        kind = DagsterEventType.ASSET_MATERIALIZATION
        data: AssetObservationData | StepMaterializationData = StepMaterializationData(materialization)
    else:
        observation = dg.AssetObservation(
            landing_of(table.name),
            description=state.error,
            partition=partition_of(state.key),
            metadata=metadata,
            tags=tags,
        )
        kind, data = DagsterEventType.ASSET_OBSERVATION, AssetObservationData(observation)
    job_name = job_name if run_id else ""
    return _entry(run_id, "", DagsterEvent(kind.value, job_name, event_specific_data=data))


def _report_failures(instance: dg.DagsterInstance, table: Table, states: Sequence[LoadState]) -> None:
    """Mark the partitions of objects that failed to load as failed, until a load of them succeeds."""
    if not states:
        return
    if not instance.has_run(FAILURES_RUN):
        instance.add_run(
            dg.DagsterRun(
                FAILURES_JOB,
                FAILURES_RUN,
                status=dg.DagsterRunStatus.FAILURE,
                tags={"hiring/reason": "no run: its log lists the objects that failed"},
            )
        )
    for state in reversed(states):
        planned = AssetMaterializationPlannedData(landing_of(table.name), partition_of(state.key))
        kind = DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        # The UI's log shows no such event, but a line of its own.
        instance.handle_new_event(_entry(FAILURES_RUN, f"{state.key}, load {state.load_id}: {state.error}"))
        instance.handle_new_event(
            _entry(FAILURES_RUN, "", DagsterEvent(kind.value, FAILURES_JOB, event_specific_data=planned))
        )


def _entry(run_id: str, message: str, event: DagsterEvent | None = None) -> EventLogEntry:
    job_name = event.job_name if event else FAILURES_JOB
    level = logging.INFO if event else logging.ERROR
    return EventLogEntry(None, level, message, run_id, time.time(), None, job_name, event)  # type: ignore[no-untyped-call]


def _object_metadata(
    key: str, version: str, size: int | None, last_modified: datetime | None
) -> dict[str, dg.MetadataValue | str | int | float]:
    shown: dict[str, dg.MetadataValue | str | int | float] = {"key": key, "version": version}
    if size is not None:
        shown["size_bytes"] = size
    if last_modified is not None:
        shown["last_modified"] = dg.MetadataValue.timestamp(last_modified)
    return shown


def _name(definition: dg.DynamicPartitionsDefinition) -> str:
    assert definition.name is not None, "made with a name, above"
    return definition.name
