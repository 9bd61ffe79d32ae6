"""A load's progress in the log of its run."""

import gzip
from collections.abc import Iterator
from itertools import islice
from typing import Any

import dagster as dg
import pytest

from contracts import TABLES
from orchestration.defs import raw
from orchestration.defs.resources import Warehouse
from orchestration.ingest.loader import Outcome, load_pending
from tests.conftest import Bucket, Database, environment
from tests.orchestration.conftest import landing_of

JOBS = next(table for table in TABLES if table.name == "jobs")
RECORDS = 130_000
TEXT = b"".join(b"%d,job\n" % number for number in range(RECORDS))


def logged(database: Database, bucket: Bucket, what: str = "so far") -> list[str]:
    """Load the bucket's jobs and return the messages of the run's log that say something."""
    resources = {
        "landing": landing_of(bucket),
        "warehouse": Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer"),  # noqa: S106
    }
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([raw.raw_asset(JOBS)], resources=resources, instance=instance, raise_on_error=False)
        messages = [entry.user_message for entry in instance.all_logs(result.run_id)]
    return [message for message in messages if what in message]


def test_a_long_load_logs_its_share_and_records(
    database: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "LOG_INTERVAL_SECONDS", 0.0)
    bucket.put("jobs.csv", TEXT)

    *_, last = logged(database, bucket)
    assert last == f"load 1: s3://{bucket.name}/jobs.csv, 100%, 130,000 records so far"


def test_for_a_compressed_object_it_logs_bytes_since_the_total_is_unknown(
    database: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "LOG_INTERVAL_SECONDS", 0.0)
    bucket.put("jobs.csv.gz", gzip.compress(TEXT))

    *_, last = logged(database, bucket)
    assert last == f"load 1: s3://{bucket.name}/jobs.csv.gz, {len(TEXT) / 1e6:.0f} MB, 130,000 records so far"


def test_a_short_load_logs_no_progress(database: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line a transaction would bury everything else in a log of a large load."""
    monkeypatch.setattr(raw, "LOG_INTERVAL_SECONDS", 3600.0)
    bucket.put("jobs.csv", TEXT)

    assert logged(database, bucket) == []


def test_many_small_loads_share_a_message(database: Database, bucket: Bucket) -> None:
    """A message takes as long as a fifth of such a load."""
    for number in (1, 2, 3):
        bucket.put(f"jobs_{number}.csv", b"%d,job\n" % number)

    (message,) = logged(database, bucket, "load 1")
    assert [line.split(",")[0] for line in message.splitlines()] == [
        f"load {number}: s3://{bucket.name}/jobs_{number}.csv" for number in (1, 2, 3)
    ]


def test_what_was_loaded_before_an_error_is_logged(
    database: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> Iterator[Outcome]:
        yield from islice(load_pending(*arguments), 1)
        raise RuntimeError("on purpose")

    monkeypatch.setattr(raw, "load_pending", interrupted)
    bucket.put("jobs.csv", b"1,job\n")

    assert len(logged(database, bucket, "load 1: ")) == 1
