"""The servers that are measured: a separate, empty Postgres and S3 server on loopback."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import psycopg

from deploy.local import services
from deploy.local.postgres import EmbeddedPostgres, running_postgres
from deploy.local.settings import Secrets, Settings
from deploy.local.supervisor import Supervisor
from orchestration.migrations import ROLES, migrate

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LISTING_SECONDS = 1
REGION = "us-east-1"


@dataclass(frozen=True, eq=False)
class Servers:
    """A migrated database, in which every role's password is its name, and an S3 server whose buckets are folders.

    Attributes:
        postgres: the database server.
        buckets: the folder of which every subfolder is a bucket; it takes LISTING_SECONDS until a new one is visible.
        bucket: the name of the bucket that exists from the start.
        s3: a client of the S3 server.
        secrets: including the S3 server's keys.
        scratch: a temporary folder, deleted with the servers.
    """

    postgres: EmbeddedPostgres
    buckets: Path
    bucket: str
    s3: "S3Client"
    secrets: Secrets
    scratch: Path

    def conninfo(self, role: str | None = None) -> str:
        """Return a libpq connection string, the superuser's by default."""
        if role is None:
            return self.postgres.conninfo("hiring")
        return self.postgres.conninfo("hiring", role, role)

    def url(self) -> str:
        """Return the superuser's connection string as a URL; the last host, the socket's folder, is used."""
        return f"postgresql://postgres:{self.postgres.password}@localhost:5432/hiring?host={self.postgres.host}"

    def s3_environment(self) -> dict[str, str]:
        """Return boto3's variables for the S3 server."""
        return {
            "AWS_ENDPOINT_URL": self.s3.meta.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.secrets.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": self.secrets.s3_secret_key,
            "AWS_DEFAULT_REGION": REGION,
        }

    def folder_of(self, bucket: str) -> Path:
        """Return the folder of a bucket; creating it creates the bucket."""
        return self.buckets / bucket

    def execute(self, *statements: str) -> None:
        """Run statements as superuser, each in its own transaction."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def execute_as(self, role: str, statement: str) -> None:
        """Run a statement as a role, with the role's settings."""
        with psycopg.connect(self.conninfo(role), autocommit=True) as connection:
            connection.execute(statement.encode())

    def value(self, query: str) -> object:
        """Return the first column of the first row of a query, run as superuser."""
        with psycopg.connect(self.conninfo()) as connection:
            row = connection.execute(query.encode()).fetchone()
            return row and row[0]

    def psql(self, command: str) -> None:
        """Run a psql command as superuser."""
        program = str(self.postgres.bin / "psql")
        subprocess.run([program, self.conninfo(), "-X", "-q", "-c", command], check=True)  # noqa: S603


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as probe:
        probe.bind((services.LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_servers(state: Path) -> Iterator[Servers]:
    """Run both servers in an empty folder while the block runs."""
    shutil.rmtree(state, ignore_errors=True)
    port = free_port()
    settings = Settings(state_dir=state, s3_port=port, landing=None)
    supervisor = Supervisor(state, settings.logs)
    try:
        with running_postgres(state / "postgres", settings.secrets.postgres) as postgres:
            postgres.create_database("hiring")
            migrate(postgres.conninfo("hiring"), {role: role for role in ROLES})
            supervisor.start(services.s3(settings, postgres.host, LISTING_SECONDS))
            client = boto3.client(
                "s3",
                endpoint_url=f"http://{services.LOOPBACK}:{port}",
                aws_access_key_id=settings.secrets.s3_access_key,
                aws_secret_access_key=settings.secrets.s3_secret_key,
                region_name=REGION,
            )
            buckets = state / "run" / "s3"
            scratch = state / "scratch"
            scratch.mkdir()
            yield Servers(postgres, buckets, settings.s3_bucket, client, settings.secrets, scratch)
    finally:
        supervisor.stop()
        shutil.rmtree(state, ignore_errors=True)
