"""The check of the disk, and what makes it as soon as there is less room: an error before anything fails for it."""

from pathlib import Path

import dagster as dg

from orchestration.defs.checks import LEDGER
from orchestration.defs.resources import Warehouse
from orchestration.monitoring import disk
from orchestration.settings import Settings

GIB = 1 << 30


class DiskSettings(Settings):
    """Whose disk is looked at."""

    dagster_storage: Path = Path()


def _folder() -> Path:
    return DiskSettings.read().dagster_storage.resolve()


@dg.asset_check(
    asset=LEDGER,
    name="disk_has_room",
    description=(
        "The disk of DAGSTER_STORAGE has room; under make up and Docker Compose that is the disk of Postgres, too. "
        f"Less than {disk.LOW_SHARE:.0%} free, at least {disk.LOW_BYTES_AT_LEAST // GIB} and at most "
        f"{disk.LOW_BYTES_AT_MOST // GIB} GiB, is an error, less than twice as much a warning. A sensor looks each "
        "minute. If it is red: make room; press prune_history when it is Dagster's database that is large."
    ),
)
def disk_has_room(warehouse: Warehouse) -> dg.AssetCheckResult:
    """Look at the disk and at the databases."""
    folder = _folder()
    room = disk.room(folder)
    with warehouse.transformer() as connection:
        sizes = disk.database_sizes(connection)
    return dg.AssetCheckResult(
        passed=room.state == "enough",
        severity=dg.AssetCheckSeverity.ERROR if room.state == "low" else dg.AssetCheckSeverity.WARN,
        # Without figures: the same words again are no news, and alerts do not repeat them.
        description=None if room.state == "enough" else f"The disk of {folder} has little room left.",
        metadata={
            "free_gib": round(room.free / GIB, 2),
            "free_percent": round(100 * room.share, 1),
            "error_below_gib": round(room.low_bytes / GIB, 2),
            "databases_mib": dg.MetadataValue.json({name: round(size / 2**20, 1) for name, size in sizes.items()}),
        },
    )


check_disk = dg.define_asset_job(
    "check_disk",
    selection=dg.AssetSelection.checks(disk_has_room),
    description="Look at the room on the disk. The sensor disk_room starts it; press it after you have made room.",
)


@dg.sensor(
    job=check_disk,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts check_disk when the room on the disk becomes scarce, low, or enough again.",
)
def disk_room(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Look at the disk; the cursor is its state at the last look. A database that is away is no matter here."""
    room = disk.room(_folder())
    before = context.cursor or "enough"
    if room.state == before:
        return dg.SkipReason(f"{room.free / GIB:,.1f} GiB are free ({room.share:.0%}): {room.state}.")
    return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=room.state)
