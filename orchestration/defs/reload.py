"""The job reload_object: loads a file that is chosen in the UI again."""

from dataclasses import replace

import dagster as dg
from psycopg import OperationalError
from pydantic import Field

from orchestration.arrivals.partitions import OBJECTS, key_of, report
from orchestration.database import LockTimeout
from orchestration.defs.checks import as_evaluation, every_object_loaded
from orchestration.defs.resources import Landing, Warehouse, landing
from orchestration.ingest.loader import Failed, reload_object
from orchestration.ingest.objects import BucketUnavailable, ObjectChanged, ObjectUnreadable, current_version
from orchestration.ingest.session import DatabaseUnavailable, TableSession
from orchestration.ingest.tables import table_of
from orchestration.monitoring.checks import failed_objects
from orchestration.monitoring.failures import as_metadata

USUAL = landing().policy


class ReloadConfig(dg.Config):
    """Limits of the load."""

    reject_share: float = Field(
        default=USUAL.reject_limit.share,
        ge=0,
        le=1,
        description="The share of its records that may be rejected, 0 to 1. The default of all loads is REJECT_SHARE.",
    )
    withdraw_share: float = Field(
        default=USUAL.withdraw_share,
        ge=0,
        le=1,
        description=(
            "For a snapshot table: the share of its current ids that the object may lack, 0 to 1. "
            "The default of all loads is WITHDRAW_SHARE."
        ),
    )


@dg.op(description="Loads all of the chosen object again, as a new load.")
def load_again(context: dg.OpExecutionContext, config: ReloadConfig, landing: Landing, warehouse: Warehouse) -> None:
    """Load the object of the run's partition again, and report it to Dagster.

    Raises:
        dagster.Failure: it does not exist, cannot be loaded, or a server is down; the message says which.
    """
    key = key_of(context.partition_key)
    table = table_of(key)
    if table is None:
        raise dg.Failure(f"the name of {key} matches no table: there is nowhere to load it to", allow_retries=False)
    usual = landing.policy
    policy = replace(
        usual,
        reject_limit=replace(usual.reject_limit, share=config.reject_share),
        withdraw_share=config.withdraw_share,
    )
    try:
        item = current_version(landing.client, landing.bucket, key)
        with TableSession(
            warehouse.loader_conninfo, table, policy.give_up_seconds, policy.lock_wait_seconds
        ) as session:
            outcome = reload_object(session, landing.client, item, policy)
    except ObjectChanged:
        raise dg.Failure(f"s3://{landing.bucket}/{key} is not in the bucket any more", allow_retries=False) from None
    except (BucketUnavailable, ObjectUnreadable, DatabaseUnavailable, LockTimeout, OperationalError) as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    with warehouse.loader() as connection:
        report(context.instance, connection, table, context.run_id, [outcome.load_id])
        failed = every_object_loaded(table, failed_objects(connection, table))
    # The raw table's step, which usually runs this check, is not part of the run.
    context.instance.report_runless_asset_event(as_evaluation(failed))
    if isinstance(outcome, Failed):
        raise dg.Failure(
            f"load {outcome.load_id} {outcome.status}: {outcome.message}",
            metadata=as_metadata({outcome.load_id: outcome.message}),
            allow_retries=False,
        )
    context.log.info(f"load {outcome.load_id}: {item}, {outcome.totals}, {outcome.seconds:.1f} s")


@dg.job(
    name="reload_object",
    partitions_def=OBJECTS,
    executor_def=dg.in_process_executor,
    description=(
        "Load the current version of a file in the bucket again: choose it under Partition in the launchpad. Its "
        "records become the latest and replace others with the same ids. Use it when the file is right and later "
        "ones were wrong. With reject_share in the configuration it loads even if many records are rejected, with "
        "withdraw_share even if it was held back for the ids that it lacks. "
        "The sensor unpublished_batches then starts a build; with the sensors switched off, launch refresh. The next "
        "run resumes a reload that was interrupted."
    ),
)
def reload_object_job() -> None:
    """See the description."""
    load_again()
