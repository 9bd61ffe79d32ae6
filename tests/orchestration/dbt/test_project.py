"""The scope of a build, and when the project is parsed."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dagster_dbt import DbtProject
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

from contracts import TABLES as CONTRACT
from orchestration.dbt import project as dbt
from tests.conftest import environment

TABLES = tuple(table.name for table in CONTRACT)


# By table, what only new records in it can change: its view, and the tests of its checked model.
ONLY_OF = {
    "departments": {
        "departments",
        "each_department_once",
        "department_loads_are_accounted_for",
        "one_record_counts_a_department",
    },
    "jobs": {"jobs", "each_job_once", "job_loads_are_accounted_for", "one_record_counts_a_job"},
}


@pytest.mark.parametrize(
    "touched", [{"departments"}, {"jobs"}, {"hired_employees"}, {"departments", "hired_employees"}, {*TABLES}]
)
def test_a_build_spares_only_the_views_and_tests_of_tables_without_new_records(touched: set[str]) -> None:
    """Everything that depends on a new record, directly or indirectly, has to be built and tested with it."""
    spared = set().union(*(names for table, names in ONLY_OF.items() if table not in touched))
    assert dbt.untouched(dbt.manifest(), touched) == sorted(spared)


@pytest.mark.parametrize("touched", [{table} for table in TABLES])
def test_every_table_is_always_built(touched: set[str]) -> None:
    """An excluded one would not be marked as complete up to the newest load, and nothing would be published again."""
    nodes = dbt.manifest()["nodes"].values()
    tables = {node["name"] for node in nodes if node["config"]["materialized"] == dbt.MATERIALIZED}
    assert len(tables) == 12
    assert not tables & {*dbt.untouched(dbt.manifest(), touched)}


LAYERS = ("staging", "intermediate", "marts")


def test_no_model_reads_from_a_later_layer() -> None:
    """If checked records depended on models built from checked records, the order of the build would be undefined."""
    models = {name: node for name, node in dbt.manifest()["nodes"].items() if node["resource_type"] == "model"}
    layer = {name: LAYERS.index(node["fqn"][1]) for name, node in models.items()}
    assert {*layer.values()} == {0, 1, 2}
    backwards = [
        (parent, name)
        for name, node in models.items()
        for parent in node["depends_on"]["nodes"]
        if parent in layer and layer[parent] > layer[name]
    ]
    assert backwards == []
    # Only the first layer reads raw.
    reads_raw = {name for name, node in models.items() if node["sources"]}
    assert {layer[name] for name in reads_raw} == {0}


def test_the_marts_are_those_that_say_so_of_themselves() -> None:
    assert dbt.published_marts(dbt.manifest()) == [
        "completeness",
        "departments_above_mean",
        "hires_by_month",
        "hires_by_quarter",
        "known_departments",
        "known_jobs",
        "missing_references",
    ]
    silent = {"name": "draft", "config": {"meta": {}}}
    published = {"name": "leavers", "config": {"meta": {"published": True}}}
    assert dbt.published_marts({"nodes": {"draft": silent, "leavers": published}}) == ["leavers"]


def test_the_arguments_exclude_untouched_nodes_and_unit_tests() -> None:
    everything = ["build", "--exclude-resource-type", "unit_test"]
    assert dbt.build_arguments(dbt.manifest()) == everything
    assert dbt.build_arguments(dbt.manifest(), {*TABLES}) == everything
    arguments = dbt.build_arguments(dbt.manifest(), {"jobs", "hired_employees"})
    assert arguments[: len(everything)] == everything
    assert arguments[arguments.index("--exclude") + 1].split() == sorted(ONLY_OF["departments"])
    # Otherwise tests that also read an excluded view would be excluded with it.
    assert arguments[arguments.index("--indirect-selection") + 1] == "cautious"
    assert dbt.build_arguments(dbt.manifest(), {"jobs"}, full_refresh=True) == [*everything, "--full-refresh"]
    allowed = dbt.build_arguments(dbt.manifest(), full_refresh=True, drop_dependents=True)
    assert allowed == [*everything, "--full-refresh", "--vars", "{drop_dependents: true}"]


def test_a_table_that_is_no_source_is_an_error() -> None:
    with pytest.raises(KeyError, match="employees"):
        dbt.untouched(dbt.manifest(), {"employees"})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DbtProject:
    """A copy of the project, never parsed, in the project's place."""
    folder = tmp_path / "dbt_project"
    shutil.copytree(dbt.PROJECT.project_dir, folder, ignore=shutil.ignore_patterns("target", "logs", "generated"))
    copy = DbtProject(project_dir=folder, target_path=Path("target"))
    monkeypatch.setattr(dbt, "PROJECT", copy)
    return copy


def test_the_project_is_parsed_once_by_one_of_several_and_again_after_a_file_changed(project: DbtProject) -> None:
    """A manifest of yesterday's models would leave today's out of every run without a word."""
    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(lambda _: dbt.parse_if_changed(), range(3))) == [False, False, True]
    assert "today" not in project.manifest_path.read_text()
    version = dbt.version_of_project()
    (project.project_dir / "models" / "marts" / "today.sql").write_text("select 1 as today")
    assert dbt.parse_if_changed() is True
    assert "today" in project.manifest_path.read_text()
    assert dbt.parse_if_changed() is False
    assert 0 < dbt.version_of_project() != version


def comparable(parsed: Manifest) -> object:
    """Return all of a parsed project but for when, in which order and by which invocation its files were parsed."""
    left_out = dict.fromkeys(["metadata", "state_check", "files"])
    text = json.dumps(parsed.to_dict() | left_out, default=str, sort_keys=True)
    return json.loads(re.sub(r'"created_at": [0-9.]+', '"created_at": 0', text))


def test_the_project_in_a_database_is_what_dbt_parses_with_that_database_in_its_profile(tmp_path: Path) -> None:
    """A relation left in another database would fail the first build, a reference to it the first that needs it."""
    folder = str(dbt.PROJECT.project_dir)
    with environment(dbt.PROFILE_PLACEHOLDERS | {"PGHOST": "elsewhere", "PGDATABASE": "warehouse"}):
        places = ["--project-dir", folder, "--profiles-dir", folder, "--target-path", str(tmp_path)]
        parsed = dbtRunner().invoke(["--quiet", "--log-level-file", "none", "parse", *places]).result
    assert isinstance(parsed, Manifest)
    assert parsed.nodes["model.hiring.hires_by_quarter"].database == "warehouse"
    assert comparable(dbt.parsed_in_database("warehouse")) == comparable(parsed)
    assert comparable(dbt.parsed_in_database("other")) != comparable(parsed)


def test_a_process_keeps_the_version_that_it_started_with(project: DbtProject) -> None:
    """Runs are forks with yesterday's models in memory: their builds must not count as today's."""
    dbt.version_in_use.cache_clear()
    began_with = dbt.version_in_use()
    (project.project_dir / "models" / "marts" / "today.sql").write_text("select 1 as today")
    assert dbt.version_in_use() == began_with != dbt.version_of_project()
    dbt.version_in_use.cache_clear()


def test_a_project_that_cannot_be_parsed_is_an_error_in_dbts_words(project: DbtProject) -> None:
    (project.project_dir / "models" / "marts" / "broken.sql").write_text("select * from {{ ref('nowhere') }}")
    with pytest.raises(dbt.ProjectBroken, match=r"'model\.hiring\.broken' .* depends on a node named 'nowhere'"):
        dbt.parse_if_changed()
