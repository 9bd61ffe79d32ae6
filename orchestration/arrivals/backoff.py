"""Exponential backoff of a sensor's attempts at the same work; new work is attempted immediately."""

import hashlib
import math
import time
from collections.abc import Iterable

from pydantic import BaseModel, ValidationError

FIRST_INTERVAL_SECONDS = 15
MAX_INTERVAL_SECONDS = 900
# Cursors are written with each tick. Beyond this, new work is no longer distinguished from old: all of it is attempted
# with backoff, and never given up.
MAX_REMEMBERED = 2000


def digest_of(work: str) -> str:
    """Return the digest by which a cursor remembers a piece of work."""
    return hashlib.sha256(work.encode()).hexdigest()[:12]


class Backoff(BaseModel):
    """Work that was attempted and is still pending, how often, and when next; stored in a cursor.

    Losing it costs one early attempt.
    """

    tried: list[str] = []
    made: int = 0
    next_at: float = 0

    @classmethod
    def read(cls, cursor: str | None) -> "Backoff":
        """Return the content of a cursor; an unreadable cursor counts as none."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:
            return cls()

    def keep_only(self, digests: Iterable[str]) -> "Backoff":
        """Return what remains if only the work of these digests is still pending."""
        remaining = set(self.tried).intersection(digests)
        return self.model_copy(update={"tried": sorted(remaining)}) if remaining else Backoff()

    def next_attempt(
        self, work: Iterable[str], now: float | None = None, limit: float = math.inf
    ) -> "NextAttempt | float":
        """Return the next attempt at some work, or the seconds to wait before it.

        Args:
            work: pending work, or some of it: other work that was attempted is remembered all the same.
            now: the time in seconds, by default the clock's.
            limit: maximum number of attempts at the same work; after them the wait is infinite.
        """
        now = time.time() if now is None else now
        digests = sorted(map(digest_of, work))
        is_full = len(self.tried) >= MAX_REMEMBERED
        made = self.made if is_full or set(self.tried).issuperset(digests) else 0
        if made >= limit and not is_full:
            return math.inf
        if made and now < self.next_at:
            return self.next_at - now
        # Bounded before the power, which would exceed a float's range after thousands of attempts.
        interval = min(FIRST_INTERVAL_SECONDS * 2 ** min(made, 10), MAX_INTERVAL_SECONDS)
        tried = sorted({*self.tried, *digests})[:MAX_REMEMBERED]
        # The time is in the key, because Dagster never runs a key twice, and the same work may reappear.
        key = f"{digest_of(''.join(digests))}-{made + 1}-{now * 1000:.0f}"
        return NextAttempt(key=key, backoff=Backoff(tried=tried, made=made + 1, next_at=now + interval))


class NextAttempt(BaseModel):
    """An attempt to make now: its run key, and the backoff after it."""

    key: str
    backoff: Backoff
