"""Sensors: what starts the refresh job without anybody touching anything. Each says why it skips."""

import dagster as dg

from orchestration.attempts import Attempts, Due
from orchestration.defs.jobs import refresh
from orchestration.defs.resources import Landing, Warehouse
from orchestration.ingest.loader import pending
from orchestration.ingest.objects import BucketUnavailable
from orchestration.published import unpublished_loads

SECONDS_BETWEEN_LOOKS = 5
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.sensor(
    job=refresh,
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a refresh when the bucket holds an object that the ledger does not have as loaded.",
)
def new_objects(
    context: dg.SensorEvaluationContext, landing: Landing, warehouse: Warehouse
) -> dg.RunRequest | dg.SkipReason:
    """Look for objects that want loading."""
    try:
        with warehouse.loader() as connection:
            found = [
                f"{item.key}@{item.version}"
                for _, item in pending(connection, landing.client, landing.bucket, landing.settle_seconds)
            ]
    except BucketUnavailable as error:
        return dg.SkipReason(f"The bucket cannot be listed: {error}")
    return _request(context, found, "object")


@dg.sensor(
    job=refresh,
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a refresh when a load is complete that the marts do not show, as after a batch over HTTP.",
)
def unpublished_batches(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
    """Look for complete loads that the marts do not show."""
    with warehouse.transformer() as connection:
        found = [str(load_id) for load_id, _ in unpublished_loads(connection)]
    return _request(context, found, "load")


def _request(context: dg.SensorEvaluationContext, found: list[str], what: str) -> dg.RunRequest | dg.SkipReason:
    """Ask for a refresh when something was found, none is under way, and the last attempt is long enough ago."""
    if not found:
        context.update_cursor(None)
        return dg.SkipReason(f"No new {what}.")
    counted = f"{len(found)} new {what}{'s' * (len(found) != 1)}"
    under_way = context.instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY), limit=1)
    if under_way:
        return dg.SkipReason(f"{counted}, and run {under_way[0].dagster_run.run_id} is under way.")
    attempts = Attempts.read(context.cursor)
    due = attempts.due(found)
    if not isinstance(due, Due):
        return dg.SkipReason(
            f"{counted} after {attempts.made} attempt{'s' * (attempts.made != 1)}; the next in {due:.0f} s."
        )
    context.update_cursor(due.attempts.written())
    return dg.RunRequest(run_key=due.key, tags={"hiring/reason": counted})
