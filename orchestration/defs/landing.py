"""The bucket's objects in the lineage: where a table's records come from."""

import dagster as dg

from orchestration.ingest.tables import TABLES

OWNERS = ["team:data-engineering"]


@dg.definitions
def landing_objects() -> dg.Definitions:
    """Return an external asset a table: Dagster shows it and what follows from it, others fill it."""
    return dg.Definitions(
        assets=[
            dg.AssetSpec(
                dg.AssetKey(["landing", table.name]),
                description=(
                    f"Objects in the bucket by the name of {' or '.join(table.names)}: "
                    f"`{table.name}*.csv`, `{table.name}/*.csv`, each also as `.csv.gz`, in any folder."
                ),
                group_name="landing",
                kinds={"s3", "csv"},
                owners=OWNERS,
            )
            for table in TABLES
        ]
    )
