"""An empty database and an empty bucket of exports for each test, and records of every kind to fill them."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from contracts import TABLES, Table
from deploy.local import services
from deploy.local.settings import Settings
from deploy.local.supervisor import Supervisor
from orchestration.archive.exporting import TableStatistics, export_raw
from orchestration.archive.manifest import LOAD_COLUMNS, Manifest
from orchestration.archive.restoring import Restored, restore_raw
from orchestration.archive.store import Store
from orchestration.database import Connection, connect
from orchestration.ingest.limits import RejectLimit
from orchestration.ingest.loader import Policy, load_pending
from tests.conftest import Bucket, Database, free_port

DEPARTMENTS, JOBS, HIRED_EMPLOYEES = TABLES
# Most records delivered here are rejected; without any valid one the load fails.
AT_ONCE = Policy(RejectLimit(share=0.9), give_up_seconds=0)

Content = dict[str, list[tuple[Any, ...]]]

_numbers = itertools.count()


@dataclass
class Warehouse:
    """A database with a bucket that it is loaded from, and a bucket of exports."""

    database: Database
    landing: Bucket
    bucket: Bucket
    told: list[str] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(self.bucket.client, self.bucket.name, give_up_seconds=0)

    def deliver(self, key: str, content: bytes) -> None:
        """Put an object into the bucket that is loaded from."""
        self.landing.client.put_object(Bucket=self.landing.name, Key=key, Body=content)

    def load(self, key: str, content: bytes) -> None:
        """Deliver an object and load everything new."""
        self.deliver(key, content)
        for table in TABLES:
            list(load_pending(self.database.conninfo("hiring_loader"), self.landing.client, self.landing.name, table,
                              AT_ONCE))  # fmt: skip

    def post(self) -> None:
        """Store a batch of two hires as the API does, one of them refused."""
        with self.database.connect("hiring_api") as connection:
            connection.execute(
                "select raw.store_batch(%s, %s, null, null, null, '{}')",
                [
                    '[{"id": "1", "name": "", "datetime": "2021-01-01"}, {"id": "2"}]',
                    '[{"record": 2, "reason": "r", "message": "m", "byte_from": 0, "raw": "AP8K", "raw_bytes": 3}]',
                ],
            )

    def export(self, tell: Callable[[TableStatistics], None] = lambda _: None) -> Manifest:
        with connect(self.database.conninfo("hiring_loader")) as connection:
            return export_raw(connection, self.store, tell)

    def restore(self, export: str = "latest", tables: Sequence[Table] = TABLES) -> Restored:
        with self.restorer() as connection:
            return restore_raw(connection, self.store, export, tables, self.told.append)

    @contextmanager
    def restorer(self) -> Iterator[Connection]:
        with connect(self.database.conninfo("hiring_restorer")) as connection:
            yield connection

    def content(self, where: str = "true") -> Content:
        """Every row of every table that is exported."""
        return {
            table: self.database.rows(
                f"select * from raw.{table} where {where} order by 1, 2".format(f"coalesce({', '.join(columns)})")
            )
            for table, columns in LOAD_COLUMNS.items()
        }

    def get(self, export: str, name: str) -> bytes:
        """Return a file of an export."""
        answer = self.bucket.client.get_object(Bucket=self.bucket.name, Key=f"raw/{export}/{name}")
        return answer["Body"].read()

    def put(self, export: str, name: str, content: bytes) -> None:
        """Put something in the place of a file of an export."""
        self.bucket.client.put_object(Bucket=self.bucket.name, Key=f"raw/{export}/{name}", Body=content)

    def empty(self) -> None:
        """Leave the database as the migrations make it."""
        tables = ", ".join(f"raw.{name}" for name in LOAD_COLUMNS)
        self.database.execute(f"truncate {tables} restart identity")
        self.database.execute("alter sequence raw.completions restart")
        self.database.execute("truncate staging.watermarks")

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process that exports or restores."""
        credentials = self.bucket.client._request_signer._credentials  # type: ignore[attr-defined]
        return self.database.environment | {
            "S3_ENDPOINT_URL": self.bucket.endpoint,
            "S3_ARCHIVE_BUCKET": self.bucket.name,
            "AWS_ACCESS_KEY_ID": credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@pytest.fixture(scope="package")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An S3 server that keeps what it listed for a second, as the embedded one does.

    The one that other tests use keeps nothing, and takes ever longer for folders in folders. What is changed over S3 is
    seen at once by both.
    """
    settings = Settings(state_dir=tmp_path_factory.mktemp("s3"), s3_port=free_port())
    supervisor = Supervisor(settings.state_dir, settings.logs)
    supervisor.start(services.s3(settings, postgres_host="unused"))
    yield settings
    supervisor.stop()


def bucket_of(settings: Settings) -> Bucket:
    """Make an empty bucket, over S3."""
    endpoint = f"http://127.0.0.1:{settings.s3_port}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=settings.secrets.s3_access_key,
        aws_secret_access_key=settings.secrets.s3_secret_key,
        region_name="us-east-1",
    )
    name = f"bucket-{next(_numbers)}"
    client.create_bucket(Bucket=name)
    return Bucket(name, settings.state_dir / "run" / "s3" / name, client, endpoint)


@pytest.fixture
def warehouse(module_database: Database, s3: Settings) -> Iterator[Warehouse]:
    """An empty database before two empty buckets; afterwards everything in it has to add up."""
    warehouse = Warehouse(module_database, bucket_of(s3), bucket_of(s3))
    warehouse.empty()
    yield warehouse
    assert module_database.rows("select * from raw.discrepancies") == []


@pytest.fixture
def filled(warehouse: Warehouse) -> Warehouse:
    """The same with records of every kind: valid, invalid, malformed, corrected, of a failed load, over HTTP.

    With NULL and empty text among them.
    """
    warehouse.deliver("departments.csv", b'1,"Sales, or\n""Legal"""\n2,\n3,""\nbroken\n')
    warehouse.deliver("jobs.csv", b"id,job\n1,Clerk\n")
    warehouse.deliver("jobs_bad.csv", b"1\n2\n3\n")
    warehouse.load("hired_employees.csv", b"1,Ada,2021-01-01T00:00:00Z,1,1\n2,B\xc3\xb6b,,1,1\n3,too,few\n")
    warehouse.post()
    warehouse.database.execute("""
        insert into raw.corrections (corrected_load_id, corrected_record, load_id, record, note)
        values (1, 2, 4, 1, null), (3, 1, null, null, 'nobody has this job')
    """)
    return warehouse
