"""The dbt models as assets, their tests as asset checks."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, dbt_assets

from orchestration.dbt import PROJECT, build_arguments, manifest, version_of_project
from orchestration.dbt_build import build
from orchestration.defs.landing import OWNERS
from orchestration.defs.resources import Warehouse
from orchestration.published import are_built_by, record_built_by, unpublished_loads


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
    """What a build covers.

    Attributes:
        only_touched: only what new records can have changed, rather than all that is selected.
        full_refresh: from all records, rather than from what is new to a model.
    """

    only_touched: bool = False
    full_refresh: bool = False


@dbt_assets(manifest=manifest(), project=PROJECT, dagster_dbt_translator=TRANSLATOR, name="dbt_models")
def dbt_models(context: dg.AssetExecutionContext, config: BuildConfig, warehouse: Warehouse) -> Iterator[Any]:
    """Build the models and run their data tests, unless only new records count and there are none."""
    version = version_of_project()
    with warehouse.transformer() as connection:
        touched = {table for _, table in unpublished_loads(connection)}
        # What another version of the project judged is judged again.
        is_outdated = not are_built_by(connection, version)
    full_refresh = config.full_refresh or (is_outdated and not context.is_subset)
    if config.only_touched and not touched and not full_refresh:
        context.log.info("The marts show every complete load; there is nothing to build.")
        return
    context.log.info(f"New records in {', '.join(sorted(touched)) or 'no table'}{'; a full refresh' * full_refresh}.")
    arguments = build_arguments(manifest(), touched if config.only_touched else None, full_refresh)
    with warehouse.transformer() as connection:
        yield from build(context, TRANSLATOR, arguments, connection)
        if full_refresh and not context.is_subset:
            record_built_by(connection, version)
