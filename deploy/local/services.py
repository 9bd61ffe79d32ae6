"""The stack's services: command, environment, port and readiness probe of each."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from deploy.local.settings import (
    ARCHIVE_BUCKET,
    PROJECT,
    Settings,
    api_environment,
    environment,
    orchestration_environment,
    run_socket,
)
from deploy.probes import answers_http, serves_grpc
from orchestration.instance.tables import sensor_heartbeat

PROGRAMS = Path(sys.executable).parent
WORKSPACE = PROJECT / "deploy" / "workspace.yaml"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Service:
    """A process of the stack. `port_variable` is the setting to change if its port is taken.

    After each start, `is_ready` is polled until it returns True.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool]
    port: int | None = None
    port_variable: str = ""


def s3(settings: Settings, postgres_host: str, listing_seconds: int = 1) -> Service:
    """Return the S3 server, for which each folder in its root is a bucket.

    Args:
        settings: of the stack.
        postgres_host: the folder of Postgres's socket.
        listing_seconds: for how long the server caches a listing.
    """
    root = settings.state_dir / "run" / "s3"
    root.mkdir(parents=True, exist_ok=True)
    for name, folder in ((settings.s3_bucket, settings.landing_folder), (ARCHIVE_BUCKET, settings.archive_folder)):
        folder.mkdir(parents=True, exist_ok=True)
        bucket = root / name
        bucket.unlink(missing_ok=True)
        bucket.symlink_to(folder, target_is_directory=True)
    keys = f'"{settings.secrets.s3_access_key},{settings.secrets.s3_secret_key}"'
    return Service(
        "s3",
        (
            str(PROGRAMS / "rclone"), "serve", "s3", str(root), "--addr", f"{LOOPBACK}:{settings.s3_port}",
            "--copy-links", "--vfs-cache-mode", "off", "--dir-cache-time", f"{listing_seconds}s", "--config", "",
            # No ETags: to compute them, every listing would read every file. Dates and sizes identify versions instead.
            "--etag-hash", "",
        ),
        environment(postgres_host) | {"RCLONE_AUTH_KEY": keys},
        lambda: answers_http(f"http://{LOOPBACK}:{settings.s3_port}/"),
        settings.s3_port,
        "S3_PORT",
    )  # fmt: skip


def code_server(settings: Settings, postgres_host: str) -> Service:
    """Return Dagster's code server, the only process that imports the definitions; runs are forks of it."""
    return Service(
        "code-server",
        (
            sys.executable, "-m", "orchestration.instance.run_server", run_socket(postgres_host),
            "api", "grpc", "--module-name", "orchestration.definitions",
            "--location-name", "hiring", "--host", LOOPBACK, "--port", str(settings.code_port),
        ),
        orchestration_environment(settings, postgres_host),
        lambda: serves_grpc(LOOPBACK, settings.code_port),
        settings.code_port,
        "CODE_PORT",
    )  # fmt: skip


def webserver(settings: Settings, postgres_host: str) -> Service:
    """Return Dagster's UI."""
    port = settings.dagster_port
    return Service(
        "dagster-webserver",
        (str(PROGRAMS / "dagster-webserver"), "-h", LOOPBACK, "-p", str(port), "-w", str(WORKSPACE)),
        orchestration_environment(settings, postgres_host),
        lambda: answers_http(f"http://{LOOPBACK}:{port}/server_info"),
        port,
        "DAGSTER_PORT",
    )


def daemon(settings: Settings, postgres_host: str, conninfo: str) -> Service:
    """Return Dagster's daemon, which ticks the sensors.

    Args:
        settings: of the stack.
        postgres_host: the folder of Postgres's socket.
        conninfo: libpq's connection string of Dagster's database.
    """
    since: datetime | None = None

    def has_heartbeat() -> bool:
        """Compare with the time of the first probe after a start: an earlier daemon's heartbeat is never deleted."""
        nonlocal since
        try:
            with psycopg.connect(conninfo) as connection:
                now, heartbeat = sensor_heartbeat(connection)
        except psycopg.Error:
            return False
        since = since or now
        if not (heartbeat and heartbeat > since):
            return False
        since = None
        return True

    return Service(
        "dagster-daemon",
        (str(PROGRAMS / "dagster-daemon"), "run", "-w", str(WORKSPACE)),
        orchestration_environment(settings, postgres_host),
        has_heartbeat,
    )


def api(settings: Settings, postgres_host: str) -> Service:
    """Return the HTTP API."""
    return Service(
        "api",
        (sys.executable, "-m", "api"),
        api_environment(settings, postgres_host),
        lambda: answers_http(f"http://{LOOPBACK}:{settings.api_port}/health/live"),
        settings.api_port,
        "API_PORT",
    )
