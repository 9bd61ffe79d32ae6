"""The dbt models as assets, their tests as asset checks."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, dbt_assets

from orchestration.dbt import PROJECT, build_arguments, manifest
from orchestration.dbt_build import build
from orchestration.defs.landing import OWNERS
from orchestration.defs.resources import Warehouse
from orchestration.published import are_built, unpublished_loads


class Translator(DagsterDbtTranslator):
    """How a dbt node looks in Dagster. Keys are its schema and name, which is dagster-dbt's default."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """Return the node's layer."""
        return str(dbt_resource_props["schema"])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """Return who to ask about a model."""
        return OWNERS if dbt_resource_props["resource_type"] == "model" else []


TRANSLATOR = Translator()


class BuildConfig(dg.Config):
    """What a build covers: all that is selected, or of that only what new records can have changed."""

    only_touched: bool = False


@dbt_assets(manifest=manifest(), project=PROJECT, dagster_dbt_translator=TRANSLATOR, name="dbt_models")
def dbt_models(context: dg.AssetExecutionContext, config: BuildConfig, warehouse: Warehouse) -> Iterator[Any]:
    """Build the models and run their data tests, unless only new records count and there are none."""
    touched = None
    if config.only_touched:
        with warehouse.transformer() as connection:
            unpublished = {table for _, table in unpublished_loads(connection)}
            # The first build is of everything: a model that is left out has to be there from an earlier one.
            touched = unpublished if are_built(connection) else None
        if not unpublished:
            context.log.info("The marts show every complete load; there is nothing to build.")
            return
        context.log.info(f"New records in {', '.join(sorted(unpublished))}.")
    arguments = build_arguments(manifest(), touched)
    yield from build(context, TRANSLATOR, arguments)
