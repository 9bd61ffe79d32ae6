"""`python -m orchestration.archive`: export and restore by hand, as when there is no Dagster yet to press a job in."""

import logging
import signal
import sys
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.logging import RichHandler

from contracts import TABLES
from orchestration.archive.exporting import Figures, export_raw
from orchestration.archive.restoring import restore_raw
from orchestration.archive.store import ArchiveRefused, Store
from orchestration.database import LOCK_WAIT_SECONDS, LockTimeout, connect
from orchestration.ingest.objects import BucketUnavailable
from orchestration.s3 import s3_client
from orchestration.settings import ArchiveSettings, DatabaseSettings, LockSettings, WrongSetting

NAMES = [table.name for table in TABLES]

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)


@app.command()
def export() -> None:
    """Store all tables of schema raw in S3_ARCHIVE_BUCKET, as hiring_loader."""
    store = _store()
    with connect(DatabaseSettings.read().loader_conninfo) as connection:
        manifest = export_raw(connection, store, _tell)
    out.print(f"exported to {store.address(manifest.export)}")


@app.command()
def restore(
    export: Annotated[str, typer.Argument(help="The export's id, the folder's name in the bucket.")] = "latest",
    table: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(NAMES)}, or several times; by default all.")
    ] = None,
) -> None:
    """Put back what an export holds of each load, as hiring_restorer; later loads stay as they are."""
    unknown = sorted(set(table or []) - set(NAMES))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: only {', '.join(NAMES)} can be restored")
    chosen = [each for each in TABLES if each.name in (table or NAMES)]
    store = _store()
    with connect(DatabaseSettings.read().restorer_conninfo) as connection:
        restored = restore_raw(connection, store, export, chosen, out.print, _lock_wait_seconds())
    for figures in restored.tables:
        _tell(figures)
    if restored.gone_on:
        out.print(f"loads {restored.gone_on} had failed then and were tried again since: they stay as they are")
    out.print(f"restored {restored.loads:,} loads from {store.address(restored.manifest.export)}")


def _store() -> Store:
    settings = ArchiveSettings.read()
    return Store(s3_client(settings.s3_endpoint_url), settings.bucket)


def _lock_wait_seconds() -> float:
    return LockSettings.read().lock_wait_seconds or LOCK_WAIT_SECONDS


def _tell(figures: Figures) -> None:
    out.print(f"raw.{figures.table}: {figures.rows:,} rows, {figures.bytes:,} bytes, {figures.seconds:.1f} s")


def main() -> None:
    """Run a command; what can go wrong outside ends in one line on standard error and exit status 1."""
    logging.basicConfig(level="WARNING", format="%(message)s", handlers=[RichHandler(console=err, show_path=False)])
    # Whoever starts this may have ignored it for itself.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app(prog_name="python -m orchestration.archive")
    except (WrongSetting, ArchiveRefused, BucketUnavailable, LockTimeout, psycopg.OperationalError) as error:
        err.print(str(error).strip())
        sys.exit(1)


if __name__ == "__main__":
    main()
