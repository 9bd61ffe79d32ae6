"""The sensors that start the refresh job. Each says why it skips."""

import math
import time
from functools import cache
from typing import Any

import dagster as dg

from orchestration.arrivals.backoff import Backoff, NextAttempt, digest_of
from orchestration.arrivals.bucket_scan import (
    PAUSE_SECONDS,
    ScanResult,
    SensorCursor,
    TickResult,
    poll,
    scan,
    scan_for_a_tick,
)
from orchestration.arrivals.partitions import ARRIVALS, UNKNOWN, newly_seen
from orchestration.arrivals.run_gate import Answer, RunGate
from orchestration.defs.jobs import refresh, refresh_config
from orchestration.defs.models import MARTS, dbt_models
from orchestration.defs.resources import Landing, Warehouse
from orchestration.ingest.objects import BucketUnavailable, ListingCursor, is_versioned
from orchestration.settings import SensorSettings
from orchestration.warehouse.published import unpublished_loads

# The daemon evaluates sensors every five seconds at most; within a tick they look once a second.
TICK_INTERVAL_SECONDS = 1
SECONDS_PER_TICK = 4.2
# An object that ten loads could not finish needs a person; builds of new records are never given up.
MAX_ATTEMPTS = 10

SCAN_INTERVAL_SECONDS = SensorSettings.read().scan_interval_seconds

RUN_GATE = RunGate()


@dg.sensor(
    job=refresh,
    minimum_interval_seconds=SCAN_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Starts a refresh when the bucket has an object that is not loaded according to the ledger, and lists the "
        "objects in the run's configuration."
    ),
)
def new_objects(context: dg.SensorEvaluationContext, landing: Landing, warehouse: Warehouse) -> dg.SensorResult:
    """Look for pending objects; a large bucket takes several ticks."""
    until, client = time.monotonic() + SECONDS_PER_TICK, landing.client
    first_due = math.inf
    # Requested once per tick: of two requests per scan, it would be one.
    versioned = cache(lambda: is_versioned(client, landing.bucket))

    def scan_from(after: ListingCursor | None) -> ScanResult:
        return scan(connection, client, landing.bucket, landing.settle_seconds, after, until, versioned())

    def is_enough(tick: TickResult) -> bool:
        work = tick.scan.work
        is_due = bool(work) and isinstance(tick.cursor.backoff.next_attempt(work, limit=MAX_ATTEMPTS), NextAttempt)
        if not is_due or RUN_GATE.under_way(context.instance) is not None:
            return False
        nonlocal first_due
        first_due = min(first_due, time.monotonic())
        # What arrived together is loaded by one run, which builds the models once.
        return not tick.scan.unsettled or time.monotonic() >= first_due + landing.settle_seconds

    try:
        with warehouse.loader() as connection:
            cursor = SensorCursor.read(context.cursor)
            tick = scan_for_a_tick(scan_from, cursor, is_enough, until, SCAN_INTERVAL_SECONDS)
    except BucketUnavailable as error:
        return dg.SensorResult(skip_reason=f"The bucket cannot be listed: {error}", cursor=context.cursor)
    found, backoff = tick.scan.found, tick.cursor.backoff
    tables = sorted({table.name for table, _ in found})
    selection = [*(dg.AssetKey(["raw", name]) for name in tables), *dbt_models.keys, ARRIVALS]
    answer, backoff = RUN_GATE.request_run(
        context.instance, backoff, tick.scan.work, tick.summary, selection, refresh_config(found), limit=MAX_ATTEMPTS
    )
    next_cursor = tick.cursor.model_copy(update={"backoff": backoff}).model_dump_json()
    arrived = [(table.name, item) for table, item in found] + [(UNKNOWN, item) for item in tick.scan.unmatched]
    partitions, events = newly_seen(context.instance, arrived)
    for event in events:
        context.log.info(event.description)
    return _result(answer, next_cursor, dynamic_partitions_requests=partitions, asset_events=events)


@dg.sensor(
    job=refresh,
    minimum_interval_seconds=TICK_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a refresh when the marts do not show a complete load, for instance after a batch over HTTP.",
)
def unpublished_batches(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SensorResult:
    """Look for complete loads that the marts do not show."""
    until, before = time.monotonic() + SECONDS_PER_TICK, Backoff.read(context.cursor)

    def pause(found: list[str]) -> float | None:
        is_due = bool(found) and isinstance(before.next_attempt(found), NextAttempt)
        return None if is_due and RUN_GATE.under_way(context.instance) is None else PAUSE_SECONDS

    with warehouse.transformer() as connection:
        found = poll(lambda: [str(load_id) for load_id, _ in unpublished_loads(connection, MARTS)], pause, until)
    summary = f"{len(found):,} new load{'s' * (len(found) != 1)}" if found else "No new load"
    backoff = before.keep_only(map(digest_of, found))
    answer, backoff = RUN_GATE.request_run(context.instance, backoff, found, summary, sorted(dbt_models.keys))
    return _result(answer, backoff.model_dump_json())


def _result(answer: Answer, cursor: str, **shown: Any) -> dg.SensorResult:
    if isinstance(answer, dg.RunRequest):
        return dg.SensorResult(run_requests=[answer], cursor=cursor, **shown)
    return dg.SensorResult(skip_reason=answer, cursor=cursor, **shown)
