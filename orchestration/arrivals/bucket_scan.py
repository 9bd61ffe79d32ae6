"""Scans of the bucket, a part at a time and again and again, for objects that are not loaded yet."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from contracts import Table
from orchestration.arrivals.backoff import MAX_REMEMBERED, Backoff, digest_of
from orchestration.ingest.candidates import pending_of
from orchestration.ingest.objects import ListingCursor, ObjectVersion, is_stable, list_pages
from orchestration.ingest.tables import table_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from orchestration.database import Connection

Seen = TypeVar("Seen")

PAUSE_SECONDS = 1.0
PAUSE_TO_SETTLE_SECONDS = 0.3
# As many are enough to start a run for, which then lists the bucket itself.
MAX_FOUND = MAX_REMEMBERED
MAX_UNMATCHED = 250
NAMED = 3


class Listing(BaseModel):
    """How far a listing has come that takes several scans.

    Attributes:
        after: where it continues; None at the beginning.
        objects: how many were listed.
        new: how many of them are pending.
        found: the digests of these, of MAX_FOUND at most.
    """

    # What another version has remembered is no half of a listing of this one.
    model_config = ConfigDict(extra="forbid")

    after: ListingCursor | None = None
    objects: int = 0
    new: int = 0
    found: list[str] = []


class SensorCursor(BaseModel):
    """What a sensor remembers from one tick to the next. Losing it costs time, nothing else."""

    backoff: Backoff = Backoff()
    listing: Listing = Listing()

    @classmethod
    def read(cls, cursor: str | None) -> "SensorCursor":
        """Return what a cursor holds; a cursor that holds anything else counts as none."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:
            return cls()


@dataclass
class ScanResult:
    """What a scan has found: pending objects, objects of no table, objects of a table that are not settled yet.

    `next` is where the following scan continues, None when the bucket was scanned to its end.
    """

    listed: int = 0
    pages: int = 0
    found: list[tuple[Table, ObjectVersion]] = field(default_factory=list)
    unmatched: list[ObjectVersion] = field(default_factory=list)
    unsettled: list[ObjectVersion] = field(default_factory=list)
    next: ListingCursor | None = None

    @property
    def work(self) -> list[str]:
        """What is found, as attempts are counted by."""
        return [f"{item.key}@{item.version}" for _, item in self.found]


def scan(
    connection: "Connection",
    client: "S3Client",
    bucket: str,
    settle_seconds: float = 0,
    after: ListingCursor | None = None,
    until: float = 0,
) -> ScanResult:
    """Scan a bucket's objects from a cursor on, one page at least.

    Args:
        connection: of a role that reads the ledger.
        client: a boto3 S3 client.
        bucket: its name.
        settle_seconds: objects that changed less than this long ago are named only.
        after: where an earlier scan ended.
        until: of time.monotonic: no page is asked for after it.

    Raises:
        BucketUnavailable: the bucket cannot be listed.
    """
    result = ScanResult()
    for page in list_pages(client, bucket, after):
        result.pages += 1
        result.listed += len(page.objects)
        # Asked once of each object: a bucket has many, of which nearly none is new.
        settled: list[tuple[Table, ObjectVersion]] = []
        for item in page.objects:
            table = table_of(item.key)
            if table is None:
                result.unmatched += [item] if is_stable(item, settle_seconds) else []
            elif is_stable(item, settle_seconds):
                settled.append((table, item))
            else:
                result.unsettled.append(item)
        result.found += pending_of(connection, settled)
        del result.unmatched[MAX_UNMATCHED:]
        result.next = page.next
        if len(result.found) >= MAX_FOUND or time.monotonic() >= until:
            break
    return result


@dataclass(frozen=True)
class TickResult:
    """The last scan of a tick, what to remember after it, and what it found, in words."""

    scan: ScanResult
    cursor: SensorCursor
    summary: str


def scan_for_a_tick(
    scan_from: Callable[[ListingCursor | None], ScanResult],
    cursor: SensorCursor,
    is_enough: Callable[[TickResult], bool],
    until: float,
) -> TickResult:
    """Scan from where the last scan had ended, and again while that is quick, until one finds enough or time is over.

    Args:
        scan_from: scans from a cursor on.
        cursor: after the last scan.
        is_enough: whether a scan needs no other.
        until: of time.monotonic: no scan begins after it, but the first.
    """

    def next_scan() -> TickResult:
        nonlocal cursor
        result = scan_from(cursor.listing.after)
        words = summary(cursor, result)
        cursor = next_cursor(cursor, result)
        return TickResult(result, cursor, words)

    def pause(tick: TickResult) -> float | None:
        is_quick = tick.scan.pages <= 1 and tick.scan.next is None
        if not is_quick or is_enough(tick):
            return None
        return PAUSE_TO_SETTLE_SECONDS if tick.scan.unsettled else PAUSE_SECONDS

    return poll(next_scan, pause, until)


def poll(look: Callable[[], Seen], pause: Callable[[Seen], float | None], until: float) -> Seen:
    """Call `look` until `pause` says of its answer that it needs no other, or the time is over; return the last answer.

    Args:
        look: is called.
        pause: the seconds to wait before the next call, None when there need not be one.
        until: of time.monotonic: no call begins after it, but the first.
    """
    while True:
        answer = look()
        seconds = pause(answer)
        if seconds is None or time.monotonic() + seconds > until:
            return answer
        time.sleep(seconds)


def next_cursor(cursor: SensorCursor, result: ScanResult) -> SensorCursor:
    """Return what there is to remember after a scan that began where the last one had ended.

    Once the bucket was scanned to its end, what was tried and did not turn up any more is done.
    """
    before = cursor.listing
    found = sorted({*before.found, *map(digest_of, result.work)})[:MAX_FOUND]
    if result.next is None:
        return SensorCursor(backoff=cursor.backoff.keep_only(found))
    listing = Listing(
        after=result.next, objects=before.objects + result.listed, new=before.new + len(result.found), found=found
    )
    return SensorCursor(backoff=cursor.backoff, listing=listing)


def summary(cursor: SensorCursor, result: ScanResult) -> str:
    """Return in words what was found by a scan and those before it that belong to the same listing."""
    objects, new = cursor.listing.objects + result.listed, cursor.listing.new + len(result.found)
    so_far = " so far" if result.next else ""
    parts = [f"{objects:,} object{'s' * (objects != 1)}{so_far}", f"{new:,} new" if new else "none new"]
    if result.unsettled:
        named = [f"{item.key} ({_since_change(item)})" for item in result.unsettled[:NAMED]]
        more = f" and {len(result.unsettled) - NAMED:,} more" if len(result.unsettled) > NAMED else ""
        parts.append(f"{len(result.unsettled):,} that may still be growing: {', '.join(named)}{more}")
    if result.unmatched:
        count = len(result.unmatched)
        parts.append(f"{count:,}{' or more' * (count == MAX_UNMATCHED)} of no table")
    return ", ".join(parts)


def _since_change(item: ObjectVersion) -> str:
    seconds = time.time() - item.last_modified.timestamp()
    return f"changed {seconds:.1f} s ago" if seconds >= 0 else f"dated {-seconds:.1f} s ahead"
