"""dbt's exposures in the lineage: the readers of the marts."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from orchestration.dbt.project import manifest

GROUP = "api"


def specs(project: Mapping[str, Any]) -> Iterator[dg.AssetSpec]:
    """Yield an external asset for each exposure of a dbt manifest, with what it reads."""
    for exposure in project["exposures"].values():
        parents = [project["nodes"][parent] for parent in exposure["depends_on"]["nodes"]]
        yield dg.AssetSpec(
            dg.AssetKey([GROUP, exposure["name"]]),
            deps=[dg.AssetKey([node["schema"], node["name"]]) for node in parents],
            description=f"{exposure['label']}: {exposure['description'].strip()}",
            metadata={"url": dg.MetadataValue.url(exposure["url"]), "maturity": exposure["maturity"]},
            group_name=GROUP,
            kinds={"http", "fastapi"},
            owners=[f"team:{exposure['owner']['name']}"],
        )


@dg.definitions
def exposures() -> dg.Definitions:
    """Return the exposures of the project."""
    return dg.Definitions(assets=list(specs(manifest())))
