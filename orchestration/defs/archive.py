"""The jobs export_raw and restore_raw, which export schema raw to a bucket and restore it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg
import psycopg
from pydantic import Field

from contracts import TABLES
from orchestration.defs.resources import Landing, Warehouse, connected
from orchestration.defs.retries import retried
from orchestration.markdown import table_of_rows
from orchestration.settings import ArchiveSettings, DatabaseSettings, WrongSetting

if TYPE_CHECKING:
    from orchestration.archive.exporting import TableStatistics


class RestoreConfig(dg.Config):
    """What to restore."""

    export: str = Field(default="latest", description="The export's id, its folder's name in the bucket; or latest.")
    tables: list[str] = Field(
        default=[table.name for table in TABLES],
        description="The tables to restore; their part of the ledger is restored, too.",
    )


@dg.op(description="Writes a snapshot of all tables of schema raw as Parquet files.")
def export_tables(context: dg.OpExecutionContext, landing: Landing, warehouse: Warehouse) -> None:
    """Export raw to S3_ARCHIVE_BUCKET.

    Raises:
        dagster.Failure: the bucket is not set, does not exist or refuses access; the message says which.
    """
    # Imported here: Arrow and Parquet take a while to import, and no other run needs them.
    from orchestration.archive.exporting import export_raw
    from orchestration.archive.store import Store

    exported: list[TableStatistics] = []

    def on_table(statistics: "TableStatistics") -> None:
        exported.append(statistics)
        context.log.info(f"raw.{statistics.table}: {statistics.rows:,} rows, {statistics.seconds:.1f} s")

    with _one_line_failures(context):
        store = Store(landing.client, ArchiveSettings.read().bucket)
        with warehouse.loader() as connection:
            manifest = export_raw(connection, store, on_table)
    context.add_output_metadata(_metadata(store.address(manifest.export), exported))
    left_out = f", without {len(manifest.unfinished)} loads in progress" * bool(manifest.unfinished)
    context.log.info(f"Exported to {store.address(manifest.export)}{left_out}.")


@dg.op(description="Verifies all files of an export, then restores its contents in one transaction.")
def restore_tables(context: dg.OpExecutionContext, config: RestoreConfig, landing: Landing) -> None:
    """Restore tables from an export.

    Raises:
        dagster.Failure: a setting is missing, the export does not exist, is damaged or does not fit; Postgres refuses.
    """
    from orchestration.archive.restoring import restore_raw
    from orchestration.archive.store import Store

    unknown = sorted(set(config.tables) - {table.name for table in TABLES})
    if unknown or not config.tables:
        names = ", ".join(table.name for table in TABLES)
        raise dg.Failure(
            f"tables: {', '.join(unknown) or 'none'} cannot be restored, only {names}", allow_retries=False
        )
    chosen = [table for table in TABLES if table.name in config.tables]
    with _one_line_failures(context):
        store = Store(landing.client, ArchiveSettings.read().bucket)
        with connected("hiring_restorer", DatabaseSettings.read().restorer_conninfo) as connection:
            restored = restore_raw(
                connection, store, config.export, chosen, context.log.info, landing.lock_wait_seconds
            )
    address = store.address(restored.manifest.export)
    context.add_output_metadata(_metadata(address, restored.tables) | {"loads": restored.loads})
    if restored.retried:
        context.log.warning(
            f"Loads {restored.retried} had failed before the export and were retried since: they stay as they are."
        )
    context.log.info(
        f"Restored {restored.loads:,} loads from {address}. The sensor unpublished_batches now starts a full build; "
        "with the sensors switched off, launch rebuild_marts."
    )


@contextmanager
def _one_line_failures(context: dg.OpExecutionContext) -> Iterator[None]:
    """Fail with a one-line message on permanent errors; request a retry after transient ones."""
    from orchestration.archive.store import ArchiveRefused

    try:
        with retried(context):
            yield
    except (WrongSetting, ArchiveRefused, psycopg.Error) as error:
        raise dg.Failure(str(error), allow_retries=False) from None


def _metadata(address: str, tables: "Sequence[TableStatistics]") -> dict[str, dg.MetadataValue | int]:
    rows: list[dict[str, object]] = [
        {
            "table": f"raw.{table.table}",
            "rows": f"{table.rows:,}",
            "bytes": f"{table.bytes:,}",
            "seconds": f"{table.seconds:.2f}",
        }
        for table in tables
    ]
    return {
        "export": dg.MetadataValue.path(address),
        "rows": sum(table.rows for table in tables),
        "bytes": sum(table.bytes for table in tables),
        "tables": dg.MetadataValue.md(table_of_rows(rows)),
    }


@dg.job(
    name="export_raw",
    executor_def=dg.in_process_executor,
    description=(
        "Write a snapshot of every record and the ledger as Parquet files to the bucket S3_ARCHIVE_BUCKET. Runs "
        "automatically at 02:30 UTC if that is set; launch it before you change raw manually, or when somebody else "
        "needs the records. It blocks nothing. The bucket's lifecycle rules decide how long exports are kept."
    ),
)
def export_raw_job() -> None:
    """See the description."""
    export_tables()


@dg.job(
    name="restore_raw",
    executor_def=dg.in_process_executor,
    description=(
        "Restore each load of an export: its records and its part of the ledger. Launch it when records were lost or "
        "changed manually, or to fill an empty database; choose export and tables in the launchpad. Later loads stay "
        "as they are; a load that was removed since the export comes back. A damaged export is refused before "
        "anything is written, and an interrupted run changes nothing: launch it again. All models are rebuilt "
        "afterwards."
    ),
)
def restore_raw_job() -> None:
    """See the description."""
    restore_tables()
