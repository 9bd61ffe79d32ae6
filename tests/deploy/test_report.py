"""What `make run` says about loads, from the ledger."""

import io

from rich.console import Console

from contracts import table_named
from deploy.local.report import print_loads_since
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
