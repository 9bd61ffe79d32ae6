"""A test's bucket as a resource of Dagster, and a Dagster instance on the tests' Postgres."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg
import psycopg
import pytest

from deploy.local.postgres import EmbeddedPostgres
from orchestration.defs.resources import Landing
from tests.conftest import Bucket

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_clients: dict[str | None, "S3Client"] = {}


class TestedLanding(Landing):
    """The resource with a test's own client: its credentials are in no variable. A run makes a copy of it."""

    @property
    def client(self) -> "S3Client":
        return _clients[self.endpoint_url]


def landing_of(bucket: Bucket, name: str = "", **settings: float) -> Landing:
    """Return the resource landing for a bucket, or for another one by that name on the same server."""
    _clients[bucket.endpoint] = bucket.client
    return TestedLanding(
        endpoint_url=bucket.endpoint, bucket=name or bucket.name, **({"settle_seconds": 0.0} | settings)
    )


@pytest.fixture(scope="module")
def shared_instance(postgres: EmbeddedPostgres) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance on Postgres, as in production, with its logs in a folder."""
    postgres.create_database("instance")
    url = f"postgresql://postgres:{postgres.password}@/instance?host={postgres.host}&port=5432"
    storage = {"storage": {"postgres": {"postgres_url": url}}}
    with dg.DagsterInstance.local_temp(overrides=storage) as opened:
        yield opened
    with psycopg.connect(postgres.conninfo(), autocommit=True) as connection:
        connection.execute("drop database instance with (force)")


@pytest.fixture
def instance(shared_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """The same without runs and events."""
    shared_instance.wipe()
    return shared_instance
