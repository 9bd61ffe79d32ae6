"""Jobs over assets, with descriptions of when to launch them."""

from collections.abc import Sequence

import dagster as dg

from contracts import Table
from orchestration.arrivals.partitions import ARRIVALS
from orchestration.defs.checks import all_records_add_up
from orchestration.defs.disk import disk_has_room
from orchestration.defs.models import BuildConfig
from orchestration.defs.raw import FoundObject, LoadConfig
from orchestration.ingest.objects import ObjectVersion

MODELS = dg.AssetSelection.groups("staging", "marts")
# It reads all records, so it runs at night.
LEDGER_CHECK = dg.AssetSelection.checks(all_records_add_up)
# A sensor runs it when the disk fills up; the nightly run shows that it is checked at all.
DISK_CHECK = dg.AssetSelection.checks(disk_has_room)

# A run's configuration is stored with it, some 200 bytes per object; for more objects, listing the bucket is cheaper.
MAX_OBJECTS_IN_CONFIG = 500


def refresh_config(found: Sequence[tuple[Table, ObjectVersion]] = ()) -> dg.RunConfig:
    """Return the configuration of a refresh of some objects, or of whatever is in the bucket."""
    ops: dict[str, dg.Config] = {"dbt_models": BuildConfig(only_touched=True)}
    if len(found) <= MAX_OBJECTS_IN_CONFIG:
        for table in {table for table, _ in found}:
            objects = [FoundObject.of(item) for owner, item in found if owner == table]
            ops[f"raw__{table.name}"] = LoadConfig(objects=objects)
    return dg.RunConfig(ops=ops)


refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.groups("raw", "staging", "marts") | dg.AssetSelection.assets(ARRIVALS) - LEDGER_CHECK,
    config=refresh_config(),
    description=(
        "Load what is new in the bucket, then build and test what it touches. Sensors start it automatically; launch "
        "it manually while they are switched off. If nothing is new it does nothing. To load a file again, launch "
        "reload_object."
    ),
)

rebuild_marts = dg.define_asset_job(
    "rebuild_marts",
    selection=MODELS,
    config=dg.RunConfig(ops={"dbt_models": BuildConfig(full_refresh=True)}),
    description=(
        "Build every model from all records in raw, whatever was built before, and test everything. Launch it after "
        "a load was removed from raw manually, or when a mart looks wrong. Readers never wait and never see a partial "
        "result; only rows that were wrong are written. Loads nothing. Takes as long as the first build. With "
        "drop_dependents: true it drops, and lists, other people's views of a column that changes or is removed."
    ),
)

nightly_build = dg.define_asset_job(
    "nightly_build",
    selection=MODELS | LEDGER_CHECK | DISK_CHECK,
    # Otherwise the gates test only what is new.
    config=dg.RunConfig(ops={"dbt_models": BuildConfig(test_everything=True)}),
    description=(
        "Build what is new, run every test on all records, and check the ledger against raw. If a test fails, or the "
        "models have changed, it builds every model from all records, like rebuild_marts. Runs automatically at "
        "03:30 UTC; launch it manually to check everything now."
    ),
)
