"""The raw tables as assets: materializing one loads whatever is new for it in the bucket."""

from collections.abc import Iterator, Sequence

import dagster as dg
from psycopg import sql

from orchestration.defs.landing import OWNERS
from orchestration.defs.resources import Landing, Warehouse
from orchestration.ingest.ledger import Connection
from orchestration.ingest.loader import Failed, Loaded, load_pending
from orchestration.ingest.objects import BucketUnavailable
from orchestration.ingest.tables import TABLES, Table
from orchestration.ingest.writer import DatabaseUnavailable

PREVIEW_ROWS = 10
CHECK = "every_object_loaded"


def raw_asset(table: Table) -> dg.AssetsDefinition:
    """Return the asset of one raw table, with a check that fails when an object could not be loaded."""
    key = dg.AssetKey(["raw", table.name])

    @dg.asset(
        key=key,
        deps=[dg.AssetKey(["landing", table.name])],
        description=(
            f"Every record of {table.name} as it was delivered, as text. Materialize it to load the bucket's new "
            "objects, a thousand records a transaction; what was loaded before is not read again."
        ),
        group_name="raw",
        kinds={"postgres", "python"},
        owners=OWNERS,
        check_specs=[
            dg.AssetCheckSpec(
                CHECK, asset=key, description="No object of the last load failed; those that did are named."
            )
        ],
    )
    def load(
        context: dg.AssetExecutionContext, landing: Landing, warehouse: Warehouse
    ) -> Iterator[dg.MaterializeResult[None]]:
        with warehouse.loader() as connection:
            loaded, failed = _load(context, warehouse.loader_conninfo, landing, table)
            preview = _preview(connection, table)
        yield dg.MaterializeResult(
            metadata=_figures(loaded) | {"preview": dg.MetadataValue.md(preview)},
            check_results=[_check(failed)],
        )

    return load


def _load(
    context: dg.AssetExecutionContext, conninfo: str, landing: Landing, table: Table
) -> tuple[list[Loaded], list[Failed]]:
    loaded: list[Loaded] = []
    failed: list[Failed] = []
    try:
        for outcome in load_pending(conninfo, landing.client, landing.bucket, table, landing.policy):
            match outcome:
                case Loaded(load_id, item, records, rejected, seconds):
                    loaded.append(outcome)
                    context.log.info(
                        f"load {load_id}: {item}, {records:,} records, {rejected:,} rejected, {seconds:.1f} s"
                    )
                case Failed(load_id, item, "abandoned", message):
                    # Nothing to be mended: what is there instead is loaded, too.
                    context.log.warning(f"load {load_id}: {item} abandoned: {message}")
                case Failed(load_id, item, status, message):
                    failed.append(outcome)
                    context.log.error(f"load {load_id}: {item} {status}: {message}")
    except (BucketUnavailable, DatabaseUnavailable) as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    return loaded, failed


def _figures(loaded: Sequence[Loaded]) -> dict[str, dg.MetadataValue]:
    return {
        "objects": dg.MetadataValue.int(len(loaded)),
        "records": dg.MetadataValue.int(sum(each.records for each in loaded)),
        "rejected": dg.MetadataValue.int(sum(each.rejected for each in loaded)),
        "seconds": dg.MetadataValue.float(round(sum((each.seconds for each in loaded), 0.0), 3)),
        "loads": dg.MetadataValue.md(
            _markdown([{"load": each.load_id, "object": each.item.key, "records": each.records} for each in loaded])
        ),
    }


def _check(failed: Sequence[Failed]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=CHECK,
        passed=not failed,
        metadata={
            "failed": len(failed),
            "objects": dg.MetadataValue.md(
                _markdown([{"object": each.item.key, "reason": each.message} for each in failed])
            ),
        },
    )


def _preview(connection: Connection, table: Table) -> str:
    """Return the newest rows of a raw table as a Markdown table."""
    cursor = connection.execute(
        sql.SQL(
            "select {} from {} where _load_id = (select max(load_id) from raw.loads where table_name = %s) limit %s"
        ).format(
            sql.SQL(", ").join(map(sql.Identifier, ("_load_id", "_record", *table.columns))),
            sql.Identifier("raw", table.name),
        ),
        [table.name, PREVIEW_ROWS],
    )
    return _markdown([dict(zip(("_load_id", "_record", *table.columns), row, strict=True)) for row in cursor])


def _markdown(rows: Sequence[dict[str, object]]) -> str:
    # Imported here: most of a second, which the code server and the sensors need not wait for.
    import pandas as pd

    return pd.DataFrame(rows, dtype=object).to_markdown(index=False) if rows else "none"


def ledger_asset(name: str, description: str) -> dg.AssetSpec:
    """Return a table that every load writes to besides its own; loading the others is what fills it."""
    return dg.AssetSpec(
        dg.AssetKey(["raw", name]),
        deps=[dg.AssetKey(["raw", table.name]) for table in TABLES],
        description=description,
        group_name="raw",
        kinds={"postgres"},
        owners=OWNERS,
    )


@dg.definitions
def raw_tables() -> dg.Definitions:
    """Return an asset for each table of the load engine, and its ledger."""
    return dg.Definitions(
        assets=[
            *(raw_asset(table) for table in TABLES),
            ledger_asset("loads", "The ledger: one row a version of an object, or a batch over HTTP, and its state."),
            ledger_asset("rejected_records", "Records that cannot be rows of their table: why, where, their bytes."),
        ]
    )
