"""The bucket's objects in the lineage: the sources of each table, and objects that belong to no table."""

import dagster as dg

from contracts import TABLES
from orchestration.arrivals.partitions import UNKNOWN, landing_of, objects_of

OWNERS = ["team:data-engineering"]


def landing_asset(name: str, description: str) -> dg.AssetSpec:
    """Return an external asset with one partition per object: others fill it, Dagster shows it and its descendants."""
    return dg.AssetSpec(
        landing_of(name),
        description=description,
        partitions_def=objects_of(name),
        group_name="landing",
        kinds={"s3", "csv"},
        owners=OWNERS,
    )


@dg.definitions
def landing_objects() -> dg.Definitions:
    """Return an asset of objects for each table, and one for those of no table."""
    return dg.Definitions(
        assets=[
            *(
                landing_asset(
                    table.name,
                    f"Objects in the bucket that are named {' or '.join(table.names)}: "
                    f"`{table.name}*.csv`, `{table.name}/*.csv`, each also as `.csv.gz` or `.xlsx`, in any folder. "
                    "There is one partition per object, for the newest 5,000: green is loaded, red failed, grey not "
                    "tried yet. Click one to see its records, what was rejected and why; `raw.loads` has them all.",
                )
                for table in TABLES
            ),
            landing_asset(
                UNKNOWN,
                "Objects in the bucket whose names match no table, and which are not loaded. "
                "To load one, deliver it under a name that begins with its table's.",
            ),
        ]
    )
