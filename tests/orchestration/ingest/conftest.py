"""An empty database for each test, which has to be consistent afterwards, and helpers of most tests."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from contracts import TABLES, Table
from contracts.rules import Reason, parse
from orchestration.database import Connection, connect
from orchestration.ingest.limits import RejectLimit
from orchestration.ingest.loader import Failed, Loaded, Policy, load_pending
from tests.conftest import Bucket, Database

DEPARTMENTS, JOBS, HIRED_EMPLOYEES = TABLES

# An unavailable database or bucket is an immediate outcome, without retries.
AT_ONCE = Policy(give_up_seconds=0)
# The same, for tests that are not about rejected records.
LENIENT = Policy(RejectLimit(share=1), give_up_seconds=0)

Rows = list[tuple[Any, ...]]


@pytest.fixture
def database(module_database: Database) -> Iterator[Database]:
    """A migrated, empty database as for every test, but emptied instead of created, which is ten times as fast.

    After the test everything in it has to add up.
    """
    with module_database.connect() as superuser:
        superuser.execute("""
            select pg_terminate_backend(pid, 5000) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()
        """)
        superuser.execute("drop function if exists end_session cascade")
        superuser.execute("""
            truncate raw.departments, raw.jobs, raw.hired_employees, raw.corrections, raw.loads
            restart identity cascade
        """)
    yield module_database
    assert discrepancies(module_database) == []


@pytest.fixture
def conninfo(database: Database) -> str:
    """How a loader reaches the database."""
    return database.conninfo("hiring_loader")


@pytest.fixture
def connection(conninfo: str) -> Iterator[Connection]:
    """A loader's connection, for functions that take no connection string."""
    with connect(conninfo) as opened:
        yield opened


@dataclass(frozen=True)
class Landing:
    """A bucket whose objects are loaded into a database."""

    conninfo: str
    database: Database
    bucket: Bucket

    def load(self, table: Table = JOBS, policy: Policy = AT_ONCE) -> list[Loaded | Failed]:
        """Load everything new for a table."""
        return list(load_pending(self.conninfo, self.bucket.client, self.bucket.name, table, policy))

    def load_one(self, table: Table = JOBS, policy: Policy = AT_ONCE) -> Loaded:
        """Load the one object that is new, whole."""
        (outcome,) = self.load(table, policy)
        assert isinstance(outcome, Loaded), outcome
        return outcome

    def fail_one(self, table: Table = JOBS, policy: Policy = AT_ONCE) -> Failed:
        """Fail to load the one object that is new."""
        (outcome,) = self.load(table, policy)
        assert isinstance(outcome, Failed), outcome
        return outcome


@pytest.fixture
def landing(conninfo: str, database: Database, bucket: Bucket) -> Landing:
    """An empty bucket before an empty database."""
    return Landing(conninfo, database, bucket)


def discrepancies(database: Database) -> Rows:
    """The discrepancies between the ledger and the records."""
    return database.rows("select * from raw.discrepancies")


def jobs(database: Database) -> Rows:
    """Every job in raw, in the order in which they were loaded."""
    return database.rows("select _load_id, _record, id, job from raw.jobs order by 1, 2")


def invalid_records(database: Database, load_id: int = 1) -> dict[int, list[str]]:
    """The invalid records of a load, by their number, with what the loader found wrong with each."""
    return dict(database.rows("select record, reasons from raw.invalid_records where load_id = %s", load_id))


def broken_rules(table: Table, record: Mapping[str, str | None]) -> list[str]:
    """The rules that a record breaks, given its values by column: each value read by itself."""
    read = [(column.name, parse(column, record.get(column.name))) for column in table.columns]
    return [f"{name}:{value}" for name, value in read if isinstance(value, Reason)]


def statuses(database: Database) -> Rows:
    """What became of each load."""
    return database.rows("select key, status from raw.loads order by load_id")
