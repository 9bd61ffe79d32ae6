"""Deletes rows from Dagster's tables that its public methods never delete, or only one at a time."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import cast

import dagster as dg
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as CheckExecutions
from dagster._core.storage.event_log.schema import AssetEventTagsTable as EventTags
from dagster._core.storage.event_log.schema import DynamicPartitionsTable as Partitions
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import Connection, delete, func, select, union

from orchestration.instance.failed_partitions import RECORD_RUN

ROWS_PER_STATEMENT = 1000


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run with its events and its compute logs, which Dagster would keep."""
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.delete_run(run_id)


def delete_partitions(instance: dg.DagsterInstance, definition: str, partitions: Sequence[str]) -> int:
    """Delete dynamic partitions; Dagster's own method opens a connection for each, which takes a minute per thousand.

    Args:
        instance: Dagster's instance.
        definition: the name of the partitions definition.
        partitions: the partitions.

    Returns:
        The number of partitions.
    """
    is_of_definition = Partitions.c.partitions_def_name == definition
    with _connection(instance) as connection:
        for first in range(0, len(partitions), ROWS_PER_STATEMENT):
            is_unwanted = Partitions.c.partition.in_(partitions[first : first + ROWS_PER_STATEMENT])
            connection.execute(delete(Partitions).where(is_of_definition, is_unwanted))
    return len(partitions)


def delete_check_executions(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete old results of checks except each check's newest; Dagster keeps those of deleted runs. Return how many."""
    newest = select(func.max(CheckExecutions.c.id)).group_by(
        CheckExecutions.c.asset_key, CheckExecutions.c.check_name, CheckExecutions.c.partition
    )
    # Dagster stores this timestamp in UTC without a time zone.
    is_old = CheckExecutions.c.create_timestamp < before.replace(tzinfo=None)
    with _connection(instance) as connection:
        return connection.execute(delete(CheckExecutions).where(is_old, CheckExecutions.c.id.not_in(newest))).rowcount


def delete_events_without_run(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete old events that are not deleted with a run: runless events of assets and checks, and failure marks.

    The newest event of each asset is kept, and that of each partition that still exists.

    Args:
        instance: Dagster's instance.
        before: older events are deleted; with a time zone.

    Returns:
        The number of deleted events.
    """
    is_of_no_run = Events.c.run_id.in_(("", RECORD_RUN))
    has_partition = Events.c.partition.in_(select(Partitions.c.partition))
    kinds = (Events.c.asset_key, Events.c.dagster_event_type)
    kept = union(
        select(func.max(Events.c.id)).where(is_of_no_run).group_by(*kinds),
        select(func.max(Events.c.id)).where(is_of_no_run, has_partition).group_by(*kinds, Events.c.partition),
    )
    is_old = Events.c.timestamp < before.replace(tzinfo=None)
    with _connection(instance) as connection:
        deletion = delete(Events).where(is_of_no_run, is_old, Events.c.id.not_in(kept)).returning(Events.c.id)
        ids = list(connection.execute(deletion).scalars())
        for first in range(0, len(ids), ROWS_PER_STATEMENT):
            batch = ids[first : first + ROWS_PER_STATEMENT]
            connection.execute(delete(EventTags).where(EventTags.c.event_id.in_(batch)))
    return len(ids)


def _connection(instance: dg.DagsterInstance) -> AbstractContextManager[Connection]:
    return cast(SqlEventLogStorage, instance.event_log_storage).index_connection()
