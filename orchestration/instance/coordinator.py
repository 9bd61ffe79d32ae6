"""Dagster's run coordinator with a limit: below it a run starts immediately, above it the run is queued."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, cast

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, QueuedRunCoordinator, RunsFilter
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.storage.runs import SqlRunStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import text

from orchestration.settings import RunSettings

# How often the daemon checks the queue: a run of a backfill waits for that after another one has ended.
DEQUEUE_INTERVAL_SECONDS = 1
COUNTED_STATUSES = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
LOCK = "hashtextextended('dagster.submit_run', 0)"


class BoundedRunCoordinator(QueuedRunCoordinator[DagsterInstance]):
    """Launches a run immediately, unless MAX_CONCURRENT_RUNS runs are in progress or queued: then the daemon does.

    Dagster's own coordinator queues every run until the daemon's next check, which would delay each load.
    """

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the schema of dagster.yaml's options: none, since the environment has the settings."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:  # noqa: ARG003
        """Create a coordinator from the environment's settings."""
        return cls(
            max_concurrent_runs=RunSettings.read().max_concurrent_runs,
            dequeue_interval_seconds=DEQUEUE_INTERVAL_SECONDS,
            inst_data=inst_data,
        )

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Launch a run, or queue it."""
        run = context.dagster_run
        if run.status == DagsterRunStatus.NOT_STARTED:
            with self._sole_submission() as is_sole:
                if is_sole and self._has_room():
                    return self._instance.launch_run(run.run_id, context.workspace)
        return super().submit_run(context)

    def _has_room(self) -> bool:
        # Queued runs count, too: the daemon may be launching them right now.
        return self._instance.get_runs_count(RunsFilter(statuses=COUNTED_STATUSES)) < self._max_concurrent_runs

    @contextmanager
    def _sole_submission(self) -> Iterator[bool]:
        """Yield whether no other process counts runs during the block; two that do might both launch the last one."""
        with cast(SqlRunStorage, self._instance.run_storage).connect() as connection:
            is_sole = bool(connection.execute(text(f"select pg_try_advisory_lock({LOCK})")).scalar())
            try:
                yield is_sole
            finally:
                if is_sole:
                    connection.execute(text(f"select pg_advisory_unlock({LOCK})"))
