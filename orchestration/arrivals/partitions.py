"""The bucket's objects as partitions in Dagster, one per object, with their states from the ledger."""

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

import dagster as dg
from dagster import DagsterEventType

from contracts import TABLES, Table
from orchestration.arrivals.load_states import LoadState, newest_states
from orchestration.ingest.ledger import LoadStatus
from orchestration.ingest.objects import ObjectVersion
from orchestration.instance.asset_events import data_version_tags, latest_data_versions, store_events
from orchestration.instance.failed_partitions import has_marks, mark_failed
from orchestration.instance.pruning import delete_partitions

if TYPE_CHECKING:
    from orchestration.database import Connection

# The newest objects of all tables, for jobs that are launched for a chosen object; the ledger has all objects.
OBJECTS = dg.DynamicPartitionsDefinition(name="objects")
# In place of a table's name, for objects that belong to no table.
UNKNOWN = "unknown"
# The asset that lists the latest arrivals of all tables.
ARRIVALS = dg.AssetKey(["landing", "arrivals"])

# The UI is slow with more than some 25,000 partitions.
OBJECTS_PER_TABLE = 5000
UNKNOWN_OBJECTS = 250
OBJECTS_PER_REPORT = 500
MAX_NEW_PER_CALL = 100

# Control characters and "...", the range separator, which Dagster refuses in the name of a partition.
RESERVED = re.compile(r"[%\x00-\x1f\x7f]|\.(?=\.\.)")

# Their partitions are shown as failed.
FAILURES = (LoadStatus.FAILED, LoadStatus.HELD)


def objects_of(table_name: str) -> dg.DynamicPartitionsDefinition:
    """Return the partitions of a table's landing asset: the table's objects."""
    return dg.DynamicPartitionsDefinition(name=f"{table_name}_objects")


def landing_of(table_name: str) -> dg.AssetKey:
    """Return the asset key of a table's objects."""
    return dg.AssetKey(["landing", table_name])


def partition_of(key: str) -> str:
    """Return the partition name of an object, which `key_of` converts back to the object's key."""
    return RESERVED.sub(lambda match: f"%{ord(match[0]):02X}", key)


def key_of(partition: str) -> str:
    """Return the key of a partition's object."""
    return unquote(partition)


def newly_seen(
    instance: dg.DagsterInstance, arrived: Iterable[tuple[str, ObjectVersion]]
) -> tuple[list[dg.AddDynamicPartitionsRequest], list[dg.AssetObservation]]:
    """Return partitions and events that show objects as soon as they are in the bucket, before they are loaded.

    Args:
        instance: Dagster's instance.
        arrived: objects in the bucket, each with the name of its table, or UNKNOWN.

    Returns:
        Partitions to add, and an event for each, for at most MAX_NEW_PER_CALL objects per table that Dagster does not
        have yet: the others follow with the next call, or with their load. There are never more than UNKNOWN_OBJECTS
        partitions of objects that belong to no table.
    """
    by_table: dict[str, list[ObjectVersion]] = {}
    for name, item in arrived:
        by_table.setdefault(name, []).append(item)
    requests: list[dg.AddDynamicPartitionsRequest] = []
    events: list[dg.AssetObservation] = []
    for name, items in by_table.items():
        known = set(instance.get_dynamic_partitions(_name(objects_of(name))))
        room = max(UNKNOWN_OBJECTS - len(known), 0) if name == UNKNOWN else MAX_NEW_PER_CALL
        new = [item for item in items if partition_of(item.key) not in known][: min(room, MAX_NEW_PER_CALL)]
        if new:
            partitions = [partition_of(item.key) for item in new]
            shown_in = (objects_of(name),) if name == UNKNOWN else (objects_of(name), OBJECTS)
            requests += [definition.build_add_request(partitions) for definition in shown_in]
            events += [_seen(name, item) for item in new]
    return requests, events


def _seen(name: str, item: ObjectVersion) -> dg.AssetObservation:
    belongs = "belongs to no table by its name, and is ignored" if name == UNKNOWN else f"is in the bucket for {name}"
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
    """Report states of a table's objects in the ledger that Dagster does not show yet, newest first.

    That includes loads from the command line and those of runs that were killed before they could report.

    Args:
        instance: Dagster's instance.
        connection: of a role that reads schema raw.
        table: whose objects.
        run_id: the run that calls this; its loads are shown with a link to it.
        made: the ids of that run's loads.

    Returns:
        How many objects were reported, at most OBJECTS_PER_REPORT.
    """
    states = _not_shown(instance, table, newest_states(connection, table, OBJECTS_PER_TABLE, made))[:OBJECTS_PER_REPORT]
    if not states:
        return 0
    states.reverse()
    partitions = [partition_of(state.key) for state in states]
    for definition in (objects_of(table.name), OBJECTS):
        instance.add_dynamic_partitions(_name(definition), partitions)
    run = instance.get_run_by_id(run_id) if run_id else None
    of_run = [state for state in states if run and state.load_id in made]
    store_events(instance, None, [_event(table, state) for state in states if state not in of_run])
    store_events(instance, run, [_event(table, state) for state in of_run])
    failed = [state for state in states if state.status in FAILURES]
    reasons = {partition_of(state.key): f"{state.key}, load {state.load_id}: {state.error}" for state in failed}
    mark_failed(instance, landing_of(table.name), reasons)
    return len(states)


def prune(instance: dg.DagsterInstance) -> int:
    """Delete the oldest partitions, keeping OBJECTS_PER_TABLE for each table; return how many were deleted.

    The ledger keeps all objects, and Dagster keeps their events.
    """
    kept: set[str] = set()
    deleted = 0
    for name, bound in (*((table.name, OBJECTS_PER_TABLE) for table in TABLES), (UNKNOWN, UNKNOWN_OBJECTS)):
        partitions = instance.get_dynamic_partitions(_name(objects_of(name)))
        if name != UNKNOWN:
            kept.update(partitions[-bound:])
        deleted += delete_partitions(instance, _name(objects_of(name)), partitions[:-bound])
    all_objects = instance.get_dynamic_partitions(_name(OBJECTS))
    delete_partitions(instance, _name(OBJECTS), [partition for partition in all_objects if partition not in kept])
    return deleted


def _not_shown(instance: dg.DagsterInstance, table: Table, states: Sequence[LoadState]) -> list[LoadState]:
    """Return the states that are not those of their object's newest event."""
    if not states:
        return []
    loaded, other = (
        latest_data_versions(
            instance, landing_of(table.name), event_type, [partition_of(state.key) for state in states]
        )
        for event_type in (DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_OBSERVATION)
    )
    failures_are_shown = has_marks(instance)

    def is_shown(state: LoadState) -> bool:
        shown = (loaded if state.status == LoadStatus.COMPLETE else other).get(partition_of(state.key))
        is_marked = state.status not in FAILURES or failures_are_shown
        return shown == state.stamp and is_marked

    return [state for state in states if not is_shown(state)]


def _event(table: Table, state: LoadState) -> dg.AssetMaterialization | dg.AssetObservation:
    """Return the event of a state: a materialization if the object was loaded, otherwise an observation."""
    # In reading order: status and reason, counts, then the object.
    names = ("error", "load_id", "records", "rejected", "malformed", "invalid", "seconds")
    known = {name: value for name in names if (value := getattr(state, name)) is not None}
    metadata = {
        "status": "loaded" if state.status == LoadStatus.COMPLETE else state.status,
        **known,
        **_object_metadata(state.key, state.version, state.bytes, state.last_modified),
    }
    kind = dg.AssetMaterialization if state.status == LoadStatus.COMPLETE else dg.AssetObservation
    return kind(
        landing_of(table.name),
        description=None if state.status == LoadStatus.COMPLETE else state.error,
        partition=partition_of(state.key),
        metadata=metadata,
        tags=data_version_tags(state.stamp),
    )


def _object_metadata(
    key: str, version: str, size: int | None, last_modified: datetime | None
) -> dict[str, dg.MetadataValue | str | int | float]:
    metadata: dict[str, dg.MetadataValue | str | int | float] = {"key": key, "version": version}
    if size is not None:
        metadata["size_bytes"] = size
    if last_modified is not None:
        metadata["last_modified"] = dg.MetadataValue.timestamp(last_modified)
    return metadata


def _name(definition: dg.DynamicPartitionsDefinition) -> str:
    assert definition.name is not None, "all definitions above have a name"
    return definition.name
