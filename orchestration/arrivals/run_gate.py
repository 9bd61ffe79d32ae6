"""Whether a sensor may request a run: not while one is under way, nor when another sensor has just requested one."""

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
# The daemon makes a run some tenths of a second after a sensor has requested it. Should it never do so, the sensors
# are not to wait for ever.
REQUESTED_SECONDS = 10

# By it a run is found that was requested; the run_key itself Dagster keeps in a tag of its own.
ATTEMPT_TAG = "hiring/attempt"
TRY_AGAIN = "Launch the job reload_object for one of them; any new object tries them all again."

Answer = dg.RunRequest | dg.SkipReason


class RunGate:
    """What the sensors of one process have requested: they tick at the same time, in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key = ""
        self._at = -float(REQUESTED_SECONDS)

    def under_way(self, instance: dg.DagsterInstance) -> str | None:
        """Return in words what is under way, None when nothing is."""
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
        """Return the run to request, or why not, and the backoff with this attempt.

        Args:
            instance: Dagster's instance.
            backoff: after the attempts made before.
            work: what is to be done; nothing requests no run.
            summary: the same in words.
            selection: the assets to materialize, with their checks.
            config: the run's configuration, the job's own by default.
            limit: how many attempts to make at the same work.
        """
        if not work:
            return dg.SkipReason(f"{summary}."), backoff
        made = f"{backoff.made} attempt{'s' * (backoff.made != 1)}"
        with self._lock:
            if under_way := self._under_way(instance):
                return dg.SkipReason(f"{summary}; {under_way} is under way."), backoff
            attempt = backoff.next_attempt(work, limit=limit)
            if attempt == math.inf:
                return dg.SkipReason(f"{summary}; given up after {made}. {TRY_AGAIN}"), backoff
            if not isinstance(attempt, NextAttempt):
                return dg.SkipReason(f"{summary}; {made} made, the next in {attempt:.0f} s."), backoff
            self._key, self._at = attempt.key, time.monotonic()
        tags = {"hiring/reason": summary, ATTEMPT_TAG: attempt.key}
        request = dg.RunRequest(run_key=attempt.key, tags=tags, asset_selection=selection, run_config=config)
        return request, attempt.backoff

    def _under_way(self, instance: dg.DagsterInstance) -> str | None:
        # In this order: a run that appears between the two questions is found by the second.
        if time.monotonic() - self._at < REQUESTED_SECONDS and not instance.get_runs_count(
            dg.RunsFilter(tags={ATTEMPT_TAG: self._key})
        ):
            return "a run that a sensor has just requested"
        found = instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY), limit=1)
        return f"run {found[0].dagster_run.run_id}" if found else None
