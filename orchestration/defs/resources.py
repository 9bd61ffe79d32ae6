"""Dagster's resources: the bucket and Postgres, configured by the environment."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg
from psycopg.conninfo import make_conninfo
from pydantic import PrivateAttr

from contracts import Table
from orchestration.database import Connection, connect
from orchestration.ingest.candidates import Candidates
from orchestration.ingest.limits import RejectLimit
from orchestration.ingest.loader import Policy
from orchestration.ingest.objects import ObjectVersion
from orchestration.s3 import s3_client
from orchestration.settings import DatabaseSettings, LoadSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROLES = ("hiring_loader", "hiring_transformer")


class Landing(dg.ConfigurableResource[Any]):
    """The bucket that companies deliver to. Credentials and region are boto3's own settings."""

    bucket: str
    endpoint_url: str | None = None
    settle_seconds: float
    reject_share: float = RejectLimit.share
    reject_count: int = RejectLimit.count
    withdraw_share: float = Policy.withdraw_share
    lock_wait_seconds: float = Policy.lock_wait_seconds
    # Each run has a copy of this resource, and so one listing for all of its tables.
    _listing: Candidates | None = PrivateAttr(None)

    @property
    def policy(self) -> Policy:
        """Limits and timeouts of a load."""
        return Policy(
            RejectLimit(self.reject_share, self.reject_count),
            self.withdraw_share,
            settle_seconds=self.settle_seconds,
            lock_wait_seconds=self.lock_wait_seconds,
        )

    @property
    def client(self) -> "S3Client":
        """A boto3 client of the server that has the bucket."""
        return s3_client(self.endpoint_url)

    def candidates(self, objects: Sequence[tuple[Table, ObjectVersion]]) -> Candidates:
        """Return the candidates of a run's loads: the given objects, or without any the whole bucket."""
        if objects:
            return Candidates(self.client, self.bucket, self.settle_seconds, objects)
        if self._listing is None:
            self._listing = Candidates(self.client, self.bucket, self.settle_seconds)
        return self._listing


class Warehouse(dg.ConfigurableResource[Any]):
    """The database that libpq's PGHOST, PGPORT and PGDATABASE name, with the role that each task needs."""

    loader_password: str
    transformer_password: str
    _run_id: str | None = PrivateAttr(None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Store the run's id, which is in the names of sessions, so that a blocking session leads to its run."""
        self._run_id = context.run_id

    @property
    def loader_conninfo(self) -> str:
        """The load engine's connection string."""
        return self._conninfo("hiring_loader", self.loader_password)

    @contextmanager
    def loader(self) -> Iterator[Connection]:
        """Connect as hiring_loader, which may add to raw and its ledger.

        Raises:
            dagster.Failure: the server cannot be reached or refuses the password.
        """
        with connected("hiring_loader", self.loader_conninfo) as connection:
            yield connection

    @contextmanager
    def transformer(self) -> Iterator[Connection]:
        """Connect as hiring_transformer, which reads raw and owns what dbt builds.

        Raises:
            dagster.Failure: the server cannot be reached or refuses the password.
        """
        with connected(
            "hiring_transformer", self._conninfo("hiring_transformer", self.transformer_password)
        ) as connection:
            yield connection

    def _conninfo(self, role: str, password: str) -> str:
        name = f"{role} {self._run_id}" if self._run_id else role
        return make_conninfo(user=role, password=password, application_name=name)


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
            f"(see PGHOST, PGPORT, PGDATABASE and {role.upper()}_PASSWORD)",
            allow_retries=False,
        ) from None
    with connection:
        yield connection


def landing() -> Landing:
    """Return the bucket that the environment names."""
    settings = LoadSettings.read()
    return Landing(
        bucket=settings.s3_bucket,
        endpoint_url=settings.s3_endpoint_url,
        settle_seconds=settings.s3_settle_seconds,
        reject_share=RejectLimit.share if settings.reject_share is None else settings.reject_share,
        reject_count=RejectLimit.count if settings.reject_count is None else settings.reject_count,
        withdraw_share=Policy.withdraw_share if settings.withdraw_share is None else settings.withdraw_share,
        lock_wait_seconds=settings.lock_wait_seconds or Policy.lock_wait_seconds,
    )


def warehouse(context: dg.InitResourceContext) -> Warehouse:
    """Return the database with the environment's passwords, for the run of a context.

    Raises:
        dagster.Failure: a password is not set.
    """
    passwords = DatabaseSettings.read().passwords
    if missing := [f"{role.upper()}_PASSWORD" for role in ROLES if role not in passwords]:
        raise dg.Failure(f"{' and '.join(missing)} must be set", allow_retries=False)
    loader, transformer = (passwords[role] for role in ROLES)
    resource = Warehouse(loader_password=loader, transformer_password=transformer)
    resource.setup_for_execution(context)
    return resource


@dg.definitions
def resources() -> dg.Definitions:
    """Return the resources by the names of the parameters of assets and sensors.

    They are functions, so that no job's launchpad offers their fields: servers are not configured per run.
    """
    return dg.Definitions(
        resources={
            "landing": dg.ResourceDefinition(lambda _: landing(), config_schema={}, description=Landing.__doc__),
            "warehouse": dg.ResourceDefinition(warehouse, config_schema={}, description=Warehouse.__doc__),
        }
    )
