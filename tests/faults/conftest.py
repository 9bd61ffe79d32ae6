"""Servers behind fault-injecting proxies, and the consistency check of the database after each of these tests."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts import TABLES, Table
from deploy.local.settings import Settings
from orchestration.ingest import loader
from orchestration.ingest.loader import Loaded, OnProgress, Outcome, Policy, Progress, load_pending
from tests.conftest import Bucket, Database
from tests.faults.outcome import Left, discrepancies, forget, what_counts
from tests.faults.s3_faults import S3Proxy, s3_proxy
from tests.faults.tcp_faults import PostgresProxy, postgres_proxy

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DEPARTMENTS, JOBS, HIRED_EMPLOYEES = TABLES


@pytest.fixture
def database(module_database: Database) -> Iterator[Database]:
    """A migrated, empty database as for every test, but emptied instead of created, which is ten times as fast."""
    module_database.execute("""
        select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
    """)
    forget(module_database.conninfo())
    yield module_database
    assert discrepancies(module_database.conninfo()) == []


@pytest.fixture
def s3(bucket: Bucket) -> Iterator[S3Proxy]:
    """A proxy with faults before the S3 server of the test's bucket."""
    with s3_proxy(bucket.endpoint) as proxy:
        yield proxy


@pytest.fixture
def client(s3: S3Proxy, s3_server: tuple[Settings, Path]) -> "S3Client":
    """A client that reaches the bucket by way of that proxy."""
    secrets = s3_server[0].secrets
    return s3.client(secrets.s3_access_key, secrets.s3_secret_key)


@pytest.fixture
def tcp(database: Database) -> Iterator[PostgresProxy]:
    """A proxy with faults before the Postgres of the test's database."""
    with postgres_proxy(database.postgres.host) as proxy:
        yield proxy


@pytest.fixture
def _small_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file of some chunks be many commits, as a large one is."""
    monkeypatch.setattr(loader, "CHUNKS_PER_TRANSACTION", 1)


def at(records: int, act: Callable[[], object]) -> OnProgress:
    """Return what does something as soon as so many records are committed, once."""
    done: list[object] = []

    def once(progress: Progress) -> None:
        if progress.totals.records >= records and not done:
            done.append(None)
            act()

    return once


@dataclass(frozen=True)
class Engine:
    """The load engine with its own database and client."""

    conninfo: str
    client: "S3Client"
    bucket: str
    table: Table = JOBS

    def load(self, give_up_seconds: float = 20, on_progress: OnProgress | None = None) -> list[Outcome]:
        """Load everything pending, and return the outcomes."""
        policy = Policy(give_up_seconds=give_up_seconds)
        return list(load_pending(self.conninfo, self.client, self.bucket, self.table, policy, on_progress))

    def load_one(self, give_up_seconds: float = 20, on_progress: OnProgress | None = None) -> Loaded:
        """Load the one object that is pending."""
        (outcome,) = self.load(give_up_seconds, on_progress)
        assert isinstance(outcome, Loaded), outcome
        return outcome


@pytest.fixture(scope="module")
def measured() -> dict[object, Left]:
    """Earlier results by the content of the bucket, on which alone they depend."""
    return {}


@pytest.fixture
def undisturbed(database: Database, bucket: Bucket, measured: dict[object, Left]) -> Callable[[], Left]:
    """The result of an undisturbed load of the bucket; the database is unchanged."""

    def measure() -> Left:
        content = tuple((path.name, path.read_bytes()) for path in sorted(bucket.folder.iterdir()))
        if content not in measured:
            outcomes = Engine(database.conninfo("hiring_loader"), bucket.client, bucket.name).load()
            assert [type(outcome) for outcome in outcomes] == [Loaded] * len(content) != []
            measured[content] = what_counts(database.conninfo())
            forget(database.conninfo())
        return measured[content]

    return measure


@pytest.fixture
def engine(database: Database, client: "S3Client", bucket: Bucket, _small_transactions: None) -> Engine:
    """The engine with the faulty S3 server and a sound database, a commit a chunk."""
    return Engine(database.conninfo("hiring_loader"), client, bucket.name)


@pytest.fixture
def cut_off_engine(database: Database, tcp: PostgresProxy, bucket: Bucket, _small_transactions: None) -> Engine:
    """The engine with a sound S3 server and the faulty way to the database, a commit a chunk."""
    return Engine(tcp.conninfo(database.conninfo("hiring_loader")), bucket.client, bucket.name)
