"""The job refresh on real servers: it loads new objects, builds the affected models, and reports failures.

A run costs seconds, so that the tests look at the same four.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from contracts import TABLES
from deploy.local.settings import Settings
from orchestration.definitions import defs
from orchestration.defs.models import MARTS, BuildConfig
from orchestration.ingest.loader import Loaded, load_pending
from tests.conftest import Bucket, Database, environment, fresh_bucket
from tests.orchestration.conftest import landing_of

HIRES = b"1,Ada,2021-01-01T00:00:00Z,1,1\n2,Bob,,1,1\n3,too,few\n4,Cem,2021-01-01T00:00:00Z,7,1\n"

# Those of which readers are notified, and a view.
ALL_MARTS = {*MARTS, "batches"}

(DEPARTMENTS,) = [table for table in TABLES if table.name == "departments"]


@dataclass
class Runs:
    """Four consecutive runs of the job, and the content of the database after each."""

    first: dg.ExecuteInProcessResult
    with_nothing_new: dg.ExecuteInProcessResult
    with_a_failing_test: dg.ExecuteInProcessResult
    repaired: dg.ExecuteInProcessResult
    metric: list[tuple[object, ...]]
    departments: list[tuple[object, ...]]
    tags: dict[str, Mapping[str, str]]


@pytest.fixture(scope="module")
def runs(module_database: Database, s3_server: tuple[Settings, Path]) -> Runs:
    """Run the job on a database and a bucket of this module's."""
    database, bucket = module_database, fresh_bucket(*s3_server)
    bucket.put("departments.csv", b"1,Sales\n2,Legal\n")
    bucket.put("departments_a.csv.gz", b"not gzip", age_seconds=120)
    bucket.put("jobs.csv", b"1,Clerk\n")
    bucket.put("hired_employees.csv", HIRES)
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance:
        first, nothing_new = refresh(bucket, instance), refresh(bucket, instance)
        metric = database.rows("select year, department, job, q1 from marts.hires_by_quarter")
        bucket.put("departments_new.csv", b"3,Astronomy\n")
        outcomes = load_pending(database.conninfo("hiring_loader"), bucket.client, bucket.name, DEPARTMENTS)
        (load_id,) = [outcome.load_id for outcome in outcomes if isinstance(outcome, Loaded)]
        lost = database.rows("delete from raw.departments where _load_id = %s returning *", load_id)
        broken = refresh(bucket, instance)
        database.execute("insert into raw.departments values (%s, %s, %s, %s)", *lost[0])
        repaired = refresh(bucket, instance)
        tags = {run.run_id: run.tags for run in instance.get_runs()}
    departments = database.rows("select id, department from staging.departments order by id")
    return Runs(first, nothing_new, broken, repaired, metric, departments, tags)


def refresh(bucket: Bucket, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Run the job on a bucket and the database of the environment."""
    config = dg.RunConfig(ops={"dbt_models": BuildConfig(only_touched=True)})
    return defs.resolve_job_def("refresh").execute_in_process(
        config,
        instance=instance,
        resources={"landing": dg.ResourceDefinition.hardcoded_resource(landing_of(bucket))},
        raise_on_error=False,
    )


def materialized(result: dg.ExecuteInProcessResult, layer: str) -> set[str]:
    """Return the names of a layer's assets that a run materialized."""
    keys = [event.asset_key for event in result.get_asset_materialization_events() if event.asset_key]
    return {key.path[1] for key in keys if key.path[0] == layer}


def failed_steps(result: dg.ExecuteInProcessResult) -> list[str | None]:
    """Return the steps of a run that failed."""
    return [event.step_key for event in result.all_events if event.is_step_failure]


def reason_of(result: dg.ExecuteInProcessResult) -> str:
    """Return what the one step of a run that failed says."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data
    return event.step_failure_data.user_failure_data.description or ""


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Mapping[str, dg.MetadataValue]]:
    """Return the metadata of each asset that a run materialized."""
    made = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    return {each.asset_key.to_user_string(): each.metadata for each in made}


def test_new_objects_are_loaded_and_both_metrics_built(runs: Runs) -> None:
    assert failed_steps(runs.first) == ["landing__arrivals"]
    assert materialized(runs.first, "marts") == ALL_MARTS
    assert runs.metric == [(2021, "Sales", "Clerk", 1)]


def test_with_nothing_new_nothing_is_built(runs: Runs) -> None:
    assert runs.with_nothing_new.success
    assert materialized(runs.with_nothing_new, "raw") == {"departments", "jobs", "hired_employees"}
    assert materialized(runs.with_nothing_new, "staging") == materialized(runs.with_nothing_new, "marts") == set()


def test_a_raw_asset_shows_objects_records_rejected_seconds_and_a_preview(runs: Runs) -> None:
    metadata = shown(runs.first)["raw/hired_employees"]

    assert (metadata["objects"].value, metadata["records"].value, metadata["rejected"].value) == (1, 4, 2)
    assert metadata["bytes"].value == len(HIRES)
    assert metadata["seconds"].value > 0
    assert metadata["records_per_second"].value == pytest.approx(4 / metadata["seconds"].value, rel=0.1)
    assert "| Ada" in metadata["preview"].value
    assert "hired_employees.csv" in metadata["loads"].value


def test_rejected_records_show_where_they_are_and_how_to_see_the_rest(runs: Runs) -> None:
    refused, rejected = shown(runs.first)["raw/rejected_records"], shown(runs.first)["staging/rejected_records"]

    assert (refused["rejected"].value, refused["malformed"].value, refused["invalid"].value) == (2, 1, 1)
    assert (rejected["rejected"].value, rejected["malformed"].value, rejected["invalid"].value) == (2, 1, 1)
    assert "| hired_employees.csv" in refused["sample"].value
    assert "| 3,too,few |" in refused["sample"].value
    assert "| datetime | missing" in " ".join(rejected["sample"].value.split())
    assert "from raw.rejected_records where load_id in (" in refused["query"].value
    assert "raw/rejected_records" not in shown(runs.with_nothing_new)


def test_a_mart_shows_its_metric_as_figures_and_a_picture_of_its_newest_year(runs: Runs) -> None:
    hires, above = shown(runs.first)["marts/hires_by_quarter"], shown(runs.first)["marts/departments_above_mean"]

    assert (hires["newest_year"].value, hires["hires_of_newest_year"].value) == (2021, 1)
    assert hires["departments_with_hires"].value == 1
    assert (above["departments_above_mean"].value, above["mean_of_newest_year"].value) == (1, 0.5)
    for picture in (hires["chart"], above["chart"]):
        assert "](data:image/svg+xml,%3Csvg" in picture.value
        assert "Sales:%201" in picture.value


def test_pictures_and_samples_come_after_everything_is_built(runs: Runs) -> None:
    """If it were drawn as soon as its mart is built, the other mart's readers would have to wait."""
    late = {"staging/rejected_records", "staging/rejected_fields", *(f"marts/{mart}" for mart in MARTS)}
    *built, arrivals = [name for name in shown(runs.first) if not name.startswith("raw/")]

    assert arrivals == "landing/arrivals"
    assert set(built[-len(late) :]) == late


def test_a_picture_is_drawn_when_its_mart_has_changed_and_kept_while_it_has_not(runs: Runs) -> None:
    """A third department changes the mean and nobody's hires."""
    for mart, has_changed in (("hires_by_quarter", False), ("departments_above_mean", True)):
        before, after = (shown(run)[f"marts/{mart}"] for run in (runs.first, runs.repaired))
        assert (before["version"] != after["version"]) is has_changed
        assert (before["chart"] != after["chart"]) is has_changed
        assert before["newest_year"] == after["newest_year"]


def test_each_run_checks_its_loads_and_its_unfinished_ones(runs: Runs) -> None:
    def checks(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, bool]:
        made = result.get_asset_check_evaluations()
        return {each.check_name: each.passed for each in made if each.asset_key.to_user_string() == asset}

    assert checks(runs.first, "raw/hired_employees") == {
        "columns_as_agreed": True,
        "every_object_loaded": True,
        "records_add_up": True,
        "few_records_rejected": False,
        "deliveries_of_usual_size": True,
    }
    assert checks(runs.repaired, "raw/hired_employees")["records_add_up"]
    assert checks(runs.first, "raw/jobs")["few_records_rejected"]
    assert not checks(runs.first, "staging/rejected_records")["no_open_records"]
    assert checks(runs.first, "marts/missing_references")["nothing_waits_long"]
    assert checks(runs.first, "marts/hires_by_quarter")["shows_every_complete_load"]


def test_tests_of_the_models_are_checks_of_their_assets(runs: Runs) -> None:
    checks = {each.check_name: each for each in runs.first.get_asset_check_evaluations()}

    assert checks["quarters_sum_to_hires"].asset_key == dg.AssetKey(["marts", "hires_by_quarter"])
    assert checks["each_hire_once"].passed


def test_a_model_shows_its_rows_its_columns_and_where_these_come_from_after_each_build(runs: Runs) -> None:
    """The second build is incremental, and does not compute column lineage itself."""
    for run, rows in ((runs.first, 2), (runs.repaired, 3)):
        found = shown(run)
        assert found["staging/departments"]["dagster/row_count"].value == rows
        assert found["staging/checked_departments"]["dagster/row_count"].value == rows
        columns = found["marts/hires_by_quarter"]["dagster/column_schema"].value.columns
        assert [(column.name, column.type) for column in columns][:2] == [
            ("year", "integer"),
            ("department_id", "integer"),
        ]
        lineage = found["marts/hires_by_quarter"]["dagster/column_lineage"].value.deps_by_column
        assert {(dep.asset_key.path[-1], dep.column_name) for dep in lineage["department"]} == {
            ("departments", "department")
        }
        assert ("quarterly_hires", "hired") in {(dep.asset_key.path[-1], dep.column_name) for dep in lineage["q1"]}


def test_a_damaged_object_fails_its_check_in_every_run_and_blocks_nothing_else(runs: Runs) -> None:
    for run in (runs.first, runs.with_nothing_new, runs.repaired):
        (check,) = [
            each
            for each in run.get_asset_check_evaluations()
            if each.check_name == "every_object_loaded" and each.asset_key == dg.AssetKey(["raw", "departments"])
        ]
        assert not check.passed
        assert "departments_a.csv.gz is not valid gzip" in str(check.metadata["objects"].value)
    assert runs.departments == [(1, "Sales"), (2, "Legal"), (3, "Astronomy")]


def test_the_run_that_met_a_damaged_object_fails_once_all_else_is_built_and_no_later_one_does(runs: Runs) -> None:
    assert failed_steps(runs.first) == ["landing__arrivals"]
    assert reason_of(runs.first).startswith("1 file failed: departments_a.csv.gz is not valid gzip")
    assert runs.with_nothing_new.success
    assert runs.repaired.success


def test_the_tags_of_the_run_that_met_a_damaged_object_count_it(runs: Runs) -> None:
    assert runs.tags[runs.first.run_id]["hiring/failed_objects"] == "1"
    assert "hiring/failed_objects" not in runs.tags[runs.with_nothing_new.run_id]


def test_what_arrived_is_one_table_with_the_newest_first(runs: Runs) -> None:
    table = str(shown(runs.repaired)["landing/arrivals"]["arrivals"].value).splitlines()
    head, rows = cells(table[0]), [cells(line) for line in table[2:]]
    by_object = {row[0]: dict(zip(head, row, strict=True)) for row in rows}

    # Manually, between the runs.
    assert (rows[0][0], by_object["departments_new.csv"]["run"]) == ("departments_new.csv", "by hand")
    assert by_object["departments_a.csv.gz"]["status"] == "failed"
    hires = by_object["hired_employees.csv"]
    assert (hires["table"], hires["status"]) == ("hired_employees", "complete")
    assert (hires["records"], hires["malformed"], hires["invalid"], hires["waiting"]) == ("4", "1", "1", "1")
    assert hires["written as"] == "utf-8, comma"
    assert f"/runs/{runs.first.run_id})" in hires["run"]
    assert shown(runs.repaired)["landing/arrivals"]["failed_objects"].value == 1


def cells(line: str) -> list[str]:
    """Return the cells of a row of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_failed_test_fails_the_run_by_name_and_does_not_change_the_marts(runs: Runs) -> None:
    reason = reason_of(runs.with_a_failing_test)

    assert "Failure in test department_loads_are_accounted_for" in reason
    assert "\n" not in reason
    # All but one have to do with departments.
    assert materialized(runs.with_a_failing_test, "marts") == {"known_jobs"}


def test_the_next_run_publishes_unpublished_loads_and_builds_only_affected_models(runs: Runs) -> None:
    assert runs.repaired.success
    assert materialized(runs.repaired, "marts") == ALL_MARTS
    assert "departments" in materialized(runs.repaired, "staging")
    assert "jobs" not in materialized(runs.repaired, "staging")
