"""Retries while a server is down: with exponential backoff and jitter, until a time without progress has passed."""

import logging
import random
import time
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception

FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 5.0

log = logging.getLogger(__name__)


class _Outage:
    """The failures since the last progress. Successful work before them does not count as waiting."""

    def __init__(self, give_up_seconds: float, progress: Callable[[], int]) -> None:
        self._give_up_seconds = give_up_seconds
        self._progress = progress
        self._furthest = progress()
        self._since: float | None = None
        self._failures = 0

    def should_retry(self) -> bool:
        """Record a failure; return whether to try again."""
        now, progress = time.monotonic(), self._progress()
        has_progressed = progress > self._furthest
        if has_progressed or self._since is None:
            self._furthest, self._since, self._failures = progress, now, 0
        self._failures += 1
        # After progress always, even if give_up_seconds is 0: the server was available a moment ago.
        return has_progressed or now - self._since < self._give_up_seconds

    def pause(self) -> float:
        """Return how many seconds to wait before the next attempt."""
        longest = min(FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10), MAX_PAUSE_SECONDS)
        return random.uniform(0, longest)  # noqa: S311 - so that loaders do not all return at once


def retry_transient(
    give_up_seconds: float, is_transient: Callable[[BaseException], bool], progress: Callable[[], int] = lambda: 0
) -> Retrying:
    """Return a Retrying that calls a function again while it raises transient errors, and finally raises the last one.

    Args:
        give_up_seconds: how long to retry after the first failure, or the first after some progress; 0 calls it once.
        is_transient: whether an error may pass with time.
        progress: how far the function's work has come, a growing number: a server that accepts some of the work is not
            down, and the time starts again. Reaching the same point again is not progress.
    """
    outage = _Outage(give_up_seconds, progress)
    return Retrying(
        retry=retry_if_exception(lambda error: is_transient(error) and outage.should_retry()),
        wait=lambda _: outage.pause(),
        before_sleep=_log_pause,
        reraise=True,
    )


def _log_pause(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("%s; trying again in %.1f s", " ".join(str(error).split()), state.upcoming_sleep)
