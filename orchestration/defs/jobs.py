"""Jobs, each described by when to press its button."""

import dagster as dg

from orchestration.defs.models import BuildConfig

refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.groups("raw", "staging", "marts"),
    config=dg.RunConfig(ops={"dbt_models": BuildConfig(only_touched=True)}),
    description=(
        "Load what is new in the bucket, then build and test what it touches. The sensors start it by themselves; "
        "start it by hand when they are switched off. With nothing new it does nothing."
    ),
)
