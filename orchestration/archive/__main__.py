"""`python -m orchestration.archive`: export and restore from a shell, for instance before there is a Dagster."""

import logging
import signal
import sys
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.logging import RichHandler

from contracts import TABLES
from orchestration.archive.exporting import TableStatistics, export_raw
from orchestration.archive.restoring import restore_raw
from orchestration.archive.store import ArchiveRefused, Store
from orchestration.database import LOCK_WAIT_SECONDS, LockTimeout, connect
from orchestration.ingest.objects import BucketUnavailable
from orchestration.s3 import s3_client
from orchestration.settings import ArchiveSettings, DatabaseSettings, LockSettings, WrongSetting

NAMES = [table.name for table in TABLES]

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=True)


@app.command()
def export() -> None:
    """Export all tables of schema raw to S3_ARCHIVE_BUCKET, as hiring_loader."""
    store = _store()
    with connect(DatabaseSettings.read().loader_conninfo) as connection:
        manifest = export_raw(connection, store, _print_statistics)
    out.print(f"exported to {store.address(manifest.export)}")


@app.command()
def restore(
    export: Annotated[str, typer.Argument(help="The export's id, the folder's name in the bucket.")] = "latest",
    table: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(NAMES)}; may be repeated; by default all.")
    ] = None,
) -> None:
    """Restore each load of an export, as hiring_restorer; later loads stay as they are."""
    unknown = sorted(set(table or []) - set(NAMES))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: only {', '.join(NAMES)} can be restored")
    chosen = [known for known in TABLES if known.name in (table or NAMES)]
    store = _store()
    with connect(DatabaseSettings.read().restorer_conninfo) as connection:
        restored = restore_raw(connection, store, export, chosen, out.print, _lock_wait_seconds())
    for statistics in restored.tables:
        _print_statistics(statistics)
    if restored.retried:
        out.print(
            f"loads {restored.retried} had failed before the export and were retried since: they stay as they are"
        )
    out.print(f"restored {restored.loads:,} loads from {store.address(restored.manifest.export)}")


def _store() -> Store:
    settings = ArchiveSettings.read()
    return Store(s3_client(settings.s3_endpoint_url), settings.bucket)


def _lock_wait_seconds() -> float:
    return LockSettings.read().lock_wait_seconds or LOCK_WAIT_SECONDS


def _print_statistics(table: TableStatistics) -> None:
    out.print(f"raw.{table.table}: {table.rows:,} rows, {table.bytes:,} bytes, {table.seconds:.1f} s")


def main() -> None:
    """Run a command; expected errors are one line on standard error and exit status 1."""
    logging.basicConfig(level="WARNING", format="%(message)s", handlers=[RichHandler(console=err, show_path=False)])
    # The parent process may have ignored it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app(prog_name="python -m orchestration.archive")
    except (WrongSetting, ArchiveRefused, BucketUnavailable, LockTimeout, psycopg.OperationalError) as error:
        err.print(str(error).strip())
        sys.exit(1)


if __name__ == "__main__":
    main()
