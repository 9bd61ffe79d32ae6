"""The real servers that tests run against: a Postgres and an S3 server a worker, a fresh database and bucket a test."""

import itertools
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pytest
from psycopg.rows import dict_row, tuple_row

from deploy.local import services
from deploy.local.postgres import EmbeddedPostgres, running_postgres
from deploy.local.settings import Settings
from deploy.local.supervisor import Supervisor
from orchestration.migrations import ROLES, migrate

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TESTS = Path(__file__).parent
CHALLENGE = Path(__file__).parents[2] / "shared" / "challenge"

_names = (f"test_{number}" for number in itertools.count())


# The slowest files, slowest first: started last, one of them would keep a worker busy while the others have nothing
# left to do. Those that mostly wait for a stack take turns with those that compute.
LONGEST = (
    "end_to_end/test_up.py",
    "dbt_project/test_dependents.py",
    "end_to_end/test_documented_commands.py",
    "dbt_project/test_contract.py",
    "end_to_end/test_chaos.py",
    "dbt_project/test_corrections.py",
    "end_to_end/test_story.py",
    "dbt_project/test_file_formats.py",
    "end_to_end/test_control_room.py",
    "dbt_project/test_builds.py",
    "dbt_project/test_increments.py",
    "dbt_project/test_snapshots.py",
    "end_to_end/test_run.py",
    "end_to_end/test_settings.py",
    "dbt_project/test_gates.py",
    "end_to_end/test_writers.py",
    "orchestration/ingest/test_text.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the slowest files, and mark tests that start processes of the whole stack."""
    place = {TESTS / path: number for number, path in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(LONGEST)))
    for item in items:
        if item.path.parent == TESTS / "end_to_end":
            item.add_marker("stack")


@dataclass(frozen=True)
class Database:
    """A separate, migrated database; every role's password is the role's name."""

    postgres: EmbeddedPostgres
    name: str

    def conninfo(self, role: str | None = None) -> str:
        """Return a libpq connection string for a role, the superuser by default."""
        if role is None:
            return self.postgres.conninfo(self.name)
        return self.postgres.conninfo(self.name, role, role)

    def connect(self, role: str | None = None) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection that commits each statement."""
        return psycopg.connect(self.conninfo(role), autocommit=True)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a query as superuser and return all its rows."""
        with self.connect() as connection:
            return connection.cursor(row_factory=tuple_row).execute(query, parameters).fetchall()

    def dicts(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run a query as superuser and return all its rows by column name."""
        with self.connect() as connection:
            return connection.cursor(row_factory=dict_row).execute(query, parameters).fetchall()

    def execute(self, statement: str, *parameters: Any) -> None:
        """Run a statement as superuser."""
        with self.connect() as connection:
            connection.execute(statement, parameters or None)

    @property
    def environment(self) -> dict[str, str]:
        """libpq's variables and the roles' passwords for this database."""
        return {
            "PGHOST": self.postgres.host,
            "PGPORT": "5432",
            "PGDATABASE": self.name,
            **{f"{role.upper()}_PASSWORD": role for role in ROLES},
        }


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A cluster for this worker's tests, with a migrated database to copy from."""
    folder = tmp_path_factory.mktemp("server", numbered=True) / "postgres"
    with running_postgres(folder, "superuser") as server:
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            # Data need not survive a crash of the machine; killing the server loses nothing.
            for setting in ("fsync", "full_page_writes"):
                connection.execute(f"alter system set {setting} = off")
            # Hashing a password 4,096 times is most of what a connection costs, and tests make thousands of them.
            connection.execute("alter system set scram_iterations = 1")
            connection.execute("select pg_reload_conf()")
        server.ensure_role("postgres", server.password)
        server.create_database("template_migrated")
        migrate(server.conninfo("template_migrated"), {role: role for role in ROLES})
        yield server


@contextmanager
def fresh_database(server: EmbeddedPostgres) -> Iterator[Database]:
    """Create a migrated, empty database while the block runs."""
    name = next(_names)
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(f"create database {name} template template_migrated strategy file_copy")
    yield Database(server, name)
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A migrated, empty database for one test."""
    with fresh_database(postgres) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def module_database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A migrated, empty database that the tests of one module share."""
    with fresh_database(postgres) as fresh:
        yield fresh


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass(frozen=True)
class Bucket:
    """A bucket of the S3 server, which is a folder on the disk."""

    name: str
    folder: Path
    client: "S3Client"
    endpoint: str

    def put(self, key: str, content: bytes, age_seconds: float = 60) -> Path:
        """Put an object, dated back so that several have an order that does not hang on the clock."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        then = time.time() - age_seconds
        os.utime(path, (then, then))
        return path


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Path]]:
    """An S3 server for this worker's tests, and the folder whose folders are its buckets."""
    settings = Settings(state_dir=tmp_path_factory.mktemp("s3"), s3_port=free_port())
    supervisor = Supervisor(settings.state_dir, settings.logs)
    supervisor.start(services.s3(settings, postgres_host="unused", listing_seconds=0))
    yield settings, settings.state_dir / "run" / "s3"
    supervisor.stop()


@pytest.fixture
def bucket(s3_server: tuple[Settings, Path]) -> Bucket:
    """An empty bucket for one test."""
    return fresh_bucket(*s3_server)


def fresh_bucket(settings: Settings, root: Path) -> Bucket:
    """Make a bucket on a server whose folder of buckets is `root`."""
    name = next(_names).replace("_", "-")
    (root / name).mkdir()
    endpoint = f"http://127.0.0.1:{settings.s3_port}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=settings.secrets.s3_access_key,
        aws_secret_access_key=settings.secrets.s3_secret_key,
        region_name="us-east-1",
    )
    return Bucket(name, root / name, client, endpoint)
