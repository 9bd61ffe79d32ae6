"""How to go on when a server is away: again and again, at growing and random distances, for a stated time."""

import logging
import time
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential
from tenacity.stop import stop_base

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

log = logging.getLogger(__name__)


class _Exhausted(stop_base):
    """A stop that counts from the first failure: what went well before it, for however long, is no waiting."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def __call__(self, retry_state: RetryCallState) -> bool:  # noqa: ARG002 - as tenacity calls it
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since >= self._seconds


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("%s; trying again in %.1f s", " ".join(str(error).split()), state.upcoming_sleep)


def patiently(seconds: float, is_passing: Callable[[BaseException], bool]) -> Retrying:
    """Return what calls a function again while it raises errors that pass, and raises the last one in the end.

    Args:
        seconds: how long to go on after the first failure; 0 calls it once.
        is_passing: whether time can mend what caused an error.
    """
    return Retrying(
        retry=retry_if_exception(is_passing),
        wait=wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
        stop=_Exhausted(seconds),
        before_sleep=_tell,
        reraise=True,
    )
