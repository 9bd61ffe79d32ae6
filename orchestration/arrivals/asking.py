"""Whether a sensor may ask for a run: not beside one that is under way, nor when another sensor has asked just now."""

import math
import threading
import time
from collections.abc import Collection, Sequence

import dagster as dg
from dagster._core.storage.tags import RUN_KEY_TAG

from orchestration.arrivals.attempts import Attempts, Due

UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# The daemon makes a run some tenths of a second after a sensor has asked for it. Should it never do so, the sensors
# are not to wait for ever.
ASKED_SECONDS = 10

TRY_AGAIN = "Launch the job reload_object for one of them; any new object tries them all again."

Answer = dg.RunRequest | dg.SkipReason


class Asking:
    """What the sensors of one process ask for: they tick at the same time, in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key = ""
        self._at = -float(ASKED_SECONDS)

    def under_way(self, instance: dg.DagsterInstance) -> str | None:
        """Return in words what is under way, None when nothing is."""
        with self._lock:
            return self._under_way(instance)

    def ask(
        self,
        instance: dg.DagsterInstance,
        attempts: Attempts,
        work: Collection[str],
        seen: str,
        selection: Sequence[dg.AssetKey],
        limit: float = math.inf,
    ) -> tuple[Answer, Attempts]:
        """Return the run to ask for, or why not, and the attempts with this one.

        Args:
            instance: Dagster's instance.
            attempts: those made before.
            work: what is to be done; nothing asks for no run.
            seen: the same in words.
            selection: the assets to materialize, with their checks.
            limit: how many attempts to make at the same work.
        """
        if not work:
            return dg.SkipReason(f"{seen}."), attempts
        made = f"{attempts.made} attempt{'s' * (attempts.made != 1)}"
        with self._lock:
            if under_way := self._under_way(instance):
                return dg.SkipReason(f"{seen}; {under_way} is under way."), attempts
            due = attempts.due(work, limit=limit)
            if due == math.inf:
                return dg.SkipReason(f"{seen}; given up after {made}. {TRY_AGAIN}"), attempts
            if not isinstance(due, Due):
                return dg.SkipReason(f"{seen}; {made} made, the next in {due:.0f} s."), attempts
            self._key, self._at = due.key, time.monotonic()
        request = dg.RunRequest(run_key=due.key, tags={"hiring/reason": seen}, asset_selection=selection)
        return request, due.attempts

    def _under_way(self, instance: dg.DagsterInstance) -> str | None:
        # In this order: a run that appears between the two questions is found by the second.
        if time.monotonic() - self._at < ASKED_SECONDS and not instance.get_runs_count(
            dg.RunsFilter(tags={RUN_KEY_TAG: self._key})
        ):
            return "a run that a sensor has just asked for"
        found = instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY), limit=1)
        return f"run {found[0].dagster_run.run_id}" if found else None
