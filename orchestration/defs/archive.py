"""The jobs export_raw and restore_raw: schema raw into the bucket of exports, and back out of it."""

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
    from orchestration.archive.exporting import Figures


class RestoreConfig(dg.Config):
    """What is put back."""

    export: str = Field(default="latest", description="The export's id, its folder's name in the bucket; or latest.")
    tables: list[str] = Field(
        default=[table.name for table in TABLES],
        description="Which tables are put back; what the ledger has of their loads comes along.",
    )


@dg.op(description="Stores all tables of schema raw, as they are at one moment, as Parquet files.")
def export_tables(context: dg.OpExecutionContext, landing: Landing, warehouse: Warehouse) -> None:
    """Export raw to S3_ARCHIVE_BUCKET.

    Raises:
        dagster.Failure: the bucket is not named, is not there or refuses; the message says which.
    """
    # Arrow and Parquet take a while to import, which no other run needs.
    from orchestration.archive.exporting import export_raw
    from orchestration.archive.store import Store

    done: list[Figures] = []

    def tell(figures: "Figures") -> None:
        done.append(figures)
        context.log.info(f"raw.{figures.table}: {figures.rows:,} rows, {figures.seconds:.1f} s")

    with _explained(context):
        store = Store(landing.client, ArchiveSettings.read().bucket)
        with warehouse.loader() as connection:
            manifest = export_raw(connection, store, tell)
    context.add_output_metadata(_shown(store.address(manifest.export), done))
    left_out = f", without {len(manifest.unfinished)} loads that are under way" * bool(manifest.unfinished)
    context.log.info(f"Exported to {store.address(manifest.export)}{left_out}.")


@dg.op(description="Puts back what an export holds, once all its files have been looked at, in one transaction.")
def restore_tables(context: dg.OpExecutionContext, config: RestoreConfig, landing: Landing) -> None:
    """Restore tables from an export.

    Raises:
        dagster.Failure: a setting is missing, the export is not there, is damaged or does not fit; or Postgres refuses.
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
    with _explained(context):
        store = Store(landing.client, ArchiveSettings.read().bucket)
        with connected("hiring_restorer", DatabaseSettings.read().restorer_conninfo) as connection:
            restored = restore_raw(
                connection, store, config.export, chosen, context.log.info, landing.lock_wait_seconds
            )
    address = store.address(restored.manifest.export)
    context.add_output_metadata(_shown(address, restored.tables) | {"loads": restored.loads})
    if restored.gone_on:
        context.log.warning(
            f"Loads {restored.gone_on} had failed then and were tried again since: they stay as they are."
        )
    context.log.info(
        f"Restored {restored.loads:,} loads from {address}. The sensor unpublished_batches now starts a full build; "
        "with the sensors switched off, press rebuild_marts."
    )


@contextmanager
def _explained(context: dg.OpExecutionContext) -> Iterator[None]:
    """End in one line what somebody has to mend; ask for another attempt after what passes."""
    from orchestration.archive.store import ArchiveRefused

    try:
        with retried(context):
            yield
    except (WrongSetting, ArchiveRefused, psycopg.Error) as error:
        raise dg.Failure(str(error), allow_retries=False) from None


def _shown(address: str, tables: "Sequence[Figures]") -> dict[str, dg.MetadataValue | int]:
    rows: list[dict[str, object]] = [
        {
            "table": f"raw.{each.table}",
            "rows": f"{each.rows:,}",
            "bytes": f"{each.bytes:,}",
            "seconds": f"{each.seconds:.2f}",
        }
        for each in tables
    ]
    return {
        "export": dg.MetadataValue.path(address),
        "rows": sum(each.rows for each in tables),
        "bytes": sum(each.bytes for each in tables),
        "tables": dg.MetadataValue.md(table_of_rows(rows)),
    }


@dg.job(
    name="export_raw",
    executor_def=dg.in_process_executor,
    description=(
        "Store every record and the ledger, as they are at one moment, as Parquet files in the bucket "
        "S3_ARCHIVE_BUCKET. Runs by itself at 02:30 UTC where that is set; press it before you change raw by hand, or "
        "when somebody else wants the records. Nobody waits for it. How long exports are kept the bucket's lifecycle "
        "rules say."
    ),
)
def export_raw_job() -> None:
    """See the description."""
    export_tables()


@dg.job(
    name="restore_raw",
    executor_def=dg.in_process_executor,
    description=(
        "Put back what an export holds of each load: the records, and what the ledger says of them. Press it when "
        "records were lost or changed by hand, or to fill an empty database; choose export and tables in the "
        "launchpad. Later loads stay as they are; a load that was taken out since comes back. A damaged export is "
        "refused before anything is written, and a run that breaks off changes nothing: press it again. All models "
        "are built anew afterwards."
    ),
)
def restore_raw_job() -> None:
    """See the description."""
    restore_tables()
