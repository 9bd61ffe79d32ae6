"""The bucket's objects as Dagster shows them: one partition per object, its state as the ledger has it."""

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

# All objects of all tables, for what begins with the choice of one; the newest are there, the ledger has all.
OBJECTS = dg.DynamicPartitionsDefinition(name="objects")
# In the place of a table's name, for objects that belong to none.
UNKNOWN = "unknown"
# The table of what arrived last, of all tables.
ARRIVALS = dg.AssetKey(["landing", "arrivals"])

# Grids of more than some 25,000 partitions are slow.
OBJECTS_PER_TABLE = 5000
UNKNOWN_OBJECTS = 250
OBJECTS_PER_REPORT = 500
SEEN_PER_CALL = 100

# Control characters and the sign of a range, "...", which Dagster refuses in the name of a partition.
UNWANTED = re.compile(r"[%\x00-\x1f\x7f]|\.(?=\.\.)")

# Their partitions are shown as failed.
FAILURES = (LoadStatus.FAILED, LoadStatus.HELD)


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
        Partitions to add, and an event for each, of at most SEEN_PER_CALL objects per table: what is left comes next
        time, or with its load. Of objects that belong to no table there are UNKNOWN_OBJECTS at most in all.
    """
    by_table: dict[str, list[ObjectVersion]] = {}
    for name, item in arrived:
        by_table.setdefault(name, []).append(item)
    requests: list[dg.AddDynamicPartitionsRequest] = []
    events: list[dg.AssetObservation] = []
    for name, items in by_table.items():
        known = set(instance.get_dynamic_partitions(_name(objects_of(name))))
        room = max(UNKNOWN_OBJECTS - len(known), 0) if name == UNKNOWN else SEEN_PER_CALL
        new = [item for item in items if partition_of(item.key) not in known][: min(room, SEEN_PER_CALL)]
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
    """Report to Dagster what the ledger has about a table's objects and Dagster does not show yet, the newest first.

    What loads by the command line did, or runs that were killed before they could report, the next call reports.

    Args:
        instance: Dagster's instance.
        connection: of a role that reads schema raw.
        table: whose objects.
        run_id: the run that calls this; its loads are shown with a link to it.
        made: the load_ids of that run's loads.

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
    """Delete the oldest partitions, so that OBJECTS_PER_TABLE stay for each table; return how many.

    The ledger keeps all, and what was reported of an object stays in Dagster's events.
    """
    kept: set[str] = set()
    gone = 0
    for name, bound in (*((table.name, OBJECTS_PER_TABLE) for table in TABLES), (UNKNOWN, UNKNOWN_OBJECTS)):
        partitions = instance.get_dynamic_partitions(_name(objects_of(name)))
        if name != UNKNOWN:
            kept.update(partitions[-bound:])
        gone += delete_partitions(instance, _name(objects_of(name)), partitions[:-bound])
    all_objects = instance.get_dynamic_partitions(_name(OBJECTS))
    delete_partitions(instance, _name(OBJECTS), [partition for partition in all_objects if partition not in kept])
    return gone


def _not_shown(instance: dg.DagsterInstance, table: Table, states: Sequence[LoadState]) -> list[LoadState]:
    """Return those states that are not in the newest event of their object."""
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
    """Return the event that shows a state: that the object was loaded, or else what was observed about it."""
    # In the order in which they are read: how it stands and why, how many, and then what object that was.
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
    shown: dict[str, dg.MetadataValue | str | int | float] = {"key": key, "version": version}
    if size is not None:
        shown["size_bytes"] = size
    if last_modified is not None:
        shown["last_modified"] = dg.MetadataValue.timestamp(last_modified)
    return shown


def _name(definition: dg.DynamicPartitionsDefinition) -> str:
    assert definition.name is not None, "made with a name, above"
    return definition.name
