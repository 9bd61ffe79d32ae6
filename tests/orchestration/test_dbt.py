"""What a build covers, and when the project is parsed."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dagster_dbt import DbtProject

from orchestration import dbt

TABLES = ("departments", "jobs", "hired_employees")


@pytest.mark.parametrize(
    ("touched", "spared"),
    [
        ({"departments"}, ["checked_jobs", "jobs"]),
        ({"jobs"}, ["checked_departments", "departments"]),
        ({"hired_employees"}, ["checked_departments", "checked_jobs", "departments", "jobs"]),
        ({"departments", "hired_employees"}, ["checked_jobs", "jobs"]),
        ({"departments", "jobs"}, []),
        (set(TABLES), []),
    ],
)
def test_a_build_spares_only_the_models_of_tables_without_new_records(touched: set[str], spared: list[str]) -> None:
    """Whatever hangs on a new record, through however many models, has to be built with it."""
    assert dbt.untouched_models(dbt.manifest(), touched) == spared


@pytest.mark.parametrize("touched", [{table} for table in TABLES])
def test_the_metrics_the_ledger_and_the_rejected_records_are_always_built(touched: set[str]) -> None:
    always = {"loads", "hired_employees", "hires_by_quarter", "departments_above_mean", "published_loads"}
    assert not (always | {"rejected_records"}) & {*dbt.untouched_models(dbt.manifest(), touched)}


def test_the_arguments_leave_out_the_spared_models_and_unit_tests() -> None:
    everything = ["build", "--exclude-resource-type", "unit_test"]
    assert dbt.build_arguments(dbt.manifest(), None) == everything
    assert dbt.build_arguments(dbt.manifest(), {*TABLES}) == everything
    arguments = dbt.build_arguments(dbt.manifest(), {"jobs"})
    assert arguments[: len(everything)] == everything
    assert arguments[arguments.index("--exclude") + 1] == "checked_departments departments"


def test_a_table_that_is_no_source_is_an_error() -> None:
    with pytest.raises(KeyError, match="employees"):
        dbt.untouched_models(dbt.manifest(), {"employees"})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DbtProject:
    """A copy of the project, never parsed, in the project's place."""
    folder = tmp_path / "dbt_project"
    shutil.copytree(dbt.PROJECT.project_dir, folder, ignore=shutil.ignore_patterns("target", "logs"))
    copy = DbtProject(project_dir=folder, target_path=Path("target"))
    monkeypatch.setattr(dbt, "PROJECT", copy)
    return copy


def test_the_project_is_parsed_once_by_one_of_several_and_again_after_a_file_changed(project: DbtProject) -> None:
    """A manifest of yesterday's models would leave today's out of every run without a word."""
    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(lambda _: dbt.parse_if_changed(), range(3))) == [False, False, True]
    assert "today" not in project.manifest_path.read_text()
    (project.project_dir / "models" / "marts" / "today.sql").write_text("select 1 as today")
    assert dbt.parse_if_changed() is True
    assert "today" in project.manifest_path.read_text()
    assert dbt.parse_if_changed() is False


def test_a_project_that_cannot_be_parsed_is_an_error_in_dbts_words(project: DbtProject) -> None:
    (project.project_dir / "models" / "marts" / "broken.sql").write_text("select * from {{ ref('nowhere') }}")
    with pytest.raises(dbt.ProjectBroken, match=r"'model\.hiring\.broken' .* depends on a node named 'nowhere'"):
        dbt.parse_if_changed()
