"""Looking into the bucket, a part at a time and again and again, for objects that are not loaded yet."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from contracts import Table
from orchestration.arrivals.attempts import MOST_REMEMBERED, Attempts, digest_of
from orchestration.ingest.loader import wanted
from orchestration.ingest.objects import ObjectVersion, Place, is_settled, list_pages
from orchestration.ingest.tables import table_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from orchestration.database import Connection

Seen = TypeVar("Seen")

PAUSE_SECONDS = 1.0
PAUSE_TO_SETTLE_SECONDS = 0.3
# As many are enough to start a run for; it looks for itself, and loads what comes behind them, too.
MOST_FOUND = MOST_REMEMBERED
MOST_STRANGERS = 250


class Listing(BaseModel):
    """How far a listing has come that takes several looks.

    Attributes:
        place: where it goes on; None at the beginning.
        objects: how many were listed.
        new: how many of them want loading.
        found: the digests of these, of MOST_FOUND at most.
    """

    place: Place | None = None
    objects: int = 0
    new: int = 0
    found: list[str] = []


class Memory(BaseModel):
    """What a sensor remembers from one tick to the next, in its cursor. Losing it costs time, nothing else."""

    attempts: Attempts = Attempts()
    listing: Listing = Listing()

    @classmethod
    def read(cls, cursor: str | None) -> "Memory":
        """Return what a cursor holds; a cursor that holds anything else counts as none."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:
            return cls()


@dataclass
class Sight:
    """What a look has shown: objects that want loading, objects of no table, how many are not settled yet.

    `next` is where the following look goes on, None when the bucket was seen to its end.
    """

    listed: int = 0
    pages: int = 0
    found: list[tuple[Table, ObjectVersion]] = field(default_factory=list)
    strangers: list[ObjectVersion] = field(default_factory=list)
    unsettled: int = 0
    next: Place | None = None

    @property
    def work(self) -> list[str]:
        """What is found, as attempts are counted by."""
        return [f"{item.key}@{item.version}" for _, item in self.found]


def look(
    connection: "Connection",
    client: "S3Client",
    bucket: str,
    settle_seconds: float = 0,
    place: Place | None = None,
    until: float = 0,
) -> Sight:
    """Look at a bucket's objects from a place on, one page at least; return what was seen.

    Args:
        connection: of a role that reads the ledger.
        client: a boto3 S3 client.
        bucket: its name.
        settle_seconds: objects that changed less than this long ago are counted only.
        place: where an earlier look ended.
        until: of time.monotonic: no page is asked for after it.

    Raises:
        BucketUnavailable: the bucket cannot be listed.
    """
    sight = Sight()
    for page in list_pages(client, bucket, place):
        settled = [item for item in page.objects if is_settled(item, settle_seconds)]
        sight.pages += 1
        sight.listed += len(page.objects)
        sight.unsettled += len(page.objects) - len(settled)
        sight.found += wanted(connection, settled)
        sight.strangers += [item for item in settled if table_of(item.key) is None]
        del sight.strangers[MOST_STRANGERS:]
        sight.next = page.next
        if len(sight.found) >= MOST_FOUND or time.monotonic() >= until:
            break
    return sight


@dataclass(frozen=True)
class Looked:
    """The last look of a tick, what to remember after it, and what was seen, in words."""

    sight: Sight
    memory: Memory
    told: str


def look_on(
    look_once: Callable[[Place | None], Sight], memory: Memory, is_enough: Callable[[Looked], bool], until: float
) -> Looked:
    """Look from where the last look had ended, and again while that is quick, until one shows enough or time is over.

    Args:
        look_once: looks from a place on.
        memory: of the last look.
        is_enough: whether a look needs no other.
        until: of time.monotonic: no look begins after it, but the first.
    """

    def next_look() -> Looked:
        nonlocal memory
        sight = look_once(memory.listing.place)
        words = told(memory, sight)
        memory = remembered(memory, sight)
        return Looked(sight, memory, words)

    def pause(looked: Looked) -> float | None:
        is_quick = looked.sight.pages <= 1 and looked.sight.next is None
        if not is_quick or is_enough(looked):
            return None
        return PAUSE_TO_SETTLE_SECONDS if looked.sight.unsettled else PAUSE_SECONDS

    return again(next_look, pause, until)


def again(seen: Callable[[], Seen], pause: Callable[[Seen], float | None], until: float) -> Seen:
    """Call `seen` until `pause` says of its answer that it needs no other, or the time is over; return the last answer.

    Args:
        seen: looks.
        pause: the seconds to wait before the next look, None when there need not be one.
        until: of time.monotonic: no call begins after it, but the first.
    """
    while True:
        answer = seen()
        seconds = pause(answer)
        if seconds is None or time.monotonic() + seconds > until:
            return answer
        time.sleep(seconds)


def remembered(memory: Memory, sight: Sight) -> Memory:
    """Return what there is to remember after a look that began where the last one had ended.

    Once the bucket was seen to its end, what was tried and did not turn up any more is done.
    """
    before = memory.listing
    found = sorted({*before.found, *map(digest_of, sight.work)})[:MOST_FOUND]
    if sight.next is None:
        return Memory(attempts=memory.attempts.still(found))
    listing = Listing(
        place=sight.next, objects=before.objects + sight.listed, new=before.new + len(sight.found), found=found
    )
    return Memory(attempts=memory.attempts, listing=listing)


def told(memory: Memory, sight: Sight) -> str:
    """Return in words what was seen by a look and those before it that belong to the same listing."""
    objects, new = memory.listing.objects + sight.listed, memory.listing.new + len(sight.found)
    so_far = " so far" if sight.next else ""
    parts = [f"{objects:,} object{'s' * (objects != 1)}{so_far}", f"{new:,} new" if new else "none new"]
    if sight.unsettled:
        parts.append(f"{sight.unsettled:,} that may still be growing")
    if sight.strangers:
        parts.append(f"{len(sight.strangers):,}{' or more' * (len(sight.strangers) == MOST_STRANGERS)} of no table")
    return ", ".join(parts)
