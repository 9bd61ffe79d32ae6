"""Retries while a server is away: at growing and random intervals, for a stated time without progress."""

import logging
import random
import time
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception

FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 5.0

log = logging.getLogger(__name__)


class _Outage:
    """The failures since the last progress. What went well before them, for however long, is no waiting."""

    def __init__(self, give_up_seconds: float, progress: Callable[[], int]) -> None:
        self._give_up_seconds = give_up_seconds
        self._progress = progress
        self._furthest = progress()
        self._since: float | None = None
        self._failures = 0

    def is_worth_waiting(self) -> bool:
        """Take note of a failure; return whether to try again after it."""
        now, progress = time.monotonic(), self._progress()
        has_progressed = progress > self._furthest
        if has_progressed or self._since is None:
            self._furthest, self._since, self._failures = progress, now, 0
        self._failures += 1
        # The server was there a moment ago, however short the time to wait for it.
        return has_progressed or now - self._since < self._give_up_seconds

    def pause(self) -> float:
        """Return how many seconds to wait before the next attempt."""
        longest = min(FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10), MAX_PAUSE_SECONDS)
        return random.uniform(0, longest)  # noqa: S311 - so that loaders do not all return at once


def retry_transient(
    give_up_seconds: float, is_transient: Callable[[BaseException], bool], progress: Callable[[], int] = lambda: 0
) -> Retrying:
    """Return what calls a function again while it raises transient errors, and in the end raises the last one.

    Args:
        give_up_seconds: how long to retry after the first failure, or the first after some progress; 0 calls it once.
        is_transient: whether an error may pass with time.
        progress: how far the function's work has come, a number that grows: whoever takes some of the work is not
            away, and gets the whole time again. The same place reached again is no progress.
    """
    outage = _Outage(give_up_seconds, progress)
    return Retrying(
        retry=retry_if_exception(lambda error: is_transient(error) and outage.is_worth_waiting()),
        wait=lambda _: outage.pause(),
        before_sleep=_log_pause,
        reraise=True,
    )


def _log_pause(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("%s; trying again in %.1f s", " ".join(str(error).split()), state.upcoming_sleep)
