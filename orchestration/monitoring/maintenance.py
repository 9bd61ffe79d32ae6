"""Keeps Dagster's own database and disk from growing for ever: deletes old runs with their events, checks and logs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from contracts import TABLES
from orchestration.arrivals.partitions import report
from orchestration.instance.failed_partitions import RECORD_RUN
from orchestration.instance.pruning import delete_check_executions, delete_events_without_run, delete_run

if TYPE_CHECKING:
    from orchestration.database import Connection

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class Pruned:
    """How much was deleted, and how many old runs were kept because they have the newest event of an asset."""

    runs: int
    kept: int
    check_evaluations: int
    events: int


def prune(instance: dg.DagsterInstance, days: int, now: datetime) -> Pruned:
    """Delete runs that ended more than `days` ago, with their events and logs, and old results of checks.

    The newest information is kept regardless of age: runs with the newest materialization or observation of an asset,
    and the newest result of each check. Deleted events of objects are reported again by `republish`; keeping each run
    that loaded an object would keep nearly all of them. Dagster itself purges ticks (dagster.yaml).

    Args:
        instance: Dagster's instance.
        days: how long to keep runs.
        now: the current time, with its time zone.
    """
    before = now - timedelta(days=days)
    old = instance.get_run_ids(dg.RunsFilter(statuses=ENDED, updated_before=before))
    kept = {RECORD_RUN, *_runs_of_newest_events(instance)} if old else set()
    unneeded = [run_id for run_id in old if run_id not in kept]
    for run_id in unneeded:
        delete_run(instance, run_id)
    return Pruned(
        len(unneeded),
        len(old) - len(unneeded),
        delete_check_executions(instance, before),
        delete_events_without_run(instance, before),
    )


def republish(instance: dg.DagsterInstance, connection: "Connection") -> int:
    """Report to Dagster, from the ledger, the states of objects whose runs were deleted; return how many.

    Args:
        instance: Dagster's instance.
        connection: of a role that reads schema raw.
    """
    reported = 0
    for table in TABLES:
        while count := report(instance, connection, table):
            reported += count
    return reported


def _runs_of_newest_events(instance: dg.DagsterInstance) -> Iterator[str]:
    for key in instance.get_asset_keys():
        for fetch in (instance.fetch_materializations, instance.fetch_observations):
            yield from (record.run_id for record in fetch(key, limit=1).records)
