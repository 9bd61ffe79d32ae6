"""Decides whether a sensor may request a run: not while one is in progress or was just requested by another sensor."""

import math
import threading
import time
from collections.abc import Collection, Sequence

import dagster as dg

from orchestration.arrivals.backoff import Backoff, NextAttempt

UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# The daemon creates a run some tenths of a second after a sensor has requested it. If it never does, the sensors must
# not wait for ever.
REQUESTED_SECONDS = 10

# Identifies the requested run; Dagster stores the run_key itself in a tag of its own.
ATTEMPT_TAG = "hiring/attempt"
TRY_AGAIN = "Launch the job reload_object for one of them; any new object tries them all again."

Answer = dg.RunRequest | dg.SkipReason


class RunGate:
    """Coordinates the sensors of one process, which tick concurrently in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key = ""
        self._at = -float(REQUESTED_SECONDS)

    def under_way(self, instance: dg.DagsterInstance) -> str | None:
        """Return a description of the run in progress, None if there is none."""
        with self._lock:
            return self._under_way(instance)

    def request_run(
        self,
        instance: dg.DagsterInstance,
        backoff: Backoff,
        work: Collection[str],
        summary: str,
        selection: Sequence[dg.AssetKey],
        config: dg.RunConfig | None = None,
        limit: float = math.inf,
    ) -> tuple[Answer, Backoff]:
        """Return the run to request, or why there is none, and the backoff including this attempt.

        Args:
            instance: Dagster's instance.
            backoff: after the previous attempts.
            work: pending work; no run is requested without any.
            summary: a description of the work.
            selection: the assets to materialize, together with their checks.
            config: the run's configuration, by default the job's.
            limit: maximum number of attempts at the same work.
        """
        if not work:
            return dg.SkipReason(f"{summary}."), backoff
        attempts = f"{backoff.made} attempt{'s' * (backoff.made != 1)}"
        with self._lock:
            if under_way := self._under_way(instance):
                return dg.SkipReason(f"{summary}; {under_way} is under way."), backoff
            attempt = backoff.next_attempt(work, limit=limit)
            if attempt == math.inf:
                return dg.SkipReason(f"{summary}; given up after {attempts}. {TRY_AGAIN}"), backoff
            if not isinstance(attempt, NextAttempt):
                return dg.SkipReason(f"{summary}; {attempts} made, the next in {attempt:.0f} s."), backoff
            self._key, self._at = attempt.key, time.monotonic()
        tags = {"hiring/reason": summary, ATTEMPT_TAG: attempt.key}
        request = dg.RunRequest(run_key=attempt.key, tags=tags, asset_selection=selection, run_config=config)
        return request, attempt.backoff

    def _under_way(self, instance: dg.DagsterInstance) -> str | None:
        # In this order: a run that is created between the two queries is found by the second.
        if time.monotonic() - self._at < REQUESTED_SECONDS and not instance.get_runs_count(
            dg.RunsFilter(tags={ATTEMPT_TAG: self._key})
        ):
            return "a run that a sensor has just requested"
        records = instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY), limit=1)
        return f"run {records[0].dagster_run.run_id}" if records else None
