"""Sensors: what starts the refresh job without anybody touching anything. Each says why it skips."""

import time
from typing import Any

import dagster as dg

from orchestration.arrivals.asking import Answer, Asking
from orchestration.arrivals.attempts import Attempts, Due, digest_of
from orchestration.arrivals.looking import PAUSE_SECONDS, Looked, Memory, Sight, again, look, look_on
from orchestration.arrivals.partitions import UNKNOWN, newly_seen
from orchestration.defs.jobs import refresh
from orchestration.defs.models import MARTS, dbt_models
from orchestration.defs.resources import Landing, Warehouse
from orchestration.ingest.objects import BucketUnavailable, Place
from orchestration.warehouse.published import unpublished_loads

# The daemon asks every five seconds which sensors want a tick; within a tick they look again and again.
SECONDS_BETWEEN_TICKS = 1
SECONDS_A_TICK = 4.2
# An object that ten loads have not brought to an end needs somebody to look; new records always get their build.
MOST_ATTEMPTS = 10

ASKING = Asking()


@dg.sensor(
    job=refresh,
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a refresh when the bucket holds an object that the ledger does not have as loaded.",
)
def new_objects(context: dg.SensorEvaluationContext, landing: Landing, warehouse: Warehouse) -> dg.SensorResult:
    """Look for objects that want loading; a bucket of many takes several ticks."""
    until, client = time.monotonic() + SECONDS_A_TICK, landing.client

    def look_once(place: Place | None) -> Sight:
        return look(connection, client, landing.bucket, landing.settle_seconds, place, until)

    def is_enough(looked: Looked) -> bool:
        work = looked.sight.work
        is_due = bool(work) and isinstance(looked.memory.attempts.due(work, limit=MOST_ATTEMPTS), Due)
        return is_due and ASKING.under_way(context.instance) is None

    try:
        with warehouse.loader() as connection:
            looked = look_on(look_once, Memory.read(context.cursor), is_enough, until)
    except BucketUnavailable as error:
        return dg.SensorResult(skip_reason=f"The bucket cannot be listed: {error}", cursor=context.cursor)
    sight, memory = looked.sight, looked.memory
    tables = sorted({table.name for table, _ in sight.found})
    selection = [*(dg.AssetKey(["raw", name]) for name in tables), *dbt_models.keys]
    answer, attempts = ASKING.ask(
        context.instance, memory.attempts, sight.work, looked.told, selection, limit=MOST_ATTEMPTS
    )
    cursor = memory.model_copy(update={"attempts": attempts}).model_dump_json()
    arrived = [(table.name, item) for table, item in sight.found] + [(UNKNOWN, item) for item in sight.strangers]
    partitions, events = newly_seen(context.instance, arrived)
    for event in events:
        context.log.info(event.description)
    return _result(answer, cursor, dynamic_partitions_requests=partitions, asset_events=events)


@dg.sensor(
    job=refresh,
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a refresh when a load is complete that the marts do not show, as after a batch over HTTP.",
)
def unpublished_batches(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SensorResult:
    """Look for complete loads that the marts do not show."""
    until, before = time.monotonic() + SECONDS_A_TICK, Attempts.read(context.cursor)

    def pause(found: list[str]) -> float | None:
        is_due = bool(found) and isinstance(before.due(found), Due)
        return None if is_due and ASKING.under_way(context.instance) is None else PAUSE_SECONDS

    with warehouse.transformer() as connection:
        found = again(lambda: [str(load_id) for load_id, _ in unpublished_loads(connection, MARTS)], pause, until)
    seen = f"{len(found):,} new load{'s' * (len(found) != 1)}" if found else "No new load"
    attempts = before.still(map(digest_of, found))
    answer, attempts = ASKING.ask(context.instance, attempts, found, seen, sorted(dbt_models.keys))
    return _result(answer, attempts.written())


def _result(answer: Answer, cursor: str, **shown: Any) -> dg.SensorResult:
    if isinstance(answer, dg.RunRequest):
        return dg.SensorResult(run_requests=[answer], cursor=cursor, **shown)
    return dg.SensorResult(skip_reason=answer, cursor=cursor, **shown)
