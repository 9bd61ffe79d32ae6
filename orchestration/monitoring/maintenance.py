"""What keeps Dagster's own database and disk from growing for ever: old runs, their events, checks and logs go."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as CheckExecutions
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import delete, func, select

from contracts import TABLES
from orchestration.arrivals.partitions import FAILURES_RUN, report

if TYPE_CHECKING:
    from orchestration.database import Connection

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class Pruned:
    """How much was deleted, and how many old runs stay since they hold what was last known of an asset."""

    runs: int
    kept: int
    check_evaluations: int


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
    return Pruned(len(gone), len(old) - len(gone), _delete_check_executions(instance, before))


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
