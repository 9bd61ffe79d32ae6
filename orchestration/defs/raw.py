"""The raw tables as assets: materializing one loads its pending objects from the bucket."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

import dagster as dg
from psycopg import sql
from pydantic import Field

from contracts import TABLES, Table
from orchestration.arrivals.failed_loads import note_failed_load
from orchestration.arrivals.partitions import report
from orchestration.database import Connection
from orchestration.defs import checks
from orchestration.defs.landing import OWNERS
from orchestration.defs.resources import Landing, Warehouse
from orchestration.defs.retries import retried
from orchestration.ingest.candidates import Candidates
from orchestration.ingest.ledger import LoadStatus, Totals
from orchestration.ingest.loader import Failed, Loaded, Progress, load_pending
from orchestration.ingest.objects import ObjectVersion
from orchestration.markdown import table_of_rows
from orchestration.monitoring.checks import (
    discrepancies_of_loads,
    failed_objects,
    last_deliveries,
    rejected_shares,
    wrong_columns,
)
from orchestration.warehouse.rejected import malformed_records

PREVIEW_ROWS = 10
LOG_INTERVAL_SECONDS = 5.0
REJECTED = dg.AssetKey(["raw", "rejected_records"])


class FoundObject(dg.Config):
    """A version of an object that a sensor found in the bucket: see ObjectVersion."""

    key: str
    version: str
    etag: str
    size: int
    last_modified: str
    is_weak: bool

    @classmethod
    def of(cls, item: ObjectVersion) -> "FoundObject":
        """Return an object version for a run's configuration."""
        moment = item.last_modified.isoformat()
        return cls(
            key=item.key,
            version=item.version,
            etag=item.etag,
            size=item.size,
            last_modified=moment,
            is_weak=item.is_weak,
        )

    def in_bucket(self, bucket: str) -> ObjectVersion:
        """Return the object version."""
        moment = datetime.fromisoformat(self.last_modified)
        return ObjectVersion(bucket, self.key, self.version, self.etag, self.size, moment, self.is_weak)


class LoadConfig(dg.Config):
    """The objects that a run loads into a table."""

    objects: list[FoundObject] = Field(
        default_factory=list,
        description="Filled in by the sensor new_objects. Omit it to list the bucket.",
    )


def raw_asset(table: Table) -> dg.AssetsDefinition:
    """Return the asset of a raw table, with the checks of each of its loads."""
    key = dg.AssetKey(["raw", table.name])

    @dg.asset(
        key=key,
        deps=[dg.AssetKey(["landing", table.name])],
        description=(
            f"Every record of {table.name} as delivered, as text. Materialize it to load the bucket's new objects, "
            "in chunks of a thousand records; what was loaded before is not read again."
        ),
        group_name="raw",
        kinds={"postgres", "python"},
        owners=OWNERS,
        check_specs=checks.of_raw(key),
    )
    def load(
        context: dg.AssetExecutionContext, config: LoadConfig, landing: Landing, warehouse: Warehouse
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        with retried(context):
            with warehouse.loader() as connection:
                wrong = wrong_columns(connection, table)
            if wrong:
                yield checks.columns_as_agreed(wrong)
                raise dg.Failure(f"raw.{table.name}: {'; '.join(wrong)}: run the migrations", allow_retries=False)
            objects = [(table, item.in_bucket(landing.bucket)) for item in config.objects]
            loads = _load(context, warehouse.loader_conninfo, landing, table, landing.candidates(objects))
            # Not the same session: the load outlives a restart of Postgres, an idle session does not.
            with warehouse.loader() as connection:
                _show_rejected(context, connection, loads.loaded)
                load_ids = [*loads.ids, *(failed.load_id for failed in loads.failed)]
                report(context.instance, connection, table, context.run.run_id, load_ids)
                yield _result(connection, table, loads)

    return load


@dataclass
class Loads:
    """The outcomes of the objects that were pending."""

    loaded: list[Loaded] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        """The numbers of the complete loads."""
        return [load.load_id for load in self.loaded]


def _load(
    context: dg.AssetExecutionContext, conninfo: str, landing: Landing, table: Table, candidates: Candidates
) -> Loads:
    loads = Loads()
    client, bucket, policy = landing.client, landing.bucket, landing.policy
    with closing(LoadLog(context)) as log:
        for outcome in load_pending(conninfo, client, bucket, table, policy, log.progressed, candidates):
            match outcome:
                case Loaded(load_id, item, totals, seconds):
                    loads.loaded.append(outcome)
                    log.loaded(f"load {load_id}: {item}, {totals}, {seconds:.1f} s")
                case Failed(load_id, item, LoadStatus.ABANDONED, message):
                    # There is nothing to repair: the object's new version is loaded, too.
                    context.log.warning(f"load {load_id}: {item} abandoned: {message}")
                case Failed(load_id, item, status, message):
                    loads.failed.append(outcome)
                    note_failed_load(context.instance, context.run.run_id, load_id)
                    context.log.error(f"load {load_id}: {item} {status}: {message}")
    return loads


class LoadLog:
    """Logs complete loads, and the progress of long ones, in a message every few seconds.

    A message for each load would take a fifth of the time of small ones.
    """

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._log = context.log
        self._lines: list[str] = []
        self._logged_at = time.monotonic()

    def loaded(self, line: str) -> None:
        """Add a line about a complete load, which is logged within seconds, or by `close`."""
        self._lines.append(line)
        if time.monotonic() - self._logged_at >= LOG_INTERVAL_SECONDS:
            self.close()

    def progressed(self, progress: Progress) -> None:
        """Log what has been committed, if it is time."""
        if time.monotonic() - self._logged_at < LOG_INTERVAL_SECONDS:
            return
        item, totals = progress.item, progress.totals
        done = f"{progress.bytes / 1e6:,.0f} MB" if item.is_packed else f"{progress.bytes / item.size:.0%}"
        self._lines.append(f"load {progress.load_id}: {item}, {done}, {totals.records:,} records so far")
        self.close()

    def close(self) -> None:
        """Log the lines that are left."""
        if self._lines:
            self._log.info("\n".join(self._lines))
        self._lines, self._logged_at = [], time.monotonic()


def _result(connection: Connection, table: Table, loads: Loads) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(
        metadata=_metadata(loads.loaded) | {"preview": dg.MetadataValue.md(_preview(connection, table))},
        check_results=[
            checks.columns_as_agreed([]),
            checks.every_object_loaded(table, failed_objects(connection, table)),
            checks.records_add_up(checks.ADDS_UP, discrepancies_of_loads(connection, table, loads.ids)),
            checks.few_records_rejected(rejected_shares(connection, loads.ids)),
            checks.deliveries_of_usual_size(last_deliveries(connection, table)),
        ],
    )


def _metadata(loaded: Sequence[Loaded]) -> dict[str, dg.MetadataValue]:
    totals = sum((load.totals for load in loaded), Totals())
    seconds = sum((load.seconds for load in loaded), 0.0)
    metadata: dict[str, dg.MetadataValue] = {
        "objects": dg.MetadataValue.int(len(loaded)),
        "bytes": dg.MetadataValue.int(sum(load.item.size for load in loaded)),
        "records": dg.MetadataValue.int(totals.records),
        "rejected": dg.MetadataValue.int(totals.rejected),
        "malformed": dg.MetadataValue.int(totals.malformed),
        "invalid": dg.MetadataValue.int(totals.invalid),
        "seconds": dg.MetadataValue.float(round(seconds, 3)),
        "loads": dg.MetadataValue.md(
            table_of_rows(
                [
                    {"load": load.load_id, "object": load.item.key, "records": load.totals.records}
                    for load in loaded[-100:]
                ]
            )
        ),
    }
    # A run with nothing to load has no speed; a zero would look like an error in the plot.
    return metadata | (
        {"records_per_second": dg.MetadataValue.float(round(totals.records / seconds, 1))} if totals.records else {}
    )


def _show_rejected(context: dg.AssetExecutionContext, connection: Connection, loaded: Sequence[Loaded]) -> None:
    """Show a sample of these loads' rejected records on the page of rejected records."""
    with_rejected = [load for load in loaded if load.totals.rejected]
    if not with_rejected:
        return
    sample, query = malformed_records(connection, [load.load_id for load in with_rejected])
    totals = sum((load.totals for load in with_rejected), Totals())
    context.log_event(
        dg.AssetMaterialization(
            REJECTED,
            metadata={
                "rejected": totals.rejected,
                "malformed": totals.malformed,
                "invalid": totals.invalid,
                "sample": dg.MetadataValue.md(table_of_rows(sample)),
                "query": dg.MetadataValue.md(f"```sql\n{query}\n```"),
            },
        )
    )


def _preview(connection: Connection, table: Table) -> str:
    """Return the newest rows of a raw table as a Markdown table."""
    cursor = connection.execute(
        sql.SQL(
            "select {} from {} where _load_id = (select max(load_id) from raw.loads where table_name = %s) limit %s"
        ).format(
            sql.SQL(", ").join(map(sql.Identifier, ("_load_id", "_record", *table.column_names))),
            sql.Identifier("raw", table.name),
        ),
        [table.name, PREVIEW_ROWS],
    )
    return table_of_rows([dict(zip(("_load_id", "_record", *table.column_names), row, strict=True)) for row in cursor])


def ledger_asset(name: str, description: str) -> dg.AssetSpec:
    """Return the asset of a table that every load also writes to."""
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
            ledger_asset(
                "loads", "The ledger: one row per load of an object version or a batch over HTTP, with its status."
            ),
            ledger_asset(
                "rejected_records",
                "Malformed records, which cannot be rows of their table: why, where, their bytes. Each load that "
                "rejects records shows the first of them here, and counts invalid records, too.",
            ),
            ledger_asset(
                "invalid_records",
                "Invalid records, which break a rule: which ones, and which rule. Their values are in their table.",
            ),
            ledger_asset(
                "corrections",
                "Which rejected record a later record corrects, or why it was dismissed.",
            ),
        ]
    )
