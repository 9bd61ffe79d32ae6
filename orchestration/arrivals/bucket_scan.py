"""Repeated scans of the bucket, part by part, for objects that are not loaded yet."""

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

Result = TypeVar("Result")

PAUSE_SECONDS = 1.0
PAUSE_TO_SETTLE_SECONDS = 0.3
# Enough to start a run, which then lists the bucket itself.
MAX_FOUND = MAX_REMEMBERED
MAX_UNMATCHED = 250
MAX_NAMED = 3


class Listing(BaseModel):
    """The progress of a listing that takes several scans.

    Attributes:
        after: where it continues; None at the beginning.
        objects: how many were listed.
        new: how many of them are pending.
        found: their digests, at most MAX_FOUND.
    """

    # What another version has remembered is no half of a listing of this one.
    model_config = ConfigDict(extra="forbid")

    after: ListingCursor | None = None
    objects: int = 0
    new: int = 0
    found: list[str] = []


class SensorCursor(BaseModel):
    """A sensor's state between ticks. Losing it costs time, nothing else."""

    backoff: Backoff = Backoff()
    listing: Listing = Listing()

    @classmethod
    def read(cls, cursor: str | None) -> "SensorCursor":
        """Return the content of a cursor; an unreadable cursor counts as none."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:
            return cls()


@dataclass
class ScanResult:
    """The result of a scan: pending objects, objects of no table, and objects that may still be growing.

    `next` is where the next scan continues; None if the end of the bucket was reached.
    """

    listed: int = 0
    pages: int = 0
    found: list[tuple[Table, ObjectVersion]] = field(default_factory=list)
    unmatched: list[ObjectVersion] = field(default_factory=list)
    unsettled: list[ObjectVersion] = field(default_factory=list)
    next: ListingCursor | None = None

    @property
    def work(self) -> list[str]:
        """The pending objects as keys of their attempts."""
        return [f"{item.key}@{item.version}" for _, item in self.found]


def scan(
    connection: "Connection",
    client: "S3Client",
    bucket: str,
    settle_seconds: float = 0,
    after: ListingCursor | None = None,
    until: float = 0,
    versioned: bool | None = None,
) -> ScanResult:
    """Scan a bucket's objects after a cursor, at least one page.

    Args:
        connection: of a role that reads the ledger.
        client: a boto3 S3 client.
        bucket: its name.
        settle_seconds: objects that changed less than this long ago are not pending yet.
        after: where an earlier scan ended.
        until: time.monotonic() after which no page is requested.
        versioned: whether the bucket keeps versions, if the caller knows.

    Raises:
        BucketUnavailable: the bucket cannot be listed.
    """
    result = ScanResult()
    for page in list_pages(client, bucket, after, versioned=versioned):
        result.pages += 1
        result.listed += len(page.objects)
        # Checked once per object: a bucket has many, of which hardly any is new.
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
    """The last scan of a tick, the cursor after it, and a summary in words."""

    scan: ScanResult
    cursor: SensorCursor
    summary: str


def scan_for_a_tick(
    scan_from: Callable[[ListingCursor | None], ScanResult],
    cursor: SensorCursor,
    is_enough: Callable[[TickResult], bool],
    until: float,
    pause_seconds: float = PAUSE_SECONDS,
) -> TickResult:
    """Continue the last scan, and scan repeatedly while the bucket is small, until a scan finds enough or time is up.

    Args:
        scan_from: scans from a cursor on.
        cursor: after the last scan.
        is_enough: whether no further scan is needed after this one.
        until: time.monotonic() after which no further scan begins.
        pause_seconds: the seconds between scans, when no object is about to be settled.
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
        return PAUSE_TO_SETTLE_SECONDS if tick.scan.unsettled else pause_seconds

    return poll(next_scan, pause, until)


def poll(query: Callable[[], Result], pause: Callable[[Result], float | None], until: float) -> Result:
    """Call `query` until `pause` returns None for its result, or time is up; return the last result.

    Args:
        query: the function to call.
        pause: returns the seconds to wait before the next call; None ends the polling.
        until: time.monotonic() after which no further call begins.
    """
    while True:
        result = query()
        seconds = pause(result)
        if seconds is None or time.monotonic() + seconds > until:
            return result
        time.sleep(seconds)


def next_cursor(cursor: SensorCursor, result: ScanResult) -> SensorCursor:
    """Return the cursor after a scan that continued the last one.

    At the end of the bucket, attempts at objects that are no longer pending are forgotten.
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
    """Return a summary of a scan and the earlier scans of the same listing."""
    objects, new = cursor.listing.objects + result.listed, cursor.listing.new + len(result.found)
    so_far = " so far" if result.next else ""
    parts = [f"{objects:,} object{'s' * (objects != 1)}{so_far}", f"{new:,} new" if new else "none new"]
    if result.unsettled:
        named = [f"{item.key} ({_since_change(item)})" for item in result.unsettled[:MAX_NAMED]]
        more = f" and {len(result.unsettled) - MAX_NAMED:,} more" if len(result.unsettled) > MAX_NAMED else ""
        parts.append(f"{len(result.unsettled):,} that may still be growing: {', '.join(named)}{more}")
    if result.unmatched:
        count = len(result.unmatched)
        parts.append(f"{count:,}{' or more' * (count == MAX_UNMATCHED)} of no table")
    return ", ".join(parts)


def _since_change(item: ObjectVersion) -> str:
    seconds = time.time() - item.last_modified.timestamp()
    return f"changed {seconds:.1f} s ago" if seconds >= 0 else f"dated {-seconds:.1f} s ahead"
