"""The status of the embedded stack: which of its services are up, and how much disk space its state takes."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from deploy.local.postgres import EmbeddedPostgres
from deploy.local.services import LOOPBACK
from deploy.local.settings import Settings
from deploy.probes import answers_http, daemon_is_alive, serves_grpc
from orchestration.monitoring.disk import DiskSpace, database_sizes, disk_space

MIB = 1 << 20


def services(settings: Settings) -> dict[str, bool]:
    """Probe each service, and return by name whether it is up; nothing is started for this."""
    postgres = _postgres(settings)
    is_up = postgres is not None and postgres.is_ready()
    s3, code, ui, api = (settings.s3_port, settings.code_port, settings.dagster_port, settings.api_port)
    probes: Mapping[str, Callable[[], bool]] = {
        "s3": lambda: answers_http(f"http://{LOOPBACK}:{s3}/"),
        "api": lambda: answers_http(f"http://{LOOPBACK}:{api}/health/live"),
        "code-server": lambda: serves_grpc(LOOPBACK, code),
        "dagster-webserver": lambda: answers_http(f"http://{LOOPBACK}:{ui}/server_info"),
        "dagster-daemon": lambda: is_up and postgres is not None and daemon_is_alive(postgres.conninfo("dagster")),
    }
    # Another stack's services would answer at the same ports.
    return {"postgres": is_up} | {name: is_up and probe() for name, probe in probes.items()}


def sizes(settings: Settings) -> dict[str, int]:
    """Return the bytes of STATE_DIR's contents, largest first: folders by name, databases as "postgres: name"."""
    bytes_by_name = {path.name: _bytes_of(path) for path in settings.state_dir.iterdir() if not path.is_symlink()}
    postgres = _postgres(settings)
    if postgres is not None and postgres.is_ready():
        with psycopg.connect(postgres.conninfo("hiring")) as connection:
            bytes_by_name |= {f"postgres: {name}": size for name, size in database_sizes(connection).items()}
    return dict(sorted(bytes_by_name.items(), key=lambda item: -item[1]))


def print_status(settings: Settings, console: Console) -> bool:
    """Print the status; return whether every service is up and the disk has enough free space."""
    working, disk = services(settings), disk_space(settings.state_dir)
    for name, works in working.items():
        console.print(f"  {name:<20} {'[green]works[/]' if works else '[red]does not answer[/]'}")
    table = Table("in STATE_DIR", "MiB", box=None, pad_edge=True)
    table.columns[1].justify = "right"
    if settings.state_dir.exists():
        for name, size in sizes(settings).items():
            if size >= MIB / 10:
                table.add_row(name, f"{size / MIB:,.1f}")
    console.print(table)
    console.print(f"  {_describe(disk)} on the disk of {settings.state_dir}", markup=False, soft_wrap=True)
    return all(working.values()) and disk.state != "low"


def _describe(disk: DiskSpace) -> str:
    return f"{disk.free / 2**30:,.1f} GiB free ({disk.share:.0%}, {disk.state})"


def _postgres(settings: Settings) -> EmbeddedPostgres | None:
    """Return the server of STATE_DIR if it is running; no secrets are generated for this."""
    if not (settings.state_dir / "secrets.json").exists():
        return None
    postgres = EmbeddedPostgres(settings.state_dir / "postgres", settings.secrets.postgres)
    return postgres if postgres.find() else None


def _bytes_of(path: Path) -> int:
    """Return the disk space of a file or a folder in bytes, without files that are deleted meanwhile."""
    files = [path, *(Path(folder, name) for folder, _, names in os.walk(path) for name in names)]
    total = 0
    for file in files:
        with suppress(FileNotFoundError):
            total += file.lstat().st_blocks * 512
    return total
