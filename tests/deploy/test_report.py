"""What `make run` says about loads, from the ledger."""

import io
import time

from rich.console import Console

from contracts import table_named
from deploy.local.report import changed_files, print_loads_since
from orchestration.ingest.loader import load_pending
from tests.conftest import Bucket, Database


def test_an_object_that_failed_is_listed_until_it_is_replaced(database: Database, bucket: Bucket) -> None:
    """Otherwise no later run of the same folder ends with status 0, although every file in it is loaded."""
    loader, jobs = database.conninfo("hiring_loader"), table_named("jobs")

    def load_and_report(content: bytes, last: int) -> tuple[int, str]:
        bucket.put("jobs.csv", content, age_seconds=60 - last)
        list(load_pending(loader, bucket.client, bucket.name, jobs))
        console = Console(file=io.StringIO(), width=120, record=True)
        with database.connect() as connection:
            return print_loads_since(console, connection, last), console.export_text()

    lacking, report = load_and_report(b"id,title,title\n", last=0)
    assert lacking == 1
    assert "has a header that repeats 'job'" in report

    lacking, report = load_and_report(b"id,title,title\n", last=1)
    assert lacking == 1
    assert "has a header that repeats 'job'" in report

    lacking, report = load_and_report(b"id,title\n1,a\n", last=2)
    assert lacking == 0
    assert "complete" in report
    assert "has a header that repeats 'job'" not in report


def test_a_file_that_changes_during_the_run_is_named(database: Database, bucket: Bucket) -> None:
    """A run does not load a file that is still being copied; it must not end as if it had loaded everything."""
    loader, jobs = database.conninfo("hiring_loader"), table_named("jobs")
    started = time.time()
    bucket.put("jobs_loaded.csv", b"1,a\n", age_seconds=0.5)
    bucket.put("jobs_overwritten.csv", b"2,b\n", age_seconds=5)
    list(load_pending(loader, bucket.client, bucket.name, jobs))
    bucket.put("jobs_overwritten.csv", b"2,b\n3,c\n", age_seconds=0)
    bucket.put("jobs/new.csv", b"4,d\n", age_seconds=0)
    bucket.put("jobs_old.csv", b"5,e\n", age_seconds=60)
    for name in (".jobs.csv", "jobs.csv.part", "notes.csv"):
        bucket.put(name, b"6,f\n", age_seconds=0)
    with database.connect() as connection:
        assert changed_files(connection, bucket.folder, started - 1) == ["jobs/new.csv", "jobs_overwritten.csv"]
