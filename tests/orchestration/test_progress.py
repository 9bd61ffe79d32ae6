"""A load's progress in the log of its run."""

import gzip

import dagster as dg
import pytest

from contracts import TABLES
from orchestration.defs import raw
from orchestration.defs.resources import Warehouse
from tests.conftest import Bucket, Database, environment
from tests.orchestration.conftest import landing_of

JOBS = next(table for table in TABLES if table.name == "jobs")
RECORDS = 130_000
TEXT = b"".join(b"%d,job\n" % number for number in range(RECORDS))


def progress(database: Database, bucket: Bucket) -> list[str]:
    """Load the bucket's jobs and return what the run's log has of the progress."""
    resources = {
        "landing": landing_of(bucket),
        "warehouse": Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer"),  # noqa: S106
    }
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([raw.raw_asset(JOBS)], resources=resources, instance=instance)
        messages = [entry.user_message for entry in instance.all_logs(result.run_id)]
    return [message for message in messages if "so far" in message]


def test_a_long_load_logs_its_share_and_records(
    database: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "PROGRESS_INTERVAL_SECONDS", 0.0)
    bucket.put("jobs.csv", TEXT)

    *_, last = progress(database, bucket)
    assert last == f"load 1: s3://{bucket.name}/jobs.csv, 100%, 130,000 records so far"


def test_for_a_compressed_object_it_logs_bytes_since_the_total_is_unknown(
    database: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "PROGRESS_INTERVAL_SECONDS", 0.0)
    bucket.put("jobs.csv.gz", gzip.compress(TEXT))

    *_, last = progress(database, bucket)
    assert last == f"load 1: s3://{bucket.name}/jobs.csv.gz, {len(TEXT) / 1e6:.0f} MB, 130,000 records so far"


def test_a_short_load_logs_no_progress(database: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line a transaction would bury everything else in a log of a large load."""
    monkeypatch.setattr(raw, "PROGRESS_INTERVAL_SECONDS", 3600.0)
    bucket.put("jobs.csv", TEXT)

    assert progress(database, bucket) == []
