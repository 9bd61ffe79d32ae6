"""dbt in this process, with the interface of dagster-dbt's own resource."""

import inspect
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_dbt import DbtCliInvocation, DbtCliResource, DbtProject
from dbt.adapters.base.impl import DEFAULT_BASE_BEHAVIOR_FLAGS

from orchestration.dbt import cli
from orchestration.dbt.cli import InProcessDbt, InProcessInvocation
from orchestration.dbt.project import PROFILE_PLACEHOLDERS, PROJECT, parsed
from orchestration.definitions import defs
from orchestration.defs import models
from tests.conftest import Database, environment


def test_it_is_called_as_dagster_dbts_own_is() -> None:
    """It has the same interface."""
    ours, original = (inspect.signature(each.cli).parameters for each in (InProcessDbt, DbtCliResource))
    assert {name: each.kind for name, each in ours.items()}.items() <= {
        name: each.kind for name, each in original.items()
    }.items()
    methods = {name for name, _ in inspect.getmembers(InProcessInvocation, inspect.isfunction) if name[0] != "_"}
    assert methods == {"stream", "wait"}
    assert all(callable(getattr(DbtCliInvocation, name)) for name in methods)


def test_dagster_dbts_own_can_take_its_place(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def original(project: DbtProject, *_: Any) -> DbtCliResource:
        executable, folder = Path(sys.executable).with_name("dbt"), str(project.project_dir)
        return DbtCliResource(project_dir=folder, profiles_dir=folder, dbt_executable=str(executable))

    monkeypatch.setattr(models, "InProcessDbt", original)
    job = defs.resolve_job_def("rebuild_marts")
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance:
        run = job.execute_in_process(instance=instance)
    assert {event.asset_key for event in run.get_asset_materialization_events()} == (
        job.asset_layer.executable_asset_keys
    )
    checks = {check.asset_check_key for check in run.get_asset_check_evaluations() if check.passed}
    assert checks == {key for each in job.asset_layer.data for key in each.assets_def.check_keys}


def test_the_manifest_is_copied_once_a_build(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """dbt reports several events a node."""
    copies: list[object] = []
    copy = cli.in_database
    monkeypatch.setattr(cli, "in_database", lambda *arguments: copies.append(arguments) or copy(*arguments))
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance:
        run = defs.resolve_job_def("rebuild_marts").execute_in_process(instance=instance)
    assert len(run.get_asset_materialization_events()) > 10
    assert len(copies) == 1


def test_a_process_may_run_any_number_of_commands() -> None:
    """dbt lists its flags once more for each: without a limit, a long session of commands becomes slower and slower."""
    for _ in range(3):
        InProcessDbt(PROJECT, PROFILE_PLACEHOLDERS, parsed()).cli(["ls", "--select", "loads"]).wait()
    names = [flag["name"] for flag in DEFAULT_BASE_BEHAVIOR_FLAGS]
    assert len(names) <= len(set(names)) + 1


def test_a_command_that_dbt_does_not_know_is_an_error_in_dbts_words() -> None:
    with pytest.raises(Exception, match="No such command 'bild'"):
        InProcessDbt(PROJECT).cli(["bild"]).wait()
