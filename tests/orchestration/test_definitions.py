"""What the code location offers: one lineage, described; sensors that run by themselves; a job in one process."""

import dagster as dg
import pytest

from orchestration.definitions import defs


@pytest.fixture(scope="module")
def assets() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_every_part_of_the_definitions_loads() -> None:
    dg.Definitions.validate_loadable(defs)


def test_one_lineage_leads_from_the_bucket_to_both_metrics(assets: dict[str, dg.AssetSpec]) -> None:
    def ancestors(name: str) -> set[str]:
        parents = {dep.asset_key.to_user_string() for dep in assets[name].deps}
        return parents.union(*map(ancestors, parents)) if parents else parents

    for metric in ("marts/hires_by_quarter", "marts/departments_above_mean"):
        assert {f"landing/{name}" for name in ("departments", "jobs", "hired_employees")} <= ancestors(metric)
        assert {f"raw/{name}" for name in ("departments", "jobs", "hired_employees", "loads")} <= ancestors(metric)


def test_every_asset_has_its_layer_as_group_a_description_kinds_and_an_owner(assets: dict[str, dg.AssetSpec]) -> None:
    assert len(assets) == 19
    for name, spec in assets.items():
        assert spec.group_name == name.split("/")[0]
        assert spec.description, name
        assert spec.kinds, name
        assert list(spec.owners) == ["team:data-engineering"], name


def test_both_sensors_run_from_the_first_start_on_and_start_the_same_job() -> None:
    sensors = [defs.resolve_sensor_def(name) for name in ("new_objects", "unpublished_batches")]

    for sensor in sensors:
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
        assert [target.job_name for target in sensor.targets] == ["refresh"]
        assert sensor.description


def test_the_job_refresh_covers_what_can_be_built_in_one_process_and_says_when_to_press_it() -> None:
    job = defs.resolve_job_def("refresh")

    assert {key.path[0] for key in job.asset_layer.executable_asset_keys} == {"raw", "staging", "marts"}
    assert job.executor_def is dg.in_process_executor
    assert "start it by hand" in (job.description or "")
