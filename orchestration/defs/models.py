"""The dbt models as assets, their tests as asset checks."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtProject, dbt_assets
from pydantic import Field

from orchestration.dbt.cli import InProcessDbt
from orchestration.dbt.metadata import deferred_metadata, has_deferred_metadata
from orchestration.dbt.project import (
    PROJECT,
    build_arguments,
    description_of_test,
    manifest,
    parsed,
    published_marts,
    session_variables,
    version_in_use,
)
from orchestration.defs.landing import OWNERS
from orchestration.defs.resources import Warehouse
from orchestration.defs.retries import retried
from orchestration.settings import BuildSettings
from orchestration.warehouse.build_lock import acquire_build_lock
from orchestration.warehouse.published import are_built_by, record_built_by, unpublished_loads

if TYPE_CHECKING:
    from orchestration.database import Connection

# Raw tables have no policy: that nothing is delivered, at night or in August, is not an error. But all models are built
# every night, with or without deliveries: an older one means that the daemon is down or the build fails. If a mart
# lacks complete loads, shows_every_complete_load reports that within minutes.
ONCE_A_NIGHT = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(hours=50))


class Translator(DagsterDbtTranslator):
    """How dbt nodes appear in Dagster. Keys are schema and name, which is dagster-dbt's default."""

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """Return the node as an asset; models have a freshness policy."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        return spec.replace_attributes(freshness_policy=ONCE_A_NIGHT) if unique_id.startswith("model.") else spec

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the description in the node's yml, without the SQL that dagster-dbt adds."""
        description: str = dbt_resource_props["description"]
        return description.strip()

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetCheckSpec | None:
        """Return a data test as a check, with the error that would go unnoticed without it."""
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        return spec and spec._replace(description=description_of_test(manifest, unique_id))

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """Return the node's layer."""
        return str(dbt_resource_props["schema"])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """Return the owners of a model."""
        return OWNERS if dbt_resource_props["resource_type"] == "model" else []


TRANSLATOR = Translator()
MARTS = published_marts(manifest())


class BuildConfig(dg.Config):
    """What a build covers."""

    only_touched: bool = Field(
        default=False, description="Build only what new records can have changed, not everything that is selected."
    )
    full_refresh: bool = Field(
        default=False, description="Build from all records, not only from those that are new to a model."
    )
    drop_dependents: bool = Field(
        default=False, description="With full_refresh: drop other people's views that a change of a model would break."
    )
    test_everything: bool = Field(
        default=False,
        description="Run each test on all records, not only on new ones; if one fails, build from all records.",
    )


@dbt_assets(manifest=manifest(), project=PROJECT, dagster_dbt_translator=TRANSLATOR, name="dbt_models")
def dbt_models(context: dg.AssetExecutionContext, config: BuildConfig, warehouse: Warehouse) -> Iterator[Any]:
    """Build the models and run their data tests, unless `only_touched` is set and there are no new records."""
    with retried(context), warehouse.transformer() as turn:
        acquire_build_lock(turn, context.log.info)
        version = version_in_use()
        with warehouse.transformer() as connection:
            touched = {table for _, table in unpublished_loads(connection, MARTS)}
            # Models that another version of the project built are built again.
            is_outdated = not are_built_by(connection, version)
        # A retry of the nightly build, for whatever reason, builds everything: that repairs what a test has found.
        is_repair = config.test_everything and context.retry_number > 0
        full_refresh = config.full_refresh or ((is_outdated or is_repair) and not context.is_subset)
        if config.only_touched and not touched and not full_refresh:
            context.log.info("The marts show every complete load; there is nothing to build.")
            return
        names = ", ".join(sorted(touched)) or "no table"
        context.log.info(f"New records in {names}{'; a full refresh' * full_refresh}.")
        arguments = build_arguments(
            manifest(),
            touched if config.only_touched else None,
            full_refresh,
            config.drop_dependents,
            config.test_everything,
        )
        with warehouse.transformer() as connection:
            # Queries for metadata wait for locks no longer than the build itself.
            connection.execute(f"set lock_timeout = '{BuildSettings.read().lock_timeout}'")
            try:
                yield from _built(context, arguments, connection)
            except dg.Failure as failure:
                if not config.test_everything or full_refresh:
                    raise
                context.log.warning(f"{failure.description}; building everything again, from all records")
                raise dg.RetryRequested(max_retries=context.retry_number + 1) from failure
            if full_refresh and not context.is_subset:
                record_built_by(connection, version)


def _built(context: dg.AssetExecutionContext, arguments: list[str], connection: "Connection") -> Iterator[Any]:
    """Yield the events of a build as they occur, but those of models with deferred metadata at the end.

    Raises:
        psycopg.Error: the build failed with a transient error.
        dagster.Failure: it failed with another error.
    """
    dbt = InProcessDbt(PROJECT, session_variables(), parsed(), connection)
    deferred: list[Any] = []
    failure: dg.Failure | None = None
    try:
        invocation = dbt.cli(arguments, manifest=manifest(), dagster_dbt_translator=TRANSLATOR, context=context)
        for event in invocation.stream():
            key = _key_of(context, event)
            if key and has_deferred_metadata(manifest(), key):
                deferred.append(event)
            else:
                yield event
    except dg.Failure as error:
        failure = error
    for event in deferred:
        if isinstance(event, dg.Output):
            key = context.asset_key_for_output(event.output_name)
            metadata = deferred_metadata(connection, context.instance, manifest(), key)
            yield dg.Output(None, output_name=event.output_name, metadata={**metadata, **event.metadata})
        else:
            yield event
    if failure:
        raise failure


def _key_of(context: dg.AssetExecutionContext, event: Any) -> dg.AssetKey | None:
    """Return the asset of a build's event: a materialization, or a check, which has to come after it."""
    key: dg.AssetKey | None = None
    if isinstance(event, dg.Output):
        key = context.asset_key_for_output(event.output_name)
    elif isinstance(event, dg.AssetCheckResult | dg.AssetCheckEvaluation):
        key = event.asset_key
    return key
