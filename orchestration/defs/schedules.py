"""Nightly schedules: export raw, delete old runs from Dagster's database, build and test all models."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.arrivals import partitions as arrivals
from orchestration.defs.archive import export_raw_job
from orchestration.defs.jobs import nightly_build
from orchestration.defs.resources import Warehouse
from orchestration.monitoring.maintenance import prune, republish
from orchestration.settings import ArchiveSettings, MaintenanceSettings, WrongSetting


@dg.op(description="Deletes runs that ended more than DAGSTER_KEEP_DAYS (90) days ago, with their events and logs.")
def delete_old_runs(context: dg.OpExecutionContext, warehouse: Warehouse) -> None:
    """Prune Dagster's instance; the newest event of each asset, object and check is kept.

    Raises:
        dagster.Failure: DAGSTER_KEEP_DAYS is invalid.
    """
    try:
        days = MaintenanceSettings.read().dagster_keep_days
    except WrongSetting as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    # Before the events: those of objects that are no longer partitions are deleted, too.
    partitions = arrivals.prune(context.instance)
    pruned = prune(context.instance, days, datetime.now(UTC))
    with warehouse.loader() as connection:
        reported = republish(context.instance, connection)
    context.log.info(
        f"Deleted {pruned.runs:,} runs that ended more than {days} days ago, {pruned.check_evaluations:,} results of "
        f"checks and {pruned.events:,} events outside of runs; kept {pruned.kept:,} old runs, which have the newest "
        f"event of an asset. Removed the partitions of {partitions:,} objects, reported {reported:,} again."
    )


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Delete runs and results of checks that are older than DAGSTER_KEEP_DAYS (90) days from Dagster's own "
        "database. Records and loads are not affected. Runs at 03:00 UTC every night; launch it manually when that "
        "database grows."
    ),
)
def prune_history() -> None:
    """See the description."""
    delete_old_runs()


def _latest_only(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Request a run, but only one for all the nights while Dagster was not running."""
    due = context.scheduled_execution_time
    if datetime.now(UTC) - due >= timedelta(days=1):
        return dg.SkipReason("Dagster was not running that night; the run of a later night does the same.")
    return dg.RunRequest(run_key=due.isoformat())


def _every_night(name: str, job_name: str, cron: str, description: str, *, is_on: bool = True) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=name,
        job_name=job_name,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING if is_on else dg.DefaultScheduleStatus.STOPPED,
        execution_fn=_latest_only,
        description=description,
    )


export_every_night = _every_night(
    "export_every_night",
    export_raw_job.name,
    "30 2 * * *",
    "Exports raw at 02:30 UTC, or at the next start if Dagster was not running then. On from the first start if "
    "S3_ARCHIVE_BUCKET is set and EXPORT_EVERY_NIGHT is not false.",
    is_on=ArchiveSettings.read().is_exported_every_night,
)

prune_every_night = _every_night(
    "prune_every_night",
    prune_history.name,
    "0 3 * * *",
    "Deletes old runs at 03:00 UTC, or at the next start if Dagster was not running then.",
)

build_every_night = _every_night(
    "build_every_night",
    nightly_build.name,
    "30 3 * * *",
    "Builds and tests everything at 03:30 UTC, or at the next start if Dagster was not running then.",
)
