"""Scans of the bucket: in parts, with a bounded cursor, repeated within a tick, for any cursor."""

import itertools
import re
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from contracts import TABLES
from orchestration.arrivals.backoff import Backoff, NextAttempt
from orchestration.arrivals.bucket_scan import (
    MAX_FOUND,
    ScanResult,
    SensorCursor,
    TickResult,
    next_cursor,
    scan,
    scan_for_a_tick,
    summary,
)
from orchestration.database import Connection, connect
from orchestration.ingest.loader import load_pending
from orchestration.ingest.objects import ListingCursor, ObjectVersion
from tests.conftest import Bucket, Database

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_, JOBS, _ = TABLES
THEN = datetime(2021, 1, 1, tzinfo=UTC)
ONE = ObjectVersion("landing", "jobs.csv", "v", "v", 1, THEN)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with connect(database.conninfo("hiring_loader")) as opened:
        yield opened


@pytest.fixture
def pages_of_three(bucket: Bucket) -> Bucket:
    """A bucket whose server returns three objects per page instead of a thousand."""
    bucket.client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: params | {"MaxKeys": 3}
    )
    return bucket


class EndlessBucket:
    """A client of a bucket with many objects, which it generates on request."""

    def __init__(self, objects: int) -> None:
        self.objects = objects

    def get_bucket_versioning(self, Bucket: str) -> dict[str, Any]:  # noqa: ARG002, N803 - as boto3 calls it
        return {}

    def list_objects_v2(self, Bucket: str, StartAfter: str = "jobs_000000.csv") -> dict[str, Any]:  # noqa: ARG002, N803
        first = int(StartAfter[5:11]) + 1
        numbers = range(first, min(first + 1000, self.objects + 1))
        listed = [
            {"Key": f"jobs_{number:06}.csv", "ETag": f'"{number:032}"', "Size": 4, "LastModified": THEN}
            for number in numbers
        ]
        return {"Contents": listed, "IsTruncated": first + 1000 <= self.objects}


def keys(result: ScanResult) -> list[str]:
    return [item.key for _, item in result.found]


def scan_once(connection: Connection, bucket: Bucket, cursor: SensorCursor, until: float = 0) -> TickResult:
    """Scan once from where the last scan ended: one page, unless there is time for more."""
    return scan_for_a_tick(
        lambda after: scan(connection, bucket.client, bucket.name, after=after, until=until),
        cursor,
        bool,
        0,
    )


def test_loaded_objects_are_no_longer_found_and_objects_of_no_table_are_listed_separately(
    connection: Connection, bucket: Bucket, database: Database
) -> None:
    for key in ("departments.csv", "jobs.csv", "readme.txt"):
        bucket.put(key, b"1,a\n")
    list(load_pending(database.conninfo("hiring_loader"), bucket.client, bucket.name, JOBS))
    result = scan(connection, bucket.client, bucket.name)
    assert [(table.name, item.key) for table, item in result.found] == [("departments", "departments.csv")]
    assert [item.key for item in result.unmatched] == ["readme.txt"]
    assert summary(SensorCursor(), result) == "3 objects, 1 new, 1 of no table"


def test_with_nothing_new_it_reports_the_number_of_objects(
    connection: Connection, bucket: Bucket, database: Database
) -> None:
    bucket.put("jobs.csv", b"1,a\n")
    list(load_pending(database.conninfo("hiring_loader"), bucket.client, bucket.name, JOBS))
    assert summary(SensorCursor(), scan(connection, bucket.client, bucket.name)) == "1 object, none new"


def test_a_listing_of_several_scans_continues_where_the_last_one_ended(
    connection: Connection, pages_of_three: Bucket
) -> None:
    for number in range(8):
        pages_of_three.put(f"jobs_{number}.csv", b"1,a\n")
    cursor, seen, words = SensorCursor(), [], []
    for _ in range(3):
        tick = scan_once(connection, pages_of_three, cursor)
        cursor = SensorCursor.read(tick.cursor.model_dump_json())
        seen.append(keys(tick.scan))
        words.append(tick.summary)
    assert [len(part) for part in seen] == [3, 3, 2]
    assert sorted(itertools.chain(*seen)) == [f"jobs_{number}.csv" for number in range(8)]
    assert words == ["3 objects so far, 3 new", "6 objects so far, 6 new", "8 objects, 8 new"]
    assert cursor.listing.after is None


@pytest.mark.parametrize(
    "kept",
    [
        None,
        "",
        "{",
        "[]",
        '{"listing": {"after": 7}}',
        '{"listing": {"place": {"key": "jobs_1.csv"}, "objects": 9}}',
        '{"listing": {"after": {"key": "zzz"}, "objects": 9}}',
        '{"listing": {"after": {"key": "jobs_1.csv", "version": "gone"}}}',
        '{"backoff": {"made": "often"}}',
    ],
)
def test_a_lost_or_corrupted_cursor_keeps_no_object_from_being_found(
    connection: Connection, pages_of_three: Bucket, kept: str | None
) -> None:
    for number in range(4):
        pages_of_three.put(f"jobs_{number}.csv", b"1,a\n")
    cursor, seen = SensorCursor.read(kept), set()
    for _ in range(4):
        tick = scan_once(connection, pages_of_three, cursor)
        cursor = tick.cursor
        seen.update(keys(tick.scan))
    assert seen == {f"jobs_{number}.csv" for number in range(4)}


def test_objects_of_every_part_of_a_listing_are_remembered_as_tried_until_they_are_gone(
    connection: Connection, pages_of_three: Bucket
) -> None:
    """Else each part of a long listing would count as new work, and start one run after the other."""
    files = [pages_of_three.put(f"jobs_{number}.csv", b"1,a\n") for number in range(5)]
    cursor, due = SensorCursor(), []
    for _ in range(4):
        tick = scan_once(connection, pages_of_three, cursor)
        attempt = tick.cursor.backoff.next_attempt(tick.scan.work, now=1000.0)
        due.append(isinstance(attempt, NextAttempt))
        cursor = tick.cursor
        if isinstance(attempt, NextAttempt):
            cursor = cursor.model_copy(update={"backoff": attempt.backoff})
    assert due == [True, True, False, False]
    for file in files:
        file.unlink()
    for _ in range(2):
        cursor = scan_once(connection, pages_of_three, cursor).cursor
    assert cursor.backoff == Backoff()


def test_many_objects_are_listed_over_several_scans_in_bounded_memory(connection: Connection) -> None:
    """A bucket of 200,000 objects held at once would take more than 100 MB, in each tick."""
    client: S3Client = EndlessBucket(30_000)  # type: ignore[assignment]
    mark_as_loaded(connection, 29_998)
    cursor, scans, listed = SensorCursor(), 0, 0
    tracemalloc.start()
    while scans == 0 or cursor.listing.after:
        until = time.monotonic() + 0.3
        result = scan(connection, client, "landing", after=cursor.listing.after, until=until)
        cursor = next_cursor(cursor, result)
        scans, listed = scans + 1, listed + result.listed
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (scans > 1, listed, keys(result)) == (True, 30_000, ["jobs_029999.csv", "jobs_030000.csv"])
    assert peak < 5_000_000


def mark_as_loaded(connection: Connection, objects: int) -> None:
    connection.execute(
        """
        insert into raw.loads (
            table_name, source, bucket, key, version, status, records, loaded, rejected, completed_at
        )
        select 'jobs', 'object', 'landing', format('jobs_%%s.csv', to_char(n, 'FM000000')),
            to_char(n, 'FM' || repeat('0', 32)), 'complete', 0, 0, 0, now()
        from generate_series(1, %s) as n
        """,
        [objects],
    )


def test_a_scan_ends_when_it_has_found_enough_for_a_run(connection: Connection) -> None:
    client: S3Client = EndlessBucket(10_000)  # type: ignore[assignment]
    result = scan(connection, client, "landing", until=time.monotonic() + 60)
    assert len(result.found) == MAX_FOUND
    assert result.next == ListingCursor(f"jobs_{MAX_FOUND:06}.csv")


def test_a_tick_scans_again_until_something_is_found() -> None:
    tick = last_of([ScanResult(pages=1), ScanResult(pages=1), ScanResult(pages=1, listed=1, found=[(JOBS, ONE)])])
    assert keys(tick.scan) == ["jobs.csv"]


def test_a_tick_scans_once_when_a_scan_takes_long() -> None:
    assert last_of([ScanResult(pages=2)]).scan.pages == 2


def test_a_tick_scans_once_when_scans_are_to_be_further_apart_than_it_is_long() -> None:
    scans = []
    scan_for_a_tick(
        lambda _: scans.append(1) or ScanResult(pages=1),
        SensorCursor(),
        lambda _: False,
        time.monotonic() + 0.3,
        pause_seconds=30,
    )
    assert len(scans) == 1


def last_of(results: list[ScanResult]) -> TickResult:
    """Return what a tick has tick at in the end that would see these, one after the other."""
    coming = iter(results)
    return scan_for_a_tick(
        lambda _: next(coming), SensorCursor(), lambda tick: bool(tick.scan.found), time.monotonic() + 30
    )


def test_a_file_that_may_still_be_growing_is_named_and_found_once_it_has_settled(
    connection: Connection, bucket: Bucket
) -> None:
    bucket.put("jobs.csv", b"1,a\n", age_seconds=0)
    bucket.put("backup.tar", b"of no table, nobody waits for it", age_seconds=0)
    words = []

    def scan_from(after: ListingCursor | None) -> ScanResult:
        result = scan(connection, bucket.client, bucket.name, settle_seconds=1, after=after)
        words.append(summary(SensorCursor(), result))
        return result

    tick = scan_for_a_tick(scan_from, SensorCursor(), lambda tick: bool(tick.scan.found), time.monotonic() + 30)
    assert keys(tick.scan) == ["jobs.csv"]
    assert re.fullmatch(
        r"2 objects, none new, 1 that may still be growing: jobs\.csv \(changed 0\.\d s ago\)", words[0]
    )
    assert len(words) > 2, "scanned again soon, not a second later"


def test_a_file_with_a_future_date_is_found_and_the_run_checks_it_twice(connection: Connection, bucket: Bucket) -> None:
    """It would be found when its date has come."""
    bucket.put("jobs.csv", b"1,a\n", age_seconds=-90 * 60)
    result = scan(connection, bucket.client, bucket.name, settle_seconds=1)
    assert (keys(result), result.unsettled) == (["jobs.csv"], [])


def test_hidden_and_unfinished_files_are_ignored(connection: Connection, bucket: Bucket) -> None:
    for key in ("._jobs.csv", "jobs/._may.csv", "jobs.csv.filepart", "jobs.csv/_SUCCESS", ".~lock.jobs.csv#"):
        bucket.put(key, b"1,a\n")
    bucket.put("jobs_growing.csv.part", b"1,a\n", age_seconds=0)
    result = scan(connection, bucket.client, bucket.name, settle_seconds=1)
    assert summary(SensorCursor(), result) == "0 objects, none new"
    bucket.put("jobsites.csv", b"1,a\n")
    result = scan(connection, bucket.client, bucket.name, settle_seconds=1)
    assert summary(SensorCursor(), result) == "1 object, none new, 1 of no table"
