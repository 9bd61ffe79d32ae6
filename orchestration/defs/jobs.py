"""Jobs over assets, each described by when to press its button."""

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
# It reads all there is, which is work for the night.
LEDGER_CHECK = dg.AssetSelection.checks(all_records_add_up)
# Made by a sensor when the disk fills; at night in any case, so that it is known to be looked at.
DISK_CHECK = dg.AssetSelection.checks(disk_has_room)

# A run's configuration is kept with it, some 200 bytes per object; to list the bucket once for more is no loss.
MAX_OBJECTS_IN_CONFIG = 500


def refresh_config(found: Sequence[tuple[Table, ObjectVersion]] = ()) -> dg.RunConfig:
    """Return the configuration of a refresh that begins with some objects, or with whatever is in the bucket."""
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
        "Load what is new in the bucket, then build and test what it touches. The sensors start it by themselves; "
        "start it by hand when they are switched off. With nothing new it does nothing. To load a file once more "
        "that was loaded before, press reload_object."
    ),
)

rebuild_marts = dg.define_asset_job(
    "rebuild_marts",
    selection=MODELS,
    config=dg.RunConfig(ops={"dbt_models": BuildConfig(full_refresh=True)}),
    description=(
        "Build every model from all records in raw, whatever was built before, and test all of it. Press it after "
        "a load was taken out of raw by hand, or when a mart looks wrong. Readers never wait and never see half of it; "
        "only rows that were wrong are written. Loads nothing. It takes as long as the very first build. With "
        "drop_dependents: true it drops, and names, what other people have made of a column that changes or goes."
    ),
)

nightly_build = dg.define_asset_job(
    "nightly_build",
    selection=MODELS | LEDGER_CHECK | DISK_CHECK,
    # Without it the gates look only at what is new.
    config=dg.RunConfig(ops={"dbt_models": BuildConfig(test_everything=True)}),
    description=(
        "Build what is new, run every test on all records, and check the ledger against raw. Where a test fails, or "
        "the models have changed, it builds every model from all records, as rebuild_marts does. Runs by itself at "
        "03:30 UTC; press it when you want to know now whether everything is as it should be."
    ),
)
