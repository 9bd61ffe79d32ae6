"""The code location: one described lineage, sensors that are on by default, a job that runs in one process."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pytest
from dagster._config import ConfigType

from orchestration.definitions import defs
from orchestration.ingest.limits import RejectLimit
from orchestration.ingest.loader import Policy


@pytest.fixture(scope="module")
def assets() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_every_part_of_the_definitions_loads() -> None:
    dg.Definitions.validate_loadable(defs)


def test_one_lineage_leads_from_the_bucket_to_both_metrics_and_who_serves_them(assets: dict[str, dg.AssetSpec]) -> None:
    def ancestors(name: str) -> set[str]:
        parents = {dep.asset_key.to_user_string() for dep in assets[name].deps}
        return parents.union(*map(ancestors, parents)) if parents else parents

    for metric in (
        "marts/hires_by_quarter",
        "marts/departments_above_mean",
        "api/get_metrics_hires_by_quarter",
        "api/get_metrics_departments_above_mean",
    ):
        assert {f"landing/{name}" for name in ("departments", "jobs", "hired_employees")} <= ancestors(metric)
        assert {f"raw/{name}" for name in ("departments", "jobs", "hired_employees", "loads")} <= ancestors(metric)


def test_every_asset_has_its_layer_as_group_a_description_kinds_and_an_owner(assets: dict[str, dg.AssetSpec]) -> None:
    assert len(assets) == 40
    for name, spec in assets.items():
        assert spec.group_name == name.split("/")[0]
        assert spec.description, name
        assert "```" not in spec.description, name
        assert spec.kinds, name
        assert list(spec.owners) == ["team:data-engineering"], name


def test_the_api_is_in_the_lineage_with_its_url_and_reads_the_relations_of_its_exposures(
    assets: dict[str, dg.AssetSpec],
) -> None:
    spec = assets["api/get_metrics_departments_above_mean"]

    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {
        "marts/departments_above_mean",
        "marts/hires_by_quarter",
    }
    assert spec.metadata["url"] == dg.MetadataValue.url("http://127.0.0.1:8000/docs")
    assert (spec.description or "").startswith("GET /metrics/departments-above-mean: Departments whose hires")


def test_models_built_at_night_are_stale_after_two_nights_without_a_build(assets: dict[str, dg.AssetSpec]) -> None:
    """One that no night builds would be red for ever, one without a policy never."""
    stale = {name for name, spec in assets.items() if spec.freshness_policy}

    nightly = defs.resolve_job_def("nightly_build").asset_layer.executable_asset_keys
    assert stale == {key.to_user_string() for key in nightly}
    assert {name.split("/")[0] for name in stale} == {"staging", "marts"}


def test_checks_of_all_records_run_at_night_and_those_of_new_records_in_each_run() -> None:
    def checks(job: str) -> set[str]:
        return {key.name for key in defs.resolve_job_def(job).asset_layer.asset_graph.asset_check_keys}

    new = {
        "columns_as_agreed",
        "every_object_loaded",
        "records_add_up",
        "few_records_rejected",
        "deliveries_of_usual_size",
    }
    models = {"shows_every_complete_load", "each_hire_once", "no_open_records", "nothing_waits_long"}
    assert new | models <= checks("refresh")
    assert "all_records_add_up" not in checks("refresh")
    assert {"all_records_add_up", "disk_has_room"} | models <= checks("nightly_build")


def test_every_own_check_describes_its_meaning_and_what_to_do() -> None:
    graph = defs.resolve_asset_graph()
    specs = [graph.get_check_spec(key) for key in graph.asset_check_keys]

    ours = [spec for spec in specs if "dagster_dbt/unique_id" not in (spec.metadata or {})]
    assert len(ours) == 26
    for spec in ours:
        assert len((spec.description or "").split(". ")) > 1, spec.key


def test_every_data_test_describes_the_silent_failure_that_it_detects() -> None:
    graph = defs.resolve_asset_graph()
    checks = {key.name: graph.get_check_spec(key).description or "" for key in graph.asset_check_keys}

    assert checks["quarters_sum_to_hires"].startswith("A row lost in the last join, for a department")
    assert checks["each_hire_once"] == checks["each_job_once"]
    assert checks["each_job_once"].startswith("A record lost between raw and this model would be missing")
    for name, description in checks.items():
        assert description.endswith("."), name


def test_a_model_can_be_materialized_by_itself_with_its_checks() -> None:
    """Checks that are made together refuse a run of a model that has only some of them."""
    everything = defs.resolve_implicit_global_asset_job_def()
    for key in defs.resolve_job_def("rebuild_marts").asset_layer.executable_asset_keys:
        alone = everything.get_subset(asset_selection={key})

        assert alone.asset_layer.executable_asset_keys == {key}


def test_no_two_checks_of_one_table_have_the_same_name() -> None:
    """A red check is read by its name, wherever the list does not say which layer it is of."""
    names: dict[str, list[str]] = {}
    for key in defs.resolve_asset_graph().asset_check_keys:
        table = key.asset_key.path[-1].removeprefix("checked_")
        names.setdefault(table, []).append(key.name)

    for table, of_table in names.items():
        assert len(of_table) == len(set(of_table)), table


def test_both_sensors_run_from_the_first_start_on_and_start_the_same_job() -> None:
    sensors = [defs.resolve_sensor_def(name) for name in ("new_objects", "unpublished_batches")]

    for sensor in sensors:
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
        assert [target.job_name for target in sensor.targets] == ["refresh"]
        assert sensor.description


def test_the_job_refresh_covers_everything_in_one_process_and_describes_when_to_launch_it() -> None:
    job = defs.resolve_job_def("refresh")

    keys = job.asset_layer.executable_asset_keys
    assert {key.path[0] for key in keys} == {"landing", "raw", "staging", "marts"}
    assert [key.path[1] for key in keys if key.path[0] == "landing"] == ["arrivals"]
    assert job.executor_def is dg.in_process_executor
    assert "launch it manually" in (job.description or "")


RESTORED = {"export": "latest", "tables": ["departments", "jobs", "hired_employees"]}
UNSET = {"only_touched": False, "full_refresh": False, "drop_dependents": False, "test_everything": False}
RELOADED = {"reject_share": RejectLimit.share, "withdraw_share": Policy.withdraw_share}


@pytest.mark.parametrize(
    ("job", "ops"),
    [
        ("refresh", {"dbt_models": UNSET | {"only_touched": True}}),
        ("rebuild_marts", {"dbt_models": UNSET | {"full_refresh": True}}),
        ("nightly_build", {"dbt_models": UNSET | {"test_everything": True}}),
        ("reload_object", {"load_again": RELOADED}),
        ("restore_raw", {"restore_tables": RESTORED}),
        ("export_raw", {}),
        ("prune_history", {}),
        ("check_disk", {}),
    ],
)
def test_the_launchpad_of_a_job_starts_with_only_the_options_for_people(
    job: str, ops: dict[str, dict[str, object]]
) -> None:
    """Connections in the launchpad could be changed by accident, for one run, without anybody noticing."""
    fields = fields_of(defs.resolve_job_def(job).run_config_schema.config_type)

    shown = {name: op["config"] for name, op in fields["ops"].default_value.items() if op.get("config")}
    assert shown == ops
    assert not any(resource.get("config") for resource in fields["resources"].default_value.values())
    for name in ("landing", "warehouse"):
        if resource := fields["resources"].config_type.fields.get(name):
            assert resource.config_type.fields["config"].config_type.fields == {}


def test_every_option_in_a_launchpad_is_described() -> None:
    for job in ("refresh", "rebuild_marts", "nightly_build", "reload_object", "restore_raw"):
        fields = fields_of(defs.resolve_job_def(job).run_config_schema.config_type)
        settings = dict(settings_of(fields["ops"].config_type))
        assert settings
        for name, description in settings.items():
            assert (description or "").endswith("."), (job, name)


def settings_of(ops: ConfigType) -> Iterator[tuple[str, str | None]]:
    """Yield each setting of a job's ops with its description."""
    for op, field in fields_of(ops).items():
        for name, setting in fields_of(fields_of(field.config_type)["config"].config_type).items():
            yield f"{op}.{name}", setting.description


def fields_of(config_type: ConfigType) -> Mapping[str, Any]:
    """Return the fields of a configuration type, none if it accepts anything."""
    return getattr(config_type, "fields", {})
