"""What keeps Dagster's own database and disk from growing for ever: old runs, their events, checks and logs go."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as CheckExecutions
from dagster._core.storage.event_log.schema import AssetEventTagsTable as EventTags
from dagster._core.storage.event_log.schema import DynamicPartitionsTable as Partitions
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import delete, func, select, union

from contracts import TABLES
from orchestration.arrivals.partitions import FAILURES_RUN, report

if TYPE_CHECKING:
    from orchestration.database import Connection

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
TAGS_DELETED_AT_ONCE = 1000


@dataclass(frozen=True)
class Pruned:
    """How much was deleted, and how many old runs stay since they hold what was last known of an asset."""

    runs: int
    kept: int
    check_evaluations: int
    events: int


def prune(instance: dg.DagsterInstance, days: int, now: datetime) -> Pruned:
    """Delete the runs that ended more than some days ago, with their events and logs, and old results of checks.

    What was last known stays, however old: the runs with the newest materialization and observation of each asset, the
    newest result of each check. What went of the objects, `tell_again` tells anew; keeping each run that loaded one
    would keep nearly all. Ticks are Dagster's own to purge (dagster.yaml).

    Args:
        instance: Dagster's.
        days: how long to keep them.
        now: the time, with its time zone.
    """
    before = now - timedelta(days=days)
    old = instance.get_run_ids(dg.RunsFilter(statuses=ENDED, updated_before=before))
    kept = {FAILURES_RUN, *_runs_of_newest_events(instance)} if old else set()
    gone = [run_id for run_id in old if run_id not in kept]
    for run_id in gone:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
    return Pruned(
        len(gone),
        len(old) - len(gone),
        _delete_check_executions(instance, before),
        _delete_events_without_run(instance, before),
    )


def tell_again(instance: dg.DagsterInstance, connection: "Connection") -> int:
    """Tell Dagster, from the ledger, what became of the objects whose runs are gone; return of how many.

    Args:
        instance: Dagster's.
        connection: of a role that reads schema raw.
    """
    told = 0
    for table in TABLES:
        while count := report(instance, connection, table):
            told += count
    return told


def _runs_of_newest_events(instance: dg.DagsterInstance) -> Iterator[str]:
    for key in instance.all_asset_keys():
        for fetch in (instance.fetch_materializations, instance.fetch_observations):
            yield from (record.run_id for record in fetch(key, limit=1).records)


def _delete_check_executions(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete old results of checks but the newest of each, which Dagster keeps when their runs go."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    newest = select(func.max(CheckExecutions.c.id)).group_by(
        CheckExecutions.c.asset_key, CheckExecutions.c.check_name, CheckExecutions.c.partition
    )
    # Dagster writes this time in UTC, without saying so.
    is_old = CheckExecutions.c.create_timestamp < before.replace(tzinfo=None)
    with storage.index_connection() as connection:
        return connection.execute(delete(CheckExecutions).where(is_old, CheckExecutions.c.id.not_in(newest))).rowcount


def _delete_events_without_run(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete old events that no run takes along when it goes: what was reported of objects and checks, and failures.

    The newest of each asset stays, and that of each object that is still offered as a partition.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    is_of_no_run = Events.c.run_id.in_(("", FAILURES_RUN))
    is_offered = Events.c.partition.in_(select(Partitions.c.partition))
    kinds = (Events.c.asset_key, Events.c.dagster_event_type)
    kept = union(
        select(func.max(Events.c.id)).where(is_of_no_run).group_by(*kinds),
        select(func.max(Events.c.id)).where(is_of_no_run, is_offered).group_by(*kinds, Events.c.partition),
    )
    is_old = Events.c.timestamp < before.replace(tzinfo=None)
    with storage.index_connection() as connection:
        gone = delete(Events).where(is_of_no_run, is_old, Events.c.id.not_in(kept)).returning(Events.c.id)
        ids = list(connection.execute(gone).scalars())
        for first in range(0, len(ids), TAGS_DELETED_AT_ONCE):
            some = ids[first : first + TAGS_DELETED_AT_ONCE]
            connection.execute(delete(EventTags).where(EventTags.c.event_id.in_(some)))
    return len(ids)
