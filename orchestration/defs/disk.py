"""The check of the disk, and the sensor that runs it as soon as space becomes scarce, before anything fails."""

from pathlib import Path

import dagster as dg

from orchestration.defs.checks import LEDGER
from orchestration.defs.resources import Warehouse
from orchestration.monitoring import disk
from orchestration.settings import Settings

GIB = 1 << 30


class DiskSettings(Settings):
    """The folder whose disk is checked."""

    dagster_storage: Path = Path()


def _folder() -> Path:
    return DiskSettings.read().dagster_storage.resolve()


@dg.asset_check(
    asset=LEDGER,
    name="disk_has_room",
    description=(
        "The disk of DAGSTER_STORAGE has free space; under make up and Docker Compose that is the disk of Postgres, "
        f"too. Less than {disk.LOW_SHARE:.0%} free (at least {disk.MIN_LOW_BYTES // GIB}, at most "
        f"{disk.MAX_LOW_BYTES // GIB} GiB) is an error, less than twice that a warning. A sensor checks every minute. "
        "If it is red: free some space; launch prune_history if Dagster's database is large."
    ),
)
def disk_has_room(warehouse: Warehouse) -> dg.AssetCheckResult:
    """Check the disk, and show the sizes of the databases."""
    folder = _folder()
    space = disk.disk_space(folder)
    with warehouse.transformer() as connection:
        sizes = disk.database_sizes(connection)
    return dg.AssetCheckResult(
        passed=space.state == "enough",
        severity=dg.AssetCheckSeverity.ERROR if space.state == "low" else dg.AssetCheckSeverity.WARN,
        # Without numbers, so that alerts do not repeat the same message.
        description=None if space.state == "enough" else f"The disk of {folder} has little free space left.",
        metadata={
            "free_gib": round(space.free / GIB, 2),
            "free_percent": round(100 * space.share, 1),
            "error_below_gib": round(space.low_bytes / GIB, 2),
            "databases_mib": dg.MetadataValue.json({name: round(size / 2**20, 1) for name, size in sizes.items()}),
        },
    )


check_disk = dg.define_asset_job(
    "check_disk",
    selection=dg.AssetSelection.checks(disk_has_room),
    description="Check the free disk space. The sensor disk_room starts it; launch it after you have freed some space.",
)


@dg.sensor(
    job=check_disk,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts check_disk when the free disk space becomes scarce, low, or enough again.",
)
def disk_room(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Check the disk; the cursor is its state at the last tick. Needs no database."""
    space = disk.disk_space(_folder())
    before = context.cursor or "enough"
    if space.state == before:
        return dg.SkipReason(f"{space.free / GIB:,.1f} GiB are free ({space.share:.0%}): {space.state}.")
    return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=space.state)
