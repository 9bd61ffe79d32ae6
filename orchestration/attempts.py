"""When a sensor may try again what did not work: at growing distances, and at once when something has changed."""

import hashlib
import time
from collections.abc import Iterable

from pydantic import BaseModel, ValidationError

FIRST_DISTANCE_SECONDS = 15
LONGEST_DISTANCE_SECONDS = 900


class Attempts(BaseModel):
    """How often the same work has been asked for, and when next; a sensor's cursor. Losing it costs one early try."""

    work: str = ""
    made: int = 0
    next_at: float = 0

    @classmethod
    def read(cls, cursor: str | None) -> "Attempts":
        """Return what a cursor holds; a cursor that holds anything else counts as none."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:
            return cls()

    def written(self) -> str:
        """Return the cursor that holds this."""
        return self.model_dump_json()

    def due(self, found: Iterable[str], now: float | None = None) -> "Due | float":
        """Return the attempt to make for the work that was found, or the seconds to wait for it."""
        now = time.time() if now is None else now
        work = hashlib.sha256("\0".join(sorted(found)).encode()).hexdigest()[:16]
        made = self.made if work == self.work else 0
        if made and now < self.next_at:
            return self.next_at - now
        distance = min(FIRST_DISTANCE_SECONDS * 2**made, LONGEST_DISTANCE_SECONDS)
        # The time is in the key, because Dagster never runs one key twice and the same work may come back.
        key = f"{work}-{made + 1}-{now * 1000:.0f}"
        return Due(key=key, attempts=Attempts(work=work, made=made + 1, next_at=now + distance))


class Due(BaseModel):
    """An attempt to make now: a key for its run, and what to remember of it."""

    key: str
    attempts: Attempts
