"""The servers that are measured: a Postgres and an S3 server of their own, empty, on loopback."""

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
from deploy.local.settings import Settings
from deploy.local.supervisor import Supervisor
from orchestration.migrations import ROLES, migrate

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Servers:
    """A migrated database, every role's password its name, and a bucket that is a folder."""

    postgres: EmbeddedPostgres
    folder: Path
    bucket: str
    s3: "S3Client"

    def conninfo(self, role: str | None = None) -> str:
        """Return a libpq connection string, the superuser's by default."""
        if role is None:
            return self.postgres.conninfo("hiring")
        return self.postgres.conninfo("hiring", role, role)

    def execute(self, *statements: str) -> None:
        """Run statements as superuser, each in a transaction of its own."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def psql(self, command: str) -> None:
        """Run a command of psql as superuser."""
        program = str(self.postgres.bin / "psql")
        subprocess.run([program, self.conninfo(), "-X", "-q", "-c", command], check=True)  # noqa: S603


@contextmanager
def running_servers(state: Path) -> Iterator[Servers]:
    """Run both servers in an empty folder for the length of a block."""
    shutil.rmtree(state, ignore_errors=True)
    with socket.socket() as probe:
        probe.bind((services.LOOPBACK, 0))
        port = probe.getsockname()[1]
    settings = Settings(state_dir=state, s3_port=port, landing=None)
    supervisor = Supervisor(state, settings.logs)
    try:
        with running_postgres(state / "postgres", settings.secrets.postgres) as postgres:
            postgres.create_database("hiring")
            migrate(postgres.conninfo("hiring"), {role: role for role in ROLES})
            supervisor.start(services.s3(settings, postgres.host))
            client = boto3.client(
                "s3",
                endpoint_url=f"http://{services.LOOPBACK}:{port}",
                aws_access_key_id=settings.secrets.s3_access_key,
                aws_secret_access_key=settings.secrets.s3_secret_key,
                region_name="us-east-1",
            )
            yield Servers(postgres, settings.landing_folder, settings.s3_bucket, client)
    finally:
        supervisor.stop()
        shutil.rmtree(state, ignore_errors=True)
