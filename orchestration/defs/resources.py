"""What assets and sensors reach outside for: the bucket and Postgres. Each says where its settings come from."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
import psycopg
from dagster_aws.s3 import S3Resource
from psycopg.conninfo import make_conninfo

from orchestration.database import Connection, connect
from orchestration.ingest.limits import RejectLimit
from orchestration.ingest.loader import Policy

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Landing(dg.ConfigurableResource[Any]):
    """The bucket that companies deliver to. Credentials and region are boto3's own settings."""

    s3: dg.ResourceDependency[S3Resource]
    bucket: str
    settle_seconds: float
    reject_share: float = RejectLimit.share
    reject_count: int = RejectLimit.count

    @property
    def policy(self) -> Policy:
        """What a load puts up with."""
        return Policy(RejectLimit(self.reject_share, self.reject_count), settle_seconds=self.settle_seconds)

    @property
    def client(self) -> "S3Client":
        """A boto3 client; this process makes one for each way to reach the server, since that takes long."""
        return _client(self.s3.model_dump_json())


@cache
def _client(settings: str) -> "S3Client":
    return cast("S3Client", S3Resource.model_validate_json(settings).get_client())


class Warehouse(dg.ConfigurableResource[Any]):
    """The database, wherever libpq's PGHOST, PGPORT and PGDATABASE say, under the roles that each task needs."""

    loader_password: str
    transformer_password: str

    @property
    def loader_conninfo(self) -> str:
        """How the load engine connects."""
        return make_conninfo(user="hiring_loader", password=self.loader_password)

    @contextmanager
    def loader(self) -> Iterator[Connection]:
        """Connect as hiring_loader, who may add to raw and its ledger.

        Raises:
            dagster.Failure: the server cannot be reached or refuses the password.
        """
        with connected("hiring_loader", self.loader_conninfo) as connection:
            yield connection

    @contextmanager
    def transformer(self) -> Iterator[Connection]:
        """Connect as hiring_transformer, who reads raw and owns what dbt builds.

        Raises:
            dagster.Failure: the server cannot be reached or refuses the password.
        """
        conninfo = make_conninfo(user="hiring_transformer", password=self.transformer_password)
        with connected("hiring_transformer", conninfo) as connection:
            yield connection


@contextmanager
def connected(role: str, conninfo: str) -> Iterator[Connection]:
    """Connect as a role.

    Raises:
        dagster.Failure: the server cannot be reached or refuses the password.
    """
    try:
        connection = connect(conninfo)
    except psycopg.OperationalError as error:
        raise dg.Failure(
            f"cannot connect to Postgres as {role}: {str(error).strip().splitlines()[-1]} "
            f"(PGHOST, PGPORT, PGDATABASE and {role.upper()}_PASSWORD say where and how)",
            allow_retries=False,
        ) from None
    with connection:
        yield connection


def landing() -> Landing:
    """Return the bucket that the environment names."""
    return Landing(
        s3=S3Resource(endpoint_url=os.environ.get("S3_ENDPOINT_URL") or None),
        bucket=os.environ.get("S3_BUCKET", "landing"),
        settle_seconds=float(os.environ.get("S3_SETTLE_SECONDS", "0")),
        reject_share=float(os.environ.get("REJECT_SHARE", RejectLimit.share)),
        reject_count=int(os.environ.get("REJECT_COUNT", RejectLimit.count)),
    )


@dg.definitions
def resources() -> dg.Definitions:
    """Return the resources by the names under which assets and sensors ask for them."""
    return dg.Definitions(
        resources={
            "landing": landing(),
            "warehouse": Warehouse(
                loader_password=dg.EnvVar("HIRING_LOADER_PASSWORD"),
                transformer_password=dg.EnvVar("HIRING_TRANSFORMER_PASSWORD"),
            ),
        }
    )
