"""When a sensor may retry what did not work: at growing intervals, and at once when something new has come."""

import hashlib
import math
import time
from collections.abc import Iterable

from pydantic import BaseModel, ValidationError

FIRST_INTERVAL_SECONDS = 15
MAX_INTERVAL_SECONDS = 900
# Cursors are written with each tick. Where more waits than this, new work is not distinguished from old any more: all
# of it is tried at its intervals, and never given up.
MAX_REMEMBERED = 2000


def digest_of(work: str) -> str:
    """Return what a cursor remembers a piece of work by."""
    return hashlib.sha256(work.encode()).hexdigest()[:12]


class Backoff(BaseModel):
    """What was tried and is still to be done, how often, and when next; kept in a cursor.

    Losing it costs one early attempt.
    """

    tried: list[str] = []
    made: int = 0
    next_at: float = 0

    @classmethod
    def read(cls, cursor: str | None) -> "Backoff":
        """Return what a cursor holds; a cursor that holds anything else counts as none."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:
            return cls()

    def keep_only(self, digests: Iterable[str]) -> "Backoff":
        """Return what remains when nothing but the work of these digests is to be done."""
        remaining = set(self.tried).intersection(digests)
        return self.model_copy(update={"tried": sorted(remaining)}) if remaining else Backoff()

    def next_attempt(
        self, work: Iterable[str], now: float | None = None, limit: float = math.inf
    ) -> "NextAttempt | float":
        """Return the attempt to make at some work, or the seconds to wait for it.

        Args:
            work: what is to be done, or some of it: what was tried and is not among it is remembered all the same.
            now: the time in seconds, of the clock by default.
            limit: how many attempts to make at the same work; after them the wait is infinite.
        """
        now = time.time() if now is None else now
        digests = sorted(map(digest_of, work))
        is_full = len(self.tried) >= MAX_REMEMBERED
        made = self.made if is_full or set(self.tried).issuperset(digests) else 0
        if made >= limit and not is_full:
            return math.inf
        if made and now < self.next_at:
            return self.next_at - now
        # Bounded before the power: of thousands of attempts it would leave a float's range.
        interval = min(FIRST_INTERVAL_SECONDS * 2 ** min(made, 10), MAX_INTERVAL_SECONDS)
        tried = sorted({*self.tried, *digests})[:MAX_REMEMBERED]
        # The time is in the key, because Dagster never runs one key twice and the same work may come back.
        key = f"{digest_of(''.join(digests))}-{made + 1}-{now * 1000:.0f}"
        return NextAttempt(key=key, backoff=Backoff(tried=tried, made=made + 1, next_at=now + interval))


class NextAttempt(BaseModel):
    """An attempt to make now: a key for its run, and what to remember of it."""

    key: str
    backoff: Backoff
